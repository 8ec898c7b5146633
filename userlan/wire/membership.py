"""Group membership: the values that IGMP and MLD share, and what of their encodings differs in width only.

A record is one group of a report (RFC 3376 4.2.4, RFC 3810 5.2.4); addresses have 4 or 16 octets::

    |  record type  |  aux data len |     number of sources N       |
    |                     multicast address                         |
    |                     N source addresses                        |
    |                     auxiliary data, ignored                   |

Times of queries are written as floating point (RFC 3376 4.1.1, 4.1.7; RFC 3810 5.1.3, 5.1.9), 8 bits wide or 16::

    |0|   value     |    or    |1| exp |  mant |     value = (mant | 0x10) << (exp + 3), with 12 bits: mant | 0x1000
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from userlan.wire.errors import WireError
from userlan.wire.numbers import Buffer

QUERY_TAIL = 4
"""Octets of a query behind the group and in front of the sources: flags and QRV, QQIC, number of sources."""

RECORD_HEADER = 4
"""Octets of a record in front of its group."""

BYTE_MANTISSA = 4
WORD_MANTISSA = 12
"""Bits of the mantissa in a code of 8 and of 16 bits."""

MAX_ROBUSTNESS = 7
"""QRV has 3 bits; a querier whose variable is larger says 0 (RFC 3376 4.1.6)."""


class RecordType(IntEnum):
    """Current state, filter mode change, source list change (RFC 3376 4.2.12, RFC 3810 5.2.12)."""

    MODE_IS_INCLUDE = 1
    MODE_IS_EXCLUDE = 2
    CHANGE_TO_INCLUDE_MODE = 3
    CHANGE_TO_EXCLUDE_MODE = 4
    ALLOW_NEW_SOURCES = 5
    BLOCK_OLD_SOURCES = 6


class Record(NamedTuple):
    """What a host wants to hear of one group; addresses packed."""

    type: RecordType
    group: bytes
    sources: tuple[bytes, ...] = ()

    @property
    def length(self) -> int:
        """Octets in a report."""
        return RECORD_HEADER + len(self.group) * (1 + len(self.sources))


class Query(NamedTuple):
    """Who listens? Of everybody (``group`` all zero), to one group, or to one group and some sources."""

    version: int
    """IGMP 1 to 3, MLD 1 or 2."""
    group: bytes
    max_response: int = 0
    """Milliseconds in which to answer; 0 in version 1 of IGMP, whose answer takes 10 s at most (RFC 3376 7.2.1)."""
    suppress: bool = False
    """The S flag, for routers."""
    robustness: int = 0
    """QRV, 0 when unknown."""
    interval: int = 0
    """Seconds from one query to the next (QQI), 0 when unknown."""
    sources: tuple[bytes, ...] = ()

    @property
    def general(self) -> bool:
        """Whether it asks for all groups."""
        return not any(self.group)


class Report(NamedTuple):
    """IGMPv3 and MLDv2: what a host wants to hear, or how that has changed."""

    records: tuple[Record, ...]


class Member(NamedTuple):
    """The report of an older version: somebody listens to ``group``."""

    version: int
    group: bytes


class Leave(NamedTuple):
    """The farewell of an older version (IGMPv2 leave, MLDv1 done): the host listens to ``group`` no more."""

    group: bytes


Message = Query | Report | Member | Leave


def decoded(code: int, mantissa: int) -> int:
    """The value of a code whose mantissa has that many bits."""
    if code < 1 << (mantissa + 3):
        return code
    significand = 1 << mantissa | code & ((1 << mantissa) - 1)
    return significand << ((code >> mantissa & 7) + 3)


def encoded(value: int, mantissa: int) -> int:
    """The code of the largest value that can be written and is not above ``value``. ValueError for a negative one."""
    if value < 0:
        raise ValueError("a time is not negative")
    if value < 1 << (mantissa + 3):
        return value
    exponent = value.bit_length() - mantissa - 4
    if exponent > 7:
        return (1 << (mantissa + 4)) - 1
    return 1 << (mantissa + 3) | exponent << mantissa | value >> (exponent + 3) & ((1 << mantissa) - 1)


def parse_query_tail(query: Query, tail: Buffer, protocol: str) -> Query:
    """The newest version's part of a query, which starts behind the group. Raises WireError when cut off."""
    size = len(query.group)
    count = tail[2] << 8 | tail[3]
    if len(tail) < QUERY_TAIL + count * size:
        raise WireError(f"{protocol}-truncated", f"a query of {protocol} has not the {count} sources that it announces")
    return query._replace(
        suppress=bool(tail[0] & 8),
        robustness=tail[0] & MAX_ROBUSTNESS,
        interval=decoded(tail[1], BYTE_MANTISSA),
        sources=_addresses(tail, QUERY_TAIL, count, size),
    )


def build_query_tail(query: Query) -> bytes:
    """What stands behind the group in a query of the newest version."""
    robustness = query.robustness if query.robustness <= MAX_ROBUSTNESS else 0
    head = bytes((query.suppress << 3 | robustness, encoded(query.interval, BYTE_MANTISSA)))
    return head + len(query.sources).to_bytes(2, "big") + b"".join(query.sources)


def parse_records(data: Buffer, count: int, size: int, protocol: str) -> Report:
    """``count`` records with addresses of ``size`` octets; those of an unknown type are left out, auxiliary and
    additional data are ignored (RFC 3376 4.2.10 to 4.2.12). Raises WireError when cut off."""
    records: list[Record] = []
    offset = 0
    for _ in range(count):
        start = offset + RECORD_HEADER + size
        sources = data[offset + 2] << 8 | data[offset + 3] if start <= len(data) else 0
        end = start + sources * size
        if end > len(data) or (end := end + data[offset + 1] * 4) > len(data):
            raise WireError(f"{protocol}-truncated", f"a report of {protocol} has not the {count} records that it announces")
        kind = data[offset]
        if RecordType.MODE_IS_INCLUDE <= kind <= RecordType.BLOCK_OLD_SOURCES:
            group = bytes(data[offset + RECORD_HEADER : start])
            records.append(Record(RecordType(kind), group, _addresses(data, start, sources, size)))
        offset = end
    return Report(tuple(records))


def build_records(records: Iterable[Record]) -> bytes:
    """Records back to back, without auxiliary data, of which the protocols define none."""
    parts: list[bytes] = []
    for record in records:
        parts += (bytes((record.type, 0)), len(record.sources).to_bytes(2, "big"), record.group, *record.sources)
    return b"".join(parts)


def _addresses(data: Buffer, start: int, count: int, size: int) -> tuple[bytes, ...]:
    return tuple(bytes(data[place : place + size]) for place in range(start, start + count * size, size))
