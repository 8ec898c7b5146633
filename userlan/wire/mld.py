"""MLD: queries, reports and farewells of versions 1 and 2, as ICMPv6 messages (RFC 2710, RFC 3810 5).

    |     type      |   code = 0    |           checksum            |
    |       max resp code           |           reserved            |
    |                   multicast address, 16 octets                |
    |0 0 0 0|S| QRV |     QQIC      |    number of sources (N)      |    version 2's queries
    |                      N source addresses                       |

    |  type = 143   |   reserved    |           checksum            |
    |           reserved            |     number of records (M)     |    version 2's reports
    |                  M records (``membership``)                   |

A query's version is its length (RFC 3810 8.1). Every message is sent with a hop limit of 1, from a link-local address
(a report, before there is one: from ::) and with a router alert in a hop-by-hop header (RFC 3810 5, RFC 2711). The
checksum is computed when built; `checksum.transport_ok` checks it on receipt.
"""

from __future__ import annotations

from userlan.wire import ipv6
from userlan.wire.checksum import finish, pseudo_residue, residue
from userlan.wire.errors import WireError
from userlan.wire.membership import (
    QUERY_TAIL,
    WORD_MANTISSA,
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
from userlan.wire.numbers import PROTOCOL_HOP_BY_HOP, PROTOCOL_ICMPV6, Buffer
from userlan.wire.superpacket import SuperPacket

HEADER_LENGTH = 8
"""Octets of a report in front of its records."""

OLDER_LENGTH = 24
"""Octets of every message of version 1 (RFC 2710 3)."""

NEWEST_VERSION = 2

TYPE_QUERY = 130
TYPE_REPORT_1 = 131
TYPE_DONE = 132
TYPE_REPORT_2 = 143
TYPES = frozenset((TYPE_QUERY, TYPE_REPORT_1, TYPE_DONE, TYPE_REPORT_2))
"""Types of ICMPv6 (RFC 3810 5)."""

NOBODY = bytes(16)
"""The source of a host that has no link-local address (RFC 3810 5.2.13); as a group: all."""

ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
ALL_ROUTERS = bytes.fromhex("ff020000000000000000000000000002")
ALL_REPORTS = bytes.fromhex("ff020000000000000000000000000016")
"""Where general queries, farewells and version 2's reports go (RFC 3810 5.1.14, 5.2.14; RFC 2710 5)."""


def is_mld(packet: SuperPacket) -> bool:
    """Whether an ICMPv6 message is one of MLD."""
    payload = packet.payload
    return packet.protocol == PROTOCOL_ICMPV6 and packet.version == 6 and len(payload) > 0 and payload[0] in TYPES


def is_link_local(address: bytes) -> bool:
    """fe80::/10 (RFC 4291 2.5.6)."""
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80


def parse(packet: SuperPacket) -> Message:
    """The MLD message in a packet; its checksum is not looked at.

    Raises WireError when it is cut off or not MLD, about no group, without a hop limit of 1 and router alert, or not
    from a link-local address (a report: or ::), all of which are to be dropped (RFC 3810 6.2, 5.2.13), and for a
    general query to another group than ff02::1 (RFC 3810 5.1.14).
    """
    if packet.fragment or not is_mld(packet):
        raise WireError("mld-protocol", "the packet holds no whole MLD message")
    data = packet.payload
    kind = data[0]
    if len(data) < (HEADER_LENGTH if kind == TYPE_REPORT_2 else OLDER_LENGTH):
        raise WireError("mld-truncated", f"an MLD message of {len(data)} octets is shorter than its header")
    if packet.hop_limit != 1:
        raise WireError("mld-hop-limit", f"an MLD message has a hop limit of {packet.hop_limit}, not 1")
    if ipv6.router_alert(packet.header) != ipv6.ALERT_MLD:
        raise WireError("mld-router-alert", "an MLD message came without its router alert")
    anonymous = kind in (TYPE_REPORT_1, TYPE_REPORT_2) and packet.source == NOBODY
    if not anonymous and not is_link_local(packet.source):
        raise WireError("mld-source", "an MLD message came from an address that is not link-local")
    if kind == TYPE_REPORT_2:
        report = parse_records(data[HEADER_LENGTH:], data[6] << 8 | data[7], 16, "mld")
        for record in report.records:
            _check_group(record.group)
        return report
    group = bytes(data[8:24])
    if kind == TYPE_QUERY:
        return _query(packet, data, group)
    _check_group(group)
    if kind == TYPE_DONE:
        return Leave(group)
    if packet.destination != group:
        raise WireError("mld-destination", "an MLD report went to another group than its own")
    return Member(1, group)


def _query(packet: SuperPacket, data: Buffer, group: bytes) -> Query:
    """A query, told apart by length (RFC 3810 8.1); version 1 writes its delay in plain milliseconds (RFC 2710 3.4).
    Raises WireError."""
    code = data[4] << 8 | data[5]
    if len(data) >= OLDER_LENGTH + QUERY_TAIL:
        query = parse_query_tail(Query(2, group, decoded(code, WORD_MANTISSA)), data[OLDER_LENGTH:], "mld")
    elif len(data) == OLDER_LENGTH:
        query = Query(1, group, code)
    else:
        raise WireError("mld-query-length", f"an MLD query of {len(data)} octets is of no version")
    if not query.general:
        _check_group(group)
    elif packet.destination[0] == 0xFF and packet.destination != ALL_NODES:
        raise WireError("mld-destination", "a general MLD query went to another group than ff02::1")
    return query


def build(message: Message, source: bytes) -> SuperPacket:
    """The packet of a message from a packed link-local address, or NOBODY, to where it belongs; its checksum computed.

    Times that cannot be written are rounded down. Raises WireError when it exceeds 65,535 octets.
    """
    match message:
        case Query(version, group, max_response):
            destination = ALL_NODES if message.general else group
            code = encoded(max_response, WORD_MANTISSA) if version == 2 else min(max_response, 0xFFFF)
            body = bytes((TYPE_QUERY, 0, 0, 0)) + code.to_bytes(2, "big") + bytes(2) + group
            body += build_query_tail(message) if version == 2 else b""
        case Report(records):
            destination = ALL_REPORTS
            body = bytes((TYPE_REPORT_2, 0, 0, 0, 0, 0)) + len(records).to_bytes(2, "big") + build_records(records)
        case Member(_, group):
            destination = group
            body = bytes((TYPE_REPORT_1, 0, 0, 0, 0, 0, 0, 0)) + group
        case Leave(group):
            destination = ALL_ROUTERS
            body = bytes((TYPE_DONE, 0, 0, 0, 0, 0, 0, 0)) + group
    total = pseudo_residue(source, destination, PROTOCOL_ICMPV6, len(body)) + residue(body)
    body = body[:2] + finish(total).to_bytes(2, "big") + body[4:]
    alert = ipv6.router_alert_header(PROTOCOL_ICMPV6, ipv6.ALERT_MLD)
    header = ipv6.build_header(source, destination, PROTOCOL_HOP_BY_HOP, len(alert) + len(body), hop_limit=1)
    return SuperPacket(header + alert, body, 0, True)


def _check_group(address: bytes) -> None:
    if address[0] != 0xFF:
        raise WireError("mld-group", "an MLD message is about an address that is no group")
