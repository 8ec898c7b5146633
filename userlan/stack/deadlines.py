"""Who has to be woken when: a heap with lazy deletion.

Most deadlines move later before they are reached (each acknowledgement moves the retransmission timer). So an item
keeps the heap entry that it has; when that comes up and the item wants a later time by now, it is put back. A later
time thus costs one dictionary store, and only an earlier one touches the heap.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from itertools import count
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

SLACK = 64
"""Stale heap entries beyond twice the items, at which the heap is built anew: keeps it proportional to the items."""


class Deadlines(Generic[Item]):
    """At most one deadline (seconds, the caller's clock) for each item."""

    def __init__(self) -> None:
        self._wanted: dict[Item, float] = {}
        self._queued: dict[Item, float] = {}
        self._heap: list[tuple[float, int, Item]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._wanted)

    @property
    def entries(self) -> int:
        """Of the heap, stale ones included: what it costs in memory."""
        return len(self._heap)

    def set(self, item: Item, deadline: float | None) -> None:
        """``item`` is due at ``deadline``; None: not at all."""
        if deadline is None:
            self._wanted.pop(item, None)
            self._queued.pop(item, None)
            return
        self._wanted[item] = deadline
        queued = self._queued.get(item)
        if queued is None or deadline < queued:
            self._push(item, deadline)

    def next(self) -> float | None:
        """An instant not after the first deadline, and not before it by more than one re-queueing."""
        heap = self._heap
        while heap:
            time, _, item = heap[0]
            wanted = self._wanted.get(item)
            if wanted is not None and self._queued[item] == time:
                if wanted <= time:
                    return time
                heapq.heappop(heap)
                self._push(item, wanted)
            else:
                heapq.heappop(heap)
        return None

    def due(self, now: float) -> list[Item]:
        """Remove and return the items whose deadline is at or before ``now``, the earliest first."""
        items: list[Item] = []
        while (time := self.next()) is not None and time <= now:
            item = heapq.heappop(self._heap)[2]
            del self._wanted[item], self._queued[item]
            items.append(item)
        return items

    def _push(self, item: Item, deadline: float) -> None:
        self._queued[item] = deadline
        if len(self._heap) > 2 * len(self._wanted) + SLACK:
            self._queued = dict(self._wanted)
            self._heap = [(time, next(self._order), each) for each, time in self._wanted.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (deadline, next(self._order), item))
