"""The matchmaker: who is introduced to whom, when, with which delays; and that its work is bounded."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.control.meeting import Introduce
from userlan.control.messages import Candidate
from userlan.mediator.link_delay import LinkDelay
from userlan.mediator.matchmaker import MAX_ONE_WAY, PAIR_INTERVAL, SETTLE_WAIT, SLACK, Matchmaker
from userlan.mediator.negotiation import permitted
from userlan.mediator.pair_queue import BURST, MAX_WAITING, RATE
from userlan.traversal.nat import UNKNOWN
from userlan.traversal.step import MAX_STEPS, Plan, Step
from userlan.wire.endpoint import Endpoint

HOME, WORK = 1, 2


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def endpoint(number: int, port: int = 5000) -> Endpoint:
    return Endpoint("udp", f"198.18.{number // 200}.{number % 200 + 1}", port)


class Told(NamedTuple):
    """An introduction and who got it."""

    key: bytes
    message: Introduce


class Meeting:
    """A matchmaker, its clock, and everything that it introduced."""

    def __init__(self) -> None:
        self.now = 100.0
        self.core = Matchmaker(entropy=Random(1).randbytes, now=self.now)
        self.made: list[tuple[float, Told]] = []

    def arrive(self, number: int, *networks: int, round_trip: float | None = 0.02) -> None:
        self.core.arrived(key(number), networks or (HOME,), endpoint(number), (), False, self.now)
        self.core.classified(key(number), UNKNOWN, self.now)
        if round_trip is not None:
            self.core.measured(key(number), round_trip, self.now)

    def run(self, seconds: float) -> None:
        """Until then, with only the calls that ``deadline`` asks for."""
        end = self.now + seconds
        while True:
            for receiver, message in self.core.due(self.now):
                assert isinstance(message, Introduce)
                self.made.append((self.now, Told(receiver, message)))
            deadline = self.core.deadline()
            if deadline is None or deadline > end:
                self.now = end
                return
            assert deadline > self.now, "a deadline that is never met spins the driver"
            self.now = deadline

    def pairs(self) -> list[tuple[int, int]]:
        """Who was told of whom, since the last call."""
        made, self.made = self.made, []
        return [(int.from_bytes(i.key, "big"), int.from_bytes(i.message.peer, "big")) for _, i in made]


def test_two_members_are_introduced_as_soon_as_both_are_measured() -> None:
    meeting = Meeting()
    meeting.arrive(1)
    meeting.run(3.0)
    assert meeting.pairs() == []
    meeting.arrive(2, round_trip=None)
    meeting.run(0.1)
    assert meeting.pairs() == []
    meeting.core.measured(key(2), 0.03, meeting.now)
    meeting.run(0.0)
    first, second = (introduction for _, introduction in meeting.made)
    assert meeting.pairs() == [(1, 2), (2, 1)]
    assert first.message.token == second.message.token
    assert first.message.candidates == (Candidate(endpoint(2).host, 5000, "udp", "observed"),)
    assert second.message.candidates == (Candidate(endpoint(1).host, 5000, "udp", "observed"),)
    meeting.run(10.0)
    assert meeting.pairs() == []
    assert meeting.core.deadline() is None


@given(st.floats(0, 1.5), st.floats(0, 1.5))
@settings(deadline=None, max_examples=100)
def test_both_first_packets_leave_together(first: float, second: float) -> None:
    meeting = Meeting()
    meeting.arrive(1, round_trip=first)
    meeting.arrive(2, round_trip=second)
    meeting.run(0.0)
    (_, one), (_, two) = meeting.made
    assert first / 2 + one.message.delay == pytest.approx(second / 2 + two.message.delay)
    assert min(one.message.delay, two.message.delay) == pytest.approx(SLACK)


def test_a_member_that_holds_back_its_pong_does_not_delay_the_others_for_long() -> None:
    meeting = Meeting()
    meeting.arrive(1, round_trip=0.01)
    meeting.arrive(2, round_trip=30.0)
    meeting.run(0.0)
    assert max(introduction.message.delay for _, introduction in meeting.made) <= MAX_ONE_WAY + SLACK


def test_a_member_that_never_answers_pings_is_introduced_after_a_while() -> None:
    meeting = Meeting()
    meeting.arrive(1)
    meeting.arrive(2, round_trip=None)
    meeting.run(5.0)
    assert [time for time, _ in meeting.made] == [pytest.approx(100.0 + SETTLE_WAIT)] * 2


def test_the_least_of_the_last_samples_counts() -> None:
    link = LinkDelay()
    assert link.one_way is None
    link.sample(0.2)
    assert link.one_way == pytest.approx(0.1)
    link.sample(0.04)
    assert link.one_way == pytest.approx(0.02)
    for _ in range(5):
        link.sample(0.3)
    assert link.one_way == pytest.approx(0.02)
    for _ in range(30):
        link.sample(0.3)
    assert link.one_way == pytest.approx(0.15, rel=0.01)
    link.sample(-1.0)
    assert link.one_way == 0.0


def test_only_members_of_one_network_meet() -> None:
    meeting = Meeting()
    meeting.arrive(1, HOME)
    meeting.arrive(2, WORK)
    meeting.arrive(3, HOME, WORK)
    meeting.run(10.0)
    assert sorted(meeting.pairs()) == [(1, 3), (2, 3), (3, 1), (3, 2)]
    assert not meeting.core.meet(key(1), key(2), meeting.now)
    assert not meeting.core.meet(key(1), key(1), meeting.now)
    assert not meeting.core.meet(key(1), key(9), meeting.now)
    assert not meeting.core.meet(key(9), key(1), meeting.now)
    meeting.core.joined(key(1), WORK, meeting.now)
    meeting.run(10.0)
    assert sorted(set(meeting.pairs())) == [(1, 2), (1, 3), (2, 1), (3, 1)]
    meeting.core.parted(key(1), WORK)
    assert not meeting.core.meet(key(1), key(2), meeting.now)
    assert meeting.core.meet(key(1), key(3), meeting.now)


def test_a_changed_endpoint_is_told_again() -> None:
    meeting = Meeting()
    meeting.arrive(1)
    meeting.arrive(2)
    meeting.run(10.0)
    meeting.pairs()
    meeting.core.located(key(1), endpoint(1), False, meeting.now)
    meeting.core.offers(key(1), (), meeting.now)
    meeting.run(10.0)
    assert meeting.pairs() == []
    meeting.core.located(key(1), endpoint(1, port=6000), False, meeting.now)
    meeting.run(0.0)
    assert [introduction.message.candidates for _, introduction in meeting.made][1] == (
        Candidate(endpoint(1).host, 6000, "udp", "observed"),
    )
    meeting.pairs()
    meeting.core.offers(key(2), (Candidate("192.168.1.1", 1),), meeting.now)
    meeting.run(10.0)
    assert sorted(meeting.pairs()) == [(1, 2), (2, 1)]


def test_a_pair_is_introduced_at_most_once_in_its_interval() -> None:
    meeting = Meeting()
    meeting.arrive(1)
    meeting.arrive(2)
    for step in range(100):
        meeting.core.meet(key(1), key(2), meeting.now)
        meeting.core.located(key(2), endpoint(2, port=1000 + step), False, meeting.now)
        meeting.run(0.1)
    times = sorted({time for time, _ in meeting.made})
    assert len(times) == pytest.approx(10.0 / PAIR_INTERVAL, abs=1)
    assert all(later - earlier >= PAIR_INTERVAL - 1e-9 for earlier, later in pairwise(times))
    meeting.run(PAIR_INTERVAL)
    last = meeting.made[-1][1].message if meeting.made[-1][1].key == key(1) else meeting.made[-2][1].message
    assert last.candidates[0].port == 1099


def test_those_who_ask_go_first_and_all_together_keep_the_rate() -> None:
    meeting = Meeting()
    for number in range(80):
        meeting.arrive(number)
    meeting.core.meet(key(3), key(70), meeting.now)
    meeting.run(0.0)
    at_once = meeting.pairs()
    assert len(at_once) == 2 * BURST
    assert (3, 70) in at_once[:8]
    meeting.run(5.0)
    assert len(meeting.pairs()) == pytest.approx(2 * RATE * 5, rel=0.02)
    meeting.run(60.0)
    meeting.pairs()
    assert meeting.core.counters["introductions"] == 80 * 79 / 2


def test_askers_cannot_hold_up_the_others_for_good() -> None:
    meeting = Meeting()
    for number in range(60):
        meeting.arrive(number)
    quiet = 0
    for _ in range(20):
        for one in range(30):
            for other in range(one):
                meeting.core.meet(key(one), key(other), meeting.now)
        meeting.run(0.1)
        quiet += sum(1 for pair in meeting.pairs() if max(pair) >= 30)
    assert quiet >= 2 * RATE * 2.0 / 5


def test_a_large_network_does_not_fill_the_memory() -> None:
    meeting = Meeting()
    for number in range(400):
        meeting.arrive(number)
    assert meeting.core.counters["pairs-not-queued"] == 400 * 399 / 2 - MAX_WAITING
    meeting.run(0.0)
    meeting.pairs()
    assert meeting.core.meet(key(398), key(399), meeting.now)
    meeting.run(0.1)
    assert (398, 399) in meeting.pairs()


def test_the_departed_are_not_introduced() -> None:
    meeting = Meeting()
    for number in range(30):
        meeting.arrive(number)
    meeting.run(0.0)
    for number in range(1, 30):
        meeting.core.departed(key(number))
    meeting.pairs()
    meeting.run(10.0)
    assert meeting.pairs() == []
    assert meeting.core.one_way(key(1)) is None
    meeting.core.departed(key(1))
    meeting.core.measured(key(1), 0.1, meeting.now)
    meeting.core.located(key(1), endpoint(1), False, meeting.now)
    meeting.core.joined(key(1), HOME, meeting.now)
    assert meeting.core.deadline() is None


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4), st.integers(0, 4), st.floats(0, 3)), max_size=60))
@settings(deadline=None, max_examples=150)
def test_any_order_of_observations(steps: list[tuple[int, int, int, float]]) -> None:
    """Whatever happens in whatever order: no spinning, no stranger introduced, both sides told at one moment."""
    meeting = Meeting()
    networks: dict[int, set[int]] = {}
    for action, number, other, pause in steps:
        match action:
            case 0 | 1:
                meeting.arrive(number, HOME + other % 2, round_trip=None if other == 4 else other / 20)
                networks[number] = {HOME + other % 2}
            case 2:
                meeting.core.departed(key(number))
                networks.pop(number, None)
            case 3:
                meeting.core.joined(key(number), WORK, meeting.now)
                if number in networks:
                    networks[number].add(WORK)
            case 4:
                meeting.core.parted(key(number), HOME)
                networks.get(number, set()).discard(HOME)
            case 5:
                meeting.core.located(key(number), endpoint(number, 1 + other), False, meeting.now)
            case 6:
                shared = networks.get(number, set()) & networks.get(other, set())
                assert meeting.core.meet(key(number), key(other), meeting.now) == (number != other and bool(shared))
            case _:
                meeting.core.measured(key(number), other / 10, meeting.now)
        meeting.run(pause)
        made = list(meeting.made)
        for (time, one), (again, two) in zip(made[::2], made[1::2], strict=True):
            assert (time, one.key, one.message.peer) == (again, two.message.peer, two.key)
            assert one.message.token == two.message.token
        for one_number, two_number in meeting.pairs():
            assert networks[one_number] & networks[two_number]


def test_a_plan_is_one_that_can_be_read_whatever_was_measured() -> None:
    """A member's sockets may be seen at ports of chance, each of which would be a step of the other's."""
    steps = tuple(Step("203.0.113.9", port) for port in range(1, 2 * MAX_STEPS))
    told = permitted(Plan(steps=steps), "203.0.113.9")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=Plan) == told
    assert permitted(Plan(steps=steps), "203.0.113.8").steps == ()
