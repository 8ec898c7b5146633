"""Broadcast and multicast of kernels that are attached to the LAN, and frames of theirs that are not IP."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.lan import VirtualLan
from userlan.lan.addresses import ETHERIP_GROUP
from userlan.node.attachment import ENDINGS_INTERVAL, Attachment
from userlan.node.node import Node
from userlan.stack.groups import Groups
from userlan.stack.wishes import FIRST_QUERY
from userlan.wire import etherip, icmpv6, igmp, mld, ndp, udp
from userlan.wire.fragment import fragment
from userlan.wire.membership import Message, Query, Record, RecordType, Report
from userlan.wire.superpacket import SuperPacket
from userlan.wire.udp import parse_datagram

PORTS = (61_000, 65_535)
GROUPS = {4: bytes((239, 1, 2, 3)), 6: bytes.fromhex("ff15" + 27 * "0" + "1")}
BROADCASTS = [b"\xff\xff\xff\xff", bytes((25, 255, 255, 255))]
PORT = 7_000

versions = pytest.mark.parametrize("version", [4, 6])


class Site:
    """Anna and ben have kernels attached, carl has not."""

    def __init__(self, folder: Path) -> None:
        self.lan = VirtualLan(folder)
        names = enumerate(("anna", "ben", "carl"), 1)
        self.nodes = [self.lan.node(name, self.lan.internet, f"198.51.100.{number}") for number, name in names]
        self.lan.ready(*self.nodes)
        self.lan.network(*self.nodes)
        self.lan.direct(*self.nodes)
        self.anna, self.ben, self.carl = self.nodes
        self.kernels = {node.key: Attachment(node) for node in (self.anna, self.ben)}
        for node in (self.anna, self.ben):
            node.host.share(*PORTS, (ETHERIP_GROUP,))
        self.run(FIRST_QUERY + 1)
        self.asked = {node.key: self.arrived(node, True) for node in (self.anna, self.ben)}

    def run(self, seconds: float) -> None:
        for node in self.nodes:
            self.lan.world.touch(self.lan.attachments[node.name])
        self.lan.world.run(seconds)

    def send(self, node: Node, *packets: SuperPacket) -> None:
        """A kernel sends."""
        self.kernels[node.key].send(packets, self.lan.world.now)
        self.run(0.2)

    def report(self, node: Node, kind: RecordType, group: bytes) -> None:
        """A kernel tells its router, as one without a link-local address does."""
        message: Message = Report((Record(kind, group),))
        wire, source = (igmp, node.roster.own_ipv4) if len(group) == 4 else (mld, mld.NOBODY)
        self.send(node, wire.build(message, source))

    def datagram(self, node: Node, group: bytes, payload: bytes = b"hello", hops: int = 1) -> SuperPacket:
        source = node.roster.own_ipv4 if len(group) == 4 else node.ipv6
        return udp.build(udp.Datagram(40_000, PORT, payload), source, group, hops)

    def arrived(self, node: Node, queries: bool = False) -> list[SuperPacket]:
        """What a kernel was given since the last call, beside queries; or those alone."""
        packets, node.host.unclaimed = node.host.unclaimed, []
        assert packets is not None
        return [packet for packet in packets if Groups.takes(packet) is queries]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def payloads(packets: list[SuperPacket]) -> list[bytes]:
    return [bytes(parse_datagram(packet).payload) for packet in packets]


def test_each_kernel_is_asked_by_its_own_node_alone(site: Site) -> None:
    for packets in site.asked.values():
        assert [type(igmp.parse(one) if one.version == 4 else mld.parse(one)) for one in packets] == [Query, Query]


@pytest.mark.parametrize("destination", BROADCASTS)
def test_a_broadcast_reaches_kernels_and_stacks(site: Site, destination: bytes) -> None:
    sockets = [node.host.udp_bind(PORT) for node in site.nodes]
    site.send(site.anna, site.datagram(site.anna, destination))
    assert payloads(site.arrived(site.ben)) == [b"hello"]
    assert site.arrived(site.anna) == []
    assert [socket.receive() is not None for socket in sockets] == [False, True, True]


@versions
def test_a_group_reaches_the_kernels_and_sockets_that_joined_it(site: Site, version: int) -> None:
    """And nobody else's tunnel; until they leave."""
    group = GROUPS[version]
    socket = site.carl.host.udp_bind(PORT)
    sent = site.anna.device.peer(site.ben.key)
    assert sent is not None

    def heard() -> tuple[list[bytes], bool, bool]:
        before = sent.tx_bytes
        site.send(site.anna, site.datagram(site.anna, group))
        return payloads(site.arrived(site.ben)), socket.receive() is not None, sent.tx_bytes > before

    site.run(3)
    assert heard() == ([], False, False)
    site.report(site.ben, RecordType.CHANGE_TO_EXCLUDE_MODE, group)
    socket.join(group)
    site.run(3)
    assert heard() == ([b"hello"], True, True)
    site.report(site.ben, RecordType.CHANGE_TO_INCLUDE_MODE, group)
    site.run(3)
    assert heard() == ([], True, False)


@versions
def test_a_kernel_hears_the_stacks_of_others(site: Site, version: int) -> None:
    site.report(site.ben, RecordType.CHANGE_TO_EXCLUDE_MODE, GROUPS[version])
    site.carl.host.udp_bind().send(b"from carl", (GROUPS[version], PORT), site.lan.world.now)
    site.run(0.3)
    assert payloads(site.arrived(site.ben)) == [b"from carl"]
    assert site.arrived(site.anna) == []


def test_a_kernels_reports_end_in_its_node(site: Site) -> None:
    """What the LAN hears is the node's own: one host's, by its own reporter."""
    site.report(site.ben, RecordType.CHANGE_TO_EXCLUDE_MODE, GROUPS[4])
    assert site.arrived(site.anna) == site.arrived(site.anna, True) == []
    assert site.anna.flooding.listeners.hearers(GROUPS[4], site.anna.roster.own_ipv4, site.lan.world.now) == (site.ben.key,)


def test_what_does_not_leave(site: Site) -> None:
    site.report(site.ben, RecordType.CHANGE_TO_EXCLUDE_MODE, GROUPS[4])
    foreign = udp.build(udp.Datagram(1, PORT, b"x"), site.ben.roster.own_ipv4, GROUPS[4], 1)
    router = icmpv6.build(icmpv6.Other(ndp.TYPE_ROUTER_ADVERTISEMENT, 0, bytes(12)), site.anna.ipv6, mld.ALL_NODES, 255)
    stay = site.datagram(site.anna, GROUPS[4], hops=0), site.datagram(site.anna, b"\xff\1" + bytes(13) + b"\1")
    site.send(site.anna, foreign, router, *stay)
    assert site.arrived(site.ben) == []
    assert site.kernels[site.anna.key].counters == {"source-foreign": 1, "neighbour-discovery": 1}


def test_what_is_larger_than_the_lans_mtu_goes_in_fragments_where_it_may(site: Site) -> None:
    site.report(site.ben, RecordType.CHANGE_TO_EXCLUDE_MODE, GROUPS[4])
    whole = site.datagram(site.anna, GROUPS[4], bytes(4000))
    may = bytearray(whole.header)
    may[6] = 0
    site.send(site.anna, whole, SuperPacket(bytes(may), whole.payload, 0, True), *fragment(whole, 1000, 9))
    assert payloads(site.arrived(site.ben)) == [bytes(4000)] * 2
    assert site.kernels[site.anna.key].counters == {"too-big": 1}


def test_frames_that_are_not_ip_reach_those_who_are_attached(site: Site) -> None:
    """Whole, though the frame of a full interface is larger than a packet in the tunnel."""
    frame = bytes(range(14)) + bytes(1420)
    before = site.anna.device.peer(site.carl.key)
    assert before is not None
    octets = before.tx_bytes
    site.send(site.anna, etherip.build(frame, site.anna.ipv6, ETHERIP_GROUP), etherip.build(frame, site.anna.ipv6, site.ben.ipv6))
    arrived = site.arrived(site.ben)
    assert [bytes(etherip.parse(packet)) for packet in arrived] == [frame] * 2
    assert [packet.destination for packet in arrived] == [ETHERIP_GROUP, site.ben.ipv6]
    assert before.tx_bytes == octets, "carl has no kernel attached"


def test_members_are_found_by_the_end_of_their_address(site: Site) -> None:
    kernel, now = site.kernels[site.anna.key], site.lan.world.now
    assert kernel.member_ending(site.ben.ipv6[-4:], now) == site.ben.ipv6
    assert kernel.member_ending(site.anna.ipv6[-4:], now) is None, "its own is none"
    assert kernel.member_ending(b"\0\0\0\0", now) is None
    dave = site.lan.node("dave", site.lan.internet, "198.51.100.9")
    site.lan.ready(dave)
    site.lan.network(site.anna, dave, name="office")
    assert kernel.member_ending(dave.ipv6[-4:], now + ENDINGS_INTERVAL / 2) is None, "not looked for at every frame"
    assert kernel.member_ending(dave.ipv6[-4:], now + ENDINGS_INTERVAL) == dave.ipv6


def test_a_kernel_that_goes_leaves_its_groups(site: Site) -> None:
    site.report(site.ben, RecordType.CHANGE_TO_EXCLUDE_MODE, GROUPS[4])
    site.ben.host.unshare()
    site.run(3)
    now, source = site.lan.world.now, site.anna.roster.own_ipv4
    assert site.anna.flooding.listeners.hearers(GROUPS[4], source, now) == ()
    assert site.anna.flooding.listeners.hearers(ETHERIP_GROUP, site.anna.ipv6, now) == ()


def test_a_computer_that_slept_is_heard_and_hears_again(site: Site) -> None:
    """An hour passes for everybody else; its own clock jumps, its kernel has forgotten nothing and says so when it is asked."""
    world, asleep = site.lan.world, site.lan.attachments["ben"]
    site.report(site.ben, RecordType.CHANGE_TO_EXCLUDE_MODE, GROUPS[4])
    asleep.unplug()
    world.remove(asleep)
    world.run(3_600)
    now, source = world.now, site.anna.roster.own_ipv4
    assert site.anna.flooding.listeners.hearers(GROUPS[4], source, now) == ()
    asleep.plug(site.lan.internet, "198.51.100.2")
    world.add(asleep)
    site.arrived(site.ben)
    world.touch(asleep)
    site.lan.direct(site.anna, site.ben, seconds=60)
    site.run(3)
    site.send(site.anna, site.datagram(site.anna, GROUPS[4]))
    assert payloads(site.arrived(site.ben)) == [b"hello"]
