"""A look at a WebSocket's frames before they are taken in: nothing is gathered that is too large.

Twisted's WebSocket joins a message's pieces without a limit. This reads the headers of the frames alone (RFC 6455 section 5.2) as the
octets come in, and says no at the header that makes a message too large, or cuts it into too many pieces: before the payload is there.
"""

from __future__ import annotations

CLOSE, FINAL = 0x8, 0x80
MASKED = 0x80
CONTROL = 0x08
"""Bit of an opcode: close, ping, pong; they come between the pieces of a message and are no part of it (section 5.4)."""


class FrameGuard:
    """Of one connection. ``largest``: octets of a message; ``pieces``: frames of one."""

    def __init__(self, largest: int, pieces: int) -> None:
        self._largest, self._pieces = largest, pieces
        self._header = bytearray()
        self._skip = 0
        self._size = self._count = 0

    def admits(self, data: bytes) -> bool:
        """Whether the octets that came next keep within the limits; once they did not, the connection is to be ended."""
        view = memoryview(data)
        while view:
            if self._skip:
                step = min(self._skip, len(view))
                self._skip -= step
                view = view[step:]
                continue
            wanted = self._wanted() - len(self._header)
            self._header += view[:wanted]
            view = view[wanted:]
            if len(self._header) == self._wanted() and not self._begin():
                return False
        return True

    def _wanted(self) -> int:
        """Octets of the header, as far as that is known."""
        if len(self._header) < 2:
            return 2
        length, mask = self._header[1] & 0x7F, 4 if self._header[1] & MASKED else 0
        return 2 + {126: 2, 127: 8}.get(length, 0) + mask

    def _begin(self) -> bool:
        """A frame's header is complete."""
        first, length = self._header[0], self._header[1] & 0x7F
        if length >= 126:
            length = int.from_bytes(self._header[2 : 4 if length == 126 else 10], "big")
        self._header.clear()
        self._skip = length
        if first & CONTROL:
            return length <= 125
        self._size += length
        self._count += 1
        if self._size > self._largest or self._count > self._pieces:
            return False
        if first & FINAL:
            self._size = self._count = 0
        return True
