"""The pairs that wait to be introduced: those that somebody asked for, the others, and those whose interval is not over.

What members ask for goes first (three of four where both kinds wait). All together leave at most ``RATE`` a second,
one pair at most once in ``PAIR_INTERVAL``. At most ``MAX_WAITING`` pairs wait: beyond it, pairs that nobody asked for
are left until somebody does (in a network of 1,000 there are half a million pairs, and nearly all of them never talk).
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable

from userlan.mediator.limits import TokenBucket

#: Introductions (pairs) a second in all: 400 messages, and as many members that start sending, a second.
RATE = 200.0
#: Introductions that may leave at once: a member that comes into a network of 40 meets all of them in one go.
BURST = 40.0
#: Seconds between two introductions of one pair: the punch of the one before has had its first second.
PAIR_INTERVAL = 2.0
#: The same where the first was given before both NATs were known: most punches that succeed have done so.
SOON = 0.4
#: Pairs that wait to be introduced, about 300 bytes each.
MAX_WAITING = 20_000
#: Of so many introductions one is left to the pairs that nobody asked for, so that askers cannot hold them up for good.
OTHERS_SHARE = 4

Pair = tuple[bytes, bytes]


def pair_of(key: bytes, other: bytes) -> Pair:
    """Two members, the smaller key first."""
    return (key, other) if key < other else (other, key)


class PairQueue:
    """A pair that waits is in exactly one of three: asked for, others, or later. Times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._asked: OrderedDict[Pair, None] = OrderedDict()
        self._others: OrderedDict[Pair, None] = OrderedDict()
        self._later: dict[Pair, bool] = {}  # whether it was asked for
        self._later_heap: list[tuple[float, Pair]] = []
        self._left: OrderedDict[Pair, float] = OrderedDict()  # when; only those of the last PAIR_INTERVAL
        self._turn = 0
        self._bucket = TokenBucket(RATE, BURST, now)
        self.counters: Counter[str] = Counter()

    def add(self, pair: Pair, asked: bool, now: float, sooner: bool = False) -> None:
        """A pair is due, as soon as its interval is over; ``sooner``: it was introduced before the mediator knew what it knows now."""
        if pair in self._asked:
            return
        if pair in self._others:
            if asked:
                del self._others[pair]
                self._asked[pair] = None
            return
        if pair in self._later:
            self._later[pair] |= asked
            return
        if len(self._asked) + len(self._others) + len(self._later) >= MAX_WAITING * (1 + asked):
            self.counters["meetings-not-queued" if asked else "pairs-not-queued"] += 1
            return
        again = self._left.get(pair, now - PAIR_INTERVAL) + (SOON if sooner else PAIR_INTERVAL)
        if again > now:
            self.add_later(pair, asked, again)
        else:
            (self._asked if asked else self._others)[pair] = None

    def add_later(self, pair: Pair, asked: bool, at: float) -> None:
        """A pair that was just taken, or is not there, is due at ``at``."""
        self._later[pair] = asked
        heapq.heappush(self._later_heap, (at, pair))

    def take(self, willing: Callable[[Pair, bool], bool], now: float) -> tuple[Pair, bool] | None:
        """The next pair, as the rate allows, and whether it was asked for; the unwilling are dropped at no cost."""
        while self._later_heap and self._later_heap[0][0] <= now:
            _, pair = heapq.heappop(self._later_heap)
            (self._asked if self._later.pop(pair) else self._others)[pair] = None
        if not (self._asked or self._others) or not self._bucket.take(now):
            return None
        while self._asked or self._others:
            self._turn = (self._turn + 1) % OTHERS_SHARE
            asked = bool(self._asked) and not (self._turn == 0 and self._others)
            pair, _ = (self._asked if asked else self._others).popitem(last=False)
            if willing(pair, asked):
                return pair, asked
        return None

    def left(self, pair: Pair, now: float) -> None:
        """A pair was introduced: its interval begins."""
        self._left[pair] = now
        self._left.move_to_end(pair)
        while self._left[next(iter(self._left))] + PAIR_INTERVAL <= now:
            self._left.popitem(last=False)

    def deadline(self) -> float | None:
        """When ``take`` has a pair to give."""
        times: list[float] = []
        if self._asked or self._others:
            times.append(self._bucket.ready_at(self._bucket.updated))
        if self._later_heap:
            times.append(self._later_heap[0][0])
        return min(times, default=None)
