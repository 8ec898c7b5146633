"""Super-packets as a TAP takes them. Sans-IO.

::

    | virtio_net_hdr | Ethernet, constant | IP header | TCP or UDP header |   payload, as it is
      GSO type and size; NEEDS_CHECKSUM       IPv4: checksum   checksum field: the pseudo-header's sum

The kernel completes checksums where anybody needs them (a packet that it delivers itself never does), and cuts only
what it sends on. A packet that is not ``verified`` came with its checksum from a stranger and was checked: it is handed
over as it is.
"""

from __future__ import annotations

from collections import Counter

from userlan.driver.tap.frames import GSO_ECN, GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP, NEEDS_CHECKSUM, VNET
from userlan.wire import ethernet, ipv4
from userlan.wire.checksum import MODULUS, pseudo_residue
from userlan.wire.errors import WireError
from userlan.wire.numbers import PROTOCOL_TCP, PROTOCOL_UDP, Buffer
from userlan.wire.superpacket import SuperPacket, cut, parse

MAX_SUMS = 4_096
"""Pairs of addresses whose pseudo-header's sum is kept; it is only a saving, and is forgotten when full."""

_CWR = 0x80
_CHECKSUM_OFFSETS = {PROTOCOL_TCP: 16, PROTOCOL_UDP: 6}
_PLAIN = VNET.pack(0, GSO_NONE, 0, 0, 0, 0)


class Outward:
    """Makes frames for one interface.

    ``hardware`` is its address, ``gateway`` where frames are said to come from, ``mtu`` its MTU in octets, ``broadcast`` the
    LAN's own broadcast address, packed.
    """

    def __init__(self, hardware: bytes, gateway: bytes, mtu: int, broadcast: bytes) -> None:
        self.mtu = mtu
        self.udp_segmentation = True
        """Whether the kernel takes several datagrams in one frame (Linux 6.2); else each has its own."""
        self._ipv4 = ethernet.build_header(hardware, gateway, ethernet.TYPE_IPV4)
        self._ipv6 = ethernet.build_header(hardware, gateway, ethernet.TYPE_IPV6)
        self._gateway = gateway
        self._broadcast = broadcast
        self._sums: dict[tuple[bytes, bytes, int], int] = {}

    def frames(self, packet: SuperPacket, counters: Counter[str]) -> list[tuple[bytes, Buffer]]:
        """The frames of a super-packet: one nearly always. Each is what is written in front of the payload, and that."""
        if packet.protocol == PROTOCOL_UDP and packet.wire_count > 1 and not self.udp_segmentation:
            return [self._frame(parse(one, True)) for one in cut(packet, False)]
        try:
            return [self._frame(packet)]
        except WireError as error:
            counters[error.reason] += 1
            return []

    def _frame(self, packet: SuperPacket) -> tuple[bytes, Buffer]:
        header, offset, protocol = packet.header, packet.transport_offset, packet.protocol
        vnet = _PLAIN
        network, transport = header[:offset], header[offset:]
        place = _CHECKSUM_OFFSETS.get(protocol)
        if place is not None and packet.verified and not packet.fragment:
            kind, size = self._segmentation(packet)
            start = ethernet.HEADER_LENGTH + offset
            vnet = VNET.pack(NEEDS_CHECKSUM, kind, start + len(transport), size, start, place)
            total = self._sum(packet, len(transport) + len(packet.payload))
            transport = b"".join((transport[:place], total.to_bytes(2, "big"), transport[place + 2 :]))
        if packet.version == 6:
            link = self._ipv6 if packet.destination[0] != 0xFF else self._to_group(packet.destination, ethernet.TYPE_IPV6)
            return b"".join((vnet, link, network, transport)), packet.payload
        to_one = packet.destination[0] < 224 and packet.destination != self._broadcast
        link = self._ipv4 if to_one else self._to_group(packet.destination, ethernet.TYPE_IPV4)
        return b"".join((vnet, link, ipv4.with_checksum(network), transport)), packet.payload

    def _to_group(self, destination: bytes, kind: int) -> bytes:
        """The Ethernet header of a packet to a group, or to all."""
        group = ethernet.BROADCAST if destination == self._broadcast else ethernet.group_address(destination)
        return ethernet.build_header(group, self._gateway, kind)

    def _segmentation(self, packet: SuperPacket) -> tuple[int, int]:
        """The GSO type and size: of several packets, and of a TCP packet that is larger than the interface's MTU."""
        length = len(packet.payload)
        size = packet.segment_size if length > packet.segment_size else 0
        if packet.protocol == PROTOCOL_UDP:
            return (GSO_UDP, size) if size else (GSO_NONE, 0)
        room = self.mtu - len(packet.header)
        if not size and length > room:
            size = room
        if not size or room <= 0:
            return GSO_NONE, 0
        kind = GSO_TCP4 if packet.version == 4 else GSO_TCP6
        if packet.header[packet.transport_offset + 13] & _CWR:
            kind |= GSO_ECN
        return kind, min(size, room)

    def _sum(self, packet: SuperPacket, length: int) -> int:
        """The pseudo-header's sum, not inverted, as NEEDS_CHECKSUM wants it."""
        key = (packet.source, packet.destination, packet.protocol)
        part = self._sums.get(key)
        if part is None:
            if len(self._sums) >= MAX_SUMS:
                self._sums.clear()
            part = self._sums[key] = pseudo_residue(*key, 0)
        return (part + length) % MODULUS
