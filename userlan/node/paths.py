"""The paths to one peer: which there are, which work, how long each takes, and by which one this side sends.

Theory
======

A path is an endpoint by which an authentic packet of the peer's came, or may come: told by the relays' client (bound), by a punch (a
probe passed), by the tunnel (the peer was heard there). Both sides keep their own set and decide for their own direction.

Asking. A path's question is an echo request inside the tunnel with an identifier of its own, sent by that very path; the far node sends
the answer by the way by which the question came, so that the round trip is the path's. An older node answers from its stack, by the way
that it prefers: that proves that the question came through, which is what the sending side must know, and measures nothing.

::

    added ── asked ──▶ answered: proved ──▶ may be chosen ── three questions unanswered ──▶ doubted ── 10 s ──▶ forgotten
                 └── three unanswered ──▶ doubted                    ▲                         │ answered as often as it has failed
                                                                     └─────────────────────────┘

A change from a path that works to another needs the answer to a question, so nothing is lost by it: what is under way by the old one
still arrives, and the old one goes on being heard. Where the one in use is doubted, having been heard is enough.

When questions are asked
    at once      a path is new; the peer moved; this computer's addresses changed
    hurried      data left and nothing came back by the path in use for half a second (``PathSilent``), or the peer is heard by another
                 one and not by this: by all paths, twice the round trip apart (0.25 to 1 s), so that the next one is known to work by
                 the time that this one is known not to
    in turn      every minute, each path that is not in use; the one in use too, where there is another of its class to compare with

A dead path is so left 0.5 s + 3 * 0.25 s after the first packet that it lost, and within 3.5 s on the longest round trips.

Limits: ``MAX_PATHS`` a peer. What a mediator or a probe makes a node ask is bounded by the table's budget for each target.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import NamedTuple

from userlan.traversal.path_choice import Path, choose, order
from userlan.wire.endpoint import RELAY, Endpoint

MAX_PATHS = 12
"""Paths of one peer: a computer has rarely more than 6 addresses, and three relays; the tunnel knows up to 16."""
HURRY_LEAST, HURRY_MOST = 0.25, 1.0
"""Seconds between two questions of a series, at least and at most: twice the path's round trip within these."""
HURRY_UNKNOWN = 0.5
"""Seconds between two questions where the round trip is not known."""
QUESTIONS = 3
"""Questions in a row that go unanswered for a path to be doubted."""
MEASURE_INTERVAL = 60.0
"""Seconds between two questions by a path that is not in use."""
COMPARE_INTERVAL = 15.0
"""Seconds between two questions by paths that are compared with each other."""
REVIVE_INTERVAL = 1.0
"""Seconds between questions by a doubted path."""
DOUBTED_FOR = 10.0
"""Seconds after which a doubted path is forgotten; a relay's and the one in use stay."""
FORGET_AFTER = 150.0
"""Seconds without a word by a path that is not in use, after which it is forgotten: two questions of the far end's, and more."""
MAX_OWED = 8
"""Answers in a row that a path owes which has failed often: one more for each failure, so that one that comes and goes is no choice."""
SETTLED = 60.0
"""Seconds of service after which a path's failures are forgiven."""
ELSEWHERE = 0.25
"""Seconds for which the path in use was not heard while another was: reason to ask."""
RTT_GAIN = 0.125
"""Smoothing of the round trip (RFC 6298, 2.3: alpha)."""


class PathAsked(NamedTuple):
    """Send an echo request by this path. ``proved``: the peer was there before."""

    endpoint: Endpoint
    sequence: int
    proved: bool


class PathChosen(NamedTuple):
    """Send by this path from now on."""

    endpoint: Endpoint


class PathsKnown(NamedTuple):
    """The set of paths is another one."""

    endpoints: tuple[Endpoint, ...]


class RelaysDoubted(NamedTuple):
    """The path in use may be dead, and the relays are next: see to it that they know where this computer is."""


PathEffect = PathAsked | PathChosen | PathsKnown | RelaysDoubted


class _Entry:
    """One path. Monotonic seconds."""

    __slots__ = ("added_at", "ask_at", "asked_at", "doubted_at", "endpoint", "failures", "heard_at", "owed", "proved", "rtt", "sound_since",
                 "unanswered")  # fmt: skip

    def __init__(self, endpoint: Endpoint, now: float) -> None:
        self.endpoint = endpoint
        self.rtt: float | None = None
        self.heard_at = -inf
        self.added_at = now
        self.proved = False
        self.doubted_at: float | None = None
        self.ask_at = now
        self.asked_at = -inf
        self.unanswered = 0
        self.failures = 0
        self.owed = 0
        self.sound_since = now

    @property
    def patience(self) -> float:
        """Seconds that a question has for its answer."""
        return HURRY_UNKNOWN if self.rtt is None else min(max(2 * self.rtt, HURRY_LEAST), HURRY_MOST)

    def hurry(self, now: float) -> None:
        """Ask now, unless a question is under way."""
        if not self.unanswered:
            self.ask_at = now


class PathSet:
    """One peer's. ``current``: the path in use, None: none. What is to be done comes back from ``tick``."""

    __slots__ = ("_changed", "_entries", "_questions", "_sequence", "_steered", "current")

    def __init__(self) -> None:
        self.current: Endpoint | None = None
        self._entries: dict[Endpoint, _Entry] = {}
        self._questions: dict[int, tuple[Endpoint, float]] = {}
        self._sequence = 0
        self._changed = False
        self._steered: Endpoint | None = None

    # --- what happens ------------------------------------------------------------------------------------------------

    def add(self, endpoint: Endpoint, now: float) -> bool:
        """A path that may work; True when it is new. The worst one goes where there are too many."""
        if endpoint in self._entries:
            return False
        if len(self._entries) >= MAX_PATHS and not self._make_room():
            return False
        self._entries[endpoint] = _Entry(endpoint, now)
        self._changed = True
        return True

    def has(self, endpoint: Endpoint) -> bool:
        """Whether it is a path of this peer's."""
        return endpoint in self._entries

    def ask(self, endpoint: Endpoint, now: float) -> None:
        """There is reason to ask by a path at once."""
        entry = self._entries.get(endpoint)
        if entry is not None:
            entry.hurry(now)

    def lost(self, endpoint: Endpoint) -> None:
        """A path is no more: a relay's channel or a connection ended."""
        if self._entries.pop(endpoint, None) is not None:
            self._changed = True

    def established(self, endpoint: Endpoint, now: float) -> None:
        """A handshake completed by a path: both directions are proved."""
        self.add(endpoint, now)
        entry = self._entries.get(endpoint)
        if entry is not None:
            entry.proved = True
            self._sound(entry, now)

    def follow(self, endpoint: Endpoint, now: float) -> None:
        """The tunnel sends there."""
        self.add(endpoint, now)
        self.current = self._steered = endpoint
        for entry in self._entries.values():
            entry.ask_at = min(entry.ask_at, now) if not entry.proved else entry.ask_at

    def moved(self, old: Endpoint, new: Endpoint, now: float) -> None:
        """The tunnel sends elsewhere: the peer was heard by a path that was not known, and nothing says that the old one still works."""
        self.follow(new, now)
        entry = self._entries.get(old)
        if entry is not None and entry.doubted_at is None:
            entry.doubted_at = now
            entry.owed = 1
        for entry in self._entries.values():
            entry.hurry(now)

    def silent(self, now: float) -> None:
        """Data left, and nothing comes back by the path in use: it may be dead."""
        if self.current is not None:
            self.ask(self.current, now)

    def heard_elsewhere(self, endpoint: Endpoint, heard: Callable[[Endpoint], float], now: float) -> None:
        """The peer is heard by a path that is not in use: why not by the one in use? If that has left two questions unanswered, the peer
        has given it up."""
        self.ask(endpoint, now)
        used, other = self._entries.get(self.current) if self.current is not None else None, self._entries.get(endpoint)
        if used is None or other is None or now - heard(used.endpoint) <= ELSEWHERE:
            return
        self.ask(used.endpoint, now)
        if used.unanswered >= 2 and other.proved and other.doubted_at is None:
            self._doubt(used, now)

    def network_changed(self, now: float) -> None:
        """This computer's addresses changed: no path is known to work."""
        for entry in self._entries.values():
            entry.proved = False
            entry.doubted_at = now
            entry.owed = 1
            entry.unanswered = 0
            entry.ask_at = now

    def answered(self, sequence: int, source: Endpoint, now: float) -> None:
        """A question was answered, by ``source``."""
        asked = self._questions.pop(sequence, None)
        entry = self._entries.get(asked[0]) if asked is not None else None
        if asked is None or entry is None:
            return
        if source == entry.endpoint:
            sample = max(0.0, now - asked[1])
            entry.rtt = sample if entry.rtt is None else entry.rtt + RTT_GAIN * (sample - entry.rtt)
        entry.proved = True
        entry.owed -= 1
        if entry.doubted_at is not None and entry.owed > 0:
            entry.unanswered = 0
            entry.ask_at = now + HURRY_LEAST
        else:
            self._sound(entry, now)

    def reset(self) -> None:
        """The peer is gone: what is left are the relays, by which it may come back."""
        kept = {endpoint: entry for endpoint, entry in self._entries.items() if endpoint.transport == RELAY}
        self._changed |= len(kept) != len(self._entries)
        self._entries = kept
        self._questions.clear()
        self.current = self._steered = None
        for entry in kept.values():
            entry.ask_at = inf
            entry.proved = False
            entry.unanswered = 0
            entry.heard_at = -inf

    # --- what is so --------------------------------------------------------------------------------------------------

    @property
    def dead(self) -> bool:
        """Whether no path works, as far as is known, though there was one."""
        return self.current is not None and all(entry.doubted_at is not None for entry in self._entries.values())

    def paths(self) -> list[Path]:
        """All of them, for people and for tests, the best first."""
        return sorted((self._path(entry, False) for entry in self._entries.values()), key=order)

    def relay(self) -> Endpoint | None:
        """The relay's path that would be used."""
        relays = [path for path in self.paths() if path.endpoint.transport == RELAY]
        return min(relays, key=lambda path: path.doubted, default=relays[0]).endpoint if relays else None

    # --- time --------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When ``tick`` has something to do; ``news`` is to be asked at once."""
        return min((entry.ask_at for entry in self._entries.values() if entry.ask_at < inf), default=None)

    def news(self) -> list[PathEffect]:
        """``PathsKnown``, where the set changed since the last call."""
        if not self._changed:
            return []
        self._changed = False
        return [PathsKnown(tuple(self._entries))]

    def tick(self, heard: Callable[[Endpoint], float], now: float) -> list[PathEffect]:
        """What is due, of a peer that is up. ``heard``: when an authentic packet came by a path last."""
        effects: list[PathEffect] = []
        for entry in list(self._entries.values()):
            entry.heard_at = max(entry.heard_at, heard(entry.endpoint))
            if entry.proved and entry.unanswered and entry.doubted_at is None and entry.heard_at > entry.asked_at:
                self._sound(entry, now)
        for entry in sorted(self._entries.values(), key=lambda one: one.endpoint != self.current):   # the one in use stirs up the others
            if now >= entry.ask_at:
                self._due(entry, effects, now)
        chosen = self._choose(now)
        if chosen is not None and chosen != self._steered:
            effects.append(PathChosen(chosen))
        self.current = self._steered = chosen
        for entry in self._entries.values():
            if entry.ask_at == inf:                  # it was the only one of its class
                entry.ask_at = now + self._interval(entry)
        return self.news() + effects

    # --- inside ------------------------------------------------------------------------------------------------------

    def _due(self, entry: _Entry, effects: list[PathEffect], now: float) -> None:
        if entry.unanswered >= QUESTIONS:
            self._doubt(entry, now)
        if self._forgettable(entry, now):
            del self._entries[entry.endpoint]
            self._changed = True
            return
        entry.unanswered += 1
        entry.asked_at = now
        if entry.unanswered == 2 and entry.endpoint == self.current:
            effects.append(RelaysDoubted())
            for other in self._entries.values():
                if other is not entry and not other.unanswered:
                    other.ask_at = now
        entry.ask_at = now + (entry.patience if entry.doubted_at is None else max(entry.patience, self._pause(entry, now)))
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._questions = {number: (way, at) for number, (way, at) in self._questions.items() if now - at < DOUBTED_FOR}
        self._questions[self._sequence] = (entry.endpoint, now)
        effects.append(PathAsked(entry.endpoint, self._sequence, entry.heard_at > -inf))

    @staticmethod
    def _doubt(entry: _Entry, now: float) -> None:
        if entry.doubted_at is None:
            entry.doubted_at = now
            entry.failures += 1
            entry.owed = min(entry.failures, MAX_OWED)

    def _pause(self, entry: _Entry, now: float) -> float:
        """Seconds until a doubted path is asked again."""
        if entry.unanswered <= QUESTIONS:
            return HURRY_LEAST
        young = now - (entry.doubted_at or now) < DOUBTED_FOR
        return REVIVE_INTERVAL if young or entry.endpoint == self.current else MEASURE_INTERVAL

    def _forgettable(self, entry: _Entry, now: float) -> bool:
        if entry.endpoint == self.current or entry.endpoint.transport == RELAY:
            return False
        if entry.doubted_at is not None:
            return now - max(entry.doubted_at, entry.heard_at) >= DOUBTED_FOR
        return now - max(entry.heard_at, entry.added_at) >= FORGET_AFTER

    def _sound(self, entry: _Entry, now: float) -> None:
        """The path works."""
        entry.heard_at = max(entry.heard_at, now)
        if entry.doubted_at is not None:
            entry.doubted_at = None
            entry.sound_since = now
        if now - entry.sound_since > SETTLED:
            entry.failures = 0
        entry.unanswered = 0
        entry.owed = 0
        entry.ask_at = now + self._interval(entry)

    def _interval(self, entry: _Entry) -> float:
        """Seconds until a path that works is asked again; infinite for the one in use where there is nothing to compare it with."""
        if entry.asked_at == -inf:
            return HURRY_LEAST
        rivals = any(
            other is not entry and other.endpoint.transport == entry.endpoint.transport and other.doubted_at is None
            for other in self._entries.values()
        )
        used = self._entries.get(self.current) if self.current is not None else None
        compared = rivals and used is not None and used.endpoint.transport == entry.endpoint.transport
        if entry is used:
            return COMPARE_INTERVAL if rivals else inf
        return COMPARE_INTERVAL if compared else MEASURE_INTERVAL

    def _choose(self, now: float) -> Endpoint | None:
        if self.current is None:
            return None
        heard = [entry for entry in self._entries.values() if entry.heard_at > -inf or entry.endpoint.transport == RELAY]
        proved = any(entry.proved and entry.doubted_at is None for entry in heard)
        return choose([self._path(entry, proved) for entry in heard], self.current, now)

    def _path(self, entry: _Entry, proved: bool) -> Path:
        """``proved``: there is one that surely works, so that another one must be proved, too."""
        doubted = entry.doubted_at is not None or (proved and not entry.proved)
        return Path(entry.endpoint, entry.rtt, entry.heard_at, doubted)

    def _make_room(self) -> bool:
        spare = [entry for entry in self._entries.values() if entry.endpoint != self.current and entry.endpoint.transport != RELAY]
        if not spare:
            return False
        worst = max(spare, key=lambda entry: (not entry.proved, entry.doubted_at is not None, order(self._path(entry, False))))
        del self._entries[worst.endpoint]
        return True
