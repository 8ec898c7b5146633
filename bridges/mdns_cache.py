"""What others have said by multicast DNS, each by itself, for as long as they said it holds (RFC 6762 5.2, 10).

Every record belongs to its *origin*: who sent it. One cannot flush, renew or take back what another one said, nor take its room: the
classic cache, in which the last word wins, lets anybody on the link redirect everybody's services. Names that two origins use are two
entries; what to make of them is for the reader.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Hashable, Iterator

import attrs

from bridges.mdns_wire import Name, Record, fold

MAX_TTL = 4500
"""Seconds that a record is believed without being heard again: what RFC 6762 10 recommends for the longest."""
MAX_RECORDS_OF_ORIGIN = 512
"""Records of one origin: about a hundred services. One that says more is cut off there."""
MAX_RECORDS = 16384
"""Records of all origins: some tens of MB at the worst."""
FLUSH_GRACE = 1.0
"""Seconds that records live on after their goodbye, or after one that flushes them (RFC 6762 10.1, 10.2)."""
REFRESH_AT = (0.80, 0.85, 0.90, 0.95)
"""Parts of the lifetime at which a record in use is asked for again (RFC 6762 5.2)."""
REFRESH_JITTER = 0.02
"""Of the lifetime, added by chance (RFC 6762 5.2)."""


@attrs.define(eq=False)
class Entry:
    """One record of one origin."""

    origin: Hashable
    record: Record
    received: float
    expires: float
    step: int = 0
    """How many refreshes have been due."""
    next_at: float = 0.0


class Cache:
    """Sans-IO; ``chance`` gives numbers from 0 to 1."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self.counters: Counter[str] = Counter()
        self.changed: set[Hashable] = set()
        """Origins whose records are others than before; for the reader to clear."""
        self._chance = chance
        self._by_key: dict[tuple[Name, int], dict[tuple[Hashable, object], Entry]] = {}
        self._by_origin: dict[Hashable, dict[object, Entry]] = {}
        self._size = 0
        self._timers: list[tuple[float, int, Entry]] = []
        self._serial = 0

    def __len__(self) -> int:
        return self._size

    def add(self, origin: Hashable, record: Record, now: float) -> None:
        """Somebody says a record; its TTL 0 takes it back."""
        own = self._by_origin.get(origin, {})
        entry = own.get(record.identity)
        if record.ttl == 0:
            if entry is not None:
                self._expire_at(entry, min(entry.expires, now + FLUSH_GRACE))
            return
        if record.flush:
            for (other, identity), old in self._by_key.get(record.key, {}).items():
                if other == origin and identity != record.identity and now - old.received > FLUSH_GRACE:
                    self._expire_at(old, min(old.expires, now + FLUSH_GRACE))
        if entry is None:
            entry = self._insert(origin, record, now)
            if entry is None:
                return
        elif record.flush:
            self._last_word(entry)
        entry.record = record
        entry.received = now
        entry.expires = now + min(record.ttl, MAX_TTL)
        entry.step = 0
        self._plan(entry)

    def find(self, name: Name, kind: int) -> list[Entry]:
        """What anybody says of a name."""
        return list(self._by_key.get((fold(name), kind), {}).values())

    def find_of(self, origin: Hashable, name: Name, kind: int) -> list[Record]:
        """What one origin says of a name; of what there should be one, the last is what it said last."""
        return [entry.record for (other, _), entry in self._by_key.get((fold(name), kind), {}).items() if other == origin]

    def of(self, origin: Hashable) -> Iterator[Record]:
        """All that one origin says."""
        return (entry.record for entry in list(self._by_origin.get(origin, {}).values()))

    def origins(self) -> list[Hashable]:
        """Those who say anything."""
        return list(self._by_origin)

    def forget(self, origin: Hashable) -> None:
        """All of one origin, at once."""
        for entry in list(self._by_origin.get(origin, {}).values()):
            self._remove(entry)

    def deadline(self) -> float | None:
        """When :meth:`due` has something next."""
        while self._timers and not self._live(self._timers[0]):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def due(self, now: float) -> list[Entry]:
        """Remove what has expired; gives what would have to be asked for again."""
        refresh = []
        while (when := self.deadline()) is not None and when <= now:
            entry = heapq.heappop(self._timers)[2]
            if now >= entry.expires:
                self._remove(entry)
                continue
            entry.step += 1
            refresh.append(entry)
            self._plan(entry)
        return refresh

    def _insert(self, origin: Hashable, record: Record, now: float) -> Entry | None:
        own = self._by_origin.get(origin, {})
        if len(own) >= MAX_RECORDS_OF_ORIGIN or self._size >= MAX_RECORDS:
            self.counters["cache-full"] += 1
            return None
        entry = Entry(origin, record, now, now)
        self._by_origin.setdefault(origin, {})[record.identity] = entry
        self._by_key.setdefault(record.key, {})[origin, record.identity] = entry
        self._size += 1
        self.changed.add(origin)
        return entry

    def _last_word(self, entry: Entry) -> None:
        """Said again: behind what the origin said meanwhile, and which lives on for a second or as long as it holds (RFC 6762 10.2)."""
        same = self._by_key[entry.record.key]
        if next(reversed(same)) != (entry.origin, entry.record.identity):
            of_origin = [one for origin, one in same if origin == entry.origin]
            same[entry.origin, entry.record.identity] = same.pop((entry.origin, entry.record.identity))
            if of_origin[-1] != entry.record.identity:
                self.changed.add(entry.origin)

    def _remove(self, entry: Entry) -> None:
        own = self._by_origin.get(entry.origin, {})
        if own.pop(entry.record.identity, None) is None:
            return
        if not own:
            del self._by_origin[entry.origin]
        same = self._by_key[entry.record.key]
        del same[entry.origin, entry.record.identity]
        if not same:
            del self._by_key[entry.record.key]
        entry.next_at = -1.0
        self._size -= 1
        self.changed.add(entry.origin)

    def _expire_at(self, entry: Entry, when: float) -> None:
        entry.expires = when
        entry.step = len(REFRESH_AT)
        self._plan(entry)

    def _plan(self, entry: Entry) -> None:
        """Its next refresh, or its end."""
        entry.next_at = entry.expires
        if entry.step < len(REFRESH_AT):
            part = REFRESH_AT[entry.step] + REFRESH_JITTER * self._chance()
            entry.next_at = entry.received + (entry.expires - entry.received) * part
        self._serial += 1
        if len(self._timers) > 4 * (self._size + 16):       # mostly of what was heard again since
            self._timers = [timer for timer in self._timers if self._live(timer)]
            heapq.heapify(self._timers)
        heapq.heappush(self._timers, (entry.next_at, self._serial, entry))

    @staticmethod
    def _live(timer: tuple[float, int, Entry]) -> bool:
        return timer[2].next_at == timer[0]
