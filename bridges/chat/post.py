"""To whom a connection is made, and when, sans-IO: for each member that something waits for.

::

              wake                    tick: Connect              connected
    asleep ─────────▶ due (at) ─────────────────────▶ connecting ─────────▶ open
       ▲               ▲  ▲                               │                  │
       │ nothing waits │  └── lost: after FIRST_PAUSE, ───┘                  │
       └───────────────┴───── twice as long each time up to LAST_PAUSE ◀─────┘ lost
                       reached: at once                    (succeeded: FIRST_PAUSE again)

A member that is not there costs a connection attempt in five minutes at the most, and none while nothing waits for it. At most
``MAX_CONNECTING`` attempts at a time, and ``MAX_OPEN`` connections: then those that have nothing to do give way (Disconnect), the one
that has been idle for longest first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import attrs

FIRST_PAUSE, LAST_PAUSE = 1.0, 300.0
"""Seconds between two attempts: a node that restarts is back in a moment; one that is away for the night tells when it is back."""

EAGER = 5.0
"""Seconds after an attempt in which a new message does not make another: a person types faster than a member comes back."""

SPREAD = 0.25
"""Part of a pause by which it is longer or shorter: members that wait for the same thing do not all come at once."""

MAX_CONNECTING = 16
"""Attempts at a time: each may bring a path about."""

MAX_OPEN = 128
"""Connections of ours: a message to a network of 500 needs that many, for a moment each."""


class Connect(NamedTuple):
    """A connection is to be made."""

    key: str


class Disconnect(NamedTuple):
    """A connection is to be ended; nothing more is said of it."""

    key: str


@attrs.define
class _Way:
    state: str = "due"
    """``due``, ``connecting`` or ``open``; one that is asleep is not there."""
    owing: bool = True
    """Whether something waits."""
    at: float = 0.0
    """When it is due; since when it has been idle, where it is open."""
    failures: int = 0
    ended: float = float("-inf")
    """When the last attempt failed."""


class Post:
    """See the module. ``chance``: numbers from 0 to 1."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._ways: dict[str, _Way] = {}
        self._full = False
        """Whether what is due waits for a connection to end."""

    def state(self, key: str) -> str:
        """``asleep``, ``due``, ``connecting`` or ``open``."""
        way = self._ways.get(key)
        return "asleep" if way is None else way.state

    def wake(self, key: str, now: float) -> None:
        """Something new waits for this member (too)."""
        self.note(key, now)
        way = self._ways[key]
        if way.state == "due" and now - way.ended >= EAGER:
            way.at = min(way.at, now)

    def note(self, key: str, at: float) -> None:
        """Something waits for this member, as is perhaps known: no attempt is made any sooner where one is due."""
        self._ways.setdefault(key, _Way(at=at)).owing = True

    def reached(self, key: str, now: float) -> None:
        """There is a way to this member that there was not."""
        way = self._ways.get(key)
        if way is not None and way.state == "due":
            way.failures, way.at = 0, now

    def connected(self, key: str) -> None:
        """The connection can be used."""
        way = self._ways[key]
        way.state, way.at = "open", float("inf")
        self._full = False

    def succeeded(self, key: str) -> None:
        """Something was taken: the next failure is the first again."""
        way = self._ways.get(key)
        if way is not None:
            way.failures = 0

    def settled(self, key: str, now: float) -> None:
        """Nothing more waits for this member, and its connection has nothing to do."""
        way = self._ways[key]
        way.owing, way.at = False, now
        self._full = False

    def busy(self, key: str) -> None:
        """It has something to do again."""
        way = self._ways[key]
        way.owing, way.at = True, float("inf")

    def lost(self, key: str, now: float) -> None:
        """There is no connection (any more), or it is of no use for a while."""
        self._full = False
        way = self._ways.get(key)
        if way is None:
            return
        if not way.owing:
            del self._ways[key]
            return
        pause = min(FIRST_PAUSE * 2.0 ** min(way.failures, 16), LAST_PAUSE)
        way.state, way.ended = "due", now
        way.failures += 1
        way.at = now + pause * (1 + SPREAD * (2 * self._chance() - 1))

    def drop(self, key: str) -> None:
        """For this member nothing waits any more."""
        self.keep_only(self._ways.keys() - {key})

    def keep_only(self, keys: Collection[str]) -> None:
        """For nobody else does anything wait."""
        for key in [key for key, way in self._ways.items() if way.state == "due" and key not in keys]:
            del self._ways[key]

    def deadline(self) -> float | None:
        """When ``tick`` is due; None while it has to wait for a connection to end."""
        return None if self._full else min((way.at for way in self._ways.values() if way.state == "due"), default=None)

    def tick(self, now: float) -> list[Connect | Disconnect]:
        """What is to be done now."""
        due = sorted((way.at, key) for key, way in self._ways.items() if way.state == "due" and way.at <= now)
        if not due:
            return []
        connecting = sum(1 for way in self._ways.values() if way.state == "connecting")
        used = connecting + sum(1 for way in self._ways.values() if way.state == "open")
        idle = sorted((way.at, key) for key, way in self._ways.items() if way.state == "open" and not way.owing)
        effects: list[Connect | Disconnect] = []
        for _, key in due:
            self._full = connecting >= MAX_CONNECTING or (used >= MAX_OPEN and not idle)
            if self._full:
                break
            if used >= MAX_OPEN:
                gone = idle.pop(0)[1]
                del self._ways[gone]
                effects.append(Disconnect(gone))
                used -= 1
            self._ways[key].state = "connecting"
            effects.append(Connect(key))
            connecting, used = connecting + 1, used + 1
        return effects
