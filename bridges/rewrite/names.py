"""Names inside DNS and NetBIOS messages (RFC 1035, section 4.1.4; RFC 1002, section 4.1)."""

from __future__ import annotations

MAX_NAME = 255
"""Bytes of a name, expanded (RFC 1035, section 2.3.4)."""


class MalformedError(ValueError):
    """The bytes are no message of this kind."""


def expand(message: bytes, offset: int) -> tuple[bytes, int]:
    """(the name without pointers, where what follows it begins). Pointers lead backwards only, so that there is no
    loop."""
    labels = bytearray()
    end = -1
    limit = offset
    while True:
        if offset >= len(message):
            raise MalformedError("a name goes beyond the message")
        length = message[offset]
        if length >= 0xC0:
            if offset + 2 > len(message):
                raise MalformedError("a name goes beyond the message")
            target = ((length & 0x3F) << 8) | message[offset + 1]
            if end < 0:
                end = offset + 2
            if target >= limit:
                raise MalformedError("a name points forwards")
            offset = limit = target
        elif length > 63:
            raise MalformedError("a label is too long")
        else:
            label = message[offset : offset + length + 1]
            labels += label
            if len(label) != length + 1 or len(labels) > MAX_NAME:
                raise MalformedError("a name is too long")
            offset += length + 1
            if not length:
                return bytes(labels), offset if end < 0 else end
