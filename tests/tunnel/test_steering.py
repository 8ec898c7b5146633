"""Several ways to one peer: the owner decides, what is known does not move a peer, what is unknown does (white paper, 2.1: roaming)."""

from __future__ import annotations

from typing import TypeVar

import pytest

from tests.tunnel.virtual import Network, Side, connected, endpoint, packet, send
from userlan.tunnel.constants import FLOW_PATIENCE, KNOWN_WAY_INTERVAL, MAX_WAYS, PATH_PATIENCE
from userlan.tunnel.events import PathSilent, Roamed, SessionEstablished, WayHeard
from userlan.tunnel.peer import Peer
from userlan.wire.endpoint import RELAY, RELAY_HEADER, TCP, Endpoint

HERE, THERE, ELSEWHERE = endpoint(1), Endpoint(RELAY, "203.0.113.7", 41414, 3), endpoint(9)
"""Where A is, another way to it, and where it never was."""

E = TypeVar("E", PathSilent, Roamed, SessionEstablished, WayHeard)


def peer_of(side: Side, other: Side) -> Peer:
    peer = side.device.peer(other.device.public_key)
    assert peer is not None
    return peer


def events(side: Side, kind: type[E]) -> list[E]:
    side.collect()
    found: list[E] = [event for event in side.events if isinstance(event, kind)]
    side.events.clear()
    return found


def from_a(network: Network, a: Side, b: Side, source: Endpoint, payload: bytes = b"x", after: float = 0.1) -> None:
    """A packet of A's reaches B from ``source``."""
    network.now += after
    a.device.send(b.device.public_key, packet(payload), network.now)
    for burst in a.device.datagrams(network.now):
        b.device.receive(bytes(burst.data), burst.segment, source, network.now)
    b.collect()


@pytest.fixture
def sides() -> tuple[Side, Side, Network]:
    a, b, network = connected(1)
    a.events.clear()
    b.events.clear()
    return a, b, network


def test_without_an_owner_that_steers_the_newest_packet_moves_the_peer(sides: tuple[Side, Side, Network]) -> None:
    a, b, network = sides
    from_a(network, a, b, THERE)
    assert peer_of(b, a).endpoint == THERE
    assert events(b, Roamed) == [Roamed(a.device.public_key, HERE, THERE)]


def test_a_known_way_is_told_of_and_moves_nothing(sides: tuple[Side, Side, Network]) -> None:
    a, b, network = sides
    b.device.know(a.device.public_key, [HERE, THERE])
    for _ in range(10):
        from_a(network, a, b, THERE, after=KNOWN_WAY_INTERVAL / 4)
    assert peer_of(b, a).endpoint == HERE
    assert 2 <= len(events(b, WayHeard)) <= 4
    assert peer_of(b, a).heard_by(THERE) == network.now


def test_an_unknown_endpoint_moves_a_steered_peer_too(sides: tuple[Side, Side, Network]) -> None:
    """Its address has changed."""
    a, b, network = sides
    b.device.know(a.device.public_key, [HERE, THERE])
    from_a(network, a, b, ELSEWHERE)
    assert peer_of(b, a).endpoint == ELSEWHERE
    assert events(b, Roamed) == [Roamed(a.device.public_key, HERE, ELSEWHERE)]


def test_what_is_old_moves_nothing_but_is_heard(sides: tuple[Side, Side, Network]) -> None:
    """A slower way's packets are overtaken: they say that it works, and no more."""
    a, b, network = sides
    b.device.know(a.device.public_key, [HERE, THERE])
    network.now += 1.0
    a.device.send(b.device.public_key, packet(b"early"), network.now)
    (late,) = a.device.datagrams(network.now)
    from_a(network, a, b, HERE)
    b.device.receive(bytes(late.data), late.segment, THERE, network.now)
    assert peer_of(b, a).heard_by(THERE) == network.now
    a.device.send(b.device.public_key, packet(b"early"), network.now)
    (late,) = a.device.datagrams(network.now)
    from_a(network, a, b, HERE)
    b.device.receive(bytes(late.data), late.segment, ELSEWHERE, network.now)
    assert peer_of(b, a).endpoint == HERE


def test_the_owner_steers_and_what_waits_goes_along(sides: tuple[Side, Side, Network]) -> None:
    a, b, network = sides
    key = a.device.public_key
    b.device.know(key, [HERE, THERE])
    b.device.send(key, packet(b"waits"), network.now)
    b.device.steer(key, THERE, network.now)
    assert [burst.endpoint for burst in b.device.datagrams(network.now)] == [THERE]
    assert events(b, Roamed) == [], "the owner knows"
    assert peer_of(b, a).heard_by(HERE) > 0, "when the old one was heard is not forgotten"
    from_a(network, a, b, HERE)
    assert peer_of(b, a).endpoint == THERE
    assert [event.endpoint for event in events(b, WayHeard)] == [HERE]


def test_the_answer_to_an_initiation_beside_a_session_is_another_way(sides: tuple[Side, Side, Network]) -> None:
    a, b, network = sides
    key = b.device.public_key
    other = endpoint(2, 5000)
    a.device.know(key, [endpoint(2), other])
    a.device.initiate(key, [other], network.now)
    (initiation,) = a.device.datagrams(network.now)
    b.device.receive(bytes(initiation.data), 0, HERE, network.now)
    (response,) = b.device.datagrams(network.now)
    a.device.receive(bytes(response.data), 0, other, network.now)
    assert peer_of(a, b).endpoint == endpoint(2)
    assert [event.endpoint for event in events(a, SessionEstablished)] == [other]


def test_known_ways_are_capped(sides: tuple[Side, Side, Network]) -> None:
    a, b, network = sides
    ways = [endpoint(3, 1000 + number) for number in range(2 * MAX_WAYS)]
    b.device.know(a.device.public_key, ways)
    assert sum(peer_of(b, a).steering.knows(way) for way in ways) == MAX_WAYS
    assert network.now


def test_a_packet_by_a_certain_way_leaves_before_what_waits(sides: tuple[Side, Side, Network]) -> None:
    a, b, network = sides
    key = a.device.public_key
    b.device.send(key, packet(bytes(9000), 1000), network.now)
    b.device.send_by(key, packet(b"question"), THERE, network.now)
    first, *rest = b.device.datagrams(network.now)
    assert first.endpoint == THERE
    assert {burst.endpoint for burst in rest} == {HERE}
    a.device.receive(bytes(first.data), first.segment, endpoint(2), network.now)
    b.device.remove_peer(key)
    b.device.send_by(key, packet(b"nobody"), THERE, network.now)
    assert b.device.datagrams(network.now) == []


# --- silence


def silences(network: Network, side: Side, until: float) -> list[float]:
    """When the owner of a side hears that nothing comes back; nothing arrives meanwhile."""
    told = []
    while (due := side.device.deadline()) is not None and due <= until:
        network.now = max(network.now, due)
        side.device.tick(network.now)
        side.device.datagrams(network.now)
        told += [network.now] * len(events(side, PathSilent))
    network.now = until
    return told


def test_data_without_a_word_back_is_told_after_half_a_second(sides: tuple[Side, Side, Network]) -> None:
    a, b, network = sides
    key = b.device.public_key
    a.device.know(key, [endpoint(2)])
    sent = network.now
    a.device.send(key, packet(b"lost"), sent)
    a.device.datagrams(sent)
    assert silences(network, a, sent + 5) == [sent + PATH_PATIENCE]


def test_nobody_is_told_of_a_peer_that_is_not_steered(sides: tuple[Side, Side, Network]) -> None:
    a, b, network = sides
    a.device.send(b.device.public_key, packet(b"lost"), network.now)
    a.device.datagrams(network.now)
    assert silences(network, a, network.now + 5) == []


def test_an_answer_needs_none(sides: tuple[Side, Side, Network]) -> None:
    """Echo replies and the last ACK of an exchange end it."""
    a, b, network = sides
    b.device.know(a.device.public_key, [HERE])
    from_a(network, a, b, HERE)
    b.device.send(a.device.public_key, packet(b"answer"), network.now + 0.01)
    b.device.datagrams(network.now + 0.01)
    assert silences(network, b, network.now + 5) == []


def test_a_flow_that_stops_is_missed_by_who_only_listens(sides: tuple[Side, Side, Network]) -> None:
    a, b, network = sides
    b.device.know(a.device.public_key, [HERE])
    for _ in range(50):
        from_a(network, a, b, HERE, bytes(1000), after=0.02)
    last = network.now
    assert silences(network, b, last + 20)[0] == pytest.approx(last + FLOW_PATIENCE * PATH_PATIENCE)


def test_what_comes_by_another_way_does_not_hide_that_the_one_in_use_is_silent(sides: tuple[Side, Side, Network]) -> None:
    a, b, network = sides
    key = a.device.public_key
    b.device.know(key, [HERE, THERE])
    sent = network.now
    b.device.send(key, packet(b"lost"), sent)
    b.device.datagrams(sent)
    from_a(network, a, b, THERE)
    events(b, WayHeard)
    assert silences(network, b, sent + 3)[0] == sent + PATH_PATIENCE


# --- sizes


def test_bursts_by_a_relay_leave_room_for_its_headers(sides: tuple[Side, Side, Network]) -> None:
    a, b, network = sides
    key = b.device.public_key
    a.device.know(key, [endpoint(2), THERE])
    a.device.steer(key, THERE, network.now)
    for _ in range(8):
        a.device.send(key, packet(bytes(48_000), 1000), network.now)
    bursts = a.device.datagrams(network.now)
    assert sum(len(burst.data) // burst.segment for burst in bursts) >= 5 * 48, "256 KB a call"
    for burst in bursts:
        assert len(burst.data) + -(-len(burst.data) // burst.segment) * RELAY_HEADER <= 65_507


def test_probes_of_a_size_go_by_relays_too_and_not_by_tcp(sides: tuple[Side, Side, Network]) -> None:
    a, b, network = sides
    key = b.device.public_key
    stream = Endpoint(TCP, "192.0.2.2", 41414)
    a.device.know(key, [endpoint(2), THERE, stream])
    for way, count in ((THERE, 1), (stream, 0)):
        a.device.steer(key, way, network.now)
        a.device.probe(key, packet(bytes(1300)), network.now)
        bursts = a.device.datagrams(network.now)
        assert [(burst.endpoint, burst.whole) for burst in bursts] == [(way, True)] * count


def test_a_full_udp_socket_holds_what_goes_by_relays_and_a_full_relay_only_that(sides: tuple[Side, Side, Network]) -> None:
    a, b, network = sides
    key = b.device.public_key
    a.device.know(key, [endpoint(2), THERE])
    a.device.steer(key, THERE, network.now)
    for full in ("udp", THERE):
        a.device.hold(full, network.now)
        send(network, a, b, b"waits")
        assert not a.device.backlog
        a.device.release(full)
        assert a.device.backlog
        a.device.datagrams(network.now)
