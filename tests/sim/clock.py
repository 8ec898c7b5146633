"""Virtual time: a heap of actions; nothing happens between two of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Clock:
    """``now`` (seconds) moves only by ``step`` and ``advance_to``; actions of one instant run in their order."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def call_at(self, time: float, action: Callable[[], None]) -> None:
        """Run ``action`` at ``time``, or at once in the next step when that is past."""
        heapq.heappush(self._heap, (max(time, self.now), next(self._order), action))

    def call_later(self, seconds: float, action: Callable[[], None]) -> None:
        self.call_at(self.now + seconds, action)

    def next_time(self) -> float | None:
        """When the next action is due; None when nothing is left to do."""
        return self._heap[0][0] if self._heap else None

    def step(self) -> None:
        """Go to the next instant at which something happens and run all that is due then."""
        self.now = time = self._heap[0][0]
        while self._heap and self._heap[0][0] <= time:
            heapq.heappop(self._heap)[2]()

    def advance_to(self, time: float) -> None:
        self.now = max(self.now, time)
