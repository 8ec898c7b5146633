"""IPv6 headers and the chain of extension headers (RFC 8200).

    |version|traffic class          |  flow label                   |
    |         payload length        |  next header  |   hop limit   |
    |                 source address, 16 octets                     |
    |               destination address, 16 octets                  |
    | hop-by-hop? destination? routing? fragment? destination? ...  |

The chain is walked once, with caps on the number of headers and their size; a peer that sends more is refused. What the
receiver must answer with a parameter problem (RFC 4443 3.4) is not an error of the parser: the walk ends with
`protocol = PROTOCOL_RESERVED` and the code and pointer for the answer. An unknown next header ends the walk
too, as the protocol, with `pointer` at the octet that named it; whether it is unknown is for the host to say.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from userlan.wire.errors import WireError
from userlan.wire.numbers import (
    MAX_PACKET,
    PROTOCOL_DESTINATION_OPTIONS,
    PROTOCOL_FRAGMENT,
    PROTOCOL_HOP_BY_HOP,
    PROTOCOL_RESERVED,
    PROTOCOL_ROUTING,
    Buffer,
)

HEADER_LENGTH = 40
"""Octets of the fixed header (RFC 8200 3)."""

MINIMUM_MTU = 1280
"""Octets that every link carries (RFC 8200 5)."""

MAX_EXTENSION_HEADERS = 8
"""Headers in one chain: RFC 8200 4.1 knows six and one repetition; more serves only to evade (RFC 9098)."""

MAX_EXTENSION_LENGTH = 1024
"""Octets of all extension headers: beyond this a chain serves only to hide the transport header (RFC 7112)."""

MAX_OPTIONS = 32
"""Options in one header, padding included: stops a packet full of one-octet options (RFC 8504 5.3)."""

EXTENSION_HEADERS = frozenset(
    (PROTOCOL_HOP_BY_HOP, PROTOCOL_ROUTING, PROTOCOL_FRAGMENT, PROTOCOL_DESTINATION_OPTIONS)
)

PROBLEM_ERRONEOUS_FIELD = 0
PROBLEM_UNKNOWN_NEXT_HEADER = 1
PROBLEM_UNKNOWN_OPTION = 2
"""Codes of the ICMPv6 parameter problem (RFC 4443 3.4)."""

OPTION_PAD1 = 0
OPTION_PADN = 1
OPTION_ROUTER_ALERT = 5
OPTION_JUMBO = 0xC2
"""Option types (RFC 8200 4.2, RFC 2711, RFC 2675)."""

ALERT_MLD = 0
"""The value of a router alert that announces multicast listener discovery (RFC 2711 2.1)."""

_HEADER = struct.Struct("!IHBB16s16s")


class Chain(NamedTuple):
    """Where the chain of headers ends."""

    protocol: int
    """The upper-layer protocol; PROTOCOL_FRAGMENT for a fragment; PROTOCOL_RESERVED: not to be processed."""
    offset: int
    """Octets from the start of the packet to what follows the chain."""
    pointer: int
    """Octets from the start of the packet to the field that named `protocol`, or that is wrong."""
    code: int
    """The code of the parameter problem to send, should `protocol` be unknown or PROTOCOL_RESERVED."""


def checked_length(packet: Buffer) -> int:
    """Octets of the IPv6 packet that `packet` starts with; what follows is padding. Raises WireError."""
    available = len(packet)
    if available < HEADER_LENGTH:
        raise WireError("ipv6-truncated", f"an IPv6 packet of {available} octets is shorter than its header")
    payload_length = packet[4] << 8 | packet[5]
    if payload_length == 0 and packet[6] == PROTOCOL_HOP_BY_HOP:
        raise WireError("ipv6-jumbo", "an IPv6 jumbogram is not accepted")
    total_length = HEADER_LENGTH + payload_length
    if total_length > available:
        raise WireError("ipv6-truncated", f"an IPv6 packet of {total_length} octets came with {available}")
    return total_length


def walk(packet: Buffer, end: int) -> Chain:
    """Walk the extension headers within `packet[:end]`. Raises WireError when malformed or beyond a cap."""
    pointer = 6
    protocol = packet[pointer]
    offset = HEADER_LENGTH
    for _ in range(MAX_EXTENSION_HEADERS + 1):
        if protocol not in EXTENSION_HEADERS:
            return Chain(protocol, offset, pointer, PROBLEM_UNKNOWN_NEXT_HEADER)
        if protocol == PROTOCOL_HOP_BY_HOP and offset != HEADER_LENGTH:
            return Chain(PROTOCOL_RESERVED, offset, pointer, PROBLEM_UNKNOWN_NEXT_HEADER)
        following = offset + _extension_length(packet, offset, end, protocol)
        if following - HEADER_LENGTH > MAX_EXTENSION_LENGTH:
            raise WireError("ipv6-extension-size", f"IPv6 extension headers exceed {MAX_EXTENSION_LENGTH} octets")
        if protocol == PROTOCOL_FRAGMENT:
            if packet[offset + 2] or packet[offset + 3] & 0xF9:
                return Chain(PROTOCOL_FRAGMENT, following, pointer, PROBLEM_UNKNOWN_NEXT_HEADER)
        elif protocol == PROTOCOL_ROUTING:
            if packet[offset + 2] == 0:
                raise WireError("ipv6-routing", "an IPv6 routing header of type 0 is not accepted (RFC 5095)")
            if packet[offset + 3]:
                return Chain(PROTOCOL_RESERVED, following, offset + 2, PROBLEM_ERRONEOUS_FIELD)
        else:
            wrong = _unknown_option(packet, offset + 2, following)
            if wrong:
                return Chain(PROTOCOL_RESERVED, following, wrong, PROBLEM_UNKNOWN_OPTION)
        pointer = offset
        protocol = packet[pointer]
        offset = following
    raise WireError("ipv6-extension-count", f"more than {MAX_EXTENSION_HEADERS} IPv6 extension headers")


def _extension_length(packet: Buffer, offset: int, end: int, protocol: int) -> int:
    """Octets of the extension header at `offset`. Raises WireError."""
    if offset + 8 > end:
        raise WireError("ipv6-extension-truncated", "an IPv6 extension header is cut off")
    length = 8 if protocol == PROTOCOL_FRAGMENT else (packet[offset + 1] + 1) * 8
    if offset + length > end:
        raise WireError("ipv6-extension-truncated", "an IPv6 extension header is cut off")
    return length


def _unknown_option(packet: Buffer, offset: int, end: int) -> int:
    """The offset of the first option that asks for a parameter problem, or 0 (RFC 8200 4.2). Raises WireError."""
    for _ in range(MAX_OPTIONS):
        if offset == end:
            return 0
        kind = packet[offset]
        if kind == OPTION_PAD1:
            offset += 1
            continue
        if offset + 2 > end or offset + 2 + packet[offset + 1] > end:
            raise WireError("ipv6-option", f"IPv6 option {kind} exceeds its header")
        if kind == OPTION_JUMBO:
            raise WireError("ipv6-jumbo", "an IPv6 jumbogram is not accepted")
        action = kind >> 6
        if action == 1:
            raise WireError("ipv6-option-discard", f"IPv6 option {kind} is unknown and asks to be discarded")
        if action == 2 or (action == 3 and packet[24] != 0xFF):
            return offset
        if action == 3:
            raise WireError("ipv6-option-discard", f"IPv6 option {kind} is unknown and asks to be discarded")
        offset += 2 + packet[offset + 1]
    if offset == end:
        return 0
    raise WireError("ipv6-option-count", f"more than {MAX_OPTIONS} options in one IPv6 header")


def router_alert(packet: Buffer) -> int | None:
    """The value of the router alert in a hop-by-hop header (RFC 2711 2.1), None without; the chain has been walked."""
    if packet[6] != PROTOCOL_HOP_BY_HOP:
        return None
    offset = HEADER_LENGTH + 2
    end = HEADER_LENGTH + (packet[HEADER_LENGTH + 1] + 1) * 8
    while offset < end:
        kind = packet[offset]
        if kind == OPTION_ROUTER_ALERT and packet[offset + 1] == 2:
            return packet[offset + 2] << 8 | packet[offset + 3]
        offset += 1 if kind == OPTION_PAD1 else 2 + packet[offset + 1]
    return None


def router_alert_header(following: int, value: int) -> bytes:
    """A hop-by-hop header of 8 octets with a router alert; ``following`` is the protocol behind it (RFC 2711 2.1)."""
    return bytes((following, 0, OPTION_ROUTER_ALERT, 2)) + value.to_bytes(2, "big") + bytes((OPTION_PADN, 0))


def build_header(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload_length: int,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow_label: int = 0,
) -> bytes:
    """A header of 40 octets; `payload_length` (octets) counts extension headers. Raises WireError when too long."""
    total = HEADER_LENGTH + payload_length
    if total > MAX_PACKET:
        raise WireError("ipv6-too-long", f"an IPv6 packet of {total} octets exceeds {MAX_PACKET}")
    return _HEADER.pack(
        6 << 28 | traffic_class << 20 | flow_label, payload_length, protocol, hop_limit, source, destination
    )
