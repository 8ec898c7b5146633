"""What the application sent and the peer has not acknowledged, as chunks that are never copied while they are large.

::

    start (= SND.UNA)              SND.NXT                      end
      |<---- in flight, or lost ---->|<------ not sent yet ----->|
      [ chunk ][      chunk      ][ chunk ][        chunk        ]

A slice that lies in one chunk is a memoryview of it; only a slice across a border is joined.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TypeAlias

Buffer: TypeAlias = "bytes | bytearray | memoryview"

SMALL = 4096
"""Octets: chunks are merged up to this, so that a million writes of one octet are not a million objects."""


def owned(part: memoryview) -> Buffer:
    """``part`` of some buffer, for keeping: copied where it is less than half of it, all of which it would hold in memory."""
    return part if 2 * part.nbytes >= len(part.obj) else bytes(part)  # type: ignore[arg-type]  # obj is a Buffer


class SendBuffer:
    """Octets of the stream from ``start`` to ``end`` (positions, see :mod:`userlan.stack.tcp.seq`)."""

    __slots__ = ("_chunks", "_starts", "end", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.end = start
        self._chunks: list[Buffer] = []
        self._starts: list[int] = []

    def __len__(self) -> int:
        return self.end - self.start

    def append(self, data: Buffer) -> None:
        """Put octets at the end. A large chunk is referred to, so it must not change afterwards."""
        size = len(data)
        if not size:
            return
        chunks = self._chunks
        if chunks and size < SMALL and len(chunks[-1]) + size <= SMALL:
            chunks[-1] = b"".join((chunks[-1], data))
        else:
            chunks.append(bytes(data) if size < SMALL else data)
            self._starts.append(self.end)
        self.end += size

    def slice(self, start: int, length: int) -> Buffer:
        """The octets from ``start`` on, exactly ``length`` of them; they must be in the buffer."""
        if not length:
            return b""
        index = bisect_right(self._starts, start) - 1
        chunk = self._chunks[index]
        offset = start - self._starts[index]
        if offset + length <= len(chunk):
            if length == len(chunk):
                return chunk
            return memoryview(chunk)[offset : offset + length]
        parts: list[Buffer] = [memoryview(chunk)[offset:]]
        missing = length - (len(chunk) - offset)
        while missing > 0:
            index += 1
            chunk = self._chunks[index]
            parts.append(chunk if len(chunk) <= missing else memoryview(chunk)[:missing])
            missing -= len(chunk)
        return b"".join(parts)

    def whole(self, position: int, unit: int, segment: int) -> int:
        """How long the next super-segment from ``position`` on is to be, ``unit`` octets at most: up to the end of its
        chunk, when that is a long one in which an earlier piece ended. Once the borders agree again, none is copied."""
        index = bisect_right(self._starts, position) - 1
        start, size = self._starts[index], len(self._chunks[index])
        left = start + size - position
        if left < unit <= size and left % segment == 0:
            return left
        return unit

    def release(self, position: int) -> None:
        """Forget everything before ``position``."""
        if position <= self.start:
            return
        self.start = min(position, self.end)
        keep = bisect_right(self._starts, self.start) - 1
        if self.start == self.end:
            keep = len(self._chunks)
        if keep > 0:
            del self._chunks[:keep]
            del self._starts[:keep]

    def clear(self) -> None:
        """Forget everything."""
        self.start = self.end
        self._chunks.clear()
        self._starts.clear()
