"""Multicast DNS messages: names as labels, the records that services are made of, packed and unpacked (RFC 1035, 2782, 6762, 6763).

::

    12 octets      identifier, flags (QR, opcode, AA, TC, RD, RA, rcode), number of questions, answers, authorities, additionals
    question       name, type, class (highest bit: a unicast answer will do, RFC 6762 5.4)
    record         name, type, class (highest bit: flush the cache, RFC 6762 10.2), TTL, length, data

Why a codec beside python-zeroconf's: that one keeps a name as one text whose dots divide it, so that an instance called ``Box v1.2``
comes out as two labels (RFC 6763 4.1.1 allows any text in one), and it decodes labels that are not UTF-8 with loss. A relay hands on
what it was given, octet by octet. So a :data:`Name` is a tuple of labels here, as on the wire.

Any bytes may come: :func:`decode` gives a message or raises ``ValueError``, and what it costs is bounded by the datagram's length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import attrs

Name = tuple[bytes, ...]

A, PTR, TXT, AAAA, SRV, NSEC, ANY = 1, 12, 16, 28, 33, 47, 255
"""RFC 1035 3.2.2, RFC 3596, 2782, 4034; ANY in questions only."""

CLASS_IN = 1
TOP_BIT = 0x8000
"""Of the class: see above."""
FLAG_RESPONSE, FLAG_AUTHORITATIVE, FLAG_TRUNCATED = 0x8000, 0x0400, 0x0200
IGNORED_UNLESS_ZERO = 0x780F
"""Opcode and rcode (RFC 6762 18.3, 18.11)."""

MAX_LABEL = 63
MAX_NAME = 255
"""Octets of a name with its lengths (RFC 1035 2.3.4)."""
MAX_JUMPS = 32
"""Compression pointers followed for one name: each must point further back as well."""
MAX_ENTRIES = 1024
"""Questions and records of one message that are read: what a datagram of 9000 octets (RFC 6762 17) can hold of the shortest, about."""
PAYLOAD = 1232
"""Octets of a message that we build of several records: whole within IPv6's smallest MTU, 1280 (RFC 8200 5, RFC 6762 17)."""
MAX_PAYLOAD = 8952
"""Octets of a message with one great record (RFC 6762 17: 9000 with headers)."""

_HEADER = struct.Struct("!6H")
_ENTRY = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_SRV = struct.Struct("!HHH")


@attrs.frozen
class Srv:
    """RFC 2782."""

    priority: int
    weight: int
    port: int
    target: Name


Data = Name | Srv | bytes
"""A name (PTR), Srv (SRV), or the data itself: packed address, TXT strings, anything else."""


class Question(NamedTuple):
    name: Name
    type: int
    unicast: bool = False
    """A unicast answer will do."""


class Record(NamedTuple):
    name: Name
    type: int
    data: Data
    ttl: int
    """Seconds; 0 is a goodbye (RFC 6762 10.1)."""
    flush: bool = False
    """Its owner is the only one of the name and type: others are not valid any more."""

    @property
    def key(self) -> tuple[Name, int]:
        """Name and type, upper case or not."""
        return fold(self.name), self.type

    @property
    def identity(self) -> object:
        """What makes two records the same, whatever their TTL."""
        return fold(self.name), self.type, _folded(self.data)


@attrs.frozen
class Message:
    """One message. Authorities are what a probe wants to be (RFC 6762 8.2)."""

    response: bool
    questions: Sequence[Question] = ()
    answers: Sequence[Record] = ()
    authorities: Sequence[Record] = ()
    additionals: Sequence[Record] = ()
    truncated: bool = False
    identifier: int = 0


@lru_cache(maxsize=4096)
def fold(name: Name) -> Name:
    """The name for comparing: ASCII letters in lower case (RFC 6762 16)."""
    return tuple(label.lower() for label in name)


def _folded(data: Data) -> object:
    if isinstance(data, Srv):
        return attrs.evolve(data, target=fold(data.target))
    return fold(data) if isinstance(data, tuple) else data


def name_of(text: str) -> Name:
    """``_http._tcp.local``, divided at its dots. ValueError for what cannot be a name."""
    labels = tuple(label.encode() for label in text.rstrip(".").split("."))
    if not all(1 <= len(label) <= MAX_LABEL for label in labels) or name_size(labels) > MAX_NAME:
        raise ValueError(f"{text!r} is not a domain name")
    return labels


def name_text(name: Name) -> str:
    """For people: the labels with dots between."""
    return ".".join(label.decode("utf-8", "replace") for label in name)


def name_size(name: Name) -> int:
    """Octets on the wire, without compression."""
    return sum(len(label) + 1 for label in name) + 1


def name_data(name: Name) -> bytes:
    """A name without compression."""
    return b"".join(bytes([len(label)]) + label for label in name) + b"\0"


def nsec_data(name: Name, types: Iterable[int]) -> bytes:
    """That a name has records of these types (below 256) alone (RFC 6762 6.1, RFC 4034 4.1)."""
    bitmap = bytearray(32)
    for one in types:
        bitmap[one // 8] |= 0x80 >> one % 8
    used = bytes(bitmap).rstrip(b"\0")
    return name_data(name) + bytes([0, len(used)]) + used


# -- unpacking


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def take(self, shape: struct.Struct) -> tuple[int, ...]:
        try:
            values: tuple[int, ...] = shape.unpack_from(self.data, self.place)
        except struct.error:
            raise ValueError("the message is cut off") from None
        self.place += shape.size
        return values

    def name(self) -> Name:
        """The name here, compressed or not."""
        data, place, after, size, lowest = self.data, self.place, 0, 1, self.place
        labels: list[bytes] = []
        for _ in range(MAX_NAME + MAX_JUMPS):
            if place >= len(data):
                raise ValueError("a name is cut off")
            length = data[place]
            if length == 0:
                self.place = after or place + 1
                return tuple(labels)
            if length <= MAX_LABEL:
                size += length + 1
                label = data[place + 1 : place + 1 + length]
                if len(label) < length or size > MAX_NAME:
                    raise ValueError("a name is cut off or too long")
                labels.append(label)
                place += 1 + length
                continue
            if length < 0xC0 or place + 1 >= len(data):
                raise ValueError("neither a label nor a pointer")
            after = after or place + 2
            place = (length & 0x3F) << 8 | data[place + 1]
            if place >= lowest:
                raise ValueError("a compression pointer that does not point back")
            lowest = place
        raise ValueError("a name with too many pointers")


def decode(data: bytes) -> Message:
    """A datagram's message. ValueError when it is none, or one to be ignored."""
    reader = _Reader(data)
    identifier, flags, *counts = reader.take(_HEADER)
    if flags & IGNORED_UNLESS_ZERO:
        raise ValueError("an operation or an error that multicast DNS does not know")
    if sum(counts) > MAX_ENTRIES:
        raise ValueError("more entries than fit")
    questions = []
    for _ in range(counts[0]):
        name = reader.name()
        asked, wanted_class = reader.take(_ENTRY)
        if wanted_class & ~TOP_BIT in (CLASS_IN, ANY):
            questions.append(Question(name, asked, bool(wanted_class & TOP_BIT)))
    answers, authorities, additionals = ([one for _ in range(count) if (one := _record(reader)) is not None] for count in counts[1:])
    response, truncated = bool(flags & FLAG_RESPONSE), bool(flags & FLAG_TRUNCATED)
    return Message(response, questions, answers, authorities, additionals, truncated, identifier)


def _record(reader: _Reader) -> Record | None:
    """The record here; None for one that tells us nothing."""
    name = reader.name()
    kind, its_class, ttl, length = reader.take(_RECORD)
    begin = reader.place
    end = begin + length
    if end > len(reader.data):
        raise ValueError("a record is cut off")
    data: Data | None = None
    if kind == PTR:
        data = reader.name()
    elif kind == SRV:
        priority, weight, port = reader.take(_SRV)
        data = Srv(priority, weight, port, reader.name())
    elif kind == TXT or (kind == A and length == 4) or (kind == AAAA and length == 16):
        data = reader.data[begin:end]
        reader.place = end
    if data is not None and reader.place != end:
        raise ValueError("a record whose length is not its data's")
    reader.place = end
    if data is None or its_class & ~TOP_BIT != CLASS_IN:
        return None
    return Record(name, kind, data, 0 if ttl > 0x7FFFFFFF else ttl, bool(its_class & TOP_BIT))      # RFC 2181 8


# -- packing


class _Writer:
    """One message in the making."""

    def __init__(self, flags: int, identifier: int) -> None:
        self.flags = flags
        self.identifier = identifier
        self.octets = bytearray(_HEADER.size)
        self.counts = [0, 0, 0, 0]
        self.places: dict[Name, int] = {}

    def add(self, section: int, entry: Question | Record, legacy: bool, limit: int) -> bool:
        """Whether it still fitted (the first one always does)."""
        mark = len(self.octets)
        self.name(entry.name)
        if isinstance(entry, Question):
            self.octets += _ENTRY.pack(entry.type, CLASS_IN | (TOP_BIT if entry.unicast else 0))
        else:
            its_class = CLASS_IN | (TOP_BIT if entry.flush and not legacy else 0)
            self.octets += _RECORD.pack(entry.type, its_class, entry.ttl, 0)
            begin = len(self.octets)
            self.data(entry.data)
            struct.pack_into("!H", self.octets, begin - 2, len(self.octets) - begin)
        if len(self.octets) > limit and any(self.counts):
            del self.octets[mark:]
            for name in [name for name, place in self.places.items() if place >= mark]:
                del self.places[name]
            return False
        self.counts[section] += 1
        return True

    def data(self, data: Data) -> None:
        if isinstance(data, bytes):
            self.octets += data
        elif isinstance(data, Srv):
            self.octets += _SRV.pack(data.priority, data.weight, data.port)
            self.name(data.target)
        else:
            self.name(data)

    def name(self, name: Name) -> None:
        """Compressed against what stands before (RFC 6762 18.14)."""
        for index in range(len(name)):
            rest = name[index:]
            known = self.places.get(rest)
            if known is not None:
                self.octets += struct.pack("!H", 0xC000 | known)
                return
            if len(self.octets) < 0x4000:
                self.places[rest] = len(self.octets)
            self.octets += bytes([len(name[index])]) + name[index]
        self.octets.append(0)

    def finish(self, truncated: bool = False) -> bytes:
        flags = self.flags | (FLAG_TRUNCATED if truncated else 0)
        _HEADER.pack_into(self.octets, 0, self.identifier, flags, *self.counts)
        return bytes(self.octets)


def encode(message: Message, limit: int = PAYLOAD) -> list[bytes]:
    """The message in as many datagrams as it takes (RFC 6762 7.2, 17): what does not fit goes into another one, but for additional
    records, which are then left out. All but the last datagram of a query say that more follows.

    One entry that is greater than ``limit`` by itself has a datagram to itself; ValueError when it exceeds MAX_PAYLOAD.
    """
    flags = FLAG_RESPONSE | FLAG_AUTHORITATIVE if message.response else 0
    legacy = bool(message.identifier)
    done: list[_Writer] = []
    writer = _Writer(flags, message.identifier)
    sections: tuple[Sequence[Question | Record], ...] = (message.questions, message.answers, message.authorities)
    for section, entries in enumerate(sections):
        for entry in entries:
            if not writer.add(section, entry, legacy, limit):
                done.append(writer)
                writer = _Writer(flags, message.identifier)
                writer.add(section, entry, legacy, limit)
    for entry in message.additionals:
        if not writer.add(3, entry, legacy, limit):
            break
    done.append(writer)
    packets = [one.finish(not message.response and one is not writer) for one in done if any(one.counts)]
    if any(len(packet) > MAX_PAYLOAD for packet in packets):
        raise ValueError("a record is too great for a datagram")
    return packets
