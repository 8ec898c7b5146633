"""A host whose addresses a kernel has as well: what stays, what is handed over, what nobody gets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stack.packets import NOW, echo_packet, host, on_the_wire, own, packed, peer, tcp_packet, udp_packet
from userlan.stack import Host
from userlan.stack.events import EchoReply
from userlan.stack.ports import FIRST_PORT, LAST_PORT
from userlan.wire import icmp, icmpv6, ndp, udp
from userlan.wire.fragment import fragment
from userlan.wire.superpacket import SuperPacket
from userlan.wire.tcp import Flags, Segment, parse_segment
from userlan.wire.udp import parse_datagram

PORTS = (61_000, 65_535)

versions = pytest.mark.parametrize("version", [4, 6])


def shared(**options: Any) -> Host:
    made = host(**options)
    made.share(*PORTS)
    return made


def handed_over(made: Host) -> list[SuperPacket]:
    packets, made.unclaimed = made.unclaimed, []
    assert packets is not None
    return packets


def syn(version: int, port: int, source_port: int = 1000) -> SuperPacket:
    segment = Segment(source_port=source_port, destination_port=port, seq=7, flags=Flags.SYN, window=1000)
    return tcp_packet(peer(version), own(version), segment)


@versions
def test_tcp_to_a_listener_is_ours_and_to_others_the_kernels(version: int) -> None:
    made = shared()
    made.tcp_listen(80)
    made.receive(syn(version, 80), NOW)
    (answer,) = made.packets(NOW)
    assert parse_segment(answer).flags == Flags.SYN | Flags.ACK
    made.receive(syn(version, 22), NOW)
    assert made.packets(NOW) == [], "no reset: the kernel will say what it thinks"
    (packet,) = handed_over(made)
    assert parse_segment(packet).destination_port == 22


@versions
def test_tcp_of_our_own_connection_is_ours(version: int) -> None:
    made = shared()
    connection = made.tcp_connect((packed(peer(version)), 80), NOW)
    (opening,) = made.packets(NOW)
    answer = Segment(
        source_port=80, destination_port=connection.local[1], seq=9, ack=parse_segment(opening).seq + 1,
        flags=Flags.SYN | Flags.ACK, window=1000,
    )
    made.receive(tcp_packet(peer(version), own(version), answer), NOW)
    assert handed_over(made) == []
    assert [parse_segment(packet).flags for packet in made.packets(NOW)] == [Flags.ACK]


@versions
def test_udp_by_port(version: int) -> None:
    made = shared()
    socket = made.udp_bind(53)
    made.receive(udp_packet(peer(version), own(version), 1000, 53, b"ours"), NOW)
    made.receive(udp_packet(peer(version), own(version), 1000, 54, b"theirs"), NOW)
    received = socket.receive()
    assert received is not None
    assert bytes(received.payload) == b"ours"
    assert made.packets(NOW) == [], "no port unreachable"
    assert [bytes(parse_datagram(packet).payload) for packet in handed_over(made)] == [b"theirs"]


@versions
def test_echo_requests_are_answered_here_and_replies_are_whose_request_was(version: int) -> None:
    made = shared()
    made.receive(echo_packet(peer(version), own(version)), NOW)
    assert len(made.packets(NOW)) == 1
    made.receive(echo_packet(peer(version), own(version), request=False), NOW)
    assert len(handed_over(made)) == 1
    made.ping(packed(peer(version)), 7, 1, b"x", NOW)
    made.packets(NOW)
    made.receive(echo_packet(peer(version), own(version), request=False), NOW + 1)
    assert handed_over(made) == []
    (event,) = made.events()
    assert isinstance(event, EchoReply)


def port_unreachable(version: int, quoted: SuperPacket) -> SuperPacket:
    octets = quoted.header + bytes(quoted.payload)
    ends = packed(peer(version)), packed(own(version))
    if version == 4:
        return on_the_wire(icmp.build(icmp.Unreachable(icmp.CODE_PORT_UNREACHABLE, octets), *ends))
    return on_the_wire(icmpv6.build(icmpv6.Unreachable(icmpv6.CODE_PORT_UNREACHABLE, octets), *ends))


@versions
def test_an_icmp_error_goes_where_the_quoted_packet_came_from(version: int) -> None:
    """RFC 1122 3.2.2: passed to the transport that sent it."""
    made = shared()
    socket = made.udp_bind(5000)
    socket.connect((packed(peer(version)), 53))
    socket.send(b"question", None, NOW)
    (question,) = made.packets(NOW)
    made.receive(port_unreachable(version, question), NOW)
    assert handed_over(made) == []
    assert socket.take_error() is not None
    ends = packed(own(version)), packed(peer(version))
    kernels = udp.build(udp.Datagram(40_000, 53, b"question"), *ends)
    made.receive(port_unreachable(version, kernels), NOW)
    assert len(handed_over(made)) == 1


@pytest.mark.parametrize("kind", list(ndp.TYPES))
def test_no_peer_is_a_neighbour_or_a_router_of_the_kernels(kind: int) -> None:
    made = shared()
    ends = packed(peer(6)), packed(own(6))
    made.receive(on_the_wire(icmpv6.build(icmpv6.Other(kind, 0, bytes(36)), *ends, hop_limit=255)), NOW)
    assert handed_over(made) == []
    assert made.packets(NOW) == []
    assert made.counters["neighbour-discovery-refused"] == 1


@pytest.mark.parametrize("kind", [5, 9, 10])
def test_no_peer_redirects_the_kernel(kind: int) -> None:
    made = shared()
    made.receive(on_the_wire(icmp.build(icmp.Other(kind, 0, bytes(32)), packed(peer(4)), packed(own(4)))), NOW)
    assert handed_over(made) == []
    assert made.counters["neighbour-discovery-refused"] == 1


@versions
def test_other_protocols_are_the_kernels(version: int) -> None:
    made = shared()
    packet = udp_packet(peer(version), own(version), 1, 2, b"payload")
    header = bytearray(packet.header[: packet.transport_offset])
    header[9 if version == 4 else 6] = 132
    sctp = SuperPacket(bytes(header), packet.header[packet.transport_offset :] + bytes(packet.payload))
    made.receive(sctp, NOW)
    assert [packet.protocol for packet in handed_over(made)] == [132]
    assert made.packets(NOW) == [], "no protocol unreachable"


@versions
def test_fragments_are_put_together_before_it_is_known_whose_they_are(version: int) -> None:
    made = shared()
    socket = made.udp_bind(53)
    for port in (53, 54):
        whole = udp.build(udp.Datagram(1000, port, bytes(4000)), packed(peer(version)), packed(own(version)))
        for part in reversed(fragment(whole, 1420, port)):
            made.receive(part, NOW)
    received = socket.receive()
    assert received is not None
    assert len(received.payload) == 4000
    (packet,) = handed_over(made)
    assert (parse_datagram(packet).destination_port, len(packet.payload)) == (54, 4000)


@versions
def test_a_forged_or_broken_packet_is_handed_to_nobody(version: int) -> None:
    made = shared()
    broken = udp_packet(peer(version), own(version), 1000, 54, b"theirs")
    broken.payload = b"other!"
    made.receive(broken, NOW)
    made.receive(udp_packet(own(version), own(version), 1000, 54, b"x"), NOW)
    assert handed_over(made) == []
    assert (made.counters["checksum"], made.counters["source-martian"]) == (1, 1)


@versions
def test_what_the_host_says_to_itself_stays_here(version: int) -> None:
    made = shared()
    made.tcp_connect((packed(own(version)), 22), NOW)
    made.packets(NOW)
    assert handed_over(made) == []


def test_without_a_kernel_everything_is_as_before() -> None:
    made = shared()
    made.unshare()
    made.receive(syn(4, 22), NOW)
    (answer,) = made.packets(NOW)
    assert parse_segment(answer).flags & Flags.RST
    assert made.unclaimed is None


def test_ephemeral_ports_stay_out_of_the_kernels_range() -> None:
    """RFC 6056: the choice is as random as before, from fewer ports."""
    made = shared()
    remote = packed(peer(4))
    chosen = [made.tcp_connect((remote, 80), NOW).local[1] for _ in range(300)]
    chosen += [made.udp_bind().port for _ in range(300)]
    assert min(chosen) >= PORTS[0]
    assert len(set(chosen[:300])) == 300
    made.unshare()
    later = [made.udp_bind().port for _ in range(300)]
    assert min(later) < PORTS[0]
    assert all(FIRST_PORT <= port <= LAST_PORT for port in later)


def test_what_nobody_fetches_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("userlan.stack.sharing.MAX_UNCLAIMED", 3)
    made = shared()
    for port in range(5):
        made.receive(syn(4, 22, port + 1), NOW)
    assert len(handed_over(made)) == 3
    assert made.counters["unclaimed-full"] == 2
