"""TCP segments: identity of parse and build, options as RFC 9293 3.2 asks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.wire.examples import ALICE4, ALICE6, BOB4, BOB6, PAIRS, pairs, raw, segments
from userlan.wire import tcp, udp
from userlan.wire.errors import WireError
from userlan.wire.superpacket import SuperPacket, parse
from userlan.wire.tcp import Flags, Segment, parse_segment


def with_options(options: bytes, flags: int = Flags.ACK) -> SuperPacket:
    """A segment with these very option octets, padded with ends."""
    options += bytes(-len(options) % 4)
    packet = tcp.build(Segment(1, 2, flags=flags), ALICE4, BOB4)
    header = bytearray(packet.header + options)
    header[2:4] = len(header).to_bytes(2, "big")
    header[32] = (20 + len(options)) << 2
    return parse(bytes(header), verified=True)


@settings(deadline=None, max_examples=300)
@given(segments(), pairs)
def test_parse_undoes_build(segment: Segment, addresses: tuple[bytes, bytes]) -> None:
    packet = tcp.build(segment, *addresses)
    assert (packet.source, packet.destination) == addresses
    again = parse(raw(packet), verified=True)
    assert again.header == packet.header
    assert parse_segment(again) == segment
    assert raw(tcp.build(parse_segment(again), *addresses)) == raw(packet)


def test_a_view_of_the_payload_is_kept_uncopied() -> None:
    payload = memoryview(b"x" * 5000)
    packet = tcp.build(Segment(payload=payload, segment_size=1000), ALICE4, BOB4)
    assert packet.payload is payload
    assert parse_segment(packet).payload is payload
    assert parse_segment(packet).segment_size == 1000


def test_options_of_a_syn_are_laid_out_as_linux_does() -> None:
    segment = Segment(flags=Flags.SYN, mss=1360, sack_permitted=True, timestamp=(1, 0), window_scale=7)
    header = tcp.build(segment, ALICE4, BOB4).header
    assert header[40:].hex() == "02040550" "0402" "080a0000000100000000" "01" "030307"


@pytest.mark.parametrize(
    "options",
    [
        "0200",  # a length of zero
        "0201",
        "02",  # no length at all, at the very end
        "010101" "02",
        "0205054000",  # MSS of a wrong length
        "030207",
        "0304070000",
        "0403000000",
        "0502",  # SACK without a block
        "050a00000001000000",  # cut off
        "0509" "00000001000000",
        "0806" "00000001",
        "080b" "00000001" "00000002" "00",
        "fe29" "00000000",  # an unknown option beyond the header
        "1e00",
    ],
)
def test_an_impossible_length_refuses_the_segment(options: str) -> None:
    packet = with_options(bytes.fromhex(options).rjust((len(options) // 2 + 3) // 4 * 4, b"\x01"), Flags.SYN)
    with pytest.raises(WireError) as caught:
        parse_segment(packet)
    assert caught.value.reason == "tcp-option"


def test_unknown_options_are_skipped_and_known_ones_behind_them_read() -> None:
    segment = parse_segment(with_options(bytes.fromhex("fd04abcd" "1e02" "02040500" "01"), Flags.SYN))
    assert segment.mss == 0x500


def test_nothing_is_read_behind_the_end_of_options() -> None:
    assert parse_segment(with_options(bytes.fromhex("00" "02040500"), Flags.SYN)).mss is None


def test_options_of_a_syn_are_ignored_elsewhere() -> None:
    segment = parse_segment(with_options(bytes.fromhex("02040500" "0402" "030307")))
    assert (segment.mss, segment.sack_permitted, segment.window_scale) == (None, False, None)


def test_a_window_scale_above_14_counts_as_14() -> None:
    assert parse_segment(with_options(bytes.fromhex("0303ff"), Flags.SYN)).window_scale == 14


def test_four_sack_blocks_alone_and_three_beside_a_timestamp() -> None:
    blocks = tuple((n, n + 1) for n in range(5))
    for timestamp, fitting in ((None, 4), ((1, 2), 3)):
        packet = tcp.build(Segment(flags=Flags.ACK, sack=blocks, timestamp=timestamp), ALICE6, BOB6)
        assert len(packet.header) <= 40 + 60
        segment = parse_segment(parse(raw(packet), verified=True))
        assert segment.sack == blocks[:fitting]
        assert segment.timestamp == timestamp


def test_what_is_no_whole_tcp_segment_is_refused() -> None:
    with pytest.raises(WireError):
        parse_segment(udp.build(udp.Datagram(1, 2, bytes(40)), ALICE4, BOB4))
    header = bytearray(raw(tcp.build(Segment(1, 2), ALICE4, BOB4)))
    header[6:8] = b"\x20\0"
    packet = parse(bytes(header), verified=True)
    assert packet.fragment
    with pytest.raises(WireError):
        parse_segment(packet)


@pytest.mark.parametrize("addresses", PAIRS)
def test_a_header_that_is_cut_off_or_too_short_is_refused(addresses: tuple[bytes, bytes]) -> None:
    packet = tcp.build(Segment(1, 2, timestamp=(1, 2)), *addresses)
    offset = packet.transport_offset
    short, long = "tcp-data-offset", "tcp-truncated"
    for data_offset, reason in ((4, short), (0, short), (9, long), (15, long)):
        data = bytearray(raw(packet))
        data[offset + 12] = data_offset << 4
        with pytest.raises(WireError) as caught:
            parse(bytes(data), verified=True)
        assert caught.value.reason == reason


def test_the_longest_segment_fits_and_one_octet_more_does_not() -> None:
    for addresses, overhead in zip(PAIRS, (40, 60), strict=True):
        assert tcp.build(Segment(payload=bytes(65535 - overhead)), *addresses).length == 65535
        with pytest.raises(WireError):
            tcp.build(Segment(payload=bytes(65536 - overhead)), *addresses)


def test_text_form_names_the_flags() -> None:
    text = repr(Segment(1, 2, flags=Flags.SYN | Flags.ACK, mss=1360))
    assert "SYN|ACK" in text
    assert "mss=1360" in text
    assert Segment() != object()
