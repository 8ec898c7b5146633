"""Numbers that the Internet assigned (IANA "Protocol Numbers"), and the limits that every format here shares."""

from __future__ import annotations

Buffer = bytes | bytearray | memoryview
"""Anything that holds octets; nothing here writes into one that was passed in."""

MAX_PACKET = 65535
"""Octets of the longest IP packet: the length fields have 16 bits (RFC 791 3.1, RFC 8200 3)."""

PROTOCOL_HOP_BY_HOP = 0
PROTOCOL_ICMP = 1
PROTOCOL_IGMP = 2
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17
PROTOCOL_IPV6 = 41
PROTOCOL_ROUTING = 43
PROTOCOL_FRAGMENT = 44
PROTOCOL_ICMPV6 = 58
PROTOCOL_NO_NEXT_HEADER = 59
PROTOCOL_DESTINATION_OPTIONS = 60
PROTOCOL_ETHERIP = 97
PROTOCOL_RESERVED = 255
"""Never a protocol (IANA): stands here for "must not be processed further"."""
