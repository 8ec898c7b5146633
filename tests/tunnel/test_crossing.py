"""Handshakes from both sides at once, in every order, and over bad links."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tunnel.virtual import Network, Side, connected, endpoint, packet, pair, send
from userlan.tunnel import messages
from userlan.tunnel.events import Roamed, SessionEstablished


def know_each_other(a: Side, b: Side) -> None:
    b.device.add_peer(a.device.public_key, endpoint=a.endpoint)


def converse(a: Side, b: Side, network: Network, start: float) -> None:
    """Data goes both ways, at once, and without another handshake."""
    network.run(start)
    before = len(network.sent)
    a.received.clear()
    b.received.clear()
    for number in range(5):
        send(network, a, b, b"to b %d" % number)
        send(network, b, a, b"to a %d" % number)
    network.run(start + 4.0)
    assert b.received == [b"to b %d" % number for number in range(5)]
    assert a.received == [b"to a %d" % number for number in range(5)]
    assert {datagram[0] for _, _, datagram in network.sent[before:]} == {messages.TRANSPORT}


def test_both_send_their_first_packet_at_the_same_moment() -> None:
    a, b, network = pair()
    know_each_other(a, b)
    a.device.send(b.device.public_key, packet(b"from a"), 0.0)
    b.device.send(a.device.public_key, packet(b"from b"), 0.0)
    network.run(1.0)
    assert (a.received, b.received) == ([b"from b"], [b"from a"])
    assert sum(datagram[0] == messages.INITIATION for _, _, datagram in network.sent) == 2
    converse(a, b, network, 2.0)


Action = tuple[str, int]
actions = st.lists(
    st.tuples(st.sampled_from(["a sends", "b sends", "a initiates", "b initiates"]), st.integers(0, 60)),
    min_size=1,
    max_size=14,
)


@given(actions, st.randoms(use_true_random=False), st.integers(1, 400))
@settings(deadline=None, max_examples=250)
def test_nothing_is_lost_however_initiations_cross(
    script: list[Action], chance: random.Random, spread: int
) -> None:
    """Datagrams take 1 to `spread` ms each, and overtake one another; every packet sent must arrive."""
    a, b, network = pair(delay=lambda datagram: chance.randint(1, spread) / 1000)
    know_each_other(a, b)
    expected: dict[str, list[bytes]] = {"a": [], "b": []}
    initiations = {"a": 0, "b": 0}
    for action, pause in script:
        network.run(network.now + pause / 1000)
        who, other, name = (a, b, "b") if action[0] == "a" else (b, a, "a")
        if action.endswith("sends"):
            payload = b"%d" % len(expected[name])
            expected[name].append(payload)
            send(network, who, other, payload)
        elif initiations[action[0]] < 6:
            initiations[action[0]] += 1
            who.device.initiate(other.device.public_key, [other.endpoint], network.now)
            network.flush()
    network.run(network.now + 12.0)
    network.delay = lambda datagram: 0.01
    assert sorted(b.received) == sorted(expected["b"])
    assert sorted(a.received) == sorted(expected["a"])
    converse(a, b, network, network.now + 1.0)


@pytest.mark.parametrize("seed", range(8))
def test_a_session_comes_about_over_a_link_that_loses_30_percent(seed: int) -> None:
    chance = random.Random(seed)
    a, b, network = pair(seed, delay=lambda datagram: None if chance.random() < 0.3 else 0.02)
    know_each_other(a, b)
    for number in range(400):
        network.run(number * 0.25)
        send(network, a, b, b"a%d" % number)
        send(network, b, a, b"b%d" % number)
    network.run(120.0)
    for side in (a, b):
        assert side.established >= 1
        assert len(side.received) > 200
        assert len(set(side.received)) == len(side.received)


@pytest.mark.parametrize("seed", range(4))
def test_renewals_over_a_bad_link_leave_no_gap(seed: int) -> None:
    chance = random.Random(seed)
    a, b, network = connected(seed)
    network.delay = lambda datagram: None if chance.random() < 0.3 else chance.uniform(0.01, 0.2)
    arrivals: list[float] = []
    for second in range(2, 900):
        network.run(float(second))
        for _ in range(4):
            send(network, a, b, b"%d" % second)
        network.run(second + 0.5)
        if b.received:
            arrivals.append(network.now)
            b.received.clear()
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert max(gaps) <= 3.0


# --- initiate: several endpoints, several times


def punch(a: Side, b: Side, network: Network, *ports: int) -> None:
    a.device.initiate(b.device.public_key, [endpoint(2, port) for port in ports], network.now)


def test_the_same_initiation_goes_to_every_endpoint_and_the_one_that_answers_wins() -> None:
    a, b, network = pair()
    punch(a, b, network, 1, 2, 41414, 3)
    network.run(1.0)
    first = [datagram for _, _, datagram in network.sent if datagram[0] == messages.INITIATION]
    assert len(first) == 4
    assert len(set(first)) == 1
    peer = a.device.peer(b.device.public_key)
    assert peer is not None
    assert peer.endpoint == b.endpoint
    assert SessionEstablished(b.device.public_key, b.endpoint, True) in a.events


def test_initiations_without_an_answer_are_repeated_to_the_same_endpoints() -> None:
    a, b, network = pair(delay=lambda datagram: None)
    punch(a, b, network, 5, 6)
    network.run(5.4)
    assert [destination.port for _, destination, _ in network.sent] == [5, 6, 5, 6]


def test_calls_within_25_milliseconds_become_one_initiation_to_all_endpoints() -> None:
    a, b, network = pair(delay=lambda datagram: None)
    for port in range(1, 6):
        punch(a, b, network, port)
        network.run(network.now + 0.002)
    network.run(1.0)
    times = sorted({time for time, _, _ in network.sent})
    assert times == pytest.approx([0.0, 0.025])
    assert [destination.port for _, destination, _ in network.sent] == [1, 2, 3, 4, 5]


def test_the_number_of_endpoints_is_bounded() -> None:
    a, b, network = pair(delay=lambda datagram: None)
    punch(a, b, network, *range(1, 500))
    network.flush()
    assert len(network.sent) == 64


def test_an_answer_to_an_earlier_initiation_still_completes() -> None:
    a, b, network = pair()
    network.delay = _only_first_initiation()
    for number in range(6):
        network.run(number * 0.1)
        punch(a, b, network, 41414)
    network.run(0.55)
    assert a.established == 1
    assert a.device.peer(b.device.public_key).has_session(network.now)  # type: ignore[union-attr]


def _only_first_initiation() -> Callable[[bytes], float | None]:
    """The first initiation takes 0.5 s, all later ones are lost."""
    seen: list[bytes] = []

    def delay(datagram: bytes) -> float | None:
        if datagram[0] != messages.INITIATION:
            return 0.01
        seen.append(datagram)
        return 0.5 if len(seen) == 1 else None

    return delay


def test_an_answer_to_one_that_was_given_up_is_refused() -> None:
    a, b, network = pair()
    network.delay = _only_first_initiation()
    for number in range(12):
        network.run(number * 0.03)
        punch(a, b, network, 41414)
    network.run(0.9)
    assert a.established == 0
    assert a.device.counters["response-unknown-index"] == 1


def test_punching_beside_a_session_disturbs_nothing() -> None:
    a, b, network = connected()
    sent = 0
    for number in range(100):
        network.run(2.0 + number * 0.05)
        if number % 3 == 0:
            punch(a, b, network, 9, 10)
        if number % 5 == 0:
            b.device.initiate(a.device.public_key, [endpoint(1, 9)], network.now)
        send(network, a, b, b"%d" % number)
        sent += 1
    network.run(60.0)
    assert b.received == [b"%d" % number for number in range(sent)]
    assert a.established == b.established == 1
    late = [time for time, destination, _ in network.sent if destination.port != 41414 and time > 7.0]
    assert late == [], "beside a session nothing is repeated"


def test_the_path_moves_to_the_endpoint_that_answers() -> None:
    a, b, network = connected()
    other = endpoint(2, 50000)
    b.endpoint = other
    a.device.initiate(b.device.public_key, [endpoint(2, 49999), other], network.now)
    network.run(2.0)
    assert Roamed(b.device.public_key, endpoint(2), other) in a.events
    assert [event.endpoint for event in a.events if isinstance(event, SessionEstablished)][-1] == other
    converse(a, b, network, 3.0)
