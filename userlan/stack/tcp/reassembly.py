"""Octets that arrived before others that belong in front of them (RFC 9293 3.10.7.4, "segments with higher beginning
sequence numbers SHOULD be held"), and the SACK blocks that tell of them (RFC 2018 3 and 4, RFC 2883 for duplicates).

::

    RCV.NXT          range          range           range
       |  (missing)  [=====]        [==========]    [==]       kept apart, in order, never overlapping, never touching

What was there first is kept; what overlaps it is cut off (an attacker cannot replace octets). The octets are bounded
by the window, as the caller trims to it; the ranges by ``limit``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from operator import attrgetter

from userlan.stack.tcp.send_buffer import SMALL, Buffer, owned

MERGED = 65_536
"""Octets: small chunks of one range are merged into one up to this length."""

REMEMBERED = 48
"""Ranges that changed and are still to be reported: sixteen ACKs of three blocks; beyond that the sender learns
later."""

_start = attrgetter("start")


class Range:
    """Contiguous octets from ``start`` to ``end`` (positions)."""

    __slots__ = ("chunks", "end", "start")

    def __init__(self, start: int, end: int, data: Buffer) -> None:
        self.start = start
        self.end = end
        self.chunks: list[Buffer] = [data if end - start >= SMALL else bytearray(data)]

    def extend(self, data: Buffer) -> None:
        """Put octets at the end."""
        self.end += len(data)
        self._put(data)

    def join(self, following: Range) -> None:
        """Put a range at the end that begins there."""
        self.end = following.end
        self._put(following.chunks[0])
        self.chunks += following.chunks[1:]

    def _put(self, data: Buffer) -> None:
        """Small ones are copied together."""
        chunks = self.chunks
        if len(data) >= SMALL:
            chunks.append(data)
        elif type(chunks[-1]) is bytearray and len(chunks[-1]) < MERGED:
            chunks[-1] += data
        else:
            chunks.append(bytearray(data))


class Reassembly:
    """The ranges beyond RCV.NXT; ``limit`` is how many there may be."""

    __slots__ = ("_limit", "_ranges", "_recent", "_unreported", "duplicate", "length")

    def __init__(self, limit: int) -> None:
        self.length = 0
        self.duplicate: tuple[int, int] | None = None
        self._limit = limit
        self._ranges: list[Range] = []
        self._recent: list[Range] = []
        self._unreported = 0

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._ranges)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((kept.start, kept.end) for kept in self._ranges)

    @property
    def start(self) -> int:
        """Where the first range begins; there must be one."""
        return self._ranges[0].start

    @property
    def end(self) -> int:
        """The position after the last range, 0 without one."""
        return self._ranges[-1].end if self._ranges else 0

    def insert(self, start: int, data: Buffer) -> bool:
        """Keep the octets from ``start`` on that are not there yet. False: there was no place for all of them."""
        end = start + len(data)
        ranges = self._ranges
        index = bisect_left(ranges, start, key=_start)
        if index and ranges[index - 1].end >= start:
            index -= 1
        view: Buffer = data if index == len(ranges) or ranges[index].start > end else memoryview(data)
        position = start
        touched: Range | None = None
        while position < end:
            following = ranges[index] if index < len(ranges) else None
            if following is not None and following.start <= position:
                position = max(position, following.end)
                touched = following
                index += 1
                continue
            stop = end if following is None else min(end, following.start)
            piece = view if position == start and stop == end else owned(memoryview(data)[position - start : stop - start])
            previous = ranges[index - 1] if index else None
            if previous is not None and previous.end == position:
                previous.extend(piece)
                touched = previous
            elif len(ranges) >= self._limit:
                return False
            else:
                touched = Range(position, stop, piece)
                ranges.insert(index, touched)
                index += 1
            self.length += stop - position
            position = stop
            if following is not None and touched.end == following.start:
                self._merge(index)
                position = touched.end
        if touched is not None:
            self._remember(touched)
        return True

    def _merge(self, index: int) -> None:
        """Append the range at ``index`` to the one before it, which it touches."""
        following = self._ranges.pop(index)
        self._ranges[index - 1].join(following)
        following.start = following.end
        if following in self._recent:
            self._forget(following)

    def _forget(self, gone: Range) -> None:
        place = self._recent.index(gone)
        del self._recent[place]
        if place < self._unreported:
            self._unreported -= 1

    def _remember(self, changed: Range) -> None:
        """Put a range at the head of those that are reported first (RFC 2018 4)."""
        recent = self._recent
        if recent and recent[0] is changed:
            self._unreported = max(self._unreported, 1)
            return
        if changed in recent:
            self._forget(changed)
        recent.insert(0, changed)
        self._unreported += 1
        if len(recent) > REMEMBERED:
            recent.pop()
            self._unreported = min(self._unreported, REMEMBERED)

    def advance(self, position: int) -> list[Buffer]:
        """RCV.NXT has reached ``position``: return the chunks that follow it without a gap, and forget what lies
        before."""
        result: list[Buffer] = []
        ranges = self._ranges
        taken = 0
        for kept in ranges:
            if kept.start > position:
                break
            taken += 1
            self.length -= kept.end - kept.start
            if kept.end > position:
                self._deliver(kept, position, result)
                position = kept.end
            if kept in self._recent:
                self._forget(kept)
        if taken:
            del ranges[:taken]
        return result

    @staticmethod
    def _deliver(kept: Range, position: int, result: list[Buffer]) -> None:
        skip = position - kept.start
        for chunk in kept.chunks:
            if skip >= len(chunk):
                skip -= len(chunk)
            elif skip:
                result.append(memoryview(chunk)[skip:])
                skip = 0
            else:
                result.append(chunk)

    def blocks(self, each: int) -> list[list[tuple[int, int]]]:
        """The SACK options that are due, of at most ``each`` blocks: the latest ranges first, and so many options
        that every range that changed since the last call is in one. With nothing new: the latest ranges, once. Empty:
        nothing to tell."""
        duplicate, self.duplicate = self.duplicate, None
        recent = self._recent
        count = max(self._unreported, min(each, len(recent)))
        self._unreported = 0
        told = [(kept.start, kept.end) for kept in recent[:count]]
        if duplicate is not None:
            told.insert(0, duplicate)
        return [told[first : first + each] for first in range(0, len(told), each)]

    def clear(self) -> None:
        """Forget everything."""
        self._ranges.clear()
        self._recent.clear()
        self._unreported = 0
        self.duplicate = None
        self.length = 0
