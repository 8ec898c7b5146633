"""What the LAN's resolver knows: names of members to addresses, and back. Sans-IO: queries in, answers out, as octets.

::

    name asked for                    answer                                             zone of its SOA
    nas.home.internal                 A, AAAA of the member nas of the network home      internal
    nas.internal                      the member that is called so, where there is one   internal
    nas, nas.home                     the same, as ``userlan.lan.names`` has them        the name itself
    internal, home.internal           exists, has no address (RFC 8020)                  internal
    3.2.1.25.in-addr.arpa, ….ip6.arpa PTR of the member with that address                the part that is the LAN's alone
    everything else                   outside: REFUSED, unless whoever asks this zone has somebody to ask; NXDOMAIN for a single
                                      label, which people mistype for a member: programs then say that there is no such host

A name that several members have exists and has no address: no answer could be the one that is meant. Other types of a name
that exists: no data (RFC 2308 2.2); names that do not: NXDOMAIN; both with the SOA that says how long that may be believed.
The zones have no delegation and no keys: their SOA and NS are those of RFC 6303 3.

Answers say what ``Lan`` knows at that moment: nothing is kept, and those who ask are told to keep it for ``TTL`` alone.

EDNS (RFC 6891): the version and size that the client names, none larger than ``MAX_UDP``; options are not answered.

Why the header and the question are not left to ``twisted.names``: it joins labels by dots (a label may contain one), takes
labels of more than 63 octets, and encodes the question anew; a client compares it octet by octet (RFC 5452 9.1). Records are its.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from io import BytesIO
from typing import Any, NamedTuple, Protocol

from twisted.names import dns as twisted_dns

from userlan.driver.lan import PeerInfo
from userlan.lan.names import SUFFIX, AmbiguousName, UnknownName

dns: Any = twisted_dns
"""Its records have no types."""

TTL = 30
"""Seconds an answer may be kept: members change their addresses hardly ever, and their names seldom."""

NEGATIVE_TTL = 5
"""Seconds that no answer may be kept (RFC 2308 5): a member that joins is found soon."""

MAX_UDP = 1232
"""Octets of an answer by UDP: passes everywhere without fragments (IPv6's least MTU less its headers)."""

PLAIN_UDP = 512
"""Octets of an answer by UDP for who does not say how many (RFC 1035 4.2.1)."""

MAX_QUERY = 4096
"""Octets of a query: one has a name and a few options."""

MAX_RECORDS = 8
"""Records beside the question that a query may have: OPT, a signature or two."""

NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED, REFUSED = range(6)
BAD_VERSION = 16
"""Response codes (RFC 1035 4.1.1, RFC 6891 9)."""

HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!HH")
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _DESIRED, _AVAILABLE, _CHECKING_DISABLED = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0010
_OPCODE = 0x7800
_OPT, _AXFR, _IXFR = 41, 252, 251
_POINTER = 0xC0
_MAX_NAME = 255
"""Octets of a name on the wire (RFC 1035 2.3.4)."""


class Names(Protocol):
    """What is needed of ``Lan``."""

    def is_lan(self, host: str) -> bool: ...
    def resolve(self, host: str) -> str: ...
    def peer_at(self, address: str) -> PeerInfo | None: ...
    def members(self) -> list[PeerInfo]: ...
    def own(self) -> PeerInfo: ...


class Question(NamedTuple):
    """A query that can be answered."""

    identifier: int
    flags: int
    labels: tuple[bytes, ...]
    type: int
    cls: int
    raw: bytes
    """The question as it came, octet by octet."""
    edns: bool
    size: int
    """Octets of an answer by UDP that the client takes."""


class Reply(NamedTuple):
    """``data``: the answer, empty for none at all. ``outside``: the name is nobody's here; then ``data`` is the refusal."""

    data: bytes
    outside: bool = False
    question: Question | None = None


class _Found(NamedTuple):
    """What is known of a name: the zone that it is in, whether it exists, its records."""

    zone: str
    exists: bool
    records: tuple[Any, ...] = ()


class Zone:
    """See the module. ``counters``: queries by outcome."""

    def __init__(self, lan: Names, alias: bool = False) -> None:
        """``alias``: members are named by their loopback aliases instead of their virtual addresses."""
        self.counters: Counter[str] = Counter()
        self._lan = lan
        self._alias = alias

    def answer(self, query: bytes) -> Reply:
        """The reply to any octets. Nothing is raised."""
        try:
            question = parse(query)
        except _UnanswerableError as problem:
            self.counters[f"code-{problem.code}" if problem.code else "ignored"] += 1
            return Reply(problem.reply)
        found = self._find(question)
        if found is None or question.cls not in (dns.IN, dns.ANY) or question.type in (_AXFR, _IXFR):
            outside = found is None and question.cls == dns.IN and question.type not in (_AXFR, _IXFR)
            self.counters["outside"] += 1
            return Reply(respond(question, NAME_ERROR if outside and len(question.labels) == 1 else REFUSED), outside, question)
        return Reply(self._respond(question, found), False, question)

    def _respond(self, question: Question, found: _Found) -> bytes:
        if not found.exists:
            self.counters["unknown-name"] += 1
            return respond(question, NAME_ERROR, authority=[_soa(found.zone, NEGATIVE_TTL)])
        records = [record for record in found.records if question.type in (record.type, dns.ALL_RECORDS)]
        if not records:
            self.counters["no-data"] += 1
            return respond(question, NO_ERROR, authority=[_soa(found.zone, NEGATIVE_TTL)])
        self.counters["answered"] += 1
        return respond(question, NO_ERROR, records)

    # ------------------------------------------------------------------ what is known

    def _find(self, question: Question) -> _Found | None:
        """None for what is outside."""
        labels = [_text(label) for label in question.labels]
        if not labels:
            return None
        if labels[-1] == SUFFIX:
            return self._internal(labels)
        if labels[-2:] == ["in-addr", "arpa"]:
            return self._reverse(labels[:-2], 4)
        if labels[-2:] == ["ip6", "arpa"]:
            return self._reverse(labels[:-2], 6)
        name = ".".join(label or " " for label in labels)
        if len(labels) > 2 or not self._lan.is_lan(name):
            return None
        return self._member(name, name, name) or _Found(name, False)

    def _internal(self, labels: list[str | None]) -> _Found:
        owner = ".".join(label or " " for label in labels)
        if len(labels) == 1:
            return _Found(SUFFIX, True, (_soa(SUFFIX, TTL), _record(SUFFIX, dns.Record_NS(SUFFIX, ttl=TTL))))
        if len(labels) > 3 or None in labels:
            return _Found(SUFFIX, False)
        short = str(labels[0])
        found = self._member(short if len(labels) == 2 else owner, owner, SUFFIX)
        if found is None and len(labels) == 2 and short in self._networks():
            return _Found(SUFFIX, True)
        return found or _Found(SUFFIX, False)

    def _member(self, name: str, owner: str, zone: str) -> _Found | None:
        """The member of a name, as the records of ``owner``; None when nobody has it."""
        try:
            peer = self._lan.peer_at(self._lan.resolve(name))
        except AmbiguousName:
            return _Found(zone, True)
        except UnknownName:
            return None
        if peer is None:
            return None
        addresses = [peer.loopback_alias] if self._alias else [peer.ipv4, peer.ipv6]
        return _Found(zone, True, tuple(_record(owner, _address(address)) for address in addresses if address))

    def _networks(self) -> set[str]:
        return {network for peer in (*self._lan.members(), self._lan.own()) for network in peer.networks}

    # ------------------------------------------------------------------ reverse

    def _reverse(self, labels: list[str | None], version: int) -> _Found | None:
        """An address written backwards (RFC 1035 3.5, RFC 3596 2.5), or the beginning of one; None for those of others."""
        parts: list[int] = []
        for label in reversed(labels):
            value = _part(label, version)
            if value is None or len(parts) == (4 if version == 4 else 32):
                break
            parts.append(value)
        length = next((size for size in range(1, len(parts) + 1) if self._is_lans(parts[:size], version)), 0)
        suffix = "in-addr.arpa" if version == 4 else "ip6.arpa"
        name = ".".join(str(label or " ") for label in (*labels, suffix))
        peer = self._alias_of(parts) if self._alias and version == 4 else None
        if peer is None:
            if not length:
                return None
            zone = ".".join([*(_written(part, version) for part in reversed(parts[:length])), suffix])
            if len(parts) < len(labels):
                return _Found(zone, False)
            if length == len(parts):
                return _Found(zone, True, (_soa(zone, TTL), _record(zone, dns.Record_NS(zone, ttl=TTL))))
            if len(parts) < (4 if version == 4 else 32):
                return _Found(zone, True)
            peer = self._lan.peer_at(_address_text(parts, version))
            if peer is None:
                return _Found(zone, False)
        else:
            zone = name
        return _Found(zone, True, (_record(name, dns.Record_PTR(self._full_name(peer), ttl=TTL)),))

    def _is_lans(self, parts: list[int], version: int) -> bool:
        """Whether all addresses that begin so are the LAN's: the first and the last one are."""
        count, top = (4, 255) if version == 4 else (32, 15)
        rest = count - len(parts)
        return all(self._lan.is_lan(_address_text([*parts, *[fill] * rest], version)) for fill in (0, top))

    def _alias_of(self, parts: list[int]) -> PeerInfo | None:
        alias = ".".join(map(str, parts))
        return next((peer for peer in (*self._lan.members(), self._lan.own()) if peer.loopback_alias == alias), None)

    def _full_name(self, peer: PeerInfo) -> str:
        """The longest name that leads to this member and to no other."""
        for network in peer.networks:
            name = f"{peer.name}.{network}.{SUFFIX}"
            try:
                if self._lan.resolve(name) in (peer.ipv4, peer.ipv6):
                    return name
            except UnknownName:
                continue
        return f"{peer.name}.{SUFFIX}"


# ---------------------------------------------------------------------- octets


class _UnanswerableError(Exception):
    """A query that has no question to look up: with what to say instead, if anything."""

    def __init__(self, code: int, reply: bytes) -> None:
        super().__init__(code)
        self.code = code
        self.reply = reply


def parse(query: bytes) -> Question:
    """The question in a query. Raises _UnanswerableError."""
    if len(query) < HEADER.size:
        raise _UnanswerableError(0, b"")
    identifier, flags, questions, *others = HEADER.unpack_from(query)
    if flags & _RESPONSE:
        raise _UnanswerableError(0, b"")     # answers are never answered
    head = identifier, flags
    if flags & _OPCODE:
        raise _UnanswerableError(NOT_IMPLEMENTED, _bare(*head, NOT_IMPLEMENTED))
    if questions != 1 or sum(others) > MAX_RECORDS or len(query) > MAX_QUERY:
        raise _UnanswerableError(FORMAT_ERROR, _bare(*head, FORMAT_ERROR))
    message = dns.Message()
    try:
        labels, end = _name(query)
        kind, cls = _QUESTION.unpack_from(query, end)
        message.fromStr(query)
        if [len(message.answers), len(message.authority), len(message.additional)] != others:
            raise ValueError("records are missing")
    except Exception:                   # whatever the codec makes of octets from anybody
        raise _UnanswerableError(FORMAT_ERROR, _bare(*head, FORMAT_ERROR)) from None
    options = [record for record in message.additional if record.type == _OPT]
    raw = query[HEADER.size : end + _QUESTION.size]
    size = PLAIN_UDP if not options else max(PLAIN_UDP, min(MAX_UDP, options[0].cls))
    question = Question(identifier, flags, labels, kind, cls, raw, bool(options), size)
    if len(options) > 1 or kind == _OPT:
        raise _UnanswerableError(FORMAT_ERROR, respond(question, FORMAT_ERROR))
    if options and options[0].ttl >> 16 & 0xFF:
        raise _UnanswerableError(BAD_VERSION, respond(question, BAD_VERSION))
    return question


def _name(query: bytes) -> tuple[tuple[bytes, ...], int]:
    """The labels of the question, and where its name ends. Raises ValueError, IndexError: it cannot be compressed, as nothing
    stands before it."""
    labels: list[bytes] = []
    place = HEADER.size
    while size := query[place]:
        if size & _POINTER or place + 1 + size - HEADER.size >= _MAX_NAME:
            raise ValueError("no name")
        labels.append(query[place + 1 : place + 1 + size])
        place += 1 + size
    return tuple(labels), place + 1


def respond(
    question: Question, code: int, answers: list[Any] | None = None, authority: list[Any] | None = None
) -> bytes:
    """An answer, cut to what the client takes by UDP; by TCP none is too large."""
    answers, authority = answers or [], authority or []
    body = BytesIO()
    for record in (*answers, *authority):
        record.encode(body)
    flags = _RESPONSE | question.flags & (_DESIRED | _CHECKING_DISABLED) | code & 0x0F
    if code in (NO_ERROR, NAME_ERROR):
        flags |= _AUTHORITATIVE
    option = _option(code) if question.edns else b""
    counts = 1, len(answers), len(authority), 1 if option else 0
    return HEADER.pack(question.identifier, flags, *counts) + question.raw + body.getvalue() + option


def fit(answer: bytes, question: Question) -> bytes:
    """An answer as it goes by UDP: whole, or without its records and marked as cut, so that it is asked for by TCP."""
    if len(answer) <= question.size:
        return answer
    flags = HEADER.unpack_from(answer)[1] | _TRUNCATED
    option = _option(0) if question.edns else b""
    return HEADER.pack(question.identifier, flags, 1, 0, 0, 1 if option else 0) + question.raw + option


def recursive(answer: bytes) -> bytes:
    """An answer of this zone from a server that asks others, too (RFC 1035 4.1.1: RA)."""
    return answer[:2] + (int.from_bytes(answer[2:4], "big") | _AVAILABLE).to_bytes(2, "big") + answer[4:] if len(answer) > 4 else answer


def _bare(identifier: int, flags: int, code: int) -> bytes:
    """A refusal of what has no question: a header."""
    return HEADER.pack(identifier, _RESPONSE | flags & (_OPCODE | _DESIRED | _CHECKING_DISABLED) | code, 0, 0, 0, 0)


def _option(code: int) -> bytes:
    """The OPT record (RFC 6891 6.1.2)."""
    return struct.pack("!BHHBBHH", 0, _OPT, MAX_UDP, code >> 4, 0, 0, 0)


# ---------------------------------------------------------------------- records


def _record(owner: str, payload: Any) -> Any:
    return dns.RRHeader(owner, payload.TYPE, dns.IN, TTL, payload)


def _address(address: str) -> Any:
    return dns.Record_AAAA(address, ttl=TTL) if ":" in address else dns.Record_A(address, ttl=TTL)


def _soa(zone: str, ttl: int) -> Any:
    """RFC 6303 3: a zone that is nobody's to transfer."""
    record = dns.Record_SOA(zone, "nobody.invalid", 1, 3600, 1200, 604800, NEGATIVE_TTL, ttl)
    return dns.RRHeader(zone, dns.SOA, dns.IN, ttl, record)


def _text(label: bytes) -> str | None:
    """A label in lower case (RFC 4343); None for one that no name of the LAN has."""
    if not label.isascii() or b"." in label or not label.decode("ascii").isprintable() or b" " in label:
        return None
    return label.decode("ascii").lower()


def _part(label: str | None, version: int) -> int | None:
    """One number of a reverse name, in its one spelling."""
    if label is None:
        return None
    if version == 6:
        return int(label, 16) if len(label) == 1 and label in "0123456789abcdef" else None
    return int(label) if label.isdigit() and len(label) <= 3 and int(label) <= 255 and str(int(label)) == label else None


def _written(part: int, version: int) -> str:
    return str(part) if version == 4 else f"{part:x}"


def _address_text(parts: list[int], version: int) -> str:
    if version == 4:
        return ".".join(map(str, parts))
    digits = "".join(f"{part:x}" for part in parts)
    return str(ipaddress.IPv6Address(int(digits, 16)))
