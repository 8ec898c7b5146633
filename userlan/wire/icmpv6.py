"""ICMPv6 messages (RFC 4443).

    |     type      |     code      |           checksum            |
    | identifier and sequence; or unused; MTU; pointer              |
    | data of the echo, or the head of the packet that is at fault  |

Types below 128 are errors. The checksum covers a pseudo-header and the message and is computed when built;
`checksum.transport_ok` checks it on receipt.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from userlan.wire import ipv6
from userlan.wire.checksum import finish, pseudo_residue, residue
from userlan.wire.errors import WireError
from userlan.wire.numbers import PROTOCOL_ICMPV6, Buffer
from userlan.wire.superpacket import SuperPacket

HEADER_LENGTH = 8
"""Octets in front of the data, in every message known here."""

MAX_ERROR_LENGTH = ipv6.MINIMUM_MTU
"""Octets of the longest error, IP header included (RFC 4443 2.4 c)."""

TYPE_UNREACHABLE = 1
TYPE_PACKET_TOO_BIG = 2
TYPE_TIME_EXCEEDED = 3
TYPE_PARAMETER_PROBLEM = 4
TYPE_ECHO_REQUEST = 128
TYPE_ECHO_REPLY = 129
FIRST_INFORMATIONAL_TYPE = 128
"""Message types (RFC 4443 2.1)."""

CODE_NO_ROUTE = 0
CODE_ADMINISTRATIVELY_PROHIBITED = 1
CODE_BEYOND_SCOPE = 2
CODE_ADDRESS_UNREACHABLE = 3
CODE_PORT_UNREACHABLE = 4
"""Codes of "unreachable" (RFC 4443 3.1)."""

CODE_HOP_LIMIT = 0
CODE_REASSEMBLY = 1
"""Codes of "time exceeded" (RFC 4443 3.3)."""

_HEADER = struct.Struct("!BBHI")
_ECHO = struct.Struct("!BBHHH")


class Echo(NamedTuple):
    """An echo request, or the reply to one."""

    request: bool
    identifier: int
    sequence: int
    payload: Buffer


class Unreachable(NamedTuple):
    """Destination unreachable."""

    code: int
    quoted: Buffer


class PacketTooBig(NamedTuple):
    """The quoted packet exceeds the next link's `mtu` (octets)."""

    mtu: int
    quoted: Buffer


class TimeExceeded(NamedTuple):
    """The hop limit, or the time for reassembly, is over."""

    code: int
    quoted: Buffer


class ParameterProblem(NamedTuple):
    """A header field is wrong: the octet at `pointer` of the quoted packet; codes in `ipv6` (`PROBLEM_...`)."""

    code: int
    pointer: int
    quoted: Buffer


class Other(NamedTuple):
    """A message that nothing here knows: ignored when informational, passed up when an error (RFC 4443 2.4 a, b)."""

    type: int
    code: int
    body: Buffer


Message = Echo | Unreachable | PacketTooBig | TimeExceeded | ParameterProblem | Other


def parse(packet: SuperPacket) -> Message:
    """The ICMPv6 message in a packet; its checksum is not looked at. Raises WireError when it is cut off or not
    ICMPv6."""
    if packet.protocol != PROTOCOL_ICMPV6 or packet.version != 6:
        raise WireError("icmpv6-protocol", "the packet holds no whole ICMPv6 message")
    payload = packet.payload
    if len(payload) < HEADER_LENGTH:
        raise WireError("icmpv6-truncated", f"an ICMPv6 message of {len(payload)} octets is shorter than its header")
    kind, code, _, value = _HEADER.unpack_from(payload)
    data = payload[HEADER_LENGTH:]
    if kind in (TYPE_ECHO_REQUEST, TYPE_ECHO_REPLY):
        return Echo(kind == TYPE_ECHO_REQUEST, value >> 16, value & 0xFFFF, data)
    if kind == TYPE_UNREACHABLE:
        return Unreachable(code, data)
    if kind == TYPE_PACKET_TOO_BIG:
        return PacketTooBig(value, data)
    if kind == TYPE_TIME_EXCEEDED:
        return TimeExceeded(code, data)
    if kind == TYPE_PARAMETER_PROBLEM:
        return ParameterProblem(code, value, data)
    return Other(kind, code, payload[4:])


def build(
    message: Message, source: bytes, destination: bytes, hop_limit: int = 64, traffic_class: int = 0
) -> SuperPacket:
    """The packet of a message between two packed IPv6 addresses, its checksum computed; quotes are cut to fit 1,280
    octets.

    Raises WireError when it exceeds 65,535 octets.
    """
    quote = MAX_ERROR_LENGTH - ipv6.HEADER_LENGTH - HEADER_LENGTH
    match message:
        case Echo(request, identifier, sequence, data):
            kind = TYPE_ECHO_REQUEST if request else TYPE_ECHO_REPLY
            body = _ECHO.pack(kind, 0, 0, identifier, sequence) + data
        case Unreachable(code, quoted):
            body = _HEADER.pack(TYPE_UNREACHABLE, code, 0, 0) + quoted[:quote]
        case PacketTooBig(mtu, quoted):
            body = _HEADER.pack(TYPE_PACKET_TOO_BIG, 0, 0, mtu) + quoted[:quote]
        case TimeExceeded(code, quoted):
            body = _HEADER.pack(TYPE_TIME_EXCEEDED, code, 0, 0) + quoted[:quote]
        case ParameterProblem(code, pointer, quoted):
            body = _HEADER.pack(TYPE_PARAMETER_PROBLEM, code, 0, pointer) + quoted[:quote]
        case Other(kind, code, data):
            body = bytes((kind, code, 0, 0)) + data
    checksum = finish(pseudo_residue(source, destination, PROTOCOL_ICMPV6, len(body)) + residue(body))
    body = body[:2] + checksum.to_bytes(2, "big") + body[4:]
    header = ipv6.build_header(
        source, destination, PROTOCOL_ICMPV6, len(body), hop_limit=hop_limit, traffic_class=traffic_class
    )
    return SuperPacket(header, body, 0, True)
