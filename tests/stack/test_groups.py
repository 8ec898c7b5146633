"""Memberships: which sockets hear what, what is sent to a group, limits (RFC 1112, RFC 3376 2 and 3, RFC 3678)."""

from __future__ import annotations

import pytest

from tests.stack.listening import FAMILIES, IPV4, IPV6, PORT, Family, Link
from tests.stack.packets import OTHER4, OURS4, OURS6, PEER4, PEER6, host, packed, udp_packet
from userlan.stack import Host, StackError, UdpReadable, UdpSocket
from userlan.wire import udp
from userlan.wire.fragment import parse_fragment
from userlan.wire.superpacket import SuperPacket

BOTH = pytest.mark.parametrize("family", FAMILIES, ids=["igmp", "mld"])


def datagram(group: bytes, source: bytes, payload: bytes = b"x", port: int = PORT) -> SuperPacket:
    return udp.build(udp.Datagram(9, port, payload), source, group, 1)


def heard(socket: UdpSocket) -> list[bytes]:
    """What waits in a socket."""
    return [bytes(received.payload) for received in iter(socket.receive, None)]


def refused(call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(StackError) as caught:
        call(*arguments)
    return caught.value.reason


@BOTH
def test_a_group_is_heard_by_those_who_joined_it_and_by_nobody_else(family: Family) -> None:
    """RFC 1112 7.2, RFC 3376 3.1: by each socket's own membership, not by the host's."""
    link = Link(family)
    group, other = family.groups[:2]
    own = packed(OURS4 if family is IPV4 else OURS6)
    neighbour = link.host.udp_bind(PORT + 1, own)
    link.socket.join(group)
    link.host.receive(datagram(group, family.sources[0]), link.now)
    link.host.receive(datagram(other, family.sources[0]), link.now)
    link.host.receive(datagram(group, family.sources[0], port=PORT + 1), link.now)
    assert link.host.counters["destination-not-ours"] == 1
    assert link.host.counters["udp-port-closed"] == 1
    assert link.host.events() == [UdpReadable(link.socket)]
    received = link.socket.receive()
    assert received is not None
    assert (received.source[0], received.destination) == (family.sources[0], (group, PORT))
    neighbour.join(group)
    link.host.receive(datagram(group, family.sources[0], port=PORT + 1), link.now)
    assert heard(neighbour) == [b"x"]
    link.socket.leave(group)
    link.host.receive(datagram(group, family.sources[0]), link.now)
    assert heard(link.socket) == []
    assert [packet for packet in link.host.packets(link.now) if packet.protocol != 2 and packet.hop_limit != 1] == []


@BOTH
def test_a_filter_admits_sources_for_its_socket_alone(family: Family) -> None:
    """RFC 3376 3.1 and 3.2: the host takes what one socket wants, another that does not want it gets nothing."""
    link = Link(family)
    group, (one, two, three, *_) = family.groups[0], family.sources
    included, excluded = link.bind(6001), link.bind(6002)
    included.join(group, sources=[one, two])
    excluded.join(group, exclude=[two])
    for source in (one, two, three):
        for port in (6001, 6002):
            link.host.receive(datagram(group, source, source, port), link.now)
    assert heard(included) == [one, two]
    assert heard(excluded) == [one, three]
    excluded.leave(group)
    link.host.receive(datagram(group, three, port=6001), link.now)
    assert link.host.counters["destination-not-ours"] == 1, "no socket wants that source any more"


@BOTH
def test_a_new_wish_replaces_the_old_one(family: Family) -> None:
    """RFC 3376 2: IPMulticastListen replaces; INCLUDE with no sources is no membership."""
    link = Link(family)
    group, (one, two, *_) = family.groups[0], family.sources
    link.socket.join(group, sources=[one])
    link.socket.join(group, sources=[two])
    link.host.receive(datagram(group, one), link.now)
    link.host.receive(datagram(group, two, b"two"), link.now)
    assert heard(link.socket) == [b"two"]
    link.socket.join(group, sources=[])
    assert refused(link.socket.leave, group) == "not-a-member"
    link.host.receive(datagram(group, two), link.now)
    assert heard(link.socket) == []


def test_the_groups_of_every_host_are_joined_by_sockets_as_any_other() -> None:
    """RFC 3376 5, RFC 4291 2.8: the host always takes them; the limited broadcast alone reaches all (RFC 919)."""
    target = host()
    everywhere, four, six = target.udp_bind(137), target.udp_bind(138, packed(OURS4)), target.udp_bind(139, packed(OURS6))
    for group, sender in (("224.0.0.1", PEER4), ("ff02::1", PEER6), ("255.255.255.255", PEER4)):
        for port in (137, 138, 139):
            target.receive(udp_packet(sender, group, 1, port, group.encode()), 0.0)
    assert [heard(socket) for socket in (everywhere, four, six)] == [[b"255.255.255.255"], [b"255.255.255.255"], []]
    for socket in (everywhere, six):
        socket.join(packed("ff02::1"))
    everywhere.join(packed("224.0.0.1"))
    for port in (137, 139):
        target.receive(udp_packet(PEER6, "ff02::1", 1, port, b"six"), 0.0)
        target.receive(udp_packet(PEER4, "224.0.0.1", 1, port, b"four"), 0.0)
    assert [heard(socket) for socket in (everywhere, four, six)] == [[b"six", b"four"], [], [b"six"]]
    assert target.packets(0.0) == [], "no protocol speaks of them"


def test_interface_local_groups_never_cross_the_network() -> None:
    """RFC 4291 2.7, RFC 7346 2: scopes 0 and 1; RFC 3810 6: no message speaks of them."""
    target = host()
    socket = target.udp_bind(PORT)
    for group in ("ff01::77", "ff00::77"):
        socket.join(packed(group))
        target.receive(udp_packet(PEER6, group, 1, PORT, b"from outside"), 0.0)
        assert socket.send(b"inside", (packed(group), PORT), 0.0)
    assert target.counters["destination-not-ours"] == 2
    assert heard(socket) == [b"inside"] * 2
    assert target.packets(0.0) == []
    assert target.deadline() is None


@BOTH
def test_what_is_sent_to_a_group(family: Family) -> None:
    """RFC 1112 6.1: a hop limit of 1 unless the program wants another; own members hear it unless it does not want
    that (RFC 3678, IP_MULTICAST_LOOP); with 0 it stays in the host."""
    link = Link(family)
    group = family.groups[0]
    listener = link.bind(6000)
    listener.join(group)
    link.settled()
    assert link.socket.send(b"default", (group, 6000), link.now)
    link.socket.multicast_hops = 32
    link.socket.multicast_loop = False
    assert link.socket.send(b"far", (group, 6000), link.now)
    link.socket.multicast_hops, link.socket.multicast_loop = 0, True
    assert link.socket.send(b"here", (group, 6000), link.now)
    sent = link.host.packets(link.now)
    assert [(bytes(packet.payload), packet.hop_limit) for packet in sent] == [(b"default", 1), (b"far", 32)]
    assert {packet.destination for packet in sent} == {group}
    assert link.host.events() == [UdpReadable(listener)]
    assert heard(listener) == [b"default", b"here"]
    other = packed("25.3.3.3" if family is IPV4 else "fd00::33")
    link.host.add_address(other)
    link.socket.multicast_source, link.socket.multicast_hops = other, 1
    listener.join(group, exclude=[other])
    link.host.packets(link.now)
    link.socket.send(b"not wanted", (group, 6000), link.now)
    assert heard(listener) == []
    assert [packet.source for packet in link.host.packets(link.now)] == [other]


def test_a_large_datagram_to_a_group_is_fragmented_and_heard() -> None:
    link, other = Link(IPV4), host(seed=2)
    other.remove_address(packed(OURS4))
    other.add_address(packed(OTHER4))
    socket, group = other.udp_bind(PORT), IPV4.groups[0]
    socket.join(group, sources=[packed(OURS4)])
    link.socket.send(bytes(5000), (group, PORT), link.now)
    fragments = link.host.packets(link.now)
    assert {parse_fragment(packet).destination for packet in fragments} == {group}
    for packet in fragments:
        other.receive(packet, link.now)
    assert heard(socket) == [bytes(5000)]


def test_a_closed_socket_has_left_its_groups() -> None:
    link = Link(IPV4)
    link.socket.join(IPV4.groups[0])
    link.socket.join(IPV4.groups[1])
    link.settled()
    link.socket.close()
    assert refused(link.socket.join, IPV4.groups[0]) == "closed"
    assert {record.group for record in link.records()} == set(IPV4.groups[:2])
    link.host.receive(datagram(IPV4.groups[0], IPV4.sources[0]), link.now)
    assert link.host.counters["destination-not-ours"] == 1


def test_what_cannot_be_joined() -> None:
    target: Host = host(max_memberships=2, max_group_sources=3)
    anywhere, four = target.udp_bind(PORT), target.udp_bind(PORT + 1, packed(OURS4))
    group, sources = IPV4.groups[0], IPV4.sources
    for address in (PEER4, "255.255.255.255", PEER6):
        assert refused(anywhere.join, packed(address)) == "not-a-group"
    assert refused(four.join, IPV6.groups[0]) == "not-a-group"
    for source in (IPV6.sources[0], group, packed("127.0.0.1")):
        assert refused(anywhere.join, group, [source]) == "no-address"
        assert refused(anywhere.join, group, None, [source]) == "no-address"
    assert refused(anywhere.join, group, sources[:4]) == "too-many"
    anywhere.join(group, sources[:3])
    anywhere.join(group, sources[1:4])
    four.join(group)
    assert refused(four.join, IPV4.groups[1]) == "too-many"
    four.leave(group)
    assert refused(four.leave, group) == "not-a-member"
    four.join(IPV4.groups[1])


def test_a_group_is_never_unreachable() -> None:
    """RFC 1122 3.2.2: whoever could not send it on says nothing, and neither does this host."""
    link = Link(IPV4)
    link.socket.connect((IPV4.groups[0], 9))
    link.socket.send(b"x", None, link.now)
    (sent,) = link.host.packets(link.now)
    link.host.unreachable(sent, link.now)
    assert link.socket.take_error() is None
    assert not link.host.counters
