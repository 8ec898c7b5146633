"""What a kernel beside the stack wants to hear: its reports are the host's own wishes (RFC 3376 6.4, RFC 3810 7.4)."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.stack.listening import FAMILIES, IPV4, IPV6, LINK_LOCAL, Family, Link
from tests.stack.packets import NOW, OURS4, PEER4, PEER6, on_the_wire, packed, udp_packet
from userlan.stack import HostConfig
from userlan.stack.wishes import FIRST_QUERY, QUERIER, QUERY_INTERVAL, Wishes
from userlan.wire import icmp, icmpv6, igmp, mld, ndp, udp
from userlan.wire.fragment import fragment
from userlan.wire.membership import Leave, Member, Message, Query, Record, RecordType, Report
from userlan.wire.numbers import PROTOCOL_ETHERIP
from userlan.wire.superpacket import SuperPacket

PORTS = (61_000, 65_535)
FIXED = bytes.fromhex("ff12" + 27 * "0" + "9")
BROADCAST = b"\xff\xff\xff\xff"

BOTH = pytest.mark.parametrize("family", FAMILIES, ids=["igmp", "mld"])


class Beside(Link):
    """A host that shares its addresses with a kernel; what that says is ``report``, what it gets ``kernel``."""

    def __init__(self, family: Family) -> None:
        super().__init__(family)
        self.host.share(*PORTS, (FIXED,) if family is IPV6 else ())
        self.drain()

    def says(self, message: Message) -> None:
        nobody = isinstance(message, Report) and self.family is IPV6      # a kernel without a link-local address
        source = mld.NOBODY if nobody else packed(OURS4 if self.family is IPV4 else LINK_LOCAL)
        self.host.kernel_reports(self.family.wire.build(message, source), self.now)

    def reports(self, kind: RecordType, group: bytes, *sources: bytes) -> None:
        self.says(Report((Record(kind, group, sources),)))

    def kernel(self) -> list[SuperPacket]:
        packets, self.host.unclaimed = self.host.unclaimed, []
        assert packets is not None
        return packets

    def heard(self, group: bytes, source: bytes = b"") -> bool:
        """Whether the kernel gets a datagram to a group, and whether it is in the host's ears at all."""
        self.host.receive(udp.build(udp.Datagram(9, 7_000, b"x"), source or self.family.sources[0], group, 1), self.now)
        return bool(self.kernel())


def told(link: Beside) -> list[Record]:
    """The records of what the host says now."""
    return [record for message in link.drain() if isinstance(message, Report) for record in message.records]


@BOTH
def test_what_the_kernel_joins_is_told_as_the_hosts_own_and_heard(family: Family) -> None:
    link, group = Beside(family), family.groups[0]
    assert not link.heard(group)
    link.reports(RecordType.CHANGE_TO_EXCLUDE_MODE, group)
    assert told(link) == [(RecordType.CHANGE_TO_EXCLUDE_MODE, group, ())]
    assert link.heard(group)
    link.reports(RecordType.CHANGE_TO_INCLUDE_MODE, group)
    assert told(link) == [(RecordType.CHANGE_TO_INCLUDE_MODE, group, ())]
    assert not link.heard(group)
    assert link.host.counters["destination-not-ours"] == 2


@BOTH
def test_sources_are_added_and_blocked(family: Family) -> None:
    """The four cases of RFC 3376 6.4.1 and 6.4.2, of one host."""
    link, group = Beside(family), family.groups[0]
    one, two, three = family.sources[:3]

    def hears() -> list[bool]:
        return [link.heard(group, source) for source in (one, two, three)]

    link.reports(RecordType.ALLOW_NEW_SOURCES, group, one, two)
    assert hears() == [True, True, False]
    link.reports(RecordType.BLOCK_OLD_SOURCES, group, one)
    assert hears() == [False, True, False]
    link.reports(RecordType.MODE_IS_EXCLUDE, group, two)
    assert hears() == [True, False, True]
    link.reports(RecordType.BLOCK_OLD_SOURCES, group, three)
    assert hears() == [True, False, False]
    link.reports(RecordType.ALLOW_NEW_SOURCES, group, two)
    assert hears() == [True, True, False]
    link.reports(RecordType.MODE_IS_INCLUDE, group, one)
    assert hears() == [True, False, False]


@BOTH
def test_older_versions_join_and_leave(family: Family) -> None:
    link, group = Beside(family), family.groups[0]
    link.says(Member(family.newest - 1, group))
    assert link.heard(group)
    link.says(Leave(group))
    assert not link.heard(group)


@BOTH
def test_a_socket_and_the_kernel_wish_side_by_side(family: Family) -> None:
    """RFC 3376 3.2: the host wants what either wants; each hears its own."""
    link, group = Beside(family), family.groups[0]
    one, two = family.sources[:2]
    link.socket.join(group, [one])
    link.run(3)
    link.kernel()
    link.reports(RecordType.ALLOW_NEW_SOURCES, group, two)
    assert told(link) == [(RecordType.ALLOW_NEW_SOURCES, group, (two,))]

    def to_the_socket(source: bytes) -> tuple[bool, bool]:
        link.host.receive(udp.build(udp.Datagram(9, link.socket.port, b"x"), source, group, 1), link.now)
        return link.socket.receive() is not None, bool(link.kernel())

    assert to_the_socket(one) == (True, False)
    assert to_the_socket(two) == (False, True)
    link.socket.join(group)
    assert to_the_socket(two) == (True, True), "a copy for each"
    link.socket.leave(group)
    link.run(5)
    link.host.unshare()
    assert (RecordType.BLOCK_OLD_SOURCES, group, (two,)) in told(link)


def test_the_fixed_group_is_wanted_from_the_start_and_to_the_end() -> None:
    link = Beside(IPV6)
    assert link.heard(FIXED)
    link.reports(RecordType.CHANGE_TO_INCLUDE_MODE, FIXED)
    assert link.heard(FIXED)
    frame = SuperPacket(udp.build(udp.Datagram(9, 9, b""), packed(PEER6), FIXED).header[:40], bytes(20))
    header = bytearray(frame.header)
    header[6], header[5] = PROTOCOL_ETHERIP, 20
    link.host.receive(SuperPacket(bytes(header), bytes(20)), link.now)
    assert [packet.protocol for packet in link.kernel()] == [PROTOCOL_ETHERIP]
    assert link.drain() == []
    link.host.unshare()
    assert told(link) == [(RecordType.CHANGE_TO_INCLUDE_MODE, FIXED, ())]


def test_neighbour_discoverys_groups_stay_on_the_kernels_link() -> None:
    link = Beside(IPV6)
    link.reports(RecordType.CHANGE_TO_EXCLUDE_MODE, packed("ff02::1:ff12:3456"))
    assert told(link) == []


@pytest.mark.parametrize("group", ["255.255.255.255", "224.0.0.1", "ff02::1"])
def test_what_is_to_everybody_is_to_the_kernel_too(group: str) -> None:
    link = Beside(IPV4)
    socket = link.bind(53)
    source = PEER6 if ":" in group else PEER4
    for port in (53, 54):
        link.host.receive(udp_packet(source, group, 9, port, b"x"), link.now)
    assert len(link.kernel()) == 2
    assert (socket.receive() is not None) == (group == "255.255.255.255"), "a socket must join a group, even that of all"
    assert "udp-port-closed" not in link.host.counters or group != "255.255.255.255"


@BOTH
def test_a_fragmented_datagram_reaches_it_whole(family: Family) -> None:
    link, group = Beside(family), family.groups[0]
    link.reports(RecordType.MODE_IS_EXCLUDE, group)
    for part in fragment(udp.build(udp.Datagram(9, 7_000, bytes(4000)), family.sources[0], group, 1), 1420, 5):
        link.host.receive(part, link.now)
    (packet,) = link.kernel()
    assert len(packet.payload) == 4000


def test_no_member_of_the_lan_asks_or_routes_the_kernel() -> None:
    """Neighbour discovery, routers, redirects to a group; queries and reports are the stack's; a ping by broadcast too."""
    link = Beside(IPV4)
    everybody = packed("ff02::1")
    for kind in ndp.TYPES:
        link.host.receive(on_the_wire(icmpv6.build(icmpv6.Other(kind, 0, bytes(36)), packed(PEER6), everybody, 255)), link.now)
    for kind in (5, 9, 10):
        link.host.receive(on_the_wire(icmp.build(icmp.Other(kind, 0, bytes(32)), packed(PEER4), BROADCAST)), link.now)
    assert link.host.counters["neighbour-discovery-refused"] == 8
    link.host.receive(on_the_wire(igmp.build(Query(3, igmp.NOBODY, 1000), packed(PEER4))), link.now)
    link.host.receive(on_the_wire(icmp.build(icmp.Echo(True, 1, 1, b""), packed(PEER4), BROADCAST)), link.now)
    link.host.receive(on_the_wire(icmpv6.build(icmpv6.Echo(True, 1, 1, b""), packed(PEER6), everybody)), link.now)
    assert link.kernel() == [], "the stack answers"
    beside = Beside(IPV6)
    beside.reports(RecordType.MODE_IS_EXCLUDE, IPV6.groups[0])
    beside.host.receive(on_the_wire(icmpv6.build(icmpv6.Echo(True, 1, 1, b""), packed(PEER6), IPV6.groups[0])), link.now)
    assert len(beside.kernel()) == 1, "the kernel may answer in a group that it has joined, as the stack does not"


@BOTH
def test_malformed_reports_are_counted_and_queries_of_the_kernels_ignored(family: Family) -> None:
    link = Beside(family)
    report = Report((Record(RecordType.MODE_IS_EXCLUDE, family.groups[0]),))
    packet = family.wire.build(report, packed(OURS4) if family is IPV4 else mld.NOBODY)
    link.host.kernel_reports(SuperPacket(packet.header, packet.payload[:9]), link.now)
    assert link.host.counters[f"{'igmp' if family is IPV4 else 'mld'}-truncated"] == 1
    link.says(Query(family.newest, family.everything, 1000))
    assert link.host.counters["kernel-query-ignored"] == 1
    assert told(link) == []


def asked(link: Beside) -> list[Query]:
    queries = [igmp.parse(one) if one.version == 4 else mld.parse(one) for one in map(on_the_wire, link.kernel())]
    assert all(isinstance(query, Query) for query in queries)
    return queries  # type: ignore[return-value]


def test_the_kernel_is_asked_at_first_and_every_125_seconds() -> None:
    """RFC 3376 4.1 and 8.2, RFC 3810 5.1: from nobody and a link-local address, to all hosts and all nodes."""
    link = Beside(IPV4)
    link.run(FIRST_QUERY / 2)
    assert link.kernel() == []
    link.run(FIRST_QUERY)
    packets = link.kernel()
    assert [(one.source, one.destination, one.hop_limit) for one in packets] == [
        (igmp.NOBODY, igmp.ALL_HOSTS, 1),
        (QUERIER, mld.ALL_NODES, 1),
    ]
    queries = [igmp.parse(packets[0]), mld.parse(packets[1])]
    assert queries == [Query(3, bytes(4), 1000, False, 2, QUERY_INTERVAL), Query(2, bytes(16), 1000, False, 2, QUERY_INTERVAL)]
    link.run(2 * QUERY_INTERVAL)
    assert len(asked(link)) == 4


@BOTH
def test_what_two_queries_do_not_call_forth_is_forgotten(family: Family) -> None:
    """A leave that got lost; the group that is reported again stays (RFC 3376 6.2.2)."""
    link = Beside(family)
    lost, kept = family.groups[:2]
    for group in (lost, kept):
        link.reports(RecordType.CHANGE_TO_EXCLUDE_MODE, group)
    for _ in range(3):
        assert link.heard(lost)
        link.run(QUERY_INTERVAL)
        link.kernel()
        link.reports(RecordType.MODE_IS_EXCLUDE, kept)
    link.drain()
    assert not link.heard(lost)
    assert link.heard(kept)


@BOTH
def test_a_computer_that_slept_forgets_nothing(family: Family) -> None:
    """The clock jumps by a day: the kernel is asked, and has its groups as long as it answers."""
    link, group = Beside(family), family.groups[0]
    link.reports(RecordType.CHANGE_TO_EXCLUDE_MODE, group)
    link.run(5)
    for _ in range(3):
        link.kernel()
        link.now += 86_400
        link.host.tick(link.now)
        assert len(asked(link)) == 2
        assert link.heard(group)
        link.reports(RecordType.MODE_IS_EXCLUDE, group)


def test_wishes_are_bounded() -> None:
    counted: Counter[str] = Counter()
    wishes = Wishes(HostConfig(max_memberships=3, max_group_sources=2), (), counted)
    groups = [bytes((239, 0, 0, number)) for number in range(5)]
    assert wishes.hear(Report(tuple(Record(RecordType.MODE_IS_EXCLUDE, group) for group in groups))) == groups[:3]
    assert counted["kernel-memberships-full"] == 2
    sources = tuple(bytes((10, 0, 0, number)) for number in range(3))
    wishes.hear(Report((Record(RecordType.MODE_IS_INCLUDE, groups[0], sources),)))
    assert wishes.of(groups[0]).admits(b"\x0a\0\0\x63"), "a filter that is too long is widened"
    assert wishes.hear(Leave(groups[1])) == [groups[1]]
    assert wishes.hear(Leave(groups[1])) == []
    assert wishes.queries(NOW) == ([], [])
