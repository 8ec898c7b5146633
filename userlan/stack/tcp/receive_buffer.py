"""Octets in order that the application has not read yet."""

from __future__ import annotations

from userlan.stack.tcp.send_buffer import SMALL, Buffer

MERGED = 65_536
"""Octets: small chunks are merged into one up to this length."""


class ReceiveBuffer:
    """A queue of chunks. Large ones are kept as they came; small ones are copied together, so that they cost what
    they hold."""

    __slots__ = ("_chunks", "length")

    def __init__(self) -> None:
        self.length = 0
        self._chunks: list[Buffer] = []
        """No deque: an empty one takes 760 octets, and to take the first of a full window's chunks costs no more than a microsecond."""

    def append(self, data: Buffer) -> None:
        """Put octets at the end."""
        size = len(data)
        if not size:
            return
        self.length += size
        chunks = self._chunks
        if size >= SMALL:
            chunks.append(data)
        elif chunks and type(chunks[-1]) is bytearray and len(chunks[-1]) < MERGED:
            chunks[-1] += data
        else:
            chunks.append(bytearray(data))

    def take(self, limit: int) -> Buffer:
        """Remove and return up to ``limit`` octets, b"" when there are none. A large chunk comes as it is, or as a
        view."""
        chunks = self._chunks
        if not chunks or limit <= 0:
            return b""
        chunk = chunks[0]
        size = len(chunk)
        if size > limit:
            view = memoryview(chunk)
            chunks[0] = view[limit:]
            self.length -= limit
            return view[:limit]
        del chunks[0]
        self.length -= size
        return chunk

    def clear(self) -> None:
        """Forget everything."""
        self._chunks = []
        self.length = 0
