"""The Internet checksum (RFC 1071) and its use by IPv4, TCP, UDP, ICMP, IGMP and ICMPv6.

One's complement addition of 16-bit words is addition modulo 65535, and 2**16 is 1 modulo 65535; so the sum of any
buffer of even length is simply the buffer, read as one big-endian integer, modulo 65535. Long buffers are first folded
in halves (`high + low`, cut at a multiple of 16 bits), which keeps the residue and costs less than the long division.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from userlan.wire.numbers import (
    PROTOCOL_ICMP,
    PROTOCOL_ICMPV6,
    PROTOCOL_IGMP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    Buffer,
)

if TYPE_CHECKING:
    from userlan.wire.superpacket import SuperPacket

MODULUS = 65535
"""One's complement arithmetic on 16 bits."""

_SHORTEST_FOLD = 720
"""Bits: a multiple of 16, as it must be, and of 30, the digits of CPython's integers, where cutting is quickest."""

_FOLDS = tuple(
    tuple((_SHORTEST_FOLD << step, (1 << (_SHORTEST_FOLD << step)) - 1) for step in reversed(range(steps)))
    for steps in range(11)
)
"""`(bits, mask)` of each cut, longest first, for a buffer longer than `_SHORTEST_FOLD << (steps - 1)` bits."""

_FOLDING_PAYS = 256
"""Octets from which folding is quicker than dividing (measured)."""


def residue(data: Buffer) -> int:
    """The one's complement sum of `data` (zero-padded to even length) modulo 65535: 0 to 65534."""
    value = int.from_bytes(data, "big")
    size = len(data)
    if size & 1:
        value <<= 8
    if size > _FOLDING_PAYS:
        for bits, mask in _FOLDS[min(((size * 8 - 1) // _SHORTEST_FOLD).bit_length(), 10)]:
            value = (value >> bits) + (value & mask)
    return value % MODULUS


def finish(total: int) -> int:
    """The checksum field for a sum of residues (of everything covered, the field itself counted as zero)."""
    return -total % MODULUS


def internet_checksum(data: Buffer) -> int:
    """The checksum field (0 to 65535) for `data`, whose own checksum field is zero (RFC 1071)."""
    return finish(residue(data))


def adjusted(checksum: int, old: int, new: int) -> int:
    """A checksum field after one 16-bit word of what it covers changed from ``old`` to ``new`` (RFC 1624 3, equation 3)."""
    total = (~checksum & 0xFFFF) + (~old & 0xFFFF) + new
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def pseudo_residue(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """The sum of the pseudo-header (RFC 9293 3.1 for IPv4, RFC 8200 8.1 for IPv6); `length` in octets."""
    return (int.from_bytes(source + destination, "big") + protocol + length) % MODULUS


def transport_ok(packet: SuperPacket) -> bool:
    """Whether the checksum of TCP, UDP, ICMP, IGMP or ICMPv6 in one whole IP packet is right.

    Always true for a `verified` packet, and for protocols that have no checksum known here. An IPv4 UDP checksum of
    zero means "none" (RFC 768); over IPv6 it is refused (RFC 8200 8.1). A fragment is true: only
    the whole can be checked.
    """
    if packet.verified or packet.fragment:
        return True
    protocol = packet.protocol
    transport = packet.header[packet.transport_offset :]
    length = len(transport) + len(packet.payload)
    payload = packet.payload
    if protocol in (PROTOCOL_ICMP, PROTOCOL_IGMP) and packet.version == 4:
        return (residue(transport) + residue(payload)) % MODULUS == 0
    if protocol == PROTOCOL_UDP:
        if transport[6:8] == b"\0\0":
            return packet.version == 4
        if packet.segment_size == 0:
            length = int.from_bytes(transport[4:6], "big")
            payload = payload[: length - 8]
    elif protocol != PROTOCOL_TCP and not (protocol == PROTOCOL_ICMPV6 and packet.version == 6):
        return True
    pseudo = pseudo_residue(packet.source, packet.destination, protocol, length)
    return (pseudo + residue(transport) + residue(payload)) % MODULUS == 0
