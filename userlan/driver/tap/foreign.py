"""Frames that are not IP (IPX, and whatever else programs speak), between computers that are both attached. Sans-IO.

::

    frame of the kernel's                                             packet from the LAN
      │ source: the interface's own?          no → dropped              │ source: a member's (the switch has seen to that)
      │ a type that may travel?               no → dropped              ▼ EtherIP: version, length
      ▼                                                               frame
    EtherIP, from the own IPv6 address                                  │ source: what follows from the member's address?
      │ to a group → ETHERIP_GROUP: all who are attached                │ a type that may travel? to us or a group?
      ▼ to 02:6c:… → the member whose interface has that address        ▼
    LanLink.send                                                      the kernel

A member's interface has ``interface_address`` of its IPv6 address, which follows from its key: so a frame's source is as
certain as a packet's, and a computer that bridges its interface to another network does not bring that network along,
nor a loop.

What never travels: IP and ARP, which the LAN carries itself and answers itself, so that nobody gets by the checks of their
addresses; VLAN tags; the groups that no bridge forwards (IEEE 802.1Q 8.6.3: spanning tree, LLDP, 802.1X, pause).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from userlan.driver.tap.frames import GSO_NONE, VNET
from userlan.driver.tap.neighbours import INTERFACE, interface_address
from userlan.lan.addresses import ETHERIP_GROUP
from userlan.wire import etherip, ethernet
from userlan.wire.errors import WireError
from userlan.wire.numbers import PROTOCOL_ETHERIP
from userlan.wire.superpacket import SuperPacket

OF_THE_LAN = frozenset((ethernet.TYPE_IPV4, ethernet.TYPE_IPV6, ethernet.TYPE_ARP, ethernet.TYPE_RARP))
"""Types that are never carried as frames."""

TAGGED = frozenset((ethernet.TYPE_VLAN, ethernet.TYPE_PROVIDER_VLAN, ethernet.TYPE_OLDER_PROVIDER_VLAN))

NEVER_FORWARDED = bytes.fromhex("0180c20000")
"""Groups 01:80:c2:00:00:00 to 0f; the last octet's upper half is zero."""

_SNAP = bytes.fromhex("aaaa03")
_ENCAPSULATED = (bytes.fromhex("000000"), bytes.fromhex("0000f8"))
_NO_OFFLOAD = bytes(VNET.size)


def is_foreign(frame: bytes) -> bool:
    """Whether a frame as read, with a virtio_net_hdr, is none of IP's or ARP's."""
    start = VNET.size + 12
    return len(frame) >= start + 2 and frame[start] << 8 | frame[start + 1] not in OF_THE_LAN


class Foreign:
    """Carries the frames of one interface. ``member_ending(octets)``: the IPv6 address of the member that ends so."""

    def __init__(
        self, hardware: bytes, ipv6: bytes, member_ending: Callable[[bytes], bytes | None], counters: Counter[str]
    ) -> None:
        self._hardware = hardware
        self._ipv6 = ipv6
        self._member_ending = member_ending
        self._counters = counters

    def packet_of(self, frame: bytes) -> SuperPacket | None:
        """The packet that carries a frame as read, with a virtio_net_hdr; None, and counted, when it is not carried."""
        flags, kind, *_ = VNET.unpack_from(frame)
        octets = memoryview(frame)[VNET.size :]
        try:
            fields = ethernet.parse(octets)
            reason = "frame-offloaded" if flags or kind != GSO_NONE else _objection(fields)
            destination = self._destination(fields.destination)
            if fields.source != self._hardware:
                reason = "frame-source-foreign"
            elif not reason and destination is None:
                reason = "frame-destination-unknown"
            if reason or destination is None:
                self._counters[reason] += 1
                return None
            return etherip.build(octets, self._ipv6, destination)
        except WireError as error:
            self._counters[error.reason] += 1
            return None

    def frame_of(self, packet: SuperPacket) -> bytes | None:
        """The frame for the kernel, with a virtio_net_hdr, in a packet from the LAN; None, and counted, when it is refused."""
        try:
            octets = etherip.parse(packet)
            fields = ethernet.parse(octets)
        except WireError as error:
            self._counters[error.reason] += 1
            return None
        reason = _objection(fields)
        if fields.source != interface_address(packet.source):
            reason = "etherip-source-forged"
        elif fields.destination != self._hardware and not ethernet.is_group(fields.destination):
            reason = "etherip-destination"
        if reason:
            self._counters[reason] += 1
            return None
        return _NO_OFFLOAD + bytes(octets)

    def _destination(self, hardware: bytes) -> bytes | None:
        if ethernet.is_group(hardware):
            return ETHERIP_GROUP
        return self._member_ending(hardware[len(INTERFACE) :]) if hardware.startswith(INTERFACE) else None


def carries_frame(packet: SuperPacket) -> bool:
    """Whether a packet from the LAN is for ``Foreign.frame_of``."""
    return packet.protocol == PROTOCOL_ETHERIP and packet.version == 6


def _objection(frame: ethernet.Frame) -> str:
    """Why a frame never travels: a counter's name, or nothing."""
    if frame.type in TAGGED:
        return "frame-vlan"
    if frame.type in OF_THE_LAN or _encapsulates(frame):
        return "frame-of-the-lan"
    if frame.destination[:5] == NEVER_FORWARDED and frame.destination[5] < 0x10:
        return "frame-link-local"
    return ""


def _encapsulates(frame: ethernet.Frame) -> bool:
    """Whether an 802.3 frame holds IP, ARP or a tag by SNAP (RFC 1042, IEEE 802.1H)."""
    payload = frame.payload
    if frame.type >= ethernet.FIRST_TYPE or len(payload) < 8 or payload[:3] != _SNAP or payload[3:6] not in _ENCAPSULATED:
        return False
    return payload[6] << 8 | payload[7] in OF_THE_LAN | TAGGED
