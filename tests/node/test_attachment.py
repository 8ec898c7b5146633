"""Kernels attached to the LAN beside the nodes' own stacks: where their packets go, and what they are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.lan import Sink, Source, VirtualLan
from tests.sim.internet import Segment
from userlan.node.attachment import Attachment
from userlan.node.node import Node
from userlan.stack.groups import Groups
from userlan.wire import icmp, icmpv6, udp
from userlan.wire.checksum import transport_ok
from userlan.wire.fragment import fragment, parse_fragment
from userlan.wire.superpacket import SuperPacket
from userlan.wire.udp import parse_datagram

PORTS = (61_000, 65_535)
STRANGER = {4: bytes((25, 77, 77, 77)), 6: bytes.fromhex("fd756c616e00") + bytes(10)}

versions = pytest.mark.parametrize("version", [4, 6])


class Site:
    """Two nodes on one segment, each with a kernel beside it."""

    def __init__(self, folder: Path) -> None:
        self.lan = VirtualLan(folder)
        segment: Segment = self.lan.internet
        self.anna = self.lan.node("anna", segment, "198.51.100.1")
        self.ben = self.lan.node("ben", segment, "198.51.100.2")
        self.lan.ready(self.anna, self.ben)
        self.lan.network(self.anna, self.ben)
        self.lan.direct(self.anna, self.ben)
        self.kernels = {node.key: Attachment(node) for node in (self.anna, self.ben)}
        for node in (self.anna, self.ben):
            node.host.share(*PORTS)

    def address(self, node: Node, version: int) -> bytes:
        return node.roster.own_ipv4 if version == 4 else node.ipv6

    def datagram(self, version: int, payload: bytes = b"x", source: bytes = b"", destination: bytes = b"") -> SuperPacket:
        """From anna's kernel to ben's."""
        ends = source or self.address(self.anna, version), destination or self.address(self.ben, version)
        return udp.build(udp.Datagram(40_000, 9, payload), *ends)

    def send(self, *packets: SuperPacket) -> None:
        """Anna's kernel sends."""
        self.kernels[self.anna.key].send(packets, self.lan.world.now)
        self.lan.world.run(0.1)

    def arrived(self, node: Node) -> list[SuperPacket]:
        """What a kernel was given since the last call, beside questions for its groups."""
        packets, node.host.unclaimed = node.host.unclaimed, []
        assert packets is not None
        return [packet for packet in packets if not Groups.takes(packet)]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@versions
def test_a_packet_goes_from_kernel_to_kernel(site: Site, version: int) -> None:
    site.send(site.datagram(version, b"one"), site.datagram(version, b"two"))
    packets = site.arrived(site.ben)
    payload = b"".join(bytes(parse_datagram(packet).payload) for packet in packets)
    assert payload == b"onetwo"
    assert all(packet.source == site.address(site.anna, version) for packet in packets)


@versions
def test_a_burst_arrives_as_one(site: Site, version: int) -> None:
    site.lan.world.run(0.1)                     # what the nodes have to say of their path is said
    burst = site.datagram(version, bytes(64 * 40))
    site.send(SuperPacket(burst.header, burst.payload, 64, True))
    assert [packet.wire_count for packet in site.arrived(site.ben)] == [40]


@versions
def test_a_foreign_source_goes_nowhere(site: Site, version: int) -> None:
    site.send(site.datagram(version, source=STRANGER[version]), site.datagram(version, source=site.address(site.ben, version)))
    assert site.arrived(site.ben) == site.arrived(site.anna) == []
    assert site.kernels[site.anna.key].counters == {"source-foreign": 2}


def unreachable(packet: SuperPacket) -> bool:
    """Whether a packet is the error that a router sends about a host that is not there (RFC 1812 5.2.7.1, RFC 4443 3.1)."""
    assert transport_ok(SuperPacket(packet.header, packet.payload))
    if packet.version == 4:
        message = icmp.parse(packet)
        return isinstance(message, icmp.Unreachable) and message.code == icmp.CODE_HOST_UNREACHABLE
    other = icmpv6.parse(packet)
    return isinstance(other, icmpv6.Unreachable) and other.code == icmpv6.CODE_ADDRESS_UNREACHABLE


@versions
def test_the_kernel_hears_that_nobody_is_there(site: Site, version: int) -> None:
    site.send(site.datagram(version, destination=STRANGER[version]))
    (error,) = site.arrived(site.anna)
    assert unreachable(error)
    assert (error.source, error.destination) == (STRANGER[version], site.address(site.anna, version))


@versions
def test_the_kernel_hears_that_a_member_is_away(site: Site, version: int) -> None:
    site.lan.kill("ben")
    site.lan.world.run_until(lambda: site.anna.peers.shown(site.ben.key)[0] == "offline", 60)
    site.anna.peers.links[site.ben.key].cached.clear()      # nowhere to try either
    site.lan.world.run(200)     # a session may be used for 180 s, and as long as there is one it is tried
    site.send(site.datagram(version))
    (error,) = site.arrived(site.anna)
    assert unreachable(error)


def test_errors_to_the_kernel_are_limited_and_none_is_about_an_error(site: Site) -> None:
    """RFC 1122 3.2.2."""
    site.send(*[site.datagram(4, destination=STRANGER[4])] * 200)
    assert len(site.arrived(site.anna)) == 50
    site.lan.world.run(10)
    quoted = site.datagram(4)
    error = icmp.build(icmp.Unreachable(1, quoted.header), site.address(site.anna, 4), STRANGER[4])
    site.send(error)
    assert site.arrived(site.anna) == []


def test_groups_that_nobody_joined_reach_nobody_and_cause_no_error(site: Site) -> None:
    site.send(site.datagram(4, destination=bytes((239, 1, 1, 1))), site.datagram(6, destination=b"\xff\5" + bytes(13) + b"\1"))
    assert site.arrived(site.anna) == site.arrived(site.ben) == []
    assert not site.kernels[site.anna.key].counters


def test_a_packet_that_is_too_big_for_the_path(site: Site) -> None:
    """RFC 1191 4, RFC 8201 4: the MTU of the path; RFC 791: fragments where they are allowed."""
    site.send(site.datagram(4, bytes(1500)), site.datagram(6, bytes(1500)))
    first, second = site.arrived(site.anna)
    message, other = icmp.parse(first), icmpv6.parse(second)
    assert isinstance(message, icmp.Unreachable)
    assert (message.code, message.mtu) == (icmp.CODE_FRAGMENTATION_NEEDED, 1420)
    assert isinstance(other, icmpv6.PacketTooBig)
    assert other.mtu == 1420
    assert site.arrived(site.ben) == []
    may = site.datagram(4, bytes(4000))
    header = bytearray(may.header)
    header[6] = 0
    site.send(SuperPacket(bytes(header), may.payload, 0, True))
    (packet,) = site.arrived(site.ben)
    assert len(parse_datagram(packet).payload) == 4000


@versions
def test_fragments_of_the_kernels_arrive_whole(site: Site, version: int) -> None:
    parts = fragment(site.datagram(version, bytes(range(250)) * 200), 1420, 77)
    assert parse_fragment(parts[1]).offset
    site.send(*parts)
    (packet,) = site.arrived(site.ben)
    assert bytes(parse_datagram(packet).payload) == bytes(range(250)) * 200


def test_the_stacks_own_connections_go_on_beside_the_kernel(site: Site) -> None:
    sink = Sink(site.lan, site.ben, 80)
    Source(site.lan, site.anna, site.ben.roster.own_ipv4, 80, bytes(100_000))
    site.lan.world.run_until(lambda: sink.done, 10)
    assert sink.data == bytes(100_000)
    assert site.lan.ping(site.anna, site.ben.ipv6) < 1
    assert site.arrived(site.anna) == site.arrived(site.ben) == []


class Hole:
    """Something beyond: takes one address."""

    def __init__(self, address: bytes) -> None:
        self.address = address
        self.got: list[SuperPacket] = []

    def takes(self, destination: bytes) -> bool:
        return destination == self.address

    def receive(self, packet: SuperPacket, now: float) -> None:
        self.got.append(packet)


@versions
def test_what_is_beyond_the_members(site: Site, version: int) -> None:
    """From own addresses alone; the members' own are reached as ever."""
    kernel = site.kernels[site.anna.key]
    outside = bytes((192, 0, 2, 1)) if version == 4 else bytes.fromhex("20010db8") + bytes(12)
    hole = kernel.beyond = Hole(outside)
    site.send(
        site.datagram(version, b"out", destination=outside),
        site.datagram(version, b"forged", source=STRANGER[version], destination=outside),
        site.datagram(version, b"to ben"),
    )
    assert [bytes(packet.payload) for packet in hole.got] == [b"out"]
    assert [bytes(packet.payload) for packet in site.arrived(site.ben)] == [b"to ben"]
    assert site.arrived(site.anna) == []
    assert kernel.knows(outside)
    assert kernel.is_lan(site.address(site.ben, version))
    assert not kernel.is_lan(outside)


def test_addresses_and_who_is_known(site: Site) -> None:
    kernel = site.kernels[site.anna.key]
    assert kernel.addresses == ((site.anna.roster.own_ipv4, 8), (site.anna.ipv6, 48))
    for version in (4, 6):
        assert kernel.knows(site.address(site.ben, version))
        assert not kernel.knows(site.address(site.anna, version))
        assert not kernel.knows(STRANGER[version])
