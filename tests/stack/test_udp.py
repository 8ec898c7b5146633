"""UDP sockets: binding, queues, connected errors, groups, fragments, one's own address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stack.packets import (
    NOW,
    OTHER4,
    OURS4,
    OURS6,
    PEER4,
    answers,
    host,
    message,
    own,
    packed,
    peer,
    udp_packet,
    unreachable,
)
from userlan.stack import Host, StackError, UdpReadable, UdpSocket
from userlan.stack.udp import MAX_ERRORS, UdpError
from userlan.wire import icmp, icmpv6
from userlan.wire.fragment import parse_fragment
from userlan.wire.numbers import PROTOCOL_ICMP, PROTOCOL_UDP
from userlan.wire.superpacket import SuperPacket
from userlan.wire.udp import parse_datagram

VERSIONS = pytest.mark.parametrize("version", [4, 6])


def refused(call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(StackError) as caught:
        call(*arguments)
    return caught.value.reason


@VERSIONS
@given(payload=st.binary(max_size=1200))
def test_a_datagram_there_and_back(version: int, payload: bytes) -> None:
    target = host()
    socket = target.udp_bind(7)
    assert answers(target, udp_packet(peer(version), own(version), 4000, 7, payload)) == []
    assert target.events() == [UdpReadable(socket)]
    received = socket.receive()
    assert received is not None
    assert bytes(received.payload) == payload
    assert received.source == (packed(peer(version)), 4000)
    assert received.destination == (packed(own(version)), 7)
    assert socket.receive() is None
    assert socket.send(b"answer", received.source, NOW)
    (sent,) = target.packets(NOW)
    datagram = parse_datagram(sent)
    assert (datagram.source_port, datagram.destination_port, bytes(datagram.payload)) == (7, 4000, b"answer")
    assert (sent.source, sent.destination) == (packed(own(version)), packed(peer(version)))
    assert target.events() == []


def test_who_may_bind_what() -> None:
    target = host(max_udp_sockets=4)
    everywhere = target.udp_bind(53)
    assert refused(target.udp_bind, 53) == "address-in-use"
    assert refused(target.udp_bind, 53, packed(OURS4)) == "address-in-use"
    four = target.udp_bind(54, packed(OURS4))
    target.udp_bind(54, packed(OURS6))
    assert refused(target.udp_bind, 54) == "address-in-use"
    assert refused(target.udp_bind, 55, packed(OTHER4)) == "no-address"
    ephemeral = target.udp_bind()
    assert ephemeral.port >= 32_768
    assert refused(target.udp_bind) == "too-many"
    everywhere.close()
    everywhere.close()
    assert target.udp_bind(53).port == 53
    four.close()
    assert refused(four.send, b"", (packed(PEER4), 1), NOW) == "closed"


def test_what_cannot_be_sent_is_said_at_once() -> None:
    target = host()
    socket = target.udp_bind()
    remote = (packed(PEER4), 9)
    assert refused(socket.send, bytes(65_508), remote, NOW) == "too-long"
    assert refused(socket.send, b"", None, NOW) == "not-connected"
    assert refused(socket.send, b"", remote, NOW, packed(OTHER4)) == "no-address"
    assert refused(socket.send, b"", remote, NOW, packed(OURS6)) == "no-address"
    target.remove_address(packed(OURS4))
    assert refused(socket.send, b"", remote, NOW) == "no-address"


def test_the_queue_is_bounded_in_number_and_in_octets() -> None:
    target = host(udp_queue_datagrams=10, udp_queue_bytes=5000)
    socket = target.udp_bind(7)
    answers(target, (udp_packet(PEER4, OURS4, 1, 7, b"") for _ in range(15)))
    assert target.counters["udp-queue-full"] == 5
    while socket.receive() is not None:
        pass
    answers(target, (udp_packet(PEER4, OURS4, 1, 7, bytes(1000)) for _ in range(7)))
    assert target.counters["udp-queue-full"] == 7
    assert socket.receive() is not None
    answers(target, udp_packet(PEER4, OURS4, 1, 7, bytes(1000)))
    assert target.counters["udp-queue-full"] == 7


def test_what_is_sent_and_not_drained_is_bounded() -> None:
    target = host(outgoing_bytes=10_000)
    socket = target.udp_bind()
    taken = [socket.send(bytes(1000), (packed(PEER4), 9), NOW) for _ in range(20)]
    assert taken == [True] * 9 + [False] * 11
    assert len(target.packets(NOW)) == 9
    assert socket.send(b"", (packed(PEER4), 9), NOW)


@VERSIONS
def test_a_closed_port_is_unreachable(version: int) -> None:
    target = host()
    request = udp_packet(peer(version), own(version), 4000, 9, b"anybody?")
    (sent,) = answers(target, request)
    found = message(sent)
    assert isinstance(found, icmp.Unreachable | icmpv6.Unreachable)
    assert found.code == (icmp.CODE_PORT_UNREACHABLE if version == 4 else icmpv6.CODE_PORT_UNREACHABLE)
    assert b"anybody?" in bytes(found.quoted)
    assert (sent.source, sent.destination) == (packed(own(version)), packed(peer(version)))
    assert target.counters["udp-port-closed"] == 1


def connected(version: int) -> tuple[Host, UdpSocket, SuperPacket]:
    """A host with a connected socket that has sent one datagram."""
    target = host()
    socket = target.udp_bind(5000)
    socket.connect((packed(peer(version)), 9))
    socket.send(b"hello", None, NOW)
    (sent,) = target.packets(NOW)
    return target, socket, sent


@VERSIONS
def test_a_connected_socket_hears_of_errors(version: int) -> None:
    target, socket, sent = connected(version)
    answers(target, unreachable(peer(version), sent))
    answers(target, unreachable(peer(version), sent, port=False))
    assert target.events() == [UdpReadable(socket)]
    remote = (packed(peer(version)), 9)
    assert socket.take_error() == UdpError("port-unreachable", True, remote)
    assert socket.take_error() == UdpError("unreachable", False, remote)
    assert socket.take_error() is None


@VERSIONS
def test_an_unconnected_one_and_one_connected_elsewhere_do_not(version: int) -> None:
    target, socket, sent = connected(version)
    for remote in (None, (packed(peer(version)), 10)):
        socket.connect(remote)
        answers(target, unreachable(peer(version), sent))
        assert socket.take_error() is None
    assert target.events() == []


def test_errors_are_bounded() -> None:
    target, socket, sent = connected(4)
    answers(target, [unreachable(PEER4, sent)] * 100)
    assert sum(1 for _ in iter(socket.take_error, None)) == MAX_ERRORS


@VERSIONS
def test_a_connected_socket_takes_datagrams_of_its_remote_only(version: int) -> None:
    target = host()
    socket = target.udp_bind(5000)
    answers(target, udp_packet(peer(version), own(version), 10, 5000, b"before"))
    socket.connect((packed(peer(version)), 9))
    assert socket.receive() is None
    (sent,) = answers(target, udp_packet(peer(version), own(version), 10, 5000, b"stranger"))
    assert isinstance(message(sent), icmp.Unreachable | icmpv6.Unreachable)
    answers(target, udp_packet(peer(version), own(version), 9, 5000, b"friend"))
    received = socket.receive()
    assert received is not None
    assert bytes(received.payload) == b"friend"


def test_broadcasts_reach_every_socket_of_the_port_and_are_never_answered_and_neither_are_groups() -> None:
    target = host()
    sockets = [target.udp_bind(137, packed(OURS4)), target.udp_bind(138)]
    other = target.udp_bind(137, packed(OURS6))
    for socket in (*sockets, other):
        socket.join(packed("224.0.0.1" if socket is not other else "ff02::1"))
    for destination in ("255.255.255.255", "224.0.0.1"):
        assert answers(target, udp_packet(PEER4, destination, 1, 137, b"who?")) == []
        assert answers(target, udp_packet(PEER4, destination, 1, 138, b"who?")) == []
        assert answers(target, udp_packet(PEER4, destination, 1, 139, b"who?")) == []
    assert [sum(1 for _ in iter(socket.receive, None)) for socket in sockets] == [2, 2]
    assert other.receive() is None
    assert target.counters["udp-port-closed"] == 2


def test_a_weak_socket_stands_in_nobodys_way() -> None:
    target = host()
    weak = target.udp_bind(137, weak=True)
    assert refused(lambda: target.udp_bind(137, weak=True)) == "address-in-use"

    def got(socket: UdpSocket) -> int:
        return sum(1 for _ in iter(socket.receive, None))

    unicast = udp_packet(PEER4, OURS4, 1, 137, b"you?")
    assert answers(target, unicast) == []
    assert got(weak) == 1
    strong = target.udp_bind(137)
    target.receive(unicast, NOW)
    assert (got(weak), got(strong)) == (0, 1)
    target.receive(udp_packet(PEER4, "255.255.255.255", 1, 137, b"all?"), NOW)
    assert (got(weak), got(strong)) == (1, 1)
    weak.join(packed("224.0.2.60"))
    target.receive(udp_packet(PEER4, "224.0.2.60", 1, 137, b"group"), NOW)
    assert (got(weak), got(strong)) == (1, 0)
    strong.close()
    assert weak.send(b"answer", (packed(PEER4), 1), NOW)
    sent = [packet for packet in target.packets(NOW) if packet.protocol == PROTOCOL_UDP]
    assert [parse_datagram(packet).source_port for packet in sent] == [137]
    weak.close()
    assert [packet.protocol for packet in answers(target, unicast)].count(PROTOCOL_ICMP) == 1, "the port is closed again"


@VERSIONS
def test_no_identification_comes_twice_soon(version: int) -> None:
    target = host()
    socket = target.udp_bind()
    for _ in range(20):
        socket.send(bytes(3000), (packed(peer(version)), 9), NOW)
    fragments = [parse_fragment(packet) for packet in target.packets(NOW)]
    assert len({one.identification for one in fragments}) == 20
    assert len(fragments) == 60


@VERSIONS
def test_to_oneself(version: int) -> None:
    """A datagram to an own address, larger than the MTU, and the error about a closed port."""
    target = host()
    one, two = target.udp_bind(1000), target.udp_bind(2000)
    one.connect((packed(own(version)), 3000))
    two.send(bytes(5000), (packed(own(version)), 1000), NOW)
    one.send(b"nobody there", None, NOW)
    assert target.packets(NOW) == []
    assert one.receive() is None, "it is connected elsewhere"
    error = one.take_error()
    assert error is not None
    assert error.reason == "port-unreachable"
    one.connect(None)
    two.send(bytes(5000), (packed(own(version)), 1000), NOW)
    assert target.packets(NOW) == []
    received = one.receive()
    assert received is not None
    assert bytes(received.payload) == bytes(5000)
    assert target.deadline() is None
