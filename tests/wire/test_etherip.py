"""EtherIP (RFC 3378), with scapy as the second opinion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.etherip import EtherIP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import LLC, Dot3, Ether

from tests.wire.examples import ALICE4, ALICE6, BOB4, BOB6
from userlan.wire import etherip, ipv4
from userlan.wire.errors import WireError
from userlan.wire.numbers import PROTOCOL_ETHERIP
from userlan.wire.superpacket import SuperPacket, cut, parse

FRAMES = [
    Ether(src="02:6c:00:00:00:01", dst="ff:ff:ff:ff:ff:ff", type=0x8137) / b"\xff\xff\x00\x1eIPX of Ethernet II",
    Dot3(src="02:6c:00:00:00:01", dst="02:6c:00:00:00:02") / b"\xff\xff\x00\x1eIPX of 802.3 raw",
    Dot3(src="02:6c:00:00:00:01", dst="02:6c:00:00:00:02") / LLC(dsap=0xE0, ssap=0xE0, ctrl=3) / b"\xff\xff\x00\x1eIPX",
]


@pytest.mark.parametrize("frame", FRAMES)
def test_a_frame_is_carried_as_scapy_reads_it(frame: Ether) -> None:
    (wire,) = cut(etherip.build(bytes(frame), ALICE6, BOB6), True)
    read = IPv6(wire)
    assert (read.nh, read.plen, read.hlim) == (97, 2 + len(frame), 64)
    carried = EtherIP(bytes(read.payload))
    assert (carried.version, carried.reserved) == (3, 0)
    assert bytes(carried.payload) == bytes(frame)


@pytest.mark.parametrize("frame", FRAMES)
def test_scapys_packet_is_read(frame: Ether) -> None:
    packet = parse(bytes(IPv6(src="fd75::1", dst="ff12::756c:616e:97", nh=97) / EtherIP() / frame))
    assert packet.protocol == PROTOCOL_ETHERIP
    assert bytes(etherip.parse(packet)) == bytes(frame)


@given(st.binary(min_size=14, max_size=2_000))
def test_any_frame_survives(frame: bytes) -> None:
    assert bytes(etherip.parse(parse(cut(etherip.build(frame, ALICE6, BOB6), True)[0]))) == frame


@pytest.mark.parametrize("header", [b"\x20\x00", b"\x03\x00", b"\x30\x01", b"\x31\x00"])
def test_other_versions_and_reserved_bits_are_discarded(header: bytes) -> None:
    """RFC 3378 2 and 3; 03 is what some implementations send, with the version in the wrong half of the octet."""
    packet = etherip.build(bytes(20), ALICE6, BOB6)
    with pytest.raises(WireError) as refused:
        etherip.parse(SuperPacket(packet.header, header + bytes(20)))
    assert refused.value.reason == "etherip-version"


def test_what_is_cut_off_or_something_else_is_refused() -> None:
    packet = etherip.build(bytes(14), ALICE6, BOB6)
    for length in range(16):
        with pytest.raises(WireError, match="shorter"):
            etherip.parse(SuperPacket(packet.header, packet.payload[:length]))
    with pytest.raises(WireError, match="shorter"):
        etherip.build(bytes(13), ALICE6, BOB6)
    for protocol, flags in ((17, 0), (97, ipv4.MORE_FRAGMENTS)):
        header = bytearray(ipv4.build_header(ALICE4, BOB4, protocol, 30))
        header[6] |= flags >> 8
        with pytest.raises(WireError, match="no whole frame"):
            etherip.parse(SuperPacket(bytes(header), etherip.HEADER + bytes(28)))
