"""NetBIOS over UDP: names (RFC 1002, section 4.2) and datagrams (section 4.4).

Which of the two a packet is, it says itself: a datagram's own length field, or its length where it has none, must fit
exactly; everything else is read as a name service packet.

Name service::

    header (12) ‖ questions ‖ records            a record of type NB holds entries (flags 2, address 4)

The addresses of registrations, refreshes, releases and positive responses get the other side's; an entry that has none
there is left out, and a packet that would lose all of a record is dropped. Node status answers (section 4.2.18) hold
names and a hardware address, which stay. Entries are left out at the end of the packet's last record only, so that
no name pointer (they lead backwards) is moved.

Datagrams::

    type 1 ‖ flags 1 ‖ identifier 2 ‖ source address 4 ‖ source port 2 ‖ …

The source address gets the other side's; the port stays 138: it is the relay that holds it there.
"""

from __future__ import annotations

import ipaddress
import struct

from bridges.rewrite.names import MalformedError, expand
from bridges.rewrite.translation import Translation

MAX_SIZE = 1_500
"""Bytes: RFC 1002 has 576 for names and 1064 for datagrams with their two names; nmbd sends no more either."""

MAX_RECORDS = 32

_HEADER = struct.Struct(">6H")
_RECORD = struct.Struct(">HHIH")
_NB, _A = 0x0020, 0x0001
_DIRECT = (0x10, 0x11, 0x12)
_DATAGRAM_ERROR = 0x13
_DATAGRAM_QUERIES = (0x14, 0x15, 0x16)
_DATAGRAM_HEADER = 10
_ENTRY = 6


def rewrite(datagram: bytes, translation: Translation) -> bytes | None:
    """A packet with the other side's addresses; None for what is neither kind."""
    if len(datagram) > MAX_SIZE:
        return None
    try:
        if _is_datagram(datagram):
            return _source(datagram, translation)
        return _names(datagram, translation)
    except (MalformedError, struct.error):
        return None


def _is_datagram(packet: bytes) -> bool:
    """Whether a packet is one of the datagram service: its flags have the upper four bits 0, its length fits."""
    if len(packet) < _DATAGRAM_HEADER + 1 or packet[1] > 0x0F:
        return False
    if packet[0] in _DIRECT:
        # DGM_LENGTH counts from behind PACKET_OFFSET (section 4.4.2).
        return len(packet) >= 14 and int.from_bytes(packet[10:12], "big") == len(packet) - 14
    if packet[0] == _DATAGRAM_ERROR:
        return len(packet) == _DATAGRAM_HEADER + 1
    if packet[0] in _DATAGRAM_QUERIES:
        try:
            return expand(packet, _DATAGRAM_HEADER)[1] == len(packet)
        except MalformedError:
            return False
    return False


def _source(packet: bytes, translation: Translation) -> bytes | None:
    moved = _moved(packet[4:8], translation)
    return None if moved is None else packet[:4] + moved + packet[8:]


def _names(packet: bytes, translation: Translation) -> bytes | None:
    _, _, questions, *counts = _HEADER.unpack_from(packet)
    if questions + sum(counts) > MAX_RECORDS or not questions + sum(counts):
        raise MalformedError("too much, or nothing")
    offset = _HEADER.size
    for _ in range(questions):
        _, offset = expand(packet, offset)
        offset += 4
    written = bytearray(packet)
    records = sum(counts)
    for place in range(records):
        _, offset = expand(packet, offset)
        kind, _, _, size = _RECORD.unpack_from(packet, offset)
        start = offset + _RECORD.size
        data = packet[start : start + size]
        if len(data) != size:
            raise MalformedError("a record goes beyond the packet")
        new = _data(kind, data, translation, may_shrink=place == records - 1)
        if new is None:
            return None
        written[start : start + size] = new
        struct.pack_into(">H", written, start - 2, len(new))
        offset = start + size
    if offset > len(packet):
        raise MalformedError("the packet is cut short")
    return bytes(written)


def _data(kind: int, data: bytes, translation: Translation, may_shrink: bool) -> bytes | None:
    """What a record holds, for the other side; None when nothing of it is left."""
    if kind == _A and len(data) == 4:
        return _moved(data, translation)
    if kind != _NB or not data:
        return data
    if len(data) % _ENTRY:
        # A wait acknowledgement (section 4.2.16) repeats two bytes of flags here; negative answers may have none.
        return data
    entries = []
    for start in range(0, len(data), _ENTRY):
        moved = _moved(data[start + 2 : start + _ENTRY], translation)
        if moved is not None:
            entries.append(data[start : start + 2] + moved)
    if not entries or (len(entries) * _ENTRY < len(data) and not may_shrink):
        return None
    return b"".join(entries)


def _moved(address: bytes, translation: Translation) -> bytes | None:
    """An IPv4 address for the other side; 0.0.0.0 (negative answers, unknown) stays."""
    if address == bytes(4):
        return address
    moved = translation.host(str(ipaddress.IPv4Address(address)))
    if moved is None:
        return None
    packed = ipaddress.ip_address(moved).packed
    return packed if len(packed) == 4 else None
