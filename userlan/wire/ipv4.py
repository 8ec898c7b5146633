"""IPv4 headers (RFC 791).

     0                   1                   2                   3
    |version|  IHL  |DSCP       ECN |          total length         |
    |         identification        |0 DF MF|     fragment offset   |
    | time to live  |    protocol   |        header checksum        |
    |                         source address                        |
    |                      destination address                      |
    |                   options, 0 to 40 octets                     |
"""

from __future__ import annotations

import struct

from userlan.wire.checksum import internet_checksum, residue
from userlan.wire.errors import WireError
from userlan.wire.numbers import MAX_PACKET, Buffer

HEADER_LENGTH = 20
"""Octets of a header without options (RFC 791 3.1)."""

DONT_FRAGMENT = 0x4000
MORE_FRAGMENTS = 0x2000
FRAGMENT_OFFSET_MASK = 0x1FFF
"""The 16 bits at octet 6; the offset counts units of 8 octets (RFC 791 3.1)."""

OPTION_END = 0
OPTION_NOP = 1
OPTION_LOOSE_SOURCE_ROUTE = 131
OPTION_STRICT_SOURCE_ROUTE = 137
OPTION_ROUTER_ALERT = 148
OPTION_COPIED = 0x80
"""Options with this bit go into every fragment, others into the first only (RFC 791 3.1)."""

ROUTER_ALERT = bytes((OPTION_ROUTER_ALERT, 4, 0, 0))
"""The whole option: routers shall examine the packet (RFC 2113 2.1)."""

_HEADER = struct.Struct("!BBHHHBBH4s4s")


def checked_lengths(packet: Buffer, verified: bool) -> tuple[int, int]:
    """`(header length, total length)` in octets of the IPv4 packet that `packet` starts with.

    Octets after the total length are padding. The header checksum is checked unless `verified`.
    Raises WireError.
    """
    available = len(packet)
    if available < HEADER_LENGTH:
        raise WireError("ipv4-truncated", f"an IPv4 packet of {available} octets is shorter than its header")
    header_length = (packet[0] & 0x0F) * 4
    total_length = packet[2] << 8 | packet[3]
    if header_length < HEADER_LENGTH:
        raise WireError("ipv4-header-length", f"an IPv4 header length of {header_length} octets is below 20")
    if total_length < header_length:
        raise WireError("ipv4-total-length", f"an IPv4 total length of {total_length} is below its header's length")
    if total_length > available:
        raise WireError("ipv4-truncated", f"an IPv4 packet of {total_length} octets came with {available}")
    if not verified and residue(packet[:header_length]):
        raise WireError("ipv4-checksum", "an IPv4 header checksum is wrong")
    if header_length > HEADER_LENGTH:
        options(packet[:header_length])
    return header_length, total_length


def options(header: Buffer) -> list[tuple[int, bytes]]:
    """The options of a whole IPv4 header as `(type, data)`; NOPs and the end are left out. Raises WireError."""
    found: list[tuple[int, bytes]] = []
    offset = HEADER_LENGTH
    end = len(header)
    while offset < end:
        kind = header[offset]
        if kind == OPTION_END:
            break
        if kind == OPTION_NOP:
            offset += 1
            continue
        length = header[offset + 1] if offset + 1 < end else 0
        if length < 2 or offset + length > end:
            raise WireError("ipv4-option", f"IPv4 option {kind} has an impossible length of {length}")
        found.append((kind, bytes(header[offset + 2 : offset + length])))
        offset += length
    return found


def source_routed(header: Buffer) -> bool:
    """Whether the header asks for loose or strict source routing, which a host must not honour (RFC 7126 4.3, 4.4)."""
    if header[0] & 0x0F == 5:
        return False
    routed = (OPTION_LOOSE_SOURCE_ROUTE, OPTION_STRICT_SOURCE_ROUTE)
    return any(kind in routed for kind, _ in options(header))


def router_alert(header: Buffer) -> bool:
    """Whether the header has a router alert of value 0, the only one that is assigned (RFC 2113 2.1)."""
    if header[0] & 0x0F == 5:
        return False
    return (OPTION_ROUTER_ALERT, bytes(2)) in options(header)


def with_router_alert(header: bytes) -> bytes:
    """A header of 20 octets, whose total length counts it already, with the router alert option behind it."""
    return b"\x46" + header[1:] + ROUTER_ALERT


def is_fragment(header: Buffer) -> bool:
    """Whether the packet is a part of a larger one (more fragments, or an offset)."""
    return bool((header[6] << 8 | header[7]) & (MORE_FRAGMENTS | FRAGMENT_OFFSET_MASK))


def build_header(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload_length: int,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
    identification: int = 0,
    fragment: int = DONT_FRAGMENT,
) -> bytes:
    """A header of 20 octets with a zero checksum; `payload_length` in octets, `fragment` the flags and offset word.

    With "don't fragment" the identification has no meaning and may be zero (RFC 6864 4.1).
    Raises WireError when too long.
    """
    total = HEADER_LENGTH + payload_length
    if total > MAX_PACKET:
        raise WireError("ipv4-too-long", f"an IPv4 packet of {total} octets exceeds {MAX_PACKET}")
    return _HEADER.pack(
        0x45, traffic_class, total, identification, fragment, hop_limit, protocol, 0, source, destination
    )


def with_checksum(header: bytes) -> bytes:
    """The same header with its checksum computed."""
    blank = header[:10] + b"\0\0" + header[12:]
    return blank[:10] + internet_checksum(blank).to_bytes(2, "big") + blank[12:]
