"""UDP datagrams."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.examples import ALICE4, BOB4, PAIRS, pairs, port, raw
from userlan.wire import tcp, udp
from userlan.wire.checksum import transport_ok
from userlan.wire.errors import WireError
from userlan.wire.superpacket import SuperPacket, cut, parse
from userlan.wire.udp import Datagram, parse_datagram


@settings(deadline=None, max_examples=100)
@given(port, port, st.binary(max_size=100), pairs)
def test_parse_undoes_build(source: int, destination: int, payload: bytes, addresses: tuple[bytes, bytes]) -> None:
    datagram = Datagram(source, destination, payload)
    for wire in (raw(udp.build(datagram, *addresses)), cut(udp.build(datagram, *addresses), True)[0]):
        assert parse_datagram(parse(wire, verified=True)) == datagram


@pytest.mark.parametrize("addresses", PAIRS)
def test_octets_behind_the_udp_length_are_no_part_of_the_datagram(addresses: tuple[bytes, bytes]) -> None:
    packet = parse(cut(udp.build(Datagram(1, 2, b"hello"), *addresses), True)[0])
    surplus = bytearray(raw(packet) + b"surplus")
    total = len(surplus) - (0 if packet.version == 4 else 40)
    position = 2 if packet.version == 4 else 4
    surplus[position : position + 2] = total.to_bytes(2, "big")
    again = parse(bytes(surplus), verified=True)
    assert again.payload == b"hellosurplus"
    assert parse_datagram(again).payload == b"hello"
    assert transport_ok(SuperPacket(again.header, again.payload))


@pytest.mark.parametrize(("length", "reason"), [(0, "udp-length"), (7, "udp-length"), (14, "udp-truncated")])
def test_an_impossible_length_is_refused(length: int, reason: str) -> None:
    data = bytearray(raw(udp.build(Datagram(1, 2, b"hello"), ALICE4, BOB4)))
    data[24:26] = length.to_bytes(2, "big")
    with pytest.raises(WireError) as caught:
        parse(bytes(data), verified=True)
    assert caught.value.reason == reason


def test_the_longest_datagram_fits_and_one_octet_more_does_not() -> None:
    for addresses, longest in zip(PAIRS, (udp.MAX_PAYLOAD_IPV4, udp.MAX_PAYLOAD_IPV6), strict=True):
        assert udp.build(Datagram(1, 2, bytes(longest)), *addresses).length == 65535
        with pytest.raises(WireError):
            udp.build(Datagram(1, 2, bytes(longest + 1)), *addresses)


def test_what_is_no_datagram_is_refused() -> None:
    with pytest.raises(WireError):
        parse_datagram(tcp.build(tcp.Segment(), ALICE4, BOB4))


def test_equality_and_text() -> None:
    assert Datagram(1, 2, b"x") != Datagram(1, 2, b"y")
    assert Datagram() != object()
    assert repr(Datagram(1, 2, b"xyz")) == "Datagram(1>2 length=3)"
