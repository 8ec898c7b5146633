"""Parsing one packet; cutting super-packets; joining wire packets."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.examples import ALICE4, ALICE6, BOB4, BOB6, PAIRS, near_wrap, pairs, raw, super_segment
from userlan.wire import icmp, ipv4, tcp, udp
from userlan.wire.checksum import transport_ok
from userlan.wire.errors import WireError
from userlan.wire.numbers import PROTOCOL_UDP
from userlan.wire.superpacket import SuperPacket, cut, join, parse
from userlan.wire.tcp import Flags, Segment, parse_segment

CUTTING_FLAGS = st.lists(st.sampled_from((Flags.PSH, Flags.FIN, Flags.ECE, Flags.CWR)), unique=True).map(
    lambda some: Flags.ACK | sum(some)
)


def joined(packets: list[bytes], verified: bool = True) -> list[SuperPacket]:
    """What `join` makes of packets that are all well formed."""
    counters: Counter[str] = Counter()
    result = join(packets, verified, counters)
    assert not counters
    return result


def wire_segments(packets: list[bytes]) -> list[Segment]:
    return [parse_segment(parse(packet, verified=True)) for packet in packets]


@pytest.mark.parametrize("addresses", PAIRS)
def test_padding_behind_the_packet_falls_away(addresses: tuple[bytes, bytes]) -> None:
    packet = cut(super_segment(b"hello", 0, addresses), True)[0]
    padded = parse(packet + bytes(11))
    assert padded.payload == b"hello"
    assert raw(padded) == packet
    assert transport_ok(padded)


@pytest.mark.parametrize("addresses", PAIRS)
def test_every_truncation_is_refused(addresses: tuple[bytes, bytes]) -> None:
    for packet in (super_segment(b"hello", 0, addresses), udp.build(udp.Datagram(1, 2, b"hello"), *addresses)):
        data = raw(packet)
        for length in range(len(data)):
            with pytest.raises(WireError):
                parse(data[:length], verified=True)


@pytest.mark.parametrize("version", [0, 1, 3, 5, 7, 15])
def test_other_versions_are_refused(version: int) -> None:
    with pytest.raises(WireError, match="version"):
        parse(bytes((version << 4,)) + bytes(60))


def test_a_view_gives_a_view() -> None:
    data = memoryview(raw(super_segment(b"hello", 0)))
    packet = parse(data, verified=True)
    assert isinstance(packet.payload, memoryview)
    assert isinstance(packet.header, bytes)
    assert packet.payload.obj is data.obj


def test_fields_that_are_derived() -> None:
    packet = super_segment(b"x" * 10, 4, PAIRS[1], traffic_class=0xB9)
    assert (packet.version, packet.protocol, packet.transport_offset, packet.fragment) == (6, 6, 40, False)
    assert (packet.source, packet.destination) == PAIRS[1]
    assert (packet.traffic_class, packet.hop_limit) == (0xB9, 64)
    assert (packet.wire_count, packet.length) == (3, 40 + 32 + 10)
    four = super_segment(b"", 4, traffic_class=2)
    assert (four.version, four.transport_offset, four.traffic_class, four.hop_limit) == (4, 20, 2, 64)
    assert four.wire_count == 1
    assert "payload=0" in repr(four)


@settings(deadline=None, max_examples=200)
@given(
    pairs,
    st.binary(min_size=1, max_size=400),
    st.integers(1, 120),
    near_wrap,
    CUTTING_FLAGS,
    st.integers(0, 255),
    st.booleans(),
    st.booleans(),
)
def test_cut_tcp(
    addresses: tuple[bytes, bytes],
    payload: bytes,
    size: int,
    seq: int,
    flags: int,
    traffic_class: int,
    checksums: bool,
    view: bool,
) -> None:
    data = memoryview(payload) if view else payload
    packet = super_segment(data, size, addresses, seq=seq, flags=flags, traffic_class=traffic_class)
    packets = cut(packet, checksums)
    assert len(packets) == packet.wire_count == -(-len(payload) // size)
    for index, wire in enumerate(packets):
        parsed = parse(wire, verified=not checksums)
        assert len(wire) == parsed.length
        assert parsed.traffic_class == traffic_class
        assert transport_ok(parsed)
        segment = parse_segment(parsed)
        assert segment.payload == payload[index * size : (index + 1) * size]
        assert segment.seq == (seq + index * size) % 2**32
        first, last = index == 0, index == len(packets) - 1
        kept = flags & ~(0 if first else Flags.CWR) & ~(0 if last else Flags.FIN | Flags.PSH)
        assert segment.flags == kept
        assert (segment.ack, segment.window, segment.timestamp) == (77, 512, (11, 22))
        if not checksums:
            assert parsed.header[parsed.transport_offset + 16 : parsed.transport_offset + 18] == b"\0\0"
            assert parsed.version == 6 or parsed.header[10:12] == b"\0\0"


@settings(deadline=None, max_examples=200)
@given(pairs, st.binary(min_size=1, max_size=400), st.integers(1, 120), near_wrap, CUTTING_FLAGS, st.booleans())
def test_join_undoes_cut_of_tcp(
    addresses: tuple[bytes, bytes], payload: bytes, size: int, seq: int, flags: int, verified: bool
) -> None:
    packet = super_segment(payload, size, addresses, seq=seq, flags=flags)
    packets = [wire + bytes(-len(wire) % 16) for wire in cut(packet, not verified)]
    (again,) = joined(packets, verified)
    assert again.payload == payload
    assert again.verified
    if packet.wire_count > 1:
        assert again.header == packet.header
        assert again.segment_size == size
    else:
        assert parse_segment(again).flags == flags


@settings(deadline=None, max_examples=100)
@given(pairs, st.binary(max_size=300), st.integers(1, 100), st.booleans())
def test_udp_is_cut_into_datagrams_that_keep_their_borders(
    addresses: tuple[bytes, bytes], payload: bytes, size: int, checksums: bool
) -> None:
    packet = udp.build(udp.Datagram(5, 6, payload, size), *addresses, traffic_class=1)
    packets = cut(packet, checksums)
    again = joined(packets, verified=not checksums)
    assert len(packets) == packet.wire_count
    datagrams = []
    for one in again:
        assert transport_ok(one)
        assert one.traffic_class == 1
        datagram = udp.parse_datagram(one)
        assert (datagram.source_port, datagram.destination_port) == (5, 6)
        step = one.segment_size or max(len(payload), 1)
        data = bytes(one.payload)
        datagrams += [data[start : start + step] for start in range(0, len(data), step)]
    assert datagrams == [payload[start : start + size] for start in range(0, len(payload), size)]
    if checksums:
        assert len(again) == len(packets), "their checksums are still to be checked, one by one"
    else:
        assert len(again) <= 2, "equally long ones are one, a shorter last one is another"


def numbered(identifications: list[int], fragment: int) -> list[bytes]:
    """Datagrams of one flow with these IPv4 identifications."""
    packets = []
    for number in identifications:
        header = ipv4.build_header(
            *PAIRS[0], PROTOCOL_UDP, 18, identification=number, fragment=fragment
        )
        packets.append(header + udp.build(udp.Datagram(5, 6, b"0123456789"), *PAIRS[0]).header[20:] + b"0123456789")
    return packets


@pytest.mark.parametrize(
    ("identifications", "fragment", "runs"),
    [
        ([7, 9, 9, 1], ipv4.DONT_FRAGMENT, [4]),    # RFC 6864 4.1: it means nothing
        ([0xFFFE, 0xFFFF, 0, 1], 0, [4]),           # RFC 6864 4.2: it names fragments, and is kept
        ([7, 8, 10, 11], 0, [2, 2]),
        ([7, 7], 0, [1, 1]),
    ],
)
def test_datagrams_are_joined_where_their_identification_survives(
    identifications: list[int], fragment: int, runs: list[int]
) -> None:
    packets = numbered(identifications, fragment)
    again = joined(packets, True)
    assert [one.wire_count for one in again] == runs
    if not fragment:
        assert [packet[4:6] for one in again for packet in cut(one, True)] == [packet[4:6] for packet in packets]


@pytest.mark.parametrize("position", [1, 8, 12, 16, 20, 22], ids=["class", "ttl", "source", "destination", "port", "port"])
def test_datagrams_that_differ_in_a_header_stay_apart(position: int) -> None:
    first, second = numbered([0, 0], ipv4.DONT_FRAGMENT)
    other = bytearray(second)
    other[position] ^= 1
    assert [one.wire_count for one in joined([first, bytes(other)], True)] == [1, 1]


@pytest.mark.parametrize("addresses", PAIRS)
def test_the_largest_super_packet_survives(addresses: tuple[bytes, bytes]) -> None:
    payload = bytes(range(256)) * 256
    payload = payload[: 65535 - len(super_segment(b"", 0, addresses).header)]
    packet = super_segment(payload, 1368, addresses)
    assert packet.length == 65535
    (again,) = joined(cut(packet, False))
    assert raw(again) == raw(packet)


def test_a_run_longer_than_a_packet_may_be_becomes_two() -> None:
    halves = [super_segment(bytes(40 * 1000), 1000, seq=seq) for seq in (0, 40000)]
    packets = [wire for half in halves for wire in cut(half, False)]
    again = joined(packets)
    assert [len(one.payload) for one in again] == [65000, 15000]
    assert all(one.length <= 65535 for one in again)
    assert [parse_segment(one).seq for one in again] == [0, 65000]
    assert [wire for one in again for wire in cut(one, False)] == packets


def changed(segment_number: int, position: int, value: bytes) -> list[bytes]:
    """Four IPv4 wire packets of 10 octets each, with one field of one of them changed."""
    packets = cut(super_segment(bytes(40), 10), False)
    wire = bytearray(packets[segment_number])
    wire[position : position + len(value)] = value
    packets[segment_number] = bytes(wire)
    return packets


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (1, b"\x03"),  # ECN: congestion experienced
        (6, b"\0"),  # may be fragmented
        (8, b"\x3f"),  # time to live
        (12, b"\x19\1\2\4"),  # source
        (20, b"\x0f\xa1"),  # port
        (24, b"\0\0\0\1"),  # sequence
        (28, b"\0\0\0\1"),  # acknowledgement
        (33, b"\x50"),  # ECE
        (33, b"\x90"),  # CWR in the middle
        (33, b"\x30"),  # URG
        (33, b"\x14"),  # RST
        (34, b"\0\1"),  # window
        (51, b"\x17"),  # TSecr
    ],
)
def test_a_packet_that_differs_is_not_joined_to_the_run_before(position: int, value: bytes) -> None:
    packets = changed(2, position, value)
    again = joined(packets)
    assert len(again) > 1
    assert len(again[0].payload) == 20
    assert again[0].segment_size == 10
    assert b"".join(bytes(one.payload) for one in again) == bytes(40)
    at = [wire for one in again for wire in cut(one, False)]
    assert [parse(wire, True).header[20:] for wire in at] == [parse(wire, True).header[20:] for wire in packets]


@pytest.mark.parametrize("flag", [Flags.PSH, Flags.FIN])
def test_push_and_fin_end_a_run(flag: int) -> None:
    again = joined(changed(1, 33, bytes((Flags.ACK | flag,))))
    assert [len(one.payload) for one in again] == [20, 20]
    assert [parse_segment(one).flags for one in again] == [Flags.ACK | flag, Flags.ACK]


def test_a_shorter_packet_ends_a_run() -> None:
    again = joined([*cut(super_segment(bytes(25), 10, seq=0), False), *cut(super_segment(bytes(10), 0, seq=25), False)])
    assert [len(one.payload) for one in again] == [25, 10]


def test_a_longer_packet_starts_a_run() -> None:
    small, large = super_segment(bytes(20), 10, seq=0), super_segment(bytes(30), 15, seq=20)
    again = joined([*cut(small, False), *cut(large, False)])
    assert [(len(one.payload), one.segment_size) for one in again] == [(20, 10), (30, 15)]


@pytest.mark.parametrize("flags", [Flags.SYN, Flags.ACK | Flags.RST, Flags.ACK | Flags.URG, 0, Flags.ACK | Flags.SYN])
def test_only_plain_data_starts_a_run(flags: int) -> None:
    packets = [raw(super_segment(bytes(10), 0, seq=seq, flags=flags)) for seq in (0, 10)]
    assert len(joined(packets)) == 2


def test_acknowledgements_stay_apart() -> None:
    packets = [raw(super_segment(b"", 0)) for _ in range(3)]
    assert len(joined(packets)) == 3


def test_identifications_and_checksums_may_differ_within_a_run() -> None:
    packet = super_segment(bytes(range(50)), 10)
    fragmentable = SuperPacket(
        packet.header[:4] + b"\xff\xfe" + b"\0\0" + packet.header[8:], packet.payload, packet.segment_size, True
    )
    for checksums in (False, True):
        packets = cut(fragmentable, checksums)
        identifications = [int.from_bytes(wire[4:6], "big") for wire in packets]
        assert identifications == [0xFFFE, 0xFFFF, 0, 1, 2]
        (again,) = joined(packets, verified=not checksums)
        assert raw(again) == raw(fragmentable)


def test_other_flows_in_between_keep_the_order() -> None:
    one = cut(super_segment(bytes(30), 10), False)
    other = cut(super_segment(bytes(30), 10, PAIRS[1]), False)
    again = joined([*one[:2], *other, one[2]])
    assert [(packet.version, len(packet.payload)) for packet in again] == [(4, 20), (6, 30), (4, 10)]


def test_options_and_extension_headers_are_not_joined() -> None:
    data = raw(super_segment(bytes(10), 0, PAIRS[1]))
    padding = bytes((6, 0, 1, 4, 0, 0, 0, 0))
    extended = data[:4] + (len(data) - 40 + 8).to_bytes(2, "big") + b"\x3c" + data[7:40] + padding + data[40:]
    again = joined([extended, extended])
    assert [packet.transport_offset for packet in again] == [48, 48]


def test_a_wrong_tcp_checksum_is_counted_and_left_out() -> None:
    packets = cut(super_segment(bytes(40), 10), True)
    packets[1] = packets[1][:-1] + b"\xff"
    counters: Counter[str] = Counter()
    again = join(packets, False, counters)
    assert counters == {"tcp-checksum": 1}
    assert [len(packet.payload) for packet in again] == [10, 20]
    assert all(packet.verified for packet in again)
    counters.clear()
    (blind,) = join(packets, True, counters)
    assert len(blind.payload) == 40


def test_a_wrong_ipv4_checksum_is_counted_unless_verified() -> None:
    data = bytearray(cut(super_segment(b"hello", 0), True)[0])
    data[8] = 1
    counters: Counter[str] = Counter()
    assert join([data], False, counters) == []
    assert counters == {"ipv4-checksum": 1}
    assert parse(bytes(data), verified=True).payload == b"hello"


def test_udp_and_icmp_come_out_unverified_when_nobody_vouches() -> None:
    packets = [
        cut(udp.build(udp.Datagram(1, 2, b"x"), ALICE6, BOB6), True)[0],
        cut(icmp.build(icmp.Echo(True, 1, 2, b"x"), ALICE4, BOB4), True)[0],
    ]
    assert [packet.verified for packet in joined(packets, verified=False)] == [False, False]
    assert [packet.verified for packet in joined(packets, verified=True)] == [True, True]


def test_a_malformed_packet_in_a_run_is_counted_once() -> None:
    packets = cut(super_segment(bytes(40), 10), False)
    packets[2] = packets[2][:-3]
    counters: Counter[str] = Counter()
    again = join(packets, True, counters)
    assert counters == {"ipv4-truncated": 1}
    assert [len(packet.payload) for packet in again] == [20, 10]


def test_a_packet_that_only_passes_keeps_its_checksum() -> None:
    for addresses in PAIRS:
        wire = bytearray(cut(super_segment(b"hello", 0, addresses), True)[0])
        wire[-1] ^= 1
        passing = parse(bytes(wire))
        assert cut(passing, True) == [bytes(wire)]
        assert not transport_ok(parse(cut(passing, True)[0]))


def test_views_and_bytearrays_are_joined_too() -> None:
    packet = super_segment(bytes(range(100)), 10)
    for convert in (memoryview, bytearray):
        (again,) = join([convert(wire) for wire in cut(packet, False)], True, Counter())
        assert raw(again) == raw(packet)


def test_what_is_neither_tcp_nor_udp_is_not_cut() -> None:
    packet = icmp.build(icmp.Echo(True, 1, 2, bytes(100)), ALICE4, BOB4)
    odd = SuperPacket(packet.header, packet.payload, 10, True)
    assert cut(odd, False) == [raw(packet)]


def test_one_segment_keeps_all_its_flags() -> None:
    flags = Flags.ACK | Flags.FIN | Flags.PSH | Flags.CWR
    (wire,) = cut(super_segment(bytes(10), 10, flags=flags), True)
    assert wire_segments([wire])[0].flags == flags
    assert tcp.parse_segment(parse(wire)).payload == bytes(10)
