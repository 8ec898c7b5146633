"""Syncthing, local discovery version 4: ``2E A7 D9 0B`` and a protobuf message.

::

    1  bytes    device ID
    2  string   address, any number of times: tcp://0.0.0.0:22000, quic://192.168.1.5:22000, relay://…
    3  varint   instance

An unspecified host (0.0.0.0, ::, none) stands for the sender. Addresses that the other side cannot reach are left out;
relays and names stay.
"""

from __future__ import annotations

import ipaddress
import re

from bridges.rewrite.translation import SENDER, Places, Translation
from bridges.rewrite.urls import host_text

MAX_SIZE = 8 * 1024
"""Bytes of an announcement."""

SYNCTHING_MAGIC = bytes.fromhex("2ea7d90b")

_ADDRESS = re.compile(
    rb"(tcp|quic)([46]?)://(\[[0-9A-Fa-f:.]{0,45}(?:%[\w.-]{1,20})?\]|[A-Za-z0-9._-]{0,253}):([0-9]{1,5})(/?(?:\?[^\s]{0,512})?)"
)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_ADDRESS_FIELD = 2


def rewrite(datagram: bytes, translation: Translation) -> bytes | None:
    """Syncthing's announcement; None for what is none."""
    if len(datagram) > MAX_SIZE or not datagram.startswith(SYNCTHING_MAGIC):
        return None
    places = Places(translation)
    out = bytearray(SYNCTHING_MAGIC)
    offset = len(SYNCTHING_MAGIC)
    try:
        while offset < len(datagram):
            start = offset
            key, offset = _varint(datagram, offset)
            kind = key & 7
            if kind == _BYTES:
                size, offset = _varint(datagram, offset)
            elif kind == _VARINT:
                size = _varint(datagram, offset)[1] - offset
            else:
                size = _FIXED[kind]
            value = datagram[offset : offset + size]
            offset += size
            if offset > len(datagram):
                return None
            if key != _ADDRESS_FIELD << 3 | _BYTES:
                out += datagram[start:offset]
            elif (new := _address(value, places)) is not None:
                out += _encoded(key) + _encoded(len(new)) + new
    except (IndexError, KeyError):
        return None
    return bytes(out)


def _address(written: bytes, places: Places) -> bytes | None:
    match = _ADDRESS.fullmatch(written)
    if match is None:
        return written
    scheme, family, host, port, rest = match.groups()
    name = host_text(host)
    try:
        sender = not name or ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return written
    protocol = "tcp" if scheme == b"tcp" else "udp"
    place = places.place(SENDER if sender else name, int(port), protocol)
    if place is None:
        return None
    if not sender:
        host = f"[{place[0]}]".encode() if ":" in place[0] else place[0].encode("ascii", "replace")
        family = b"" if family and (family == b"6") != (":" in place[0]) else family
    return b"%b%b://%b:%d%b" % (scheme, family, host, place[1], rest)


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """(value, what follows); IndexError when it is cut short or too long (10 bytes, as protobuf has it)."""
    value = 0
    for place in range(10):
        byte = data[offset + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, offset + place + 1
    raise IndexError("a number is too long")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
