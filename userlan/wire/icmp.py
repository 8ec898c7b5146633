"""ICMP messages over IPv4 (RFC 792; RFC 1122 3.2.2; RFC 1191 4 for the MTU of "fragmentation needed").

    |     type      |     code      |           checksum            |
    | identifier and sequence; or unused and next-hop MTU; pointer  |
    | data of the echo, or the head of the packet that is at fault  |

The checksum covers the message alone and is computed when built; `checksum.transport_ok` checks it on receipt.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from userlan.wire import ipv4
from userlan.wire.checksum import internet_checksum
from userlan.wire.errors import WireError
from userlan.wire.numbers import PROTOCOL_ICMP, Buffer
from userlan.wire.superpacket import SuperPacket

HEADER_LENGTH = 8
"""Octets in front of the data, in every message known here."""

MAX_ERROR_LENGTH = 576
"""Octets of the longest error, IP header included (RFC 1812 4.3.2.3)."""

TYPE_ECHO_REPLY = 0
TYPE_UNREACHABLE = 3
TYPE_ECHO_REQUEST = 8
TYPE_TIME_EXCEEDED = 11
TYPE_PARAMETER_PROBLEM = 12
"""Message types (RFC 792)."""

CODE_NETWORK_UNREACHABLE = 0
CODE_HOST_UNREACHABLE = 1
CODE_PROTOCOL_UNREACHABLE = 2
CODE_PORT_UNREACHABLE = 3
CODE_FRAGMENTATION_NEEDED = 4
CODE_SOURCE_ROUTE_FAILED = 5
CODE_ADMINISTRATIVELY_PROHIBITED = 13
"""Codes of "unreachable" (RFC 792, RFC 1812 5.2.7.1)."""

CODE_HOP_LIMIT = 0
CODE_REASSEMBLY = 1
"""Codes of "time exceeded" (RFC 792)."""

_HEADER = struct.Struct("!BBHHH")


class Echo(NamedTuple):
    """An echo request, or the reply to one."""

    request: bool
    identifier: int
    sequence: int
    payload: Buffer


class Unreachable(NamedTuple):
    """Destination unreachable; `mtu` (octets, of the next hop) has a meaning with CODE_FRAGMENTATION_NEEDED, 0 if
    unknown."""

    code: int
    quoted: Buffer
    mtu: int = 0


class TimeExceeded(NamedTuple):
    """The time to live, or the time for reassembly, is over."""

    code: int
    quoted: Buffer


class ParameterProblem(NamedTuple):
    """A header field is wrong: the octet at `pointer` of the quoted packet (RFC 792)."""

    code: int
    pointer: int
    quoted: Buffer


class Other(NamedTuple):
    """A message that nothing here knows; a host ignores it (RFC 1122 3.2.2)."""

    type: int
    code: int
    body: Buffer


Message = Echo | Unreachable | TimeExceeded | ParameterProblem | Other


def parse(packet: SuperPacket) -> Message:
    """The ICMP message in a packet; its checksum is not looked at. Raises WireError when it is cut off or not ICMP."""
    if packet.protocol != PROTOCOL_ICMP or packet.version != 4 or packet.fragment:
        raise WireError("icmp-protocol", "the packet holds no whole ICMP message")
    payload = packet.payload
    if len(payload) < HEADER_LENGTH:
        raise WireError("icmp-truncated", f"an ICMP message of {len(payload)} octets is shorter than its header")
    kind, code, _, first, second = _HEADER.unpack_from(payload)
    data = payload[HEADER_LENGTH:]
    if kind in (TYPE_ECHO_REQUEST, TYPE_ECHO_REPLY):
        return Echo(kind == TYPE_ECHO_REQUEST, first, second, data)
    if kind == TYPE_UNREACHABLE:
        return Unreachable(code, data, second if code == CODE_FRAGMENTATION_NEEDED else 0)
    if kind == TYPE_TIME_EXCEEDED:
        return TimeExceeded(code, data)
    if kind == TYPE_PARAMETER_PROBLEM:
        return ParameterProblem(code, first >> 8, data)
    return Other(kind, code, payload[4:])


def build(
    message: Message, source: bytes, destination: bytes, hop_limit: int = 64, traffic_class: int = 0
) -> SuperPacket:
    """The packet of a message between two packed IPv4 addresses, its checksum computed; quotes are cut to fit 576
    octets.

    Raises WireError when it exceeds 65,535 octets.
    """
    quote = MAX_ERROR_LENGTH - ipv4.HEADER_LENGTH - HEADER_LENGTH
    match message:
        case Echo(request, identifier, sequence, data):
            kind = TYPE_ECHO_REQUEST if request else TYPE_ECHO_REPLY
            body = _HEADER.pack(kind, 0, 0, identifier, sequence) + data
        case Unreachable(code, quoted, mtu):
            body = _HEADER.pack(TYPE_UNREACHABLE, code, 0, 0, mtu) + quoted[:quote]
        case TimeExceeded(code, quoted):
            body = _HEADER.pack(TYPE_TIME_EXCEEDED, code, 0, 0, 0) + quoted[:quote]
        case ParameterProblem(code, pointer, quoted):
            body = _HEADER.pack(TYPE_PARAMETER_PROBLEM, code, 0, pointer << 8, 0) + quoted[:quote]
        case Other(kind, code, data):
            body = bytes((kind, code, 0, 0)) + data
    body = body[:2] + internet_checksum(body).to_bytes(2, "big") + body[4:]
    header = ipv4.build_header(
        source, destination, PROTOCOL_ICMP, len(body), hop_limit=hop_limit, traffic_class=traffic_class
    )
    return SuperPacket(header, body, 0, True)
