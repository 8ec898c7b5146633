"""Fragments of IPv4 and IPv6: fields, making them, putting them together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.examples import ALICE4, ALICE6, BOB4, BOB6, PAIRS, raw
from userlan.wire import icmpv6, ipv4, ipv6, udp
from userlan.wire.checksum import transport_ok
from userlan.wire.errors import WireError
from userlan.wire.fragment import Fragment, fragment, parse_fragment, reassembled
from userlan.wire.superpacket import SuperPacket, parse


def received(parts: list[SuperPacket]) -> list[Fragment]:
    """The fragments as a receiver who trusts nothing sees them."""
    return [parse_fragment(parse(raw(part))) for part in parts]


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(PAIRS), st.binary(min_size=1, max_size=900), st.integers(100, 400), st.integers(0, 0xFFFF))
def test_a_datagram_survives(addresses: tuple[bytes, bytes], payload: bytes, mtu: int, identification: int) -> None:
    packet = udp.build(udp.Datagram(5, 6, payload), *addresses, traffic_class=2)
    parts = fragment(packet, mtu, identification)
    if packet.length <= mtu:
        assert parts == [packet]
        return
    assert all(part.length <= mtu and part.fragment and part.segment_size == 0 for part in parts)
    pieces = received(parts)
    assert len({piece.key for piece in pieces}) == 1
    assert [piece.offset for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])]
    assert [piece.more for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert all(piece.identification == identification and piece.protocol == 17 for piece in pieces)
    whole = reassembled(pieces[0], b"".join(bytes(piece.payload) for piece in pieces))
    assert not whole.fragment
    assert not whole.verified
    assert transport_ok(whole)
    assert udp.parse_datagram(whole).payload == payload
    assert (whole.source, whole.destination, whole.traffic_class) == (*addresses, 2)


def test_a_fragment_is_fragmented_again() -> None:
    first = fragment(udp.build(udp.Datagram(5, 6, bytes(range(256)) * 8), ALICE4, BOB4), 1000, 77)
    smaller = [part for one in first for part in fragment(one, 200, 77)]
    pieces = received(smaller)
    assert [piece.offset for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])]
    assert [piece.more for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    whole = reassembled(pieces[0], b"".join(bytes(piece.payload) for piece in pieces))
    assert udp.parse_datagram(whole).payload == bytes(range(256)) * 8


def test_ipv4_options_are_copied_only_when_they_ask_for_it() -> None:
    copied, once = b"\x94\x04\0\0", b"\x07\x07\x04\0\0\0\0"
    header = ipv4.build_header(ALICE4, BOB4, 200, 12 + 100)
    header = bytes((0x48,)) + header[1:] + copied + once + b"\0"
    parts = fragment(SuperPacket(header, bytes(100), 0, True), 80, 1)
    assert [ipv4.options(part.header) for part in parts] == [[(0x94, b"\0\0"), (7, b"\4\0\0\0\0")]] + [
        [(0x94, b"\0\0")]
    ] * (len(parts) - 1)
    pieces = received(parts)
    whole = reassembled(pieces[0], b"".join(bytes(piece.payload) for piece in pieces))
    assert len(whole.header) == 32
    assert bytes(whole.payload) == bytes(100)


def test_ipv6_extension_headers_stay_where_they_belong() -> None:
    hop = bytes((60, 0, 5, 2, 0, 0, 1, 0))
    destination = bytes((58, 0, 1, 4, 0, 0, 0, 0))
    echo = icmpv6.build(icmpv6.Echo(True, 1, 2, bytes(range(200))), ALICE6, BOB6)
    header = ipv6.build_header(ALICE6, BOB6, 0, 16 + len(echo.payload)) + hop + destination
    parts = fragment(SuperPacket(header, echo.payload, 0, True), 128, 0xDEADBEEF)
    assert all(part.header[40:48] == b"\x2c" + hop[1:] and part.header[48] == 60 for part in parts)
    pieces = received(parts)
    assert all(piece.identification == 0xDEADBEEF for piece in pieces)
    whole = reassembled(pieces[0], b"".join(bytes(piece.payload) for piece in pieces))
    assert whole.header == header
    assert transport_ok(whole)
    assert icmpv6.parse(whole) == icmpv6.Echo(True, 1, 2, bytes(range(200)))


@pytest.mark.parametrize("addresses", PAIRS)
def test_congestion_experienced_is_put_back(addresses: tuple[bytes, bytes]) -> None:
    pieces = received(fragment(udp.build(udp.Datagram(5, 6, bytes(500)), *addresses, traffic_class=0xB9), 200, 1))
    data = b"".join(bytes(piece.payload) for piece in pieces)
    assert [piece.traffic_class for piece in pieces] == [0xB9] * len(pieces)
    assert reassembled(pieces[0], data, congestion_experienced=True).traffic_class == 0xBB
    assert reassembled(pieces[0], data, verified=True).verified


def ipv4_fragment(word: int, payload: bytes) -> SuperPacket:
    return parse(ipv4.build_header(ALICE4, BOB4, 17, len(payload), identification=1, fragment=word) + payload, True)


def ipv6_fragment(word: int, payload: bytes, protocol: int = 17) -> SuperPacket:
    extension = bytes((protocol, 0)) + word.to_bytes(2, "big") + bytes(4)
    return parse(ipv6.build_header(ALICE6, BOB6, 44, 8 + len(payload)) + extension + payload, True)


def test_fields_that_cannot_be() -> None:
    for packet, reason in (
        (ipv4_fragment(0x2000, b""), "fragment-empty"),
        (ipv6_fragment(8, b""), "fragment-empty"),
        (ipv4_fragment(0x2000, bytes(9)), "fragment-unaligned"),
        (ipv6_fragment(1, bytes(9)), "fragment-unaligned"),
        (ipv4_fragment(0x1FFF, bytes(9)), "fragment-too-long"),
        (ipv6_fragment(0xFFF8, bytes(9)), "fragment-too-long"),
        (udp.build(udp.Datagram(), ALICE4, BOB4), "fragment-none"),
    ):
        with pytest.raises(WireError) as caught:
            parse_fragment(packet)
        assert caught.value.reason == reason
    assert parse_fragment(ipv4_fragment(0x0001, bytes(9))).end == 17


def test_keys_tell_apart_what_does_not_belong_together() -> None:
    one = parse_fragment(ipv4_fragment(0x2000, bytes(8)))
    assert one.key == (ALICE4, BOB4, 1, 17)
    six = parse_fragment(ipv6_fragment(1, bytes(8), protocol=6))
    assert six.key == parse_fragment(ipv6_fragment(9, bytes(8), protocol=17)).key == (ALICE6, BOB6, 0, 0)


def test_nested_fragments_are_refused() -> None:
    inner = bytes((17, 0, 0, 1)) + bytes(4) + bytes(8)
    outer = parse_fragment(ipv6_fragment(1, inner, protocol=44))
    with pytest.raises(WireError) as caught:
        reassembled(outer, inner)
    assert caught.value.reason == "fragment-nested"


def test_too_much_is_refused() -> None:
    first = parse_fragment(ipv4_fragment(0x2000, bytes(8)))
    with pytest.raises(WireError):
        reassembled(first, bytes(65516))
    assert reassembled(first, (5).to_bytes(2, "big") + b"\0\6" + b"\0\x0c\0\0" + bytes(65507)).length == 65535


def test_what_cannot_be_fragmented() -> None:
    packet = udp.build(udp.Datagram(5, 6, bytes(500)), ALICE4, BOB4)
    for mtu in (0, 20, 27):
        with pytest.raises(WireError) as caught:
            fragment(packet, mtu, 1)
        assert caught.value.reason == "fragment-mtu"
    assert len(fragment(packet, 28, 1)) == 64
    for refused in (
        udp.build(udp.Datagram(5, 6, bytes(500), 100), ALICE4, BOB4),
        ipv6_fragment(1, bytes(400)),
    ):
        with pytest.raises(WireError):
            fragment(refused, 200, 1)
