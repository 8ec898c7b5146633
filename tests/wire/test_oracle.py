"""scapy, which nobody here wrote, reads what is built here and builds what is read here."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.igmp import IGMP_MQ, IGMP_MR, IGMPv2_LG, IGMPv2_MR, IGMPv3_MQ, IGMPv3_MR, IGMPv3_MR_Group
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6MLDMultAddrRec,
    ICMPv6MLDone,
    ICMPv6MLQuery,
    ICMPv6MLQuery2,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.inet6 import fragment6 as scapy_fragment6

from tests.wire.examples import ALICE4, ALICE6, BOB4, BOB6, pairs, segments, super_segment
from userlan.wire import fragment, icmp, icmpv6, igmp, mld, tcp, udp
from userlan.wire.checksum import transport_ok
from userlan.wire.membership import Leave, Member, Message, Query, Record, RecordType, Report
from userlan.wire.superpacket import SuperPacket, cut, parse
from userlan.wire.tcp import Flags, Segment


def dissected(data: bytes) -> Any:
    """scapy's view of an IP packet."""
    return IP(data) if data[0] >> 4 == 4 else IPv6(data)


def recomputed(data: bytes) -> bytes:
    """The same packet with every checksum computed by scapy instead."""
    packet = dissected(data)
    layer = packet
    while layer:
        for name in ("chksum", "cksum"):
            if name in layer.fields:
                delattr(layer, name)
        layer = layer.payload
    return bytes(packet)


def scapy_ip(source: bytes, destination: bytes, **fields: Any) -> Any:
    """scapy's IP header of the addresses' family."""
    if len(source) == 4:
        return IP(src=str(ipaddress.IPv4Address(source)), dst=str(ipaddress.IPv4Address(destination)), **fields)
    return IPv6(src=str(ipaddress.IPv6Address(source)), dst=str(ipaddress.IPv6Address(destination)), **fields)


@settings(deadline=None, max_examples=120)
@given(segments(), pairs, st.integers(0, 255), st.integers(1, 255))
def test_tcp_as_scapy_reads_it(
    segment: Segment, addresses: tuple[bytes, bytes], traffic_class: int, hop_limit: int
) -> None:
    (data,) = cut(tcp.build(segment, *addresses, hop_limit, traffic_class), True)
    assert recomputed(data) == data
    packet = dissected(data)
    network = packet
    assert (network.tos if data[0] >> 4 == 4 else network.tc) == traffic_class
    assert (network.ttl if data[0] >> 4 == 4 else network.hlim) == hop_limit
    assert ipaddress.ip_address(packet.src).packed == addresses[0]
    assert ipaddress.ip_address(packet.dst).packed == addresses[1]
    transport = packet[TCP]
    assert (transport.sport, transport.dport) == (segment.source_port, segment.destination_port)
    assert (transport.seq, transport.ack) == (segment.seq, segment.ack)
    assert int(transport.flags) == segment.flags
    assert (transport.window, transport.urgptr) == (segment.window, segment.urgent)
    assert bytes(transport.payload) == segment.payload
    options = dict(transport.options)
    assert options.get("MSS") == segment.mss
    assert options.get("WScale") == segment.window_scale
    assert ("SAckOK" in options) == segment.sack_permitted
    assert options.get("Timestamp") == segment.timestamp
    assert options.get("SAck", ()) == tuple(edge for block in segment.sack for edge in block)


@settings(deadline=None, max_examples=100)
@given(segments(), pairs)
def test_tcp_as_scapy_builds_it(segment: Segment, addresses: tuple[bytes, bytes]) -> None:
    options: list[tuple[str, object]] = []
    if segment.window_scale is not None:
        options += [("WScale", segment.window_scale), ("NOP", None)]
    if segment.sack:
        options.append(("SAck", tuple(edge for block in segment.sack for edge in block)))
    if segment.timestamp is not None:
        options.append(("Timestamp", segment.timestamp))
    if segment.sack_permitted:
        options.append(("SAckOK", b""))
    if segment.mss is not None:
        options.append(("MSS", segment.mss))
    transport = TCP(
        sport=segment.source_port,
        dport=segment.destination_port,
        seq=segment.seq,
        ack=segment.ack,
        flags=segment.flags,
        window=segment.window,
        urgptr=segment.urgent,
        options=options,
    )
    packet = parse(bytes(scapy_ip(*addresses) / transport / bytes(segment.payload)))
    assert transport_ok(packet)
    assert tcp.parse_segment(packet) == segment


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=99), pairs)
def test_udp_both_ways(source: int, destination: int, payload: bytes, addresses: tuple[bytes, bytes]) -> None:
    datagram = udp.Datagram(source, destination, payload)
    (data,) = cut(udp.build(datagram, *addresses), True)
    assert recomputed(data) == data
    seen = dissected(data)[UDP]
    assert (seen.sport, seen.dport, seen.len, bytes(seen)[8:]) == (source, destination, 8 + len(payload), payload)
    theirs = parse(bytes(scapy_ip(*addresses) / UDP(sport=source, dport=destination) / payload))
    assert transport_ok(theirs)
    assert udp.parse_datagram(theirs) == datagram


@pytest.mark.parametrize("length", [0, 1, 9, 10, 11, 25])
@pytest.mark.parametrize("seq", [0, 0xFFFFFFF8])
def test_every_packet_of_a_cut_has_right_checksums(length: int, seq: int) -> None:
    for addresses in ((ALICE4, BOB4), (ALICE6, BOB6)):
        payload = bytes(range(255 - length, 255))
        flags = Flags.ACK | Flags.PSH | Flags.FIN | Flags.CWR
        packet = super_segment(payload, 10, addresses, seq=seq, flags=flags)
        datagram = udp.build(udp.Datagram(1, 2, payload, 10), *addresses)
        fragmentable = packet
        if packet.version == 4:
            header = packet.header[:4] + b"\xff\xff\0\0" + packet.header[8:]
            fragmentable = SuperPacket(header, payload, 10, True)
        for data in cut(packet, True) + cut(datagram, True) + cut(fragmentable, True):
            assert recomputed(data) == data
            assert transport_ok(parse(data))


def test_icmp_both_ways() -> None:
    quoted = bytes(scapy_ip(BOB4, ALICE4) / UDP(sport=5, dport=6) / b"hello")
    for message, theirs in (
        (icmp.Echo(True, 7, 8, b"ping"), ICMP(type=8, id=7, seq=8) / b"ping"),
        (icmp.Echo(False, 7, 8, b"odd"), ICMP(type=0, id=7, seq=8) / b"odd"),
        (icmp.Unreachable(3, quoted), ICMP(type=3, code=3) / quoted),
        (icmp.Unreachable(4, quoted, 1400), ICMP(type=3, code=4, nexthopmtu=1400) / quoted),
        (icmp.TimeExceeded(1, quoted), ICMP(type=11, code=1) / quoted),
        (icmp.ParameterProblem(0, 9, quoted), ICMP(type=12, code=0, ptr=9) / quoted),
    ):
        (data,) = cut(icmp.build(message, ALICE4, BOB4), True)
        assert recomputed(data) == data
        packet = parse(bytes(scapy_ip(ALICE4, BOB4, flags="DF", id=0) / theirs))
        assert transport_ok(packet)
        assert icmp.parse(packet) == message
        assert packet.payload == data[20:]


def test_icmpv6_both_ways() -> None:
    quoted = bytes(scapy_ip(BOB6, ALICE6) / UDP(sport=5, dport=6) / b"hello")
    for message, theirs in (
        (icmpv6.Echo(True, 7, 8, b"ping"), ICMPv6EchoRequest(id=7, seq=8, data=b"ping")),
        (icmpv6.Echo(False, 7, 8, b"odd"), ICMPv6EchoReply(id=7, seq=8, data=b"odd")),
        (icmpv6.Unreachable(4, quoted), ICMPv6DestUnreach(code=4) / quoted),
        (icmpv6.PacketTooBig(1300, quoted), ICMPv6PacketTooBig(mtu=1300) / quoted),
        (icmpv6.TimeExceeded(1, quoted), ICMPv6TimeExceeded(code=1) / quoted),
        (icmpv6.ParameterProblem(1, 40, quoted), ICMPv6ParamProblem(code=1, ptr=40) / quoted),
    ):
        (data,) = cut(icmpv6.build(message, ALICE6, BOB6), True)
        assert recomputed(data) == data
        packet = parse(bytes(scapy_ip(ALICE6, BOB6) / theirs))
        assert transport_ok(packet)
        assert icmpv6.parse(packet) == message
        assert packet.payload == data[40:]


def test_igmp_both_ways() -> None:
    """Our octets are scapy's, field by field, and scapy's packet is read as the same message."""
    group, sources = "239.1.2.3", ("25.9.9.1", "25.9.9.2")
    name, packed = bytes((239, 1, 2, 3)), (bytes((25, 9, 9, 1)), bytes((25, 9, 9, 2)))
    record = IGMPv3_MR_Group(rtype=5, maddr=group, srcaddrs=list(sources))
    expected: list[tuple[Message, str, Any]] = [
        (Query(3, bytes(4), 10_000, False, 2, 125), "224.0.0.1", IGMPv3_MQ(mrcode=100, qrv=2, qqic=125)),
        (
            Query(3, name, 12_800, True, 7, 128, packed),
            group,
            IGMPv3_MQ(mrcode=0x80, gaddr=group, s=1, qrv=7, qqic=0x80, srcaddrs=list(sources)),
        ),
        (Query(2, name, 1000), group, IGMP_MQ(mrcode=10, gaddr=group)),
        (Query(1, bytes(4)), "224.0.0.1", IGMP_MQ(mrcode=0)),
        (Member(1, name), group, IGMP_MR(mrcode=0, gaddr=group)),
        (Member(2, name), group, IGMPv2_MR(mrcode=0, gaddr=group)),
        (Leave(name), "224.0.0.2", IGMPv2_LG(mrcode=0, gaddr=group)),
        (
            Report((Record(RecordType.ALLOW_NEW_SOURCES, name, packed), Record(RecordType.MODE_IS_EXCLUDE, name))),
            "224.0.0.22",
            IGMPv3_MR(records=[record, IGMPv3_MR_Group(rtype=2, maddr=group)]),
        ),
    ]
    for message, destination, theirs in expected:
        head = IP(src="25.1.2.3", dst=destination, ttl=1, tos=0xC0, id=0, flags="DF", options=[IPOption_Router_Alert()])
        data = bytes(head / theirs)
        assert cut(igmp.build(message, ALICE4), True) == [data]
        packet = parse(data)
        assert transport_ok(packet)
        assert igmp.parse(packet) == message


def test_mld_both_ways() -> None:
    group, source, link_local = "ff05::1234", "fd75:6c61:6e00::9", "fe80::7"
    name, packed = (ipaddress.IPv6Address(address).packed for address in (group, source))
    record = ICMPv6MLDMultAddrRec(rtype=4, dst=group, sources=[source])
    expected: list[tuple[Message, str, Any]] = [
        (Query(2, bytes(16), 10_000, False, 2, 125), "ff02::1", ICMPv6MLQuery2(mrd=10_000, QRV=2, QQIC=125)),
        (
            Query(2, name, 32_768, True, 7, 128, (packed,)),
            group,
            ICMPv6MLQuery2(mladdr=group, mrd=0x8000, S=1, QRV=7, QQIC=0x80, sources=[source]),
        ),
        (Query(1, name, 1000), group, ICMPv6MLQuery(mladdr=group, mrd=1000)),
        (Member(1, name), group, ICMPv6MLReport(mladdr=group)),
        (Leave(name), "ff02::2", ICMPv6MLDone(mladdr=group)),
        (
            Report((Record(RecordType.CHANGE_TO_EXCLUDE_MODE, name, (packed,)),)),
            "ff02::16",
            ICMPv6MLReport2(records=[record]),
        ),
    ]
    for message, destination, theirs in expected:
        data = bytes(
            IPv6(src=link_local, dst=destination, hlim=1) / IPv6ExtHdrHopByHop(options=[RouterAlert(value=0)]) / theirs
        )
        assert cut(mld.build(message, ipaddress.IPv6Address(link_local).packed), True) == [data]
        packet = parse(data)
        assert transport_ok(packet)
        assert mld.parse(packet) == message


def test_extension_headers_as_scapy_builds_them() -> None:
    body = TCP(sport=4, dport=5, flags="A") / b"data"
    data = bytes(scapy_ip(ALICE6, BOB6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / body)
    packet = parse(data)
    assert (packet.protocol, packet.transport_offset, bytes(packet.payload)) == (6, 56, b"data")
    assert transport_ok(packet)


def whole(parts: list[SuperPacket]) -> SuperPacket:
    pieces = sorted((fragment.parse_fragment(part) for part in parts), key=lambda piece: piece.offset)
    return fragment.reassembled(pieces[0], b"".join(bytes(piece.payload) for piece in pieces))


def test_fragments_that_scapy_made() -> None:
    payload = bytes(range(256)) * 10
    four = (scapy_ip(ALICE4, BOB4, id=9) / UDP(sport=1, dport=2) / payload).fragment(600)
    datagram = IPv6(bytes(scapy_ip(ALICE6, BOB6) / UDP(sport=1, dport=2) / payload))[UDP]
    fragment6: Any = scapy_fragment6
    sixes = fragment6(scapy_ip(ALICE6, BOB6) / IPv6ExtHdrFragment(id=9) / datagram, 1280)
    for theirs in (four, sixes):
        assert len(theirs) > 1
        packet = whole([parse(bytes(part)) for part in theirs])
        assert transport_ok(packet)
        assert udp.parse_datagram(packet) == udp.Datagram(1, 2, payload)


def test_fragments_as_scapy_reads_them() -> None:
    parts = fragment.fragment(udp.build(udp.Datagram(1, 2, bytes(3000)), ALICE4, BOB4), 1400, 0xBEEF)
    seen = [IP(part.header + bytes(part.payload)) for part in parts]
    assert [int(one.frag) * 8 for one in seen] == [0, 1376, 2752]
    assert [str(one.flags) for one in seen] == ["MF", "MF", ""]
    assert all(one.id == 0xBEEF for one in seen)
    for one in seen:
        checksum = one.chksum
        del one.chksum
        assert IP(bytes(one)).chksum == checksum
    parts = fragment.fragment(udp.build(udp.Datagram(1, 2, bytes(3000)), ALICE6, BOB6), 1400, 0xBEEF)
    heads = [IPv6(part.header + bytes(part.payload))[IPv6ExtHdrFragment] for part in parts]
    assert [(head.offset * 8, head.m, head.id, head.nh) for head in heads] == [
        (0, 1, 0xBEEF, 17),
        (1352, 1, 0xBEEF, 17),
        (2704, 0, 0xBEEF, 17),
    ]
