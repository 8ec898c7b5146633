"""Cutting super-packets for what a path carries: TCP as coarsely or finely as that allows, all else as it is."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.examples import PAIRS, near_wrap, pairs, raw, super_segment
from userlan.wire import icmp, udp
from userlan.wire.checksum import transport_ok
from userlan.wire.superpacket import SuperPacket, cut, join, parse
from userlan.wire.tcp import Flags, Segment, parse_segment


def segments_of(packets: list[bytes], verified: bool = True) -> list[Segment]:
    return [parse_segment(parse(packet, verified)) for packet in packets]


@settings(deadline=None, max_examples=300)
@given(
    pairs, st.integers(1, 60_000), st.sampled_from((0, 10, 536, 1220, 1368, 9000)), st.integers(0, 66_000), near_wrap,
    st.lists(st.sampled_from((Flags.PSH, Flags.FIN, Flags.ECE, Flags.CWR)), unique=True), st.booleans(),
)  # fmt: skip
def test_the_stream_is_the_same_however_it_is_cut(
    addresses: tuple[bytes, bytes], length: int, size: int, limit: int, seq: int, flags: list[int], checksums: bool
) -> None:
    """RFC 9293 3.4, 3.8: segments have no borders that matter; sequence numbers go on; PSH and FIN are on the last, CWR on the first."""
    payload = bytes(range(251)) * (length // 251 + 1)
    packet = super_segment(payload[:length], size, addresses, seq=seq, flags=Flags.ACK | sum(flags))
    if limit and limit - len(packet.header) < 10:
        limit = len(packet.header) + 10
    length, payload, size = len(packet.payload), bytes(packet.payload), size or length
    packets = cut(packet, checksums, limit)
    assert b"".join(bytes(one.payload) for one in segments_of(packets)) == payload
    if limit:
        assert max(map(len, packets)) <= max(limit, len(packet.header))
    wanted = seq
    for index, one in enumerate(segments_of(packets)):
        assert one.seq == wanted & 0xFFFFFFFF
        wanted += len(one.payload)
        last = index == len(packets) - 1
        assert one.flags & (Flags.PSH | Flags.FIN) == (sum(flags) & (Flags.PSH | Flags.FIN) if last else 0)
        assert one.flags & Flags.CWR == (sum(flags) & Flags.CWR if index == 0 else 0)
    if checksums:
        assert all(transport_ok(parse(one)) for one in packets)


@pytest.mark.parametrize("addresses", PAIRS)
def test_a_wider_path_takes_whole_segments_together(addresses: tuple[bytes, bytes]) -> None:
    """Multiples of the segment size, so that the receiver's stack counts as it would have."""
    packet = super_segment(bytes(60_000), 1300, addresses)
    head = len(packet.header)
    assert {len(one) - head for one in cut(packet, False, 8920)[:-1]} == {(8920 - head) // 1300 * 1300}
    assert {len(one) - head for one in cut(packet, False, head + 1300)[:-1]} == {1300}
    assert {len(one) - head for one in cut(packet, False, head + 1299)[:-1]} == {1299}
    assert len(cut(packet, False, 65_503)) == 1
    assert len(cut(packet, False)) == packet.wire_count == 47


def test_what_was_cut_finer_or_coarser_is_joined_again() -> None:
    for limit in (200, 1240, 1420, 8920):
        packet = super_segment(bytes(range(200)) * 250, 1300)
        (again,) = join(cut(packet, False, limit), True, Counter())
        assert (bytes(again.payload), again.source, again.protocol) == (packet.payload, packet.source, 6)


def test_one_segment_is_cut_where_the_path_is_narrower() -> None:
    """A path that shrank: what the stack made before it heard of that still arrives."""
    single = super_segment(bytes(1368), 0)
    head = len(single.header)
    assert [len(one) for one in cut(single, False, 1240)] == [1240, head + 1368 - (1240 - head)]
    assert cut(single, False, 0) == cut(single, False, 1420) == [raw(single)]


def test_what_must_not_be_cut_is_not() -> None:
    """A SYN with data twice would be two SYNs, an urgent pointer would point elsewhere (RFC 9293 3.1), datagrams have borders."""
    for flags in (Flags.SYN, Flags.ACK | Flags.URG, Flags.RST | Flags.ACK):
        packet = super_segment(bytes(1300), 0, flags=flags)
        assert cut(packet, False, 600) == [raw(packet)]
    datagram = udp.build(udp.Datagram(1, 2, bytes(3000)), *PAIRS[0])
    assert cut(datagram, False, 600) == [raw(datagram)]
    assert len(cut(udp.build(udp.Datagram(1, 2, bytes(3000), 1000), *PAIRS[0]), False, 600)) == 3
    echo = icmp.build(icmp.Echo(True, 1, 2, bytes(1300)), *PAIRS[0])
    assert cut(echo, False, 600) == [raw(echo)]
    pure = super_segment(b"", 0)
    assert cut(pure, False, 20) == [raw(pure)]


def test_a_limit_below_the_headers_is_none() -> None:
    packet = super_segment(bytes(4000), 1000)
    for limit in (1, 20, len(packet.header)):
        assert cut(packet, False, limit) == cut(packet, False)


def test_identifications_count_on_where_routers_may_fragment() -> None:
    """RFC 6864 4.2: each packet without "don't fragment" has an identification of its own."""
    packet = super_segment(bytes(4000), 1000)
    header = bytearray(packet.header)
    header[4:8] = (0xFFFE).to_bytes(2, "big") + b"\0\0"
    packets = cut(SuperPacket(bytes(header), packet.payload, 1000, True), False, 700)
    assert [int.from_bytes(one[4:6], "big") for one in packets[:4]] == [0xFFFE, 0xFFFF, 0, 1]
