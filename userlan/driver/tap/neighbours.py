"""Who has an address: answered here, since a peer behind a tunnel has no Ethernet. Sans-IO.

::

    ARP request (RFC 826)                      the address of a member  → reply
    neighbour solicitation (RFC 4861 4.3)      the address of a member  → advertisement, solicited and overriding
    duplicate address detection (RFC 4862 5.4), probes for an own address (RFC 5227)
                                               silence: the address is free
    anybody else's address                     silence, so that the kernel reports "host unreachable" itself
    router solicitations                       silence: there is no router

A member's hardware address follows from its virtual one: 02:75 (locally administered) and the last four octets. Two
members may share one; frames are told apart by their IP header alone.

Other frames that come here are dropped and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from userlan.driver.tap.frames import START, VNET
from userlan.wire import arp, ethernet, ndp
from userlan.wire.errors import WireError
from userlan.wire.numbers import PROTOCOL_ICMPV6
from userlan.wire.superpacket import parse

MEMBER = b"\x02\x75"
INTERFACE = b"\x02\x6c"
"""How hardware addresses of members and of own interfaces begin."""

GATEWAY = MEMBER + b"ulan"
"""Where all frames are said to come from: the kernel learns nothing from that, so one will do."""

_NO_OFFLOAD = bytes(VNET.size)
_UNSPECIFIED = bytes(16)


def hardware_address(address: bytes) -> bytes:
    """The hardware address of a member with this packed address."""
    return MEMBER + address[-4:]


def interface_address(ipv6: bytes) -> bytes:
    """The hardware address of an own interface: it follows from the key, as the IPv6 address does."""
    return INTERFACE + ipv6[-4:]


class Neighbours:
    """Answers for one interface. ``knows(address)``: whether a packed address is another member's."""

    def __init__(self, hardware: bytes, knows: Callable[[bytes], bool], counters: Counter[str]) -> None:
        self._hardware = hardware
        self._knows = knows
        self._counters = counters

    def answer(self, frame: bytes) -> bytes | None:
        """The frame that answers one as read, both with a virtio_net_hdr; None, and counted, when there is none."""
        try:
            fields = ethernet.parse(frame[VNET.size :])
            if fields.type == ethernet.TYPE_ARP:
                return self._arp(fields)
            if fields.type == ethernet.TYPE_IPV6:
                return self._ipv6(frame, fields)
        except WireError as error:
            self._counters[error.reason] += 1
            return None
        self._counters["frame-malformed"] += 1
        return None

    def _arp(self, frame: ethernet.Frame) -> bytes | None:
        asked = arp.parse(frame.payload)
        if asked.operation != arp.REQUEST or not self._knows(asked.target):
            self._counters["arp-unanswered"] += 1
            return None
        self._counters["arp-answered"] += 1
        own = hardware_address(asked.target)
        message = arp.Message(arp.REPLY, own, asked.target, asked.sender_hardware, asked.sender)
        return _NO_OFFLOAD + ethernet.build_header(frame.source, own, ethernet.TYPE_ARP) + arp.build(message)

    def _ipv6(self, frame: bytes, fields: ethernet.Frame) -> bytes | None:
        """A solicitation; everything else of neighbour discovery is dropped."""
        packet = parse(frame[START:], True)
        if packet.protocol != PROTOCOL_ICMPV6 or not packet.payload or packet.payload[0] != ndp.TYPE_NEIGHBOUR_SOLICITATION:
            self._counters["ndp-unanswered"] += 1
            return None
        asked = ndp.parse(packet)
        if packet.source == _UNSPECIFIED or not isinstance(asked, ndp.Solicitation) or not self._knows(asked.target):
            self._counters["ndp-unanswered"] += 1
            return None
        self._counters["ndp-answered"] += 1
        own = hardware_address(asked.target)
        answer = ndp.build(ndp.Advertisement(asked.target, own), asked.target, packet.source)
        header = ethernet.build_header(fields.source, own, ethernet.TYPE_IPV6)
        return b"".join((_NO_OFFLOAD, header, answer.header, answer.payload))


