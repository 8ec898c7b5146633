"""pcapng, the format of captured packets (draft-ietf-opsawg-pcapng): blocks written, and the same blocks read again. Sans-IO.

::

    |  block type  |  total length  |  body … padded to 32 bits  |  total length  |

    SHB ─ section header: who wrote it                        at first
    IDB ─ interface description: name, snapshot length        before its first packet
    NRB ─ name resolution: addresses of members               whenever there are new ones
    EPB ─ enhanced packet: time, interface, octets, options   each packet
    ISB ─ interface statistics: what was counted              at the end

All is little-endian (3.1: either is allowed), times are nanoseconds, packets begin with their IP header (LINKTYPE_RAW).

Why here: a bridge of the node writes what the command reads, and neither may import the other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

SECTION_HEADER, INTERFACE, NAMES, STATISTICS, PACKET = 0x0A0D0D0A, 1, 4, 5, 6
"""Block types (4)."""

LINKTYPE_RAW = 101
"""IPv4 or IPv6, as the first four bits tell (the registry of LINKTYPE values)."""

MAX_BLOCK = 1 << 20
"""Octets of a block that the reader takes: a packet has 64 KB."""
MAX_OPTION = 0xFFFF
"""Octets of one option (3.5)."""

Way = Literal["in", "out"]
Cast = Literal["unicast", "multicast", "broadcast"]

_END, _COMMENT = 0, 1
_SHB_APPLICATION = 4
_IF_NAME, _IF_DESCRIPTION, _IF_IPV4, _IF_IPV6, _IF_RESOLUTION = 2, 3, 4, 5, 9
_EPB_FLAGS, _EPB_DROPPED = 2, 4
_ISB_RECEIVED, _ISB_ACCEPTED, _ISB_LOST, _ISB_DELIVERED = 4, 6, 7, 8
_NAMES_IPV4, _NAMES_IPV6 = 1, 2
"""Codes of options (3.5, 4.1 to 4.6) and of records (4.5)."""

_MAGIC = 0x1A2B3C4D
_NANOSECONDS = b"\x09"
"""if_tsresol: a negative power of ten (4.2)."""
_DIRECTIONS: dict[Way, int] = {"in": 1, "out": 2}
_CASTS: dict[Cast, int] = {"unicast": 1 << 2, "multicast": 2 << 2, "broadcast": 3 << 2}
"""Bits of epb_flags (4.3)."""

_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_PACKET = struct.Struct("<IIIIIII")
"""Type, total length, interface, time high and low, captured and original length."""
_STATISTICS = struct.Struct("<III")
_OPTION = struct.Struct("<HH")
_COUNT = struct.Struct("<Q")


class FormatError(ValueError):
    """The octets are no blocks of ours; ``str()`` is one line."""


class Counts(NamedTuple):
    """Of one interface, in packets."""

    received: int = 0
    accepted: int = 0
    """Of those, what the filter let pass."""
    lost: int = 0
    """Of those, what was not recorded, since the reader was too slow."""

    @property
    def delivered(self) -> int:
        """What was recorded."""
        return self.accepted - self.lost


# --- writing


def section_header(application: str, comment: str = "") -> bytes:
    """The first block; the length of the section is not known (4.1)."""
    options = [(_SHB_APPLICATION, application.encode())]
    if comment:
        options.insert(0, (_COMMENT, comment.encode()))
    return _block(SECTION_HEADER, struct.pack("<IHHq", _MAGIC, 1, 0, -1) + _options(options))


def interface(name: str, description: str = "", addresses: Iterable[bytes] = (), snaplen: int = 0) -> bytes:
    """The next interface; they are numbered from 0. ``snaplen``: octets of a packet that are recorded, 0: all."""
    options = [(_IF_NAME, name.encode())]
    if description:
        options.append((_IF_DESCRIPTION, description.encode()))
    for address in addresses:
        if len(address) == 4:
            options.append((_IF_IPV4, address + b"\xff\xff\xff\xff"))
        else:
            options.append((_IF_IPV6, address + b"\x80"))
    options.append((_IF_RESOLUTION, _NANOSECONDS))
    return _block(INTERFACE, struct.pack("<HHI", LINKTYPE_RAW, 0, snaplen) + _options(options))


def names(members: Iterable[tuple[bytes, str]]) -> bytes:
    """Packed addresses with the names that they are shown by; nothing where there are none."""
    records = []
    for address, name in members:
        value = address + name.encode() + b"\0"
        records.append(_option(_NAMES_IPV4 if len(address) == 4 else _NAMES_IPV6, value))
    return _block(NAMES, b"".join((*records, _OPTION.pack(_END, 0)))) if records else b""


def packet(number: int, time: int, octets: bytes, length: int, options: bytes = b"") -> bytes:
    """A packet of ``length`` octets, of which these are recorded, at an interface. ``time``: nanoseconds since 1970.
    ``options``: as ``packet_options`` makes them."""
    captured = len(octets)
    total = 32 + captured + (-captured & 3) + len(options)
    head = _PACKET.pack(PACKET, total, number, time >> 32, time & 0xFFFFFFFF, captured, length)
    return b"".join((head, octets, bytes(-captured & 3), options, _LENGTH.pack(total)))


def packet_options(direction: Way, cast: Cast, comments: Iterable[str] = (), lost: int = 0) -> bytes:
    """What is said of a packet; ``lost``: packets of the same interface since the one before that were not recorded."""
    options = [(_COMMENT, comment.encode()) for comment in comments]
    options.append((_EPB_FLAGS, _LENGTH.pack(_DIRECTIONS[direction] | _CASTS[cast])))
    if lost:
        options.append((_EPB_DROPPED, _COUNT.pack(lost)))
    return _options(options)


def statistics(number: int, time: int, counts: Counts) -> bytes:
    """What was counted at an interface until ``time`` (nanoseconds since 1970)."""
    counted = (
        (_ISB_RECEIVED, counts.received), (_ISB_ACCEPTED, counts.accepted), (_ISB_LOST, counts.lost), (_ISB_DELIVERED, counts.delivered)
    )
    body = _STATISTICS.pack(number, time >> 32, time & 0xFFFFFFFF)
    return _block(STATISTICS, body + _options([(code, _COUNT.pack(count)) for code, count in counted]))


def _block(kind: int, body: bytes) -> bytes:
    length = _LENGTH.pack(len(body) + 12)
    return b"".join((_LENGTH.pack(kind), length, body, length))


def _options(options: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(_option(code, value) for code, value in options) + _OPTION.pack(_END, 0)


def _option(code: int, value: bytes) -> bytes:
    value = value[:MAX_OPTION]
    return b"".join((_OPTION.pack(code, len(value)), value, bytes(-len(value) & 3)))


# --- reading


class Recorded(NamedTuple):
    """A packet as it was recorded."""

    interface: str
    time: int
    """Nanoseconds since 1970."""
    octets: bytes
    length: int
    """Octets that the packet had."""
    direction: Way
    comments: tuple[str, ...]


class Blocks:
    """The blocks in a stream, as they come in. Raises FormatError."""

    def __init__(self) -> None:
        self.packets = 0
        """Packets in what was fed."""
        self.counts = Counts()
        """The sum over all interfaces, once the end has come."""
        self.ended = False
        """Whether it has: what was counted is told."""
        self._buffer = b""
        self._interfaces: list[str] = []

    def feed(self, data: bytes) -> bytes:
        """More octets; those of the whole blocks that there are now come back."""
        whole, self._buffer = self._split(self._buffer + data)
        return whole

    def packets_of(self, blocks: bytes) -> Iterator[Recorded]:
        """The packets in whole blocks."""
        for kind, start, end in self._each(blocks):
            if kind == INTERFACE:
                told = dict(_read_options(blocks, start + 8, end))
                self._interfaces.append(told.get(_IF_NAME, b"").decode("utf-8", "replace"))
            elif kind == PACKET:
                yield self._read_packet(blocks, start, end)

    def _split(self, data: bytes) -> tuple[bytes, bytes]:
        place = 0
        for kind, start, end in self._each(data):
            if kind == PACKET:
                self.packets += 1
            elif kind == STATISTICS:
                self._add_up(dict(_read_options(data, start + 12, end)))
            place = end + 4
        return (data, b"") if place == len(data) else (data[:place], data[place:])

    def _each(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """The whole blocks at the beginning: type, start and end of the body."""
        place, size = 0, len(data)
        while place + 12 <= size:
            kind, length = _HEAD.unpack_from(data, place)
            if length < 12 or length & 3 or length > MAX_BLOCK:
                raise FormatError(f"a block of type {kind} cannot have {length} octets")
            if place + length > size:
                return
            yield kind, place + 8, place + length - 4
            place += length

    def _add_up(self, told: dict[int, bytes]) -> None:
        got = [_COUNT.unpack(told.get(code, bytes(8)))[0] for code in (_ISB_RECEIVED, _ISB_ACCEPTED, _ISB_LOST)]
        self.ended = True
        self.counts = Counts(*(before + more for before, more in zip(self.counts, got, strict=True)))

    def _read_packet(self, data: bytes, start: int, end: int) -> Recorded:
        if end - start < 20:
            raise FormatError("a packet's block is shorter than its header")
        number, high, low, captured, length = struct.unpack_from("<IIIII", data, start)
        first = start + 20
        if captured > end - first or number >= len(self._interfaces):
            raise FormatError("a packet's block contradicts itself")
        direction: Way = "in"
        comments = []
        for code, value in _read_options(data, first + captured + (-captured & 3), end):
            if code == _COMMENT:
                comments.append(value.decode("utf-8", "replace"))
            elif code == _EPB_FLAGS and len(value) == 4:
                direction = "out" if _LENGTH.unpack(value)[0] & 3 == _DIRECTIONS["out"] else "in"
        octets = data[first : first + captured]
        return Recorded(self._interfaces[number], high << 32 | low, octets, length, direction, tuple(comments))


def _read_options(data: bytes, place: int, end: int) -> Iterator[tuple[int, bytes]]:
    while place + 4 <= end:
        code, length = _OPTION.unpack_from(data, place)
        place += 4
        if code == _END:
            return
        if place + length > end:
            raise FormatError("an option is longer than its block")
        yield code, data[place : place + length]
        place += length + (-length & 3)
