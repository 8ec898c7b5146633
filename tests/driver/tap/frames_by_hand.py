"""Frames as a kernel writes and reads them, by hand."""

from __future__ import annotations

from userlan.driver.tap.frames import GSO_NONE, NEEDS_CHECKSUM, START, VNET
from userlan.wire import ethernet
from userlan.wire.checksum import finish, residue
from userlan.wire.superpacket import SuperPacket

OWN = b"\x02\x6c\0\0\0\1"
PEER = b"\x02\x75\0\0\0\2"


def frame(packet: bytes, vnet: bytes = bytes(VNET.size), destination: bytes = PEER) -> bytes:
    """A frame of the kernel's with one IP packet."""
    kind = ethernet.TYPE_IPV4 if packet[0] >> 4 == 4 else ethernet.TYPE_IPV6
    return vnet + ethernet.build_header(destination, OWN, kind) + packet


def raw_frame(packet: SuperPacket, kind: int = GSO_NONE, size: int = 0) -> bytes:
    """A frame with a super-packet, whole, and this description."""
    start = 14 + packet.transport_offset
    vnet = VNET.pack(NEEDS_CHECKSUM, kind, 14 + len(packet.header), size, start, 16)
    return frame(packet.header + bytes(packet.payload), vnet)


def completed(written: bytes) -> bytes:
    """The IP packet of a frame as the kernel would send it on: with the checksum that NEEDS_CHECKSUM asks for
    (virtio 1.2, 5.1.6.2)."""
    flags, _, _, _, start, offset = VNET.unpack_from(written)
    octets = bytearray(written)
    if flags & NEEDS_CHECKSUM:
        start += VNET.size
        place = start + offset
        octets[place : place + 2] = (finish(residue(octets[start:])) or 0xFFFF).to_bytes(2, "big")
    return bytes(octets[START:])
