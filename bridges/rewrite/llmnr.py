"""LLMNR: names and their addresses (RFC 4795, section 2.1: DNS messages, RFC 1035, section 4.1).

A and AAAA records of answers get the other side's addresses; a record whose address has none there is left out, and
an answer without records says that the name has no address of that type, which is what the receiver must know.
Queries go through as they are. Messages are written anew from their parts without compression, since records that
are left out may be pointed at by others.
"""

from __future__ import annotations

import ipaddress
import struct

from bridges.rewrite.names import MalformedError, expand
from bridges.rewrite.translation import Translation

MAX_SIZE = 9_194
"""Bytes of a message (RFC 4795, section 2.1: what a link of jumbo frames carries)."""

MAX_RECORDS = 64
"""Records of a message: a computer has few addresses."""

_HEADER = struct.Struct(">6H")
_RECORD = struct.Struct(">HHIH")
_A, _NS, _CNAME, _PTR, _AAAA = 1, 2, 5, 12, 28
_ADDRESS_SIZES = {_A: 4, _AAAA: 16}


def rewrite(datagram: bytes, translation: Translation) -> bytes | None:
    """A message with the other side's addresses; None for what is no DNS message."""
    try:
        return _rewrite(datagram, translation)
    except (MalformedError, struct.error):
        return None


def _rewrite(message: bytes, translation: Translation) -> bytes:
    identifier, flags, questions, *counts = _HEADER.unpack_from(message)
    if len(message) > MAX_SIZE or questions > 1 or sum(counts) > MAX_RECORDS:
        raise MalformedError("too much")
    body = bytearray()
    offset = _HEADER.size
    for _ in range(questions):
        name, offset = expand(message, offset)
        body += name + message[offset : offset + 4]
        offset += 4
    kept = [0, 0, 0]
    for section, count in enumerate(counts):
        for _ in range(count):
            record, offset = _record(message, offset, translation)
            kept[section] += record is not None
            body += record or b""
    if offset > len(message):
        raise MalformedError("the message is cut short")
    return _HEADER.pack(identifier, flags, questions, *kept) + bytes(body)


def _record(message: bytes, offset: int, translation: Translation) -> tuple[bytes | None, int]:
    """(the record written anew or None to leave it out, where the next one begins)"""
    name, offset = expand(message, offset)
    kind, network, lifetime, size = _RECORD.unpack_from(message, offset)
    start = offset + _RECORD.size
    data = message[start : start + size]
    if len(data) != size:
        raise MalformedError("a record goes beyond the message")
    if kind in _ADDRESS_SIZES:
        if size != _ADDRESS_SIZES[kind]:
            raise MalformedError("an address of a wrong size")
        moved = translation.host(str(ipaddress.ip_address(data)))
        packed = b"" if moved is None else ipaddress.ip_address(moved).packed
        if len(packed) != size:
            return None, start + size
        data = packed
    elif kind in (_NS, _CNAME, _PTR):
        data, end = expand(message, start)
        if end != start + size:
            raise MalformedError("a name of a wrong size")
    return name + _RECORD.pack(kind, network, lifetime, len(data)) + data, start + size
