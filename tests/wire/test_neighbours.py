"""Ethernet, ARP and neighbour discovery, with scapy as the second opinion."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.wire.examples import ALICE4, ALICE6, BOB4, BOB6, raw
from userlan.wire import arp, ethernet, ndp
from userlan.wire.checksum import transport_ok
from userlan.wire.errors import WireError
from userlan.wire.superpacket import parse

hardware = st.binary(min_size=6, max_size=6)
address4 = st.binary(min_size=4, max_size=4)
address6 = st.binary(min_size=16, max_size=16).filter(lambda address: address[0] != 0xFF)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ip6(address: bytes) -> str:
    return str(ipaddress.IPv6Address(address))


@given(hardware, hardware, st.integers(0, 0xFFFF), st.binary(max_size=50))
def test_a_frame_survives(destination: bytes, source: bytes, kind: int, payload: bytes) -> None:
    frame = ethernet.build_header(destination, source, kind) + payload
    assert ethernet.parse(frame) == (destination, source, kind, payload)


def test_a_frame_as_scapy_builds_it() -> None:
    frame = bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src="02:75:19:01:02:03", type=0x0806)) + b"payload"
    assert ethernet.parse(frame) == (ethernet.BROADCAST, mac("02:75:19:01:02:03"), ethernet.TYPE_ARP, b"payload")
    with pytest.raises(WireError, match="shorter"):
        ethernet.parse(frame[:13])


def test_groups_are_told_by_one_bit() -> None:
    assert ethernet.is_group(ethernet.BROADCAST)
    assert ethernet.is_group(mac("33:33:00:00:00:01"))
    assert not ethernet.is_group(mac("02:75:19:01:02:03"))


@given(st.sampled_from([arp.REQUEST, arp.REPLY]), hardware, address4, hardware, address4)
def test_arp_as_scapy_reads_it(operation: int, sender: bytes, one: bytes, target: bytes, other: bytes) -> None:
    message = arp.Message(operation, sender, one, target, other)
    seen = ARP(arp.build(message))
    assert (seen.hwtype, seen.ptype, seen.op) == (1, 0x0800, operation)
    assert (mac(seen.hwsrc), mac(seen.hwdst)) == (sender, target)
    assert (seen.psrc, seen.pdst) == (str(ipaddress.IPv4Address(one)), str(ipaddress.IPv4Address(other)))
    assert arp.parse(bytes(seen) + bytes(18)) == message


@pytest.mark.parametrize("cut", [0, 1, 27])
def test_truncated_arp_is_refused(cut: int) -> None:
    message = arp.build(arp.Message(arp.REQUEST, bytes(6), ALICE4, bytes(6), BOB4))
    with pytest.raises(WireError) as caught:
        arp.parse(message[:cut])
    assert caught.value.reason == "arp-truncated"


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4, 5])
def test_arp_about_anything_else_is_refused(place: int) -> None:
    message = bytearray(arp.build(arp.Message(arp.REQUEST, bytes(6), ALICE4, bytes(6), BOB4)))
    message[place] ^= 1
    with pytest.raises(WireError) as caught:
        arp.parse(message)
    assert caught.value.reason == "arp-kind"


def test_a_solicitation_as_scapy_builds_it() -> None:
    packet = IPv6(src=ip6(ALICE6), dst="ff02::1:ff00:b2", hlim=255) / ICMPv6ND_NS(tgt=ip6(BOB6))
    packet /= ICMPv6NDOptSrcLLAddr(lladdr="02:6c:00:00:00:a1")
    assert ndp.parse(parse(bytes(packet))) == ndp.Solicitation(BOB6, mac("02:6c:00:00:00:a1"))


def test_duplicate_address_detection_has_no_hardware_address() -> None:
    """RFC 4862 5.4.2: its source is unspecified; RFC 4861 7.1.1: then there is no such option."""
    probe = IPv6(src="::", dst="ff02::1:ff00:b2", hlim=255) / ICMPv6ND_NS(tgt=ip6(BOB6))
    assert ndp.parse(parse(bytes(probe))) == ndp.Solicitation(BOB6)
    with pytest.raises(WireError):
        ndp.parse(parse(bytes(probe / ICMPv6NDOptSrcLLAddr(lladdr="02:6c:00:00:00:a1"))))


@given(address6, hardware, address6, address6, st.sampled_from([0, ndp.SOLICITED, ndp.OVERRIDE, 0xE0]))
def test_an_advertisement_as_scapy_reads_it(
    target: bytes, link: bytes, source: bytes, destination: bytes, flags: int
) -> None:
    packet = ndp.build(ndp.Advertisement(target, link, flags), source, destination)
    assert ndp.parse(packet) == ndp.Advertisement(target, link, flags)
    seen = IPv6(raw(packet))
    assert seen.hlim == 255
    assert (seen.src, seen.dst) == (ip6(source), ip6(destination))
    advertisement = seen[ICMPv6ND_NA]
    seen_flags = advertisement.R << 7 | advertisement.S << 6 | advertisement.O << 5
    assert flags == seen_flags
    assert advertisement.tgt == ip6(target)
    assert mac(seen[ICMPv6NDOptDstLLAddr].lladdr) == link
    checked = parse(raw(packet))
    assert transport_ok(checked)
    checksum = advertisement.cksum
    del advertisement.cksum
    assert IPv6(bytes(seen))[ICMPv6ND_NA].cksum == checksum


def test_a_solicitation_as_scapy_reads_it() -> None:
    seen = IPv6(raw(ndp.build(ndp.Solicitation(BOB6, b"\2\0\0\0\0\1"), ALICE6, BOB6)))
    assert seen[ICMPv6ND_NS].tgt == ip6(BOB6)
    assert seen[ICMPv6NDOptSrcLLAddr].lladdr == "02:00:00:00:00:01"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda octets: octets.__setitem__(7, 254), "ndp-hop-limit"),          # RFC 4861 7.1.1: not forwarded
        (lambda octets: octets.__setitem__(41, 1), "ndp-field"),               # code 0
        (lambda octets: octets.__setitem__(48, 0xFF), "ndp-field"),            # the target is no group
        (lambda octets: octets.__setitem__(65, 0), "ndp-option"),              # no option of length 0
        (lambda octets: octets.__setitem__(65, 2), "ndp-option"),              # ends with the packet
        (lambda octets: octets.__setitem__(40, ndp.TYPE_REDIRECT), "ndp-type"),
    ],
)
def test_what_must_be_discarded_is_refused(change: object, reason: str) -> None:
    octets = bytearray(raw(ndp.build(ndp.Solicitation(BOB6, b"\2\0\0\0\0\1"), ALICE6, BOB6)))
    assert callable(change)
    change(octets)
    with pytest.raises(WireError) as caught:
        ndp.parse(parse(bytes(octets)))
    assert caught.value.reason == reason


def test_a_solicited_advertisement_to_a_group_is_refused() -> None:
    """RFC 4861 7.1.2."""
    group = bytes.fromhex("ff020000000000000000000000000001")
    with pytest.raises(WireError):
        ndp.parse(ndp.build(ndp.Advertisement(BOB6), BOB6, group))
    assert ndp.parse(ndp.build(ndp.Advertisement(BOB6, b"", 0), BOB6, group)) == ndp.Advertisement(BOB6, b"", 0)


@given(st.binary(max_size=80))
def test_any_octets_end_in_a_message_or_a_wire_error(octets: bytes) -> None:
    for read in (ethernet.parse, arp.parse):
        with suppress(WireError):
            read(octets)
    header = raw(ndp.build(ndp.Solicitation(BOB6), ALICE6, BOB6))[:40]
    with suppress(WireError):
        ndp.parse(parse(header[:4] + len(octets).to_bytes(2, "big") + header[6:] + octets))
