"""Broadcasts: the limited one, and that of the link (RFC 919, RFC 1122 3.2.1.3, 3.2.2 and 3.3.6)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stack.packets import NOW, OTHER4, OURS4, OURS6, PEER4, PEER6, echo_packet, host, packed, tcp_packet, udp_packet
from userlan.stack import Host, StackError, UdpSocket
from userlan.wire import icmp, icmpv6
from userlan.wire.checksum import transport_ok
from userlan.wire.superpacket import SuperPacket
from userlan.wire.tcp import Flags, Segment

LIMITED, DIRECTED = "255.255.255.255", "10.255.255.255"
BOTH = pytest.mark.parametrize("broadcast", [LIMITED, DIRECTED])


def on_a_link(**options: Any) -> Host:
    made = host(**options)
    made.add_broadcast(packed(DIRECTED))
    return made


def heard(socket: UdpSocket) -> list[bytes]:
    return [bytes(received.payload) for received in iter(socket.receive, None)]


def replies(one: Host, now: float = NOW) -> list[SuperPacket]:
    return one.packets(now)


@BOTH
def test_every_socket_on_the_port_hears_it(broadcast: str) -> None:
    """RFC 1122 3.3.6: whoever is bound to the port, to all addresses or to an own one."""
    one = on_a_link()
    everywhere, elsewhere = one.udp_bind(7), one.udp_bind(8, packed(OURS4))
    for port in (7, 8):
        one.receive(udp_packet(PEER4, broadcast, 9, port, b"x"), NOW)
    assert heard(everywhere) == heard(elsewhere) == [b"x"]


def test_the_broadcast_of_another_link_is_not_ours() -> None:
    one = host()
    socket = one.udp_bind(7)
    one.receive(udp_packet(PEER4, DIRECTED, 9, 7, b"x"), NOW)
    assert heard(socket) == []
    assert one.counters == {"destination-not-ours": 1}


@BOTH
def test_what_is_sent_to_it_comes_from_the_own_address(broadcast: str) -> None:
    """RFC 1122 3.2.1.3: its source is an own address, never a broadcast; and it leaves with the usual time to live."""
    one = on_a_link()
    assert one.addresses.source_for(packed(broadcast)) == packed(OURS4)
    assert one.udp_bind(7).send(b"x", (packed(broadcast), 9), NOW)
    (packet,) = one.packets(NOW)
    assert (packet.source, packet.destination, packet.hop_limit) == (packed(OURS4), packed(broadcast), 64)


@BOTH
def test_no_error_is_about_a_broadcast(broadcast: str) -> None:
    """RFC 1122 3.2.2: not about a port that is closed, nor to our own sender where it reaches nobody."""
    one = on_a_link()
    one.receive(udp_packet(PEER4, broadcast, 9, 7, b"x"), NOW)
    assert replies(one) == []
    socket = one.udp_bind(7)
    socket.connect((packed(broadcast), 9))
    socket.send(b"x", None, NOW)
    one.unreachable(one.packets(NOW)[0], NOW)
    assert socket.take_error() is None


@BOTH
def test_tcp_is_not_for_many(broadcast: str) -> None:
    """RFC 9293 3.9.2.3 (MUST-57): neither from here nor from others."""
    one = on_a_link()
    one.tcp_listen(80)
    one.receive(tcp_packet(PEER4, broadcast, Segment(9, 80, 1, 0, Flags.SYN, 1000)), NOW)
    assert replies(one) == []
    assert one.counters["tcp-to-group"] == 1
    with pytest.raises(StackError) as caught:
        one.tcp_connect((packed(broadcast), 80), NOW)
    assert caught.value.reason == "no-host"


def test_nobody_has_a_broadcast_as_its_address() -> None:
    """RFC 1122 3.2.1.3."""
    one = on_a_link()
    socket = one.udp_bind(7)
    one.receive(udp_packet(DIRECTED, OURS4, 9, 7, b"x"), NOW)
    assert heard(socket) == []
    assert one.counters == {"source-martian": 1}


@pytest.mark.parametrize("address", ["127.255.255.255", "0.0.0.0", "224.0.0.1", PEER6])
def test_what_cannot_be_a_link_s_broadcast(address: str) -> None:
    with pytest.raises(ValueError):
        host().add_broadcast(packed(address))


@pytest.mark.parametrize(
    ("source", "asked", "own"), [(PEER4, LIMITED, OURS4), (PEER4, DIRECTED, OURS4), (PEER4, "224.0.0.1", OURS4), (PEER6, "ff02::1", OURS6)]
)
def test_who_asks_everybody_for_an_echo_is_answered_from_the_own_address(source: str, asked: str, own: str) -> None:
    """RFC 1122 3.2.2.6 and 3.2.1.3; RFC 4443 4.2: the reply's source is a unicast address."""
    one = on_a_link()
    one.receive(echo_packet(source, asked, b"who is there"), NOW)
    (reply,) = replies(one)
    assert (reply.source, reply.destination) == (packed(own), packed(source))
    assert transport_ok(SuperPacket(reply.header, reply.payload)), "ICMPv6's covers the addresses"
    message = icmp.parse(reply) if reply.version == 4 else icmpv6.parse(reply)
    assert isinstance(message, icmp.Echo | icmpv6.Echo)
    assert (message.request, message.identifier, message.sequence, bytes(message.payload)) == (False, 7, 1, b"who is there")


def test_who_asks_a_group_for_an_echo_is_not_answered() -> None:
    one = on_a_link()
    one.udp_bind(7).join(packed("239.1.2.3"))
    one.packets(NOW)
    one.receive(echo_packet(PEER4, "239.1.2.3"), NOW)
    assert replies(one) == []
    assert one.counters["echo-to-group"] == 1


def test_echoes_to_everybody_are_few_and_do_not_take_from_the_others() -> None:
    """RFC 2644 1: a forged source must not be hit by a whole LAN for every packet."""
    one = on_a_link(broadcast_echoes_a_second=10.0, broadcast_echo_burst=20)
    for _ in range(100):
        one.receive(echo_packet(PEER4, DIRECTED), NOW)
    one.receive(echo_packet(OTHER4, OURS4), NOW)
    answered = [reply.destination for reply in replies(one)]
    assert (answered.count(packed(PEER4)), answered.count(packed(OTHER4))) == (20, 1)
    assert one.counters["echo-limited"] == 80
    for _ in range(100):
        one.receive(echo_packet(PEER4, DIRECTED), NOW + 1)
    assert len(replies(one, NOW + 1)) == 10


def test_without_an_address_of_the_family_nobody_is_answered() -> None:
    one = on_a_link()
    one.remove_address(packed(OURS4))
    one.receive(echo_packet(PEER4, LIMITED), NOW)
    assert replies(one) == []
