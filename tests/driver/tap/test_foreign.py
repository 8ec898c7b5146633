"""Frames that are not IP: what travels by EtherIP, and what never does."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, LLC, SNAP, Dot1AD, Dot1Q, Dot3, Ether

from userlan.driver.tap.foreign import Foreign, carries_frame, is_foreign
from userlan.driver.tap.frames import VNET, packets_of
from userlan.driver.tap.neighbours import interface_address
from userlan.lan.addresses import ETHERIP_GROUP, text
from userlan.wire import etherip, udp
from userlan.wire.superpacket import SuperPacket, cut, parse

ANNA = bytes.fromhex("fd756c616e00000000000000000000a1")
BEN = bytes.fromhex("fd756c616e0000000000000012345678")
STRANGER = "02:6c:99:99:99:99"
MAC_A, MAC_B = interface_address(ANNA).hex(":"), interface_address(BEN).hex(":")
BROADCAST = "ff:ff:ff:ff:ff:ff"
IPX = b"\xff\xff\x00\x22\x00\x11" + bytes(range(28))


class Computer:
    def __init__(self, ipv6: bytes) -> None:
        self.counters: Counter[str] = Counter()
        members = {address[-4:]: address for address in (ANNA, BEN) if address != ipv6}
        self.foreign = Foreign(interface_address(ipv6), ipv6, members.get, self.counters)

    def sends(self, frame: Ether | Dot3, vnet: bytes = bytes(VNET.size)) -> SuperPacket | None:
        octets = vnet + bytes(frame)
        assert is_foreign(octets)
        assert packets_of([octets], self.counters) == ([], [octets])
        packet = self.foreign.packet_of(octets)
        return None if packet is None else parse(cut(packet, True)[0])

    def gets(self, frame: Ether | Dot3, source: bytes = ANNA) -> bytes | None:
        """What the kernel gets of a frame that a member sent, whatever that member checks."""
        written = self.foreign.frame_of(etherip.build(bytes(frame), source, ETHERIP_GROUP))
        assert written is None or written[: VNET.size] == bytes(VNET.size)
        return None if written is None else written[VNET.size :]


@pytest.fixture
def anna() -> Computer:
    return Computer(ANNA)


@pytest.fixture
def ben() -> Computer:
    return Computer(BEN)


def framings(destination: str) -> list[Ether | Dot3]:
    """IPX as it was framed: Ethernet II, 802.3 raw, 802.2, SNAP; and something else altogether."""
    return [
        Ether(src=MAC_A, dst=destination, type=0x8137) / IPX,
        Dot3(src=MAC_A, dst=destination) / IPX,
        Dot3(src=MAC_A, dst=destination) / LLC(dsap=0xE0, ssap=0xE0, ctrl=3) / IPX,
        Dot3(src=MAC_A, dst=destination) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=0x8137) / IPX,
        Ether(src=MAC_A, dst=destination, type=0x88B5) / b"an experiment",
    ]


@pytest.mark.parametrize("frame", framings(BROADCAST) + framings("01:00:5e:00:00:05"))
def test_a_frame_to_many_goes_to_all_who_are_attached(anna: Computer, ben: Computer, frame: Ether | Dot3) -> None:
    packet = anna.sends(frame)
    assert packet is not None
    assert (packet.source, text(packet.destination)) == (ANNA, "ff12::756c:616e:97")
    assert carries_frame(packet)
    assert ben.foreign.frame_of(packet) == bytes(VNET.size) + bytes(frame)


@pytest.mark.parametrize("frame", framings(MAC_B))
def test_a_frame_to_one_goes_to_the_member_with_that_address(anna: Computer, ben: Computer, frame: Ether | Dot3) -> None:
    packet = anna.sends(frame)
    assert packet is not None
    assert packet.destination == BEN
    assert ben.foreign.frame_of(packet) == bytes(VNET.size) + bytes(frame)


NEVER = [
    (Ether(src=MAC_A, dst=BROADCAST) / Dot1Q(vlan=7) / IPX, "frame-vlan"),
    (Ether(src=MAC_A, dst=BROADCAST) / Dot1AD(vlan=7) / IPX, "frame-vlan"),
    (Dot3(src=MAC_A, dst="01:80:c2:00:00:00") / LLC(dsap=0x42, ssap=0x42, ctrl=3) / bytes(35), "frame-link-local"),
    (Ether(src=MAC_A, dst="01:80:c2:00:00:0e", type=0x88CC) / b"LLDP", "frame-link-local"),
    (Dot3(src=MAC_A, dst=BROADCAST) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=0x800) / bytes(20), "frame-of-the-lan"),
    (Dot3(src=MAC_A, dst=BROADCAST) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0xF8, code=0x806) / bytes(20), "frame-of-the-lan"),
]


@pytest.mark.parametrize(("frame", "reason"), NEVER)
def test_some_never_leave_and_are_never_taken(anna: Computer, ben: Computer, frame: Ether | Dot3, reason: str) -> None:
    """IEEE 802.1Q 8.6.3: not through a bridge; and nothing that would pass by the LAN's own checks of addresses."""
    assert anna.sends(frame) is None
    assert ben.gets(frame) is None
    assert anna.counters == ben.counters == {reason: 1}


@pytest.mark.parametrize("kind", [0x0800, 0x86DD, 0x0806, 0x8035])
def test_ip_and_arp_are_no_foreign_frames(ben: Computer, kind: int) -> None:
    frame = Ether(src=MAC_A, dst=MAC_B, type=kind) / bytes(40)
    assert not is_foreign(bytes(VNET.size) + bytes(frame))
    assert ben.gets(frame) is None
    assert ben.counters == {"frame-of-the-lan": 1}


def test_a_group_that_is_like_those_of_bridges_is_none(anna: Computer) -> None:
    assert anna.sends(Ether(src=MAC_A, dst="01:80:c2:00:00:10", type=0x88B5) / b"x") is not None


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (Ether(src=STRANGER, dst=BROADCAST, type=0x8137) / IPX, "frame-source-foreign"),
        (Ether(src=MAC_A, dst=STRANGER, type=0x8137) / IPX, "frame-destination-unknown"),
        (Ether(src=MAC_A, dst=MAC_A, type=0x8137) / IPX, "frame-destination-unknown"),
        (Ether(src=MAC_A, dst="02:75:12:34:56:78", type=0x8137) / IPX, "frame-destination-unknown"),
    ],
)
def test_what_is_nobodys_does_not_leave(anna: Computer, frame: Ether, reason: str) -> None:
    """A bridge behind the interface does not bring its network along."""
    assert anna.sends(frame) is None
    assert anna.counters == {reason: 1}


def test_frames_with_something_left_to_do_do_not_leave(anna: Computer) -> None:
    for vnet in (VNET.pack(1, 0, 0, 0, 14, 2), VNET.pack(0, 1, 0, 100, 0, 0)):
        assert anna.sends(Ether(src=MAC_A, dst=BROADCAST, type=0x8137) / IPX, vnet) is None
    assert anna.counters == {"frame-offloaded": 2}


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (Ether(src=MAC_B, dst=BROADCAST, type=0x8137) / IPX, "etherip-source-forged"),
        (Ether(src=STRANGER, dst=MAC_B, type=0x8137) / IPX, "etherip-source-forged"),
        (Ether(src=MAC_A, dst=STRANGER, type=0x8137) / IPX, "etherip-destination"),
        (Ether(src=MAC_A, dst=MAC_A, type=0x8137) / IPX, "etherip-destination"),
    ],
)
def test_a_member_cannot_speak_for_another_one_nor_to_another_one(ben: Computer, frame: Ether, reason: str) -> None:
    assert ben.gets(frame) is None
    assert ben.counters == {reason: 1}


def test_only_ipv6_carries_frames() -> None:
    assert not carries_frame(udp.build(udp.Datagram(1, 2, b""), ANNA, BEN))
    assert not is_foreign(bytes(VNET.size) + bytes(Ether(src=MAC_A, dst=BROADCAST) / ARP()))
    assert not is_foreign(bytes(VNET.size + 13))


@given(st.binary(max_size=80))
def test_any_payload_is_taken_without_an_exception(payload: bytes) -> None:
    computer = Computer(BEN)
    header = etherip.build(bytes(14), ANNA, BEN).header
    for octets in (payload, etherip.HEADER + payload, etherip.HEADER + bytes.fromhex("ffffffffffff") + interface_address(ANNA) + payload):
        computer.foreign.frame_of(SuperPacket(header, octets))
    frame = bytes(VNET.size) + payload
    if is_foreign(frame):
        computer.foreign.packet_of(frame)
