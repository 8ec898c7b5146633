"""IGMP: queries, reports and leaves of versions 1 to 3 (RFC 1112 appendix I, RFC 2236, RFC 3376 4).

    |     type      | max resp code |           checksum            |
    |                         group address                         |
    |0 0 0 0|S| QRV |     QQIC      |    number of sources (N)      |    version 3's queries
    |                      N source addresses                       |

    |  type = 0x22  |   reserved    |           checksum            |
    |           reserved            |  number of group records (M)  |    version 3's reports
    |               M group records (``membership``)                |

A query's version is its length and its max resp code (RFC 3376 7.1). Every message is sent with a time to live of 1,
precedence "internetwork control" and the IP router alert option (RFC 3376 4, RFC 2113). The checksum covers the message
alone and is computed when built; `checksum.transport_ok` checks it on receipt.
"""

from __future__ import annotations

from userlan.wire import ipv4
from userlan.wire.checksum import internet_checksum
from userlan.wire.errors import WireError
from userlan.wire.membership import (
    BYTE_MANTISSA,
    QUERY_TAIL,
    Leave,
    Member,
    Message,
    Query,
    Report,
    build_query_tail,
    build_records,
    decoded,
    encoded,
    parse_query_tail,
    parse_records,
)
from userlan.wire.numbers import PROTOCOL_IGMP, Buffer
from userlan.wire.superpacket import SuperPacket

HEADER_LENGTH = 8
"""Octets of the shortest message, and of a report in front of its records."""

NEWEST_VERSION = 3

TYPE_QUERY = 0x11
TYPE_REPORT_1 = 0x12
TYPE_REPORT_2 = 0x16
TYPE_LEAVE = 0x17
TYPE_REPORT_3 = 0x22
"""Message types (RFC 3376 4)."""

NOBODY = bytes(4)
"""The source of a switch or host that has no address yet (RFC 3376 4.2.13, RFC 4541 2.1.1); as a group: all."""

ALL_HOSTS = bytes((224, 0, 0, 1))
ALL_ROUTERS = bytes((224, 0, 0, 2))
ALL_REPORTS = bytes((224, 0, 0, 22))
"""Where general queries, leaves and version 3's reports go (RFC 3376 4.1.12, 7.2.1, 4.2.14)."""

TRAFFIC_CLASS = 0xC0
"""Precedence "internetwork control" (RFC 3376 4)."""

_TICK = 100
"""Milliseconds: the unit of the max resp code (RFC 3376 4.1.1)."""

_OLDER_TYPES = frozenset((TYPE_REPORT_1, TYPE_REPORT_2, TYPE_LEAVE))


def parse(packet: SuperPacket) -> Message:
    """The IGMP message in a packet; its checksum is not looked at.

    Raises WireError when it is cut off or not IGMP, of an unknown type (RFC 3376 4: to be ignored), about no group, or
    one of those that a host should ignore: a query of version 2 or 3 without router alert, a general one to another
    group than 224.0.0.1 (RFC 3376 9.1), a report of version 1 or 2 to another group than its own.
    """
    if packet.protocol != PROTOCOL_IGMP or packet.version != 4 or packet.fragment:
        raise WireError("igmp-protocol", "the packet holds no whole IGMP message")
    data = packet.payload
    if len(data) < HEADER_LENGTH:
        raise WireError("igmp-truncated", f"an IGMP message of {len(data)} octets is shorter than its header")
    kind = data[0]
    message: Message
    if kind == TYPE_REPORT_3:
        message = parse_records(data[HEADER_LENGTH:], data[6] << 8 | data[7], 4, "igmp")
        for record in message.records:
            _check_group(record.group)
        return message
    group = bytes(data[4:8])
    if kind == TYPE_QUERY:
        return _query(packet, data, group)
    if kind not in _OLDER_TYPES:
        raise WireError("igmp-type", f"IGMP type {kind:#x} is not known")
    _check_group(group)
    if kind == TYPE_LEAVE:
        return Leave(group)
    if packet.destination != group:
        raise WireError("igmp-destination", "an IGMP report went to another group than its own")
    return Member(1 if kind == TYPE_REPORT_1 else 2, group)


def _query(packet: SuperPacket, data: Buffer, group: bytes) -> Query:
    """A query, told apart by length (RFC 3376 7.1). Raises WireError."""
    code = data[1]
    if len(data) >= HEADER_LENGTH + QUERY_TAIL:
        query = Query(3, group, decoded(code, BYTE_MANTISSA) * _TICK)
        query = parse_query_tail(query, data[HEADER_LENGTH:], "igmp")
    elif len(data) == HEADER_LENGTH:
        query = Query(2 if code else 1, group, code * _TICK)
    else:
        raise WireError("igmp-query-length", f"an IGMP query of {len(data)} octets is of no version")
    if query.version > 1 and not ipv4.router_alert(packet.header):
        raise WireError("igmp-router-alert", "an IGMP query came without the router alert option")
    if not query.general:
        _check_group(group)
    elif _is_group(packet.destination) and packet.destination != ALL_HOSTS:
        raise WireError("igmp-destination", "a general IGMP query went to another group than 224.0.0.1")
    return query


def build(message: Message, source: bytes) -> SuperPacket:
    """The packet of a message from a packed address, or NOBODY, to where it belongs; its checksum computed.

    Times that cannot be written are rounded down. Raises WireError when it exceeds 65,535 octets.
    """
    match message:
        case Query(version, group, max_response):
            destination = ALL_HOSTS if message.general else group
            ticks = max_response // _TICK
            code = encoded(ticks, BYTE_MANTISSA) if version == 3 else min(ticks, 0xFF)
            body = bytes((TYPE_QUERY, code, 0, 0)) + group
            body += build_query_tail(message) if version == 3 else b""
        case Report(records):
            destination = ALL_REPORTS
            body = bytes((TYPE_REPORT_3, 0, 0, 0, 0, 0)) + len(records).to_bytes(2, "big") + build_records(records)
        case Member(version, group):
            destination = group
            body = bytes((TYPE_REPORT_1 if version == 1 else TYPE_REPORT_2, 0, 0, 0)) + group
        case Leave(group):
            destination = ALL_ROUTERS
            body = bytes((TYPE_LEAVE, 0, 0, 0)) + group
    body = body[:2] + internet_checksum(body).to_bytes(2, "big") + body[4:]
    length = len(ipv4.ROUTER_ALERT) + len(body)
    header = ipv4.build_header(source, destination, PROTOCOL_IGMP, length, hop_limit=1, traffic_class=TRAFFIC_CLASS)
    return SuperPacket(ipv4.with_router_alert(header), body, 0, True)


def _is_group(address: bytes) -> bool:
    return address[0] & 0xF0 == 0xE0


def _check_group(address: bytes) -> None:
    if not _is_group(address):
        raise WireError("igmp-group", "an IGMP message is about an address that is no group")
