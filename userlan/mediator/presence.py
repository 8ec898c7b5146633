"""Presence: who is there, when each was last heard, when to ask, whom to give up, what to write down.

Each session is pinged at login (three times within a second, to measure its link) and then every ``PING_INTERVAL``; a
session that let nothing be heard for ``SILENCE`` is overdue. A heap holds one entry a session, so a tick costs only the
sessions that are due.
"""

from __future__ import annotations

import heapq

#: Seconds between pings of an idle session; below every NAT's shortest mapping lifetime of 30 s.
PING_INTERVAL = 10.0
#: Seconds without any packet after which a session is given up: two pings and their retransmissions lost.
SILENCE = 25.0
#: Seconds after login of the pings that measure the link before the first introductions need it.
FIRST_PINGS = (0.0, 0.25, 0.6)
#: Seconds between writes of last-seen times; one of a crashed mediator is at most so much too old.
WRITE_INTERVAL = 60.0
#: Seconds until the last-seen time of a node that just left is written.
WRITE_SOON = 2.0
#: Nodes written at once: bounds how long one transaction keeps the mediator from serving.
WRITE_BATCH = 1000


class _Session:
    __slots__ = ("heard", "number", "pings", "since", "written")

    def __init__(self, now: float, number: int) -> None:
        self.number = number
        self.since = now
        self.heard = now
        self.pings = 0
        self.written = now

    def next_ping(self) -> float:
        if self.pings < len(FIRST_PINGS):
            return self.since + FIRST_PINGS[self.pings]
        return self.since + PING_INTERVAL * (self.pings - len(FIRST_PINGS) + 1)


class Presence:
    """The nodes that have a session. Times are monotonic seconds; wall = monotonic + ``wall_offset``."""

    def __init__(self, wall_offset: float, now: float) -> None:
        self._wall_offset = wall_offset
        self._sessions: dict[bytes, _Session] = {}
        self._heap: list[tuple[float, bytes, int]] = []
        self._unwritten: dict[bytes, float] = {}
        self._count = 0
        self._write_at = now + WRITE_INTERVAL

    def arrived(self, key: bytes, now: float) -> None:
        """A node greeted; its earlier session, if any, is superseded."""
        self._count += 1
        session = self._sessions[key] = _Session(now, self._count)
        heapq.heappush(self._heap, (session.next_ping(), key, session.number))

    def heard(self, key: bytes, now: float) -> None:
        """Any authenticated packet came."""
        session = self._sessions.get(key)
        if session is not None:
            session.heard = now

    def departed(self, key: bytes, now: float) -> None:
        """A node said goodbye, or its connection was lost."""
        session = self._sessions.pop(key, None)
        if session is not None:
            self._unwritten[key] = session.heard + self._wall_offset
            self._write_at = min(self._write_at, now + WRITE_SOON)

    def online(self, key: bytes) -> bool:
        """Whether a node has a session."""
        return key in self._sessions

    def last_seen(self, key: bytes) -> float | None:
        """Wall time when a node was last heard, where it is newer than what is written down."""
        session = self._sessions.get(key)
        return self._unwritten.get(key) if session is None else session.heard + self._wall_offset

    def __len__(self) -> int:
        return len(self._sessions)

    def deadline(self) -> float | None:
        """When there is something to do next."""
        if not self._sessions and not self._unwritten:
            return None
        while self._heap and not self._live(*self._heap[0][1:]):
            heapq.heappop(self._heap)
        return min(self._write_at, self._heap[0][0]) if self._heap else self._write_at

    def due(self, now: float) -> tuple[list[bytes], list[bytes]]:
        """Whom to ping, and who is overdue (its ``departed`` is then awaited)."""
        ping: list[bytes] = []
        overdue: list[bytes] = []
        while self._heap and self._heap[0][0] <= now:
            _, key, number = heapq.heappop(self._heap)
            session = self._live(key, number)
            if session is None:
                continue
            if now >= session.heard + SILENCE:
                overdue.append(key)
                again = now + SILENCE
            else:
                if now >= session.next_ping():
                    ping.append(key)
                    while session.next_ping() <= now:
                        session.pings += 1
                again = min(session.next_ping(), session.heard + SILENCE)
            heapq.heappush(self._heap, (again, key, number))
        return ping, overdue

    def _live(self, key: bytes, number: int) -> _Session | None:
        """The session that a heap entry is about, unless it ended meanwhile."""
        session = self._sessions.get(key)
        return session if session is not None and session.number == number else None

    def to_write(self, now: float) -> dict[bytes, float]:
        """Last-seen wall times that are to be written now, at most ``WRITE_BATCH``; mostly none."""
        if now < self._write_at:
            return {}
        batch: dict[bytes, float] = {}
        for key in list(self._unwritten)[:WRITE_BATCH]:
            batch[key] = self._unwritten.pop(key)
        for key, session in self._sessions.items():
            if len(batch) >= WRITE_BATCH:
                break
            if session.heard > session.written and now - session.written >= WRITE_INTERVAL:
                batch[key] = session.heard + self._wall_offset
                session.written = session.heard
        self._write_at = now + (WRITE_SOON if len(batch) >= WRITE_BATCH else WRITE_INTERVAL)
        return batch

    def all_unwritten(self) -> dict[bytes, float]:
        """Everything that is not written yet, for an orderly end."""
        batch, self._unwritten = self._unwritten, {}
        for key, session in self._sessions.items():
            batch[key] = session.heard + self._wall_offset
        return batch
