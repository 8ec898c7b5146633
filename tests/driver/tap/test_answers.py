"""Who has an address: ARP (RFC 826) and neighbour discovery (RFC 4861), answered for members and nobody else."""

from __future__ import annotations

from collections import Counter

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.driver.tap.frames_by_hand import OWN
from userlan.driver.tap.frames import VNET
from userlan.driver.tap.neighbours import Neighbours, hardware_address, interface_address

KNOWN4, UNKNOWN4, OWN4 = "25.1.2.3", "25.9.9.9", "25.0.1.1"
KNOWN6, UNKNOWN6, OWN6 = "fd75:6c61:6e00::a1", "fd75:6c61:6e00::ff", "fd75:6c61:6e00::1"
MEMBERS = {bytes((25, 1, 2, 3)), bytes.fromhex("fd756c616e00000000000000000000a1")}
MAC = OWN.hex(":")


class Interface:
    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.neighbours = Neighbours(OWN, MEMBERS.__contains__, self.counters)

    def ask(self, frame: Ether) -> Ether | None:
        answer = self.neighbours.answer(bytes(VNET.size) + bytes(frame))
        if answer is None:
            return None
        assert answer[: VNET.size] == bytes(VNET.size)
        return Ether(answer[VNET.size :])


@pytest.fixture
def interface() -> Interface:
    return Interface()


def arp_request(target: str, sender: str = OWN4) -> Ether:
    return Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=MAC, psrc=sender, pdst=target)


def solicitation(target: str, source: str = OWN6) -> Ether:
    return Ether(src=MAC, dst="33:33:ff:00:00:a1") / IPv6(src=source, dst="ff02::1:ff00:a1", hlim=255) / ICMPv6ND_NS(tgt=target)


def test_arp_for_a_member_is_answered(interface: Interface) -> None:
    answer = interface.ask(arp_request(KNOWN4))
    assert answer is not None
    reply = answer[ARP]
    assert (answer.dst, reply.op, reply.psrc, reply.pdst, reply.hwdst) == (MAC, 2, KNOWN4, OWN4, MAC)
    assert answer.src == reply.hwsrc == "02:75:19:01:02:03"


@pytest.mark.parametrize("target", [UNKNOWN4, OWN4])
def test_arp_for_anybody_else_is_not(interface: Interface, target: str) -> None:
    """The kernel then says "host unreachable"; and a probe for the own address finds it free (RFC 5227 2.1)."""
    assert interface.ask(arp_request(target, "0.0.0.0" if target == OWN4 else OWN4)) is None
    assert interface.counters == {"arp-unanswered": 1}


def test_arp_replies_are_not_answered(interface: Interface) -> None:
    frame = arp_request(KNOWN4)
    frame[ARP].op = 2
    assert interface.ask(frame) is None


def test_a_solicitation_for_a_member_is_answered(interface: Interface) -> None:
    """RFC 4861 7.2.4: solicited, overriding, with the target's hardware address, to the asker."""
    answer = interface.ask(solicitation(KNOWN6))
    assert answer is not None
    advertisement = answer[ICMPv6ND_NA]
    assert (advertisement.R, advertisement.S, advertisement.O, advertisement.tgt) == (0, 1, 1, KNOWN6)
    assert (answer[IPv6].src, answer[IPv6].dst, answer[IPv6].hlim, answer.dst) == (KNOWN6, OWN6, 255, MAC)
    assert answer[ICMPv6NDOptDstLLAddr].lladdr == answer.src == "02:75:00:00:00:a1"
    checksum = advertisement.cksum
    del advertisement.cksum
    assert Ether(bytes(answer))[ICMPv6ND_NA].cksum == checksum


def test_a_unicast_probe_is_answered_as_well(interface: Interface) -> None:
    """RFC 4861 7.3.3: neighbour unreachability detection."""
    frame = Ether(src=MAC, dst="02:75:00:00:00:a1") / IPv6(src=OWN6, dst=KNOWN6, hlim=255) / ICMPv6ND_NS(tgt=KNOWN6)
    assert interface.ask(frame) is not None


@pytest.mark.parametrize(("target", "source"), [(UNKNOWN6, OWN6), (OWN6, OWN6), (KNOWN6, "::")])
def test_solicitations_of_strangers_and_duplicate_address_detection_are_not(
    interface: Interface, target: str, source: str
) -> None:
    assert interface.ask(solicitation(target, source)) is None
    assert interface.counters == {"ndp-unanswered": 1}


def test_a_forwarded_solicitation_is_refused(interface: Interface) -> None:
    frame = solicitation(KNOWN6)
    frame[IPv6].hlim = 64
    assert interface.ask(frame) is None
    assert interface.counters == {"ndp-hop-limit": 1}


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (Ether(src=MAC, dst="33:33:00:00:00:02") / IPv6(src="fe80::1", dst="ff02::2", hlim=255) / ICMPv6ND_RS(), "ndp-unanswered"),
        (Ether(src=MAC, dst="02:75:19:01:02:03", type=0x800) / b"E", "frame-malformed"),
    ],
)
def test_everything_else_is_dropped_and_counted(interface: Interface, frame: Ether, reason: str) -> None:
    assert interface.ask(frame) is None
    assert interface.counters == {reason: 1}


def test_truncated_frames_are_counted(interface: Interface) -> None:
    whole = bytes(VNET.size) + bytes(arp_request(KNOWN4))
    for length in (0, VNET.size, VNET.size + 13, VNET.size + 20):
        assert interface.neighbours.answer(whole[:length]) is None
    assert interface.counters == {"ethernet-truncated": 3, "arp-truncated": 1}


def test_hardware_addresses_are_of_one_host_and_locally_administered() -> None:
    for address in (*MEMBERS, b"\xff" * 16):
        for made in (hardware_address(address), interface_address(address)):
            assert len(made) == 6
            assert made[0] & 3 == 2
    assert hardware_address(address) != interface_address(address)
