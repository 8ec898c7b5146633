"""One punch: when its probes leave, what stops them, and what it answers."""

from __future__ import annotations

from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userlan.traversal.kinds import PROBE_ANSWER
from userlan.traversal.probe import SIZE, ProbeKey
from userlan.traversal.punch import BURST, LINGER, MAX_PROBES, OFFSETS, PAUSE, TICK, PathAnswered, PathHeard, Punch, cost, sockets_of
from userlan.traversal.step import Plan, Step
from userlan.wire.burst import Burst
from userlan.wire.endpoint import Endpoint

PEER = b"p" * 32
TOKEN = bytes(16)
HOST = "203.0.113.9"
HERE = Endpoint("udp", HOST, 41414)
STREAM = Endpoint("tcp", HOST, 41414)


def punch(*candidates: Endpoint, plan: Plan | None = None, delay: float = 0.0, fresh: range = range(0), new: range = range(0)) -> Punch:
    return Punch(
        PEER, TOKEN, 0, candidates, plan or Plan(), now=100.0, entropy=Random(1).randbytes, delay=delay, fresh=fresh, new=new
    )


def course(one: Punch, until: float = inf) -> list[tuple[float, Burst]]:
    """All that it sends, each burst at its deadline."""
    sent: list[tuple[float, Burst]] = []
    while (now := one.deadline()) < min(until, one.give_up):
        sent += [(now, burst) for burst in one.due(now)]
    return sent



def probed(source: Endpoint, number: int = 0) -> tuple[ProbeKey, bytes]:
    """The other end's key, and a probe of its."""
    key = ProbeKey(TOKEN, 1)
    return key, key.probe(source, number, 5)


def hear(one: Punch, data: bytes, source: Endpoint, now: float) -> Burst | None:
    probe = one.key.open(data)
    assert probe is not None
    return one.receive(probe, source, now)


def answer(one: Punch, burst: Burst, now: float, source: Endpoint | None = None) -> None:
    """The other end answers a probe from where it went, or from elsewhere."""
    other = ProbeKey(TOKEN, 1)
    probe = other.open(burst.data)
    assert probe is not None
    hear(one, other.answer(probe, HERE), source or burst.endpoint, now)


def test_candidates_are_probed_densely_first_and_framed_tcp_later() -> None:
    sent = course(punch(HERE, STREAM, delay=0.25))
    assert [round(at - 100.25, 6) for at, burst in sent if burst.endpoint == HERE] == list(OFFSETS)
    assert min(at for at, burst in sent if burst.endpoint == STREAM) >= 102.25
    assert all(len(burst.data) == burst.segment == SIZE for _, burst in sent)
    assert min(at for at, _ in course(punch(STREAM))) == 100.0


def test_steps_go_to_their_ports_in_order_by_their_sockets_and_candidates_wait() -> None:
    plan = Plan(steps=(Step(HOST, 5000, count=3, stride=2, sockets=2, fresh=True, rounds=2, interval=0.1, ttl=3),), hold=0.5)
    sent = course(punch(HERE, plan=plan, fresh=range(7, 9)))
    steps = [(burst.endpoint.via, burst.endpoint.port, burst.ttl) for _, burst in sent if burst.endpoint.via]
    assert steps == [(via, port, 3) for _ in range(2) for via in (7, 8) for port in (5000, 5002, 5004)]
    assert min(at for at, burst in sent if not burst.endpoint.via) == 100.5
    assert cost(plan) == 12
    assert sockets_of(plan) == 0


def test_who_begins_late_holds_its_candidates_back_all_the_same() -> None:
    """A busy process: the packet that opens the own NAT leaves first, and nothing else before its hold is over."""
    one = punch(HERE, plan=Plan(steps=(Step(HOST, 5000, ttl=2),), hold=0.05))
    assert [(burst.endpoint, burst.ttl) for burst in one.due(100.3)] == [(Endpoint("udp", HOST, 5000), 2)]
    assert one.deadline() == pytest.approx(100.35)
    assert [burst.endpoint for burst in one.due(100.36)] == [HERE]


@given(st.integers(1, 60000), st.integers(0, 4000), st.integers(1, 300), st.integers(1, 3), st.integers(0, 2**64))
def test_scattered_ports_do_not_repeat_before_all_have_come(first: int, more: int, count: int, rounds: int, seed: int) -> None:
    step = Step(HOST, first, count=count, last=first + more, scattered=True, rounds=rounds, interval=0)
    plan = Plan(steps=(step,), give_up=30)
    one = Punch(PEER, TOKEN, 0, (), plan, now=0.0, entropy=Random(seed).randbytes)
    ports = [burst.endpoint.port for _, burst in course(one)]
    assert len(ports) == count * rounds
    assert all(first <= port <= first + more for port in ports)
    assert len(set(ports)) == min(len(ports), more + 1)


def test_probes_leave_in_bursts_of_a_few_and_a_sleeper_does_not_send_all_at_once() -> None:
    plan = Plan(steps=(Step(HOST, 1024, count=1000, last=65535, scattered=True),))
    one = punch(plan=plan)
    sent = course(one, 100.5)
    assert 440 <= len(sent) <= 510
    assert len({at for at, _ in sent}) <= 0.5 / TICK + 1
    late = one.due(102.0)
    assert len(late) == BURST
    assert one.deadline() >= 102.0 + TICK


def test_whatever_a_plan_asks_for_one_punch_sends_so_much() -> None:
    steps = tuple(Step(HOST, 1024, count=2048, last=65535, scattered=True, sockets=256, rounds=40, spacing=0.0) for _ in range(12))
    one = punch(plan=Plan(steps=steps, give_up=30), new=range(1, 257))
    assert len(course(one)) == one.packets == MAX_PROBES


def test_a_probe_is_answered_by_its_way_probed_back_and_lets_the_steps_pause() -> None:
    one = punch(plan=Plan(steps=(Step(HOST, 1024, count=2000, last=65535, scattered=True),)))
    course(one, 100.1)
    where = Endpoint("udp", HOST, 7777, 3)
    other, probe = probed(where)
    answered = hear(one, probe, where, 100.1)
    assert answered is not None
    assert answered.endpoint == where
    assert len(answered.data) == len(probe)
    assert bytes(answered.data[:4]) == PROBE_ANSWER
    assert other.open(answered.data) is not None
    assert one.events() == [PathHeard(PEER, where)]
    meanwhile = course(one, 100.1 + PAUSE)
    assert {burst.endpoint for _, burst in meanwhile} == {where}
    assert any(burst.endpoint.port != 7777 for _, burst in course(one, 100.2 + PAUSE))     # no answer came: the steps go on


def test_an_answer_ends_the_steps() -> None:
    one = punch(HERE, plan=Plan(steps=(Step(HOST, 1024, count=2000, last=65535, scattered=True),)))
    sent = course(one, 100.1)
    first = next(burst for _, burst in sent if burst.endpoint == HERE)
    answer(one, first, 100.12)
    answer(one, first, 100.13)
    (event,) = one.events()
    assert isinstance(event, PathAnswered)
    assert event.endpoint == HERE
    assert round(event.rtt, 3) == 0.12
    assert course(one) == []


def test_an_answer_from_elsewhere_is_only_a_way_that_was_heard() -> None:
    one = punch(HERE)
    (first,) = one.due(100.0)
    elsewhere = Endpoint("udp", HOST, 999)
    answer(one, first, 100.1, elsewhere)
    assert one.events() == [PathHeard(PEER, elsewhere)]
    assert elsewhere in {burst.endpoint for _, burst in course(one)}


def test_an_answer_to_what_was_never_asked_says_nothing() -> None:
    one = punch(HERE)
    other, probe = probed(HERE, 17)
    asked = one.key.open(probe)
    assert asked is not None
    hear(one, other.answer(asked._replace(answer=False), HERE), HERE, 100.1)
    assert one.events() == []


def test_once_stopped_it_only_answers() -> None:
    one = punch(HERE)
    one.stop(100.01)
    assert one.met
    assert course(one) == []
    assert hear(one, probed(HERE)[1], HERE, 100.5) is not None
    assert course(one) == []
    assert one.over_at == 100.01 + LINGER


def test_connections_are_attempted_once_and_probed_when_they_are_there() -> None:
    plan = Plan(steps=(Step(HOST, 5000, count=2, transport="tcp", sockets=1, fresh=True, rounds=3),))
    one = punch(plan=plan, fresh=range(5, 6))
    sent = course(one, 100.2)
    assert [burst for _, burst in sent] == [Burst(b"", 0, Endpoint("tcp", HOST, port, 5), True) for port in (5000, 5001)]
    one.opened(Endpoint("tcp", HOST, 5001, 5), 100.2)
    one.opened(Endpoint("tcp", "192.0.2.77", 5001, 5), 100.2)
    (probe,) = [burst for _, burst in course(one, 100.21)]
    assert probe.endpoint == Endpoint("tcp", HOST, 5001, 5)
    answer(one, probe, 100.3)
    assert [type(event) for event in one.events()] == [PathAnswered]


def test_a_flood_of_ways_is_remembered_up_to_a_cap() -> None:
    one = punch(HERE)
    for number in range(200):
        where = Endpoint("udp", HOST, 1000 + number)
        hear(one, probed(where, number)[1], where, 100.1)
    assert len(one.events()) <= 32
    assert one.packets + len(course(one)) < 32 * (len(OFFSETS) + 1)
