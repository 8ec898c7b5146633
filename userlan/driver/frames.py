"""Datagrams in a stream: the reading half of framed TCP.

::

    ┌────────┬──────────────┬────────┬──────────────┬ ─ ─
    │ length │ datagram     │ length │ datagram     │         length: 2 bytes, big-endian
    └────────┴──────────────┴────────┴──────────────┴ ─ ─

A frame that came in one piece is a view of that piece; only one that was cut is put together, and copied once.
"""

from __future__ import annotations

LENGTH = 2
"""Bytes in front of each datagram."""

MAX_FRAME = 65_535


class FrameReader:
    """Finds the frames of a stream however it is cut. It holds one unfinished frame at most (64 KB)."""

    __slots__ = ("_needed", "_rest")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = LENGTH
        """Bytes up to the end of the frame of which ``_rest`` is the beginning, as far as that is known."""

    def feed(self, data: bytes) -> list[memoryview]:
        """More of the stream; the datagrams that it completes, in order (an empty frame gives an empty one)."""
        frames: list[memoryview] = []
        view = memoryview(data)
        offset = self._finish(view, frames) if self._rest else 0
        end = len(view)
        while offset + LENGTH <= end:
            following = offset + LENGTH + (view[offset] << 8 | view[offset + 1])
            if following > end:
                break
            frames.append(view[offset + LENGTH : following])
            offset = following
        if offset < end:
            self._keep(view[offset:])
        return frames

    def _finish(self, view: memoryview, frames: list[memoryview]) -> int:
        """Complete the frame that was begun; returns how much of ``view`` that took."""
        rest = self._rest
        taken = 0
        while len(rest) < self._needed:
            missing = self._needed - len(rest)
            if taken == len(view):
                return taken
            rest += view[taken : taken + missing]
            taken = min(taken + missing, len(view))
            if len(rest) == LENGTH == self._needed:
                self._needed += int.from_bytes(rest, "big")
        frames.append(memoryview(rest)[LENGTH:])
        self._rest, self._needed = bytearray(), LENGTH
        return taken

    def _keep(self, rest: memoryview) -> None:
        """What is left is the beginning of a frame."""
        if len(rest) >= LENGTH:
            self._needed = LENGTH + (rest[0] << 8 | rest[1])
        self._rest += rest
