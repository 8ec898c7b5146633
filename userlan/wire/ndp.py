"""Neighbour discovery of IPv6 (RFC 4861): solicitations and advertisements of neighbours.

    | type, code, checksum | R S O, reserved | target, 16 octets | options: type, length in units of 8, value |

The other messages of that family (routers, redirects) are for links with routers; here they are only told apart.
"""

from __future__ import annotations

from typing import NamedTuple

from userlan.wire import icmpv6
from userlan.wire.errors import WireError
from userlan.wire.ethernet import ADDRESS_LENGTH
from userlan.wire.numbers import PROTOCOL_ICMPV6, Buffer
from userlan.wire.superpacket import SuperPacket

TYPE_ROUTER_SOLICITATION = 133
TYPE_ROUTER_ADVERTISEMENT = 134
TYPE_NEIGHBOUR_SOLICITATION = 135
TYPE_NEIGHBOUR_ADVERTISEMENT = 136
TYPE_REDIRECT = 137
TYPES = range(TYPE_ROUTER_SOLICITATION, TYPE_REDIRECT + 1)
"""Message types (RFC 4861 4)."""

HOP_LIMIT = 255
"""Of every message: a packet with another one has passed a router (RFC 4861 7.1.1)."""

OPTION_SOURCE_LINK_ADDRESS = 1
OPTION_TARGET_LINK_ADDRESS = 2
"""Options (RFC 4861 4.6.1)."""

ROUTER, SOLICITED, OVERRIDE = 0x80, 0x40, 0x20
"""The flags of an advertisement (RFC 4861 4.4)."""

_UNIT = 8
_FIXED = 20
_UNSPECIFIED = bytes(16)


class Solicitation(NamedTuple):
    """Who has `target`? `link_address`: the asker's hardware address, empty in duplicate address detection."""

    target: bytes
    link_address: bytes = b""


class Advertisement(NamedTuple):
    """`target` is at the hardware address `link_address`; `flags` as above."""

    target: bytes
    link_address: bytes = b""
    flags: int = SOLICITED | OVERRIDE


Message = Solicitation | Advertisement


def parse(packet: SuperPacket) -> Message:
    """The message in an IPv6 packet, by the rules of RFC 4861 7.1.1 and 7.1.2; its checksum is not looked at.

    Raises WireError when it is none of the two kinds or must be discarded.
    """
    if packet.version != 6 or packet.protocol != PROTOCOL_ICMPV6 or not packet.payload:
        raise WireError("ndp-protocol", "the packet holds no neighbour discovery")
    kind, payload = packet.payload[0], packet.payload
    if kind not in (TYPE_NEIGHBOUR_SOLICITATION, TYPE_NEIGHBOUR_ADVERTISEMENT):
        raise WireError("ndp-type", f"ICMPv6 type {kind} is no solicitation or advertisement of a neighbour")
    if packet.hop_limit != HOP_LIMIT:
        raise WireError("ndp-hop-limit", f"neighbour discovery with hop limit {packet.hop_limit} has passed a router")
    if len(payload) < _FIXED + 4:
        raise WireError("ndp-truncated", f"neighbour discovery of {len(payload)} octets is shorter than its header")
    target = bytes(payload[8:24])
    if payload[1] or target[0] == 0xFF:
        raise WireError("ndp-field", "neighbour discovery with a code, or about a group")
    solicitation = kind == TYPE_NEIGHBOUR_SOLICITATION
    wanted = OPTION_SOURCE_LINK_ADDRESS if solicitation else OPTION_TARGET_LINK_ADDRESS
    link_address = _option(payload[24:], wanted)
    if solicitation:
        if packet.source == _UNSPECIFIED and link_address:
            raise WireError("ndp-field", "duplicate address detection with a hardware address")
        return Solicitation(target, link_address)
    flags = payload[4]
    if packet.destination[0] == 0xFF and flags & SOLICITED:
        raise WireError("ndp-field", "a solicited advertisement to a group")
    return Advertisement(target, link_address, flags)


def _option(options: Buffer, wanted: int) -> bytes:
    """The hardware address in the first option of a type, empty when there is none. Raises WireError."""
    found = b""
    offset = 0
    while offset < len(options):
        length = options[offset + 1] * _UNIT if offset + 1 < len(options) else 0
        if length == 0 or offset + length > len(options):
            raise WireError("ndp-option", "an option of neighbour discovery has an impossible length")
        if options[offset] == wanted and length == _UNIT and not found:
            found = bytes(options[offset + 2 : offset + 2 + ADDRESS_LENGTH])
        offset += length
    return found


def build(message: Message, source: bytes, destination: bytes) -> SuperPacket:
    """The packet of a message between two packed addresses, its checksum computed."""
    if isinstance(message, Solicitation):
        kind, flags, option = TYPE_NEIGHBOUR_SOLICITATION, 0, OPTION_SOURCE_LINK_ADDRESS
    else:
        kind, flags, option = TYPE_NEIGHBOUR_ADVERTISEMENT, message.flags, OPTION_TARGET_LINK_ADDRESS
    body = bytes((flags, 0, 0, 0)) + message.target
    if message.link_address:
        body += bytes((option, 1)) + message.link_address
    return icmpv6.build(icmpv6.Other(kind, 0, body), source, destination, hop_limit=HOP_LIMIT)
