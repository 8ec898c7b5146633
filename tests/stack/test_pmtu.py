"""Path MTU: what is believed, what is not, and for how long; alone and through the host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sim.lan import Lan, packed
from tests.sim.link import LinkProfile
from tests.sim.world import World
from tests.stack.packets import NOW, OTHER4, OTHER6, answers, host, own, peer, tcp_packet, too_big
from userlan.stack import Host, TcpAccepted, TcpEvent
from userlan.stack.pmtu import AGE, IPV4_MINIMUM, MAX_DESTINATIONS, PathMtu, floor
from userlan.stack.tcp import Connection, State
from userlan.wire.superpacket import SuperPacket, cut, parse
from userlan.wire.tcp import Flags, Segment, parse_segment

VERSIONS = pytest.mark.parametrize("version", [4, 6])
V4, V6 = bytes((10, 0, 0, 2)), bytes.fromhex("fd00" + "00" * 13 + "02")
LINK = 1420


@given(st.sampled_from([V4, V6]), st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 70_000))))
def test_whatever_is_reported_the_estimate_only_falls_and_not_below_the_floor(
    destination: bytes, reports: list[tuple[int, int]]
) -> None:
    path = PathMtu()
    current = LINK
    for reported, quoted in reports:
        new = path.reduce(destination, reported, quoted, LINK, NOW)
        assert new is None or floor(destination) <= new < min(current, quoted)
        current = path.get(destination, LINK)
        assert floor(destination) <= current <= LINK


def test_a_router_that_names_no_mtu() -> None:
    path = PathMtu()
    assert path.reduce(V4, 0, 1400, LINK, NOW) == 1006
    assert path.reduce(V4, 0, 1006, LINK, NOW) == IPV4_MINIMUM
    assert path.reduce(V4, 0, 500, LINK, NOW) is None
    assert path.reduce(V6, 0, 1400, LINK, NOW) is None


def test_it_is_forgotten_after_ten_minutes() -> None:
    path = PathMtu()
    path.reduce(V4, 1000, 1400, LINK, NOW)
    path.reduce(V6, 1300, 1400, LINK, NOW + 5)
    assert path.deadline() == NOW + AGE
    assert path.expired(NOW + AGE) == [V4]
    assert (path.get(V4, LINK), path.get(V6, LINK)) == (LINK, 1300)
    path.reduce(V6, 1290, 1400, LINK, NOW + 10)
    assert path.deadline() == NOW + 10 + AGE


def test_the_table_is_bounded() -> None:
    path = PathMtu()
    for number in range(MAX_DESTINATIONS + 50):
        path.reduce(b"\x0a" + number.to_bytes(3, "big"), 1000, 1400, LINK, NOW)
    assert len(path) == MAX_DESTINATIONS


def established(version: int) -> tuple[Host, Connection, int]:
    """A host with a connection to the peer, by hand; the peer's sequence number is 500."""
    target = host()
    connection = target.tcp_connect((packed(peer(version)), 80), NOW)
    (syn,) = (parse_segment(packet) for packet in target.packets(NOW))
    reply = Segment(80, syn.source_port, 499, syn.seq + 1, Flags.SYN | Flags.ACK, 65_000, mss=1400)
    answers(target, tcp_packet(peer(version), own(version), reply))
    assert connection.state is State.ESTABLISHED
    return target, connection, syn.source_port


def in_flight(target: Host, connection: Connection, size: int = 5000) -> SuperPacket:
    connection.send(bytes(size), NOW)
    (packet,) = target.packets(NOW)
    return packet


def quotable(packet: SuperPacket) -> SuperPacket:
    """The first wire packet of a super-packet."""
    return parse(cut(packet, True)[0])


@VERSIONS
def test_a_report_about_what_is_in_flight_shrinks_the_segments(version: int) -> None:
    target, connection, _ = established(version)
    sent = in_flight(target, connection)
    answers(target, too_big(OTHER4 if version == 4 else OTHER6, quotable(sent), 1300), NOW + 0.01)
    assert target.path_mtu(connection.remote[0]) == 1300
    assert target.counters["path-mtu-reduced"] == 1
    connection.send(bytes(5000), NOW + 0.02)
    deadline = target.deadline()
    assert deadline is not None
    target.tick(deadline)
    again = target.packets(deadline)
    assert again
    assert all(len(piece) <= 1300 for packet in again for piece in cut(packet, True))


@VERSIONS
def test_forged_reports_change_nothing(version: int) -> None:
    target, connection, port = established(version)
    sent = parse_segment(in_flight(target, connection))
    end = (sent.seq + len(sent.payload)) % 2**32
    forged = [
        Segment(port, 80, (sent.seq - 1) % 2**32, 500, Flags.ACK, 1, payload=bytes(1300)),
        Segment(port, 80, end, 500, Flags.ACK, 1, payload=bytes(1300)),
        Segment(port ^ 1, 80, sent.seq, 500, Flags.ACK, 1, payload=bytes(1300)),
        Segment(port, 81, sent.seq, 500, Flags.ACK, 1, payload=bytes(1300)),
    ]
    for segment in forged:
        answers(target, too_big(peer(version), tcp_packet(own(version), peer(version), segment), 1290))
    small = Segment(port, 80, sent.seq, 500, Flags.ACK, 1, payload=bytes(100))
    answers(target, too_big(peer(version), tcp_packet(own(version), peer(version), small), 1290))
    others = Segment(port, 80, sent.seq, 500, Flags.ACK, 1, payload=bytes(1300))
    foreign = tcp_packet(peer(version), OTHER4 if version == 4 else OTHER6, others)
    answers(target, too_big(peer(version), foreign, 1290, to=packed(own(version))))
    assert target.path_mtu(connection.remote[0]) == target.mtu
    assert target.counters["icmp-implausible"] == 5
    assert target.counters["icmp-quote-not-ours"] == 1


@VERSIONS
def test_an_honest_report_below_the_floor_stops_at_the_floor(version: int) -> None:
    target, connection, _ = established(version)
    sent = quotable(in_flight(target, connection))
    answers(target, too_big(peer(version), sent, 68))
    assert target.path_mtu(connection.remote[0]) == (576 if version == 4 else target.mtu)


@VERSIONS
def test_udp_is_cut_to_the_path_after_a_report(version: int) -> None:
    target = host()
    socket = target.udp_bind(5000)
    socket.send(bytes(1350), (packed(peer(version)), 9), NOW)
    (sent,) = target.packets(NOW)
    assert not sent.fragment
    answers(target, too_big(peer(version), sent, 1280))
    socket.send(bytes(1350), (packed(peer(version)), 9), NOW)
    parts = target.packets(NOW)
    assert len(parts) == 2
    assert all(part.fragment and part.length <= 1280 for part in parts)
    target.tick(NOW + AGE)
    socket.send(bytes(1350), (packed(peer(version)), 9), NOW + AGE)
    assert len(target.packets(NOW + AGE)) == 1


@pytest.mark.parametrize("addresses", [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")])
def test_a_transfer_through_a_narrow_link(addresses: tuple[str, str]) -> None:
    """The peer's own MTU is larger, so that only the router in between can tell."""
    world = World(3)
    lan = Lan(world)
    sender = lan.host(addresses[0], up=LinkProfile(delay=0.005))
    receiver = lan.host(addresses[1], up=LinkProfile(delay=0.005), down=LinkProfile(delay=0.001, mtu=1300))
    receiver.core.tcp_listen(80)
    received = bytearray()

    def read(event: object) -> None:
        if isinstance(event, TcpEvent | TcpAccepted):
            while data := event.connection.receive():
                received.extend(data)

    receiver.handler = read
    connection = sender.core.tcp_connect((packed(addresses[1]), 80), world.now)
    data = bytes(range(256)) * 1000
    world.run_until(lambda: connection.state is State.ESTABLISHED)
    assert connection.send(data, world.now) == len(data)
    world.run_until(lambda: len(received) == len(data), 10)
    assert bytes(received) == data
    assert sender.core.path_mtu(packed(addresses[1])) == 1300
    assert lan.counters["too-big"] > 0
