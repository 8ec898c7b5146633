"""Between a TAP's frames and super-packets, both ways (virtio 1.2, 5.1.6)."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from tests.driver.tap.frames_by_hand import OWN, PEER, completed, frame, raw_frame
from tests.wire.examples import ALICE4, ALICE6, BOB6, PAIRS, super_segment
from userlan.driver.tap.frames import GSO_ECN, GSO_TCP4, GSO_TCP6, GSO_UDP, NEEDS_CHECKSUM, START, VNET, packets_of
from userlan.driver.tap.outward import Outward
from userlan.wire import icmp, ndp, udp
from userlan.wire.checksum import transport_ok
from userlan.wire.fragment import fragment
from userlan.wire.superpacket import SuperPacket, cut, parse
from userlan.wire.tcp import Flags

MTU = 1420
BROADCAST = bytes((25, 255, 255, 255))


def read(*frames: bytes) -> list[SuperPacket]:
    """The super-packets of frames that are all plain."""
    counters: Counter[str] = Counter()
    packets, others = packets_of(frames, counters)
    assert (others, counters) == ([], Counter())
    return packets


def written(packet: SuperPacket, mtu: int = MTU, udp_segmentation: bool = True) -> list[bytes]:
    outward = Outward(OWN, PEER, mtu, BROADCAST)
    outward.udp_segmentation = udp_segmentation
    counters: Counter[str] = Counter()
    frames = [start + bytes(payload) for start, payload in outward.frames(packet, counters)]
    assert not counters
    return frames


def same(one: SuperPacket, other: SuperPacket) -> bool:
    """Whether two packets stand for the same wire packets, checksums aside."""
    return cut(blank(one), True) == cut(blank(other), True)


def blank(packet: SuperPacket) -> SuperPacket:
    return SuperPacket(packet.header, bytes(packet.payload), packet.segment_size, True)


def scapys(packet: bytes) -> Any:
    return IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)


def checksum_by_scapy(packet: bytes, layer: Any) -> int:
    """The transport checksum that scapy computes for a packet."""
    dissected = scapys(packet)
    del dissected[layer].chksum
    return int(scapys(bytes(dissected))[layer].chksum)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(PAIRS), st.binary(min_size=1, max_size=4000), st.integers(100, 1368), st.sampled_from([0, Flags.PSH, Flags.FIN]))
def test_tcp_survives_the_way_to_a_kernel_and_back(
    addresses: tuple[bytes, bytes], payload: bytes, size: int, flags: int
) -> None:
    packet = super_segment(payload, size, addresses, flags=Flags.ACK | flags)
    (one,) = written(packet)
    (again,) = read(one)
    assert same(packet, again)
    assert again.segment_size == (size if len(payload) > size else 0)
    assert again.verified


@pytest.mark.parametrize(("addresses", "kind"), [(PAIRS[0], GSO_TCP4), (PAIRS[1], GSO_TCP6)])
def test_a_tcp_super_packet_is_described_as_gso(addresses: tuple[bytes, bytes], kind: int) -> None:
    (one,) = written(super_segment(bytes(5000), 1300, addresses))
    offset = 20 if kind == GSO_TCP4 else 40
    assert VNET.unpack_from(one) == (NEEDS_CHECKSUM, kind, 14 + offset + 32, 1300, 14 + offset, 16)
    assert one[VNET.size :].startswith(OWN + PEER)


@pytest.mark.parametrize("addresses", PAIRS)
@pytest.mark.parametrize("size", [0, 1, 77, 1368])
def test_the_kernel_completes_a_checksum_that_scapy_agrees_with(addresses: tuple[bytes, bytes], size: int) -> None:
    for packet, layer in (
        (super_segment(bytes(range(256)) * 5, 0, addresses), TCP),
        (udp.build(udp.Datagram(4000, 53, bytes(size)), *addresses), UDP),
    ):
        (one,) = written(packet)
        whole = completed(one)
        assert transport_ok(parse(whole))
        assert scapys(whole)[layer].chksum == checksum_by_scapy(whole, layer)


def test_the_ipv4_header_comes_with_its_checksum() -> None:
    (one,) = written(super_segment(bytes(5000), 1300))
    dissected = IP(one[START:])
    checksum = dissected.chksum
    del dissected.chksum
    assert IP(bytes(dissected)).chksum == checksum


def test_segments_wider_than_the_interface_are_described_by_its_mtu() -> None:
    """A peer on a wider path may send segments that no kernel with this MTU would make."""
    wide = super_segment(bytes(20_000), 8_000)
    alone = super_segment(bytes(5_000), 0)
    for packet in (wide, alone):
        (one,) = written(packet)
        assert VNET.unpack_from(one)[3] == MTU - len(packet.header)
    (fits,) = written(super_segment(bytes(MTU - len(alone.header)), 0))
    assert VNET.unpack_from(fits)[3] == 0


def test_congestion_window_reduced_is_described_both_ways() -> None:
    """RFC 3168 6.1.2: CWR is on the first segment only."""
    packet = super_segment(bytes(5000), 1300, flags=Flags.ACK | Flags.CWR)
    (one,) = written(packet)
    assert VNET.unpack_from(one)[1] == GSO_TCP4 | GSO_ECN
    (again,) = read(one)
    assert same(packet, again)


@pytest.mark.parametrize("addresses", PAIRS)
def test_datagrams_in_a_row_are_one_gso_frame_where_the_kernel_has_that(addresses: tuple[bytes, bytes]) -> None:
    packet = udp.build(udp.Datagram(5, 6, bytes(range(200)), 64), *addresses)
    (one,) = written(packet)
    assert VNET.unpack_from(one)[1:4:2] == (GSO_UDP, 64)
    (again,) = read(one)
    assert same(packet, again)
    each = written(packet, udp_segmentation=False)
    assert [len(one) - START for one in each] == [len(packet.header) + size for size in (64, 64, 64, 8)]
    assert all(transport_ok(parse(completed(one))) for one in each)


def test_what_a_stranger_sent_keeps_its_checksum() -> None:
    packet = parse(cut(udp.build(udp.Datagram(5, 6, b"hello"), *PAIRS[0]), True)[0])
    assert not packet.verified
    (one,) = written(packet)
    assert one[: VNET.size] == bytes(VNET.size)
    assert transport_ok(parse(one[START:]))


def test_other_protocols_and_fragments_are_left_alone() -> None:
    echo = icmp.build(icmp.Echo(True, 1, 2, b"data"), *PAIRS[0])
    parts = fragment(udp.build(udp.Datagram(5, 6, bytes(3000)), *PAIRS[1]), MTU, 9)
    for packet in (echo, *parts):
        (one,) = written(packet)
        assert one[: VNET.size] == bytes(VNET.size)
        assert one[START + 20 :] == cut(packet, True)[0][20:]
        (again,) = read(one)
        assert (again.header[20:], bytes(again.payload)) == (packet.header[20:], bytes(packet.payload))


def datagrams(count: int, size: int = 64, addresses: tuple[bytes, bytes] = PAIRS[0], port: int = 6) -> list[bytes]:
    packet = udp.build(udp.Datagram(5, port, bytes(number % 256 for number in range(size)) * count, size), *addresses)
    return [frame(one) for one in cut(packet, True)]


@pytest.mark.parametrize("addresses", PAIRS)
def test_equal_datagrams_of_a_flow_become_one_burst(addresses: tuple[bytes, bytes]) -> None:
    (packet,) = read(*datagrams(64, addresses=addresses))
    assert (packet.segment_size, packet.wire_count, packet.verified) == (64, 64, True)
    assert [one[len(one) - 64 :] for one in cut(packet, False)] == [bytes(range(64))] * 64
    assert same(packet, udp.build(udp.Datagram(5, 6, bytes(range(64)) * 64, 64), *addresses))


def test_flows_and_sizes_do_not_mix_and_order_is_kept() -> None:
    one, other, longer = datagrams(3), datagrams(2, port=7), datagrams(2, size=65)
    tcp = raw_frame(super_segment(bytes(5000), 1300), GSO_TCP4, 1300)
    packets = read(*one, *other, tcp, *longer, one[0], longer[0], *datagrams(2, addresses=PAIRS[1]))
    assert [packet.wire_count for packet in packets] == [3, 2, 4, 2, 1, 1, 2]


def test_a_super_packet_never_exceeds_what_ip_can_say() -> None:
    packets = read(*datagrams(30, size=1392), *datagrams(30, size=1392))
    assert [packet.wire_count for packet in packets] == [47, 13]
    assert all(packet.length <= 65535 for packet in packets)


def test_frames_that_are_no_plain_ip_are_set_aside() -> None:
    counters: Counter[str] = Counter()
    arp = bytes(VNET.size) + b"\xff" * 6 + OWN + b"\x08\x06" + bytes(46)
    probe = frame(cut(ndp.build(ndp.Solicitation(BOB6, OWN), ALICE6, BOB6), True)[0])
    short = bytes(VNET.size) + OWN + PEER + b"\x08\x00" + b"\x45"
    frames = [arp, probe, short, b""]
    assert packets_of(frames, counters) == ([], frames)
    assert not counters


@pytest.mark.parametrize(
    ("source", "destination", "hardware"),
    [
        (ALICE4, "239.129.2.3", "01:00:5e:01:02:03"),       # RFC 1112 6.4: 23 bits
        (ALICE4, "224.0.0.251", "01:00:5e:00:00:fb"),
        (ALICE4, "255.255.255.255", "ff:ff:ff:ff:ff:ff"),
        (ALICE4, "25.255.255.255", "ff:ff:ff:ff:ff:ff"),    # the LAN's own
        (ALICE6, "ff02::1:3", "33:33:00:01:00:03"),         # RFC 2464 7
        (ALICE6, "ff05::1234:5678", "33:33:12:34:56:78"),
    ],
)
def test_packets_to_groups_are_read_and_are_written_to_the_groups_hardware_address(
    source: bytes, destination: str, hardware: str
) -> None:
    packet = udp.build(udp.Datagram(5, 6, bytes(64)), source, ipaddress.ip_address(destination).packed)
    (one,) = written(packet)
    assert (one[VNET.size : VNET.size + 6].hex(":"), one[VNET.size + 6 : VNET.size + 12]) == (hardware, PEER)
    octets = frame(cut(packet, True)[0], destination=bytes.fromhex(hardware.replace(":", "")))
    assert [same(packet, again) for again in read(octets)] == [True]
    (burst,) = read(octets, octets, octets)
    assert burst.wire_count == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda octets: octets.__setitem__(1, 9), "gso-type"),
        (lambda octets: octets.__setitem__(slice(4, 6), b"\0\0"), "gso-length"),                # a size of nothing
        (lambda octets: octets.__setitem__(slice(6, 8), b"\xff\xff"), "gso-type"),              # starts beyond the end
        (lambda octets: octets.__setitem__(slice(6, 8), (38).to_bytes(2, "little")), "gso-header"),
        (lambda octets: octets.__setitem__(slice(START + 2, START + 4), b"\0\x30"), "gso-length"),
        (lambda octets: octets.__delitem__(slice(-1, None)), "gso-length"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(change: Any, reason: str) -> None:
    octets = bytearray(raw_frame(super_segment(bytes(5000), 1300), GSO_TCP4, 1300))
    change(octets)
    counters: Counter[str] = Counter()
    assert packets_of([bytes(octets)], counters) == ([], [])
    assert counters == {reason: 1}


@settings(deadline=None, max_examples=200)
@given(st.lists(st.binary(max_size=120), max_size=4), st.integers(0, 255), st.booleans())
def test_any_octets_are_read_without_an_exception(tails: list[bytes], kind: int, six: bool) -> None:
    frames = [
        VNET.pack(1, kind, 54, 100, 34, 16) + PEER + OWN + (b"\x86\xdd\x60" if six else b"\x08\x00\x45") + tail for tail in tails
    ]
    packets, others = packets_of(frames, Counter())
    assert len(packets) + len(others) <= len(frames)


@pytest.mark.parametrize("length", [30, 39, 40, 41])
def test_an_icmpv6_packet_without_its_type_raises_nothing(length: int) -> None:
    """Whoever can send a raw packet towards the LAN (a container whose packets are forwarded) must not end the TAP."""
    packet = b"\x60" + bytes(5) + b"\x3a\x40" + ALICE6 + BOB6 + b"\x80"
    counters: Counter[str] = Counter()
    packets, others = packets_of([frame(packet[:length])] * 2, counters)
    assert others == []
    assert len(packets) + counters.total() == 2
