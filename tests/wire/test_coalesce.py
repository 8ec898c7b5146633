"""Super-packets that came together, as fewer ones: flows may alternate, none is mixed with another or changes its order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.examples import PAIRS, super_segment
from userlan.wire import tcp, udp
from userlan.wire.checksum import transport_ok
from userlan.wire.coalesce import coalesced
from userlan.wire.superpacket import SuperPacket, cut, parse
from userlan.wire.tcp import Flags, parse_segment

SIZE = 100


def piece(start: int, length: int, size: int = SIZE, pair: tuple[bytes, bytes] = PAIRS[0], **fields: Any) -> SuperPacket:
    """The octets [start, start + length) of a stream, as one super-packet."""
    payload = bytes(number * 7 % 251 for number in range(start, start + length))
    return super_segment(payload, size if length > size else 0, pair, seq=1000 + start, **fields)


def sizes(packets: list[SuperPacket]) -> list[int]:
    return [len(packet.payload) for packet in packets]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 900), st.booleans()), max_size=30))
def test_every_flow_stays_what_it_is(writes: list[tuple[int, int, bool]]) -> None:
    ends = (PAIRS[0], PAIRS[0][::-1], PAIRS[1], PAIRS[1][::-1])
    sent = [0, 0, 0, 0]
    packets = []
    for flow, length, pushed in writes:
        packets.append(piece(sent[flow], length, pair=ends[flow], flags=Flags.ACK | (Flags.PSH if pushed else 0)))
        sent[flow] += length
    merged = coalesced(packets)
    assert len(merged) <= len(packets)
    for number, pair in enumerate(ends):
        at = 0
        for packet in merged:
            if (packet.source, packet.destination) != pair:
                continue
            assert parse_segment(packet).seq == 1000 + at, "in order, without a gap"
            for one in cut(packet, True):
                assert transport_ok(parse(one))
                segment = parse_segment(parse(one))
                assert bytes(segment.payload) == bytes(place * 7 % 251 for place in range(at, at + len(segment.payload)))
                assert len(segment.payload) <= max(SIZE, packet.segment_size)
                at += len(segment.payload)
        assert at == sent[number]


@pytest.mark.parametrize("pair", PAIRS)
def test_alternating_flows_become_one_packet_each(pair: tuple[bytes, bytes]) -> None:
    there, back = pair, pair[::-1]
    packets = [piece(start, 500, pair=one) for start in range(0, 5000, 500) for one in (there, back)]
    merged = coalesced(packets)
    assert sizes(merged) == [5000, 5000]
    assert [packet.segment_size for packet in merged] == [SIZE, SIZE]
    assert [packet.source for packet in merged] == [there[0], back[0]]


def test_a_short_segment_is_the_last_of_its_packet() -> None:
    assert sizes(coalesced([piece(0, 500), piece(500, 250), piece(750, 500)])) == [750, 500]
    assert sizes(coalesced([piece(0, 40), piece(40, 500)])) == [40, 500]
    assert sizes(coalesced([piece(0, SIZE), piece(SIZE, SIZE), piece(2 * SIZE, 30)])) == [230]


def test_a_gap_and_an_overlap_end_a_run() -> None:
    assert sizes(coalesced([piece(0, 500), piece(600, 500)])) == [500, 500]
    assert sizes(coalesced([piece(0, 500), piece(400, 500)])) == [500, 500]
    assert sizes(coalesced([piece(0, 500), piece(0, 500), piece(500, 500)])) == [500, 1000]


def test_the_sequence_number_may_wrap() -> None:
    packets = [super_segment(bytes(500), SIZE, seq=0xFFFFFF00), super_segment(bytes(500), SIZE, seq=0xF4)]
    assert sizes(coalesced(packets)) == [1000]


def test_push_and_fin_end_up_on_the_last_segment() -> None:
    """RFC 9293 3.9.1: PSH marks octets, and none of those behind are held back; behind a FIN there is nothing."""
    (merged,) = coalesced([piece(0, 500, flags=Flags.ACK | Flags.PSH), piece(500, 500, flags=Flags.ACK | Flags.FIN)])
    flags = [parse_segment(parse(one)).flags for one in cut(merged, True)]
    assert flags == [Flags.ACK] * 9 + [Flags.ACK | Flags.PSH | Flags.FIN]
    assert sizes(coalesced([piece(0, 500, flags=Flags.ACK | Flags.FIN), piece(500, 500)])) == [500, 500]


def test_the_first_timestamp_stands() -> None:
    """RFC 7323 4.3: the earliest of those that one acknowledgement covers is echoed."""
    (merged,) = coalesced([piece(0, 500, timestamp=(11, 22)), piece(500, 500, timestamp=(14, 22))])
    assert parse_segment(merged).timestamp == (11, 22)
    assert sizes(coalesced([piece(0, 500, timestamp=(11, 22)), piece(500, 500, timestamp=(11, 23))])) == [500, 500]
    assert sizes(coalesced([piece(0, 500, timestamp=None), piece(500, 500, timestamp=None)])) == [1000]


@pytest.mark.parametrize("flag", [Flags.SYN, Flags.RST, Flags.URG, Flags.CWR, Flags.ECE])
def test_segments_that_say_more_stay_alone(flag: int) -> None:
    packets = [piece(0, 500), piece(500, 500, flags=Flags.ACK | flag), piece(1000, 500), piece(1500, 500)]
    assert sizes(coalesced(packets)) == [500, 500, 1000]


def test_a_pure_acknowledgement_keeps_its_place_in_the_flow() -> None:
    acknowledgement = super_segment(b"", 0, seq=1500)
    merged = coalesced([piece(0, 500), acknowledgement, piece(500, 500)])
    assert sizes(merged) == [500, 0, 500]


@pytest.mark.parametrize("place", [1, 8, 26, 28, 29, 30, 34, 38], ids=["ecn", "ttl", "seq", "ack", "ack", "ack", "window", "urgent"])
def test_packets_that_differ_in_a_header_stay_apart(place: int) -> None:
    other = piece(500, 500)
    header = bytearray(other.header)
    header[place] ^= 1
    assert sizes(coalesced([piece(0, 500), SuperPacket(bytes(header), other.payload, SIZE, True)])) == [500, 500]


def test_what_may_not_be_joined_is_passed_on() -> None:
    unverified = [SuperPacket(one.header, one.payload, SIZE, False) for one in (piece(0, 500), piece(500, 500))]
    fragmentable = []
    for one in (piece(0, 500), piece(500, 500)):
        header = bytearray(one.header)
        header[6] = 0
        fragmentable.append(SuperPacket(bytes(header), one.payload, SIZE, True))
    datagrams = [udp.build(udp.Datagram(1, 2, bytes(10)), *PAIRS[0])] * 2
    for packets in (unverified, fragmentable, datagrams, []):
        assert coalesced(packets) == packets


def test_nothing_exceeds_what_ip_can_say() -> None:
    merged = coalesced([piece(start, 20_000, 1000) for start in range(0, 100_000, 20_000)])
    assert sizes(merged) == [60_000, 40_000]
    assert merged[0].length == int.from_bytes(merged[0].header[2:4], "big")
    assert tcp.parse_segment(merged[1]).seq == 61_000
