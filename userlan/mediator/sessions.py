"""All live sessions: one a key, bounded in number, strangers apart; who must greet by when; who was too fast."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator

from userlan.mediator.limits import Limits
from userlan.mediator.session import Phase, Session


class Sessions:
    """The sessions by key. A stranger's key is in no network; of those the oldest makes room for the newest."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._sessions: dict[bytes, Session] = {}
        self._strangers: OrderedDict[bytes, None] = OrderedDict()
        self._greeting: OrderedDict[Session, float] = OrderedDict()
        self._paused: dict[Session, float] = {}
        self._paused_heap: list[tuple[float, int, Session]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def get(self, key: bytes) -> Session | None:
        """The live session of a key."""
        return self._sessions.get(key)

    def add(self, session: Session, now: float) -> tuple[Session | None, Session | None]:
        """Takes a new session in: a stranger that has to greet.

        Returns the session of the same key that it supersedes, and the one that must be ended for want of room: the
        oldest stranger, or the new session itself where all places are taken by members.
        """
        superseded = self._sessions.get(session.key)
        if superseded is not None:
            self.remove(superseded)
        crowded: Session | None = None
        if len(self._strangers) >= self._limits.strangers or len(self._sessions) >= self._limits.sessions:
            if not self._strangers:
                return superseded, session
            crowded = self._sessions[next(iter(self._strangers))]
            self.remove(crowded)
        self._sessions[session.key] = session
        self._strangers[session.key] = None
        self._greeting[session] = now + self._limits.greeting
        return superseded, crowded

    def remove(self, session: Session) -> bool:
        """Forgets a session; False when it is not its key's live one."""
        self._greeting.pop(session, None)
        self._paused.pop(session, None)
        if self._sessions.get(session.key) is not session:
            return False
        del self._sessions[session.key]
        self._strangers.pop(session.key, None)
        return True

    def greeted(self, session: Session) -> None:
        """The session's ``Hello`` came."""
        self._greeting.pop(session, None)

    def set_member(self, key: bytes, member: bool) -> None:
        """Whether the key is in any network."""
        if member:
            self._strangers.pop(key, None)
        elif key in self._sessions and key not in self._strangers:
            self._strangers[key] = None

    def pause(self, session: Session, until: float) -> None:
        """The session was too fast and is read on at ``until``."""
        if session not in self._paused:
            self._count += 1
            self._paused[session] = until
            heapq.heappush(self._paused_heap, (until, self._count, session))

    def resumed(self, now: float) -> list[Session]:
        """The sessions whose pause is over."""
        ready: list[Session] = []
        while self._paused_heap and self._paused_heap[0][0] <= now:
            until, _, session = heapq.heappop(self._paused_heap)
            if self._paused.get(session) == until:
                del self._paused[session]
                ready.append(session)
        return ready

    def ungreeted(self, now: float) -> list[Session]:
        """The sessions that did not greet in time."""
        late: list[Session] = []
        for session, until in self._greeting.items():
            if until > now:
                break
            late.append(session)
        return late

    def deadline(self) -> float | None:
        """When ``resumed`` or ``ungreeted`` have something to say next."""
        times: list[float] = []
        if self._paused_heap:
            times.append(self._paused_heap[0][0])
        if self._greeting:
            times.append(next(iter(self._greeting.values())))
        return min(times, default=None)

    def ready(self, key: bytes) -> Session | None:
        """The live session of a key, where it has greeted."""
        session = self._sessions.get(key)
        return session if session is not None and session.phase is Phase.READY else None
