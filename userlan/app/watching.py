"""The status as it changes, for everybody who watches: one look a step for all of them.

::

    program.status() ── once a step ──▶ Board: what is new since when ──▶ each watcher, at its own interval: what it has not seen

A watcher is told the whole status first, then only the parts that changed: of the peers the rows that did. Who watches costs a look at
all rows a step, however many there are; who does not watch costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from userlan.driver.bridge import CommandError
from userlan.driver.commands import Reply

STEP = 0.25
"""Seconds between looks while somebody watches that closely: the least interval, too."""
GREATEST_INTERVAL = 60.0
MAX_WATCHERS = 256
"""As many as there may be clients of the local API; each costs a comparison of numbers a row."""


@attrs.define(eq=False)
class _Watcher:
    reply: Reply
    interval: float
    due: float
    seen: int = 0
    """Of the board's revisions."""


class Board:
    """The last status, and with which look each of its parts became what it is."""

    def __init__(self) -> None:
        self.revision = 0
        self._parts: dict[str, tuple[int, Any]] = {}
        self._rows: dict[str, tuple[int, dict[str, Any] | None]] = {}
        """By key; None for a peer that has gone."""

    def update(self, status: dict[str, Any], oldest: int) -> None:
        """A look. Peers that had gone at revision ``oldest`` everybody knows of."""
        self.revision += 1
        for name, value in status.items():
            if name != "peers" and (name not in self._parts or self._parts[name][1] != value):
                self._parts[name] = (self.revision, value)
        rows = {row["key"]: row for row in status["peers"]}
        for key, row in rows.items():
            before = self._rows.get(key)
            if before is None or before[1] != row:
                self._rows[key] = (self.revision, row)
        if len(self._rows) > len(rows):
            for key in [key for key in self._rows if key not in rows]:
                since, row_before = self._rows[key]
                if row_before is not None:
                    self._rows[key] = (self.revision, None)
                elif since <= oldest:
                    del self._rows[key]

    def since(self, revision: int) -> dict[str, Any]:
        """What became new after a revision: nothing, or the parts with their values, and under "peers" the rows by key."""
        changes = {name: value for name, (at, value) in self._parts.items() if at > revision}
        rows = {key: row for key, (at, row) in self._rows.items() if at > revision}
        return {**changes, "peers": rows} if rows else changes

    def snapshot(self) -> dict[str, Any]:
        """All of it, as ``userlan status --json``."""
        peers = sorted((row for _, row in self._rows.values() if row is not None), key=lambda row: str(row["name"]))
        return {**{name: value for name, (_, value) in self._parts.items()}, "peers": peers}


class Watching:
    """The command ``watch`` of one node. ``look`` gives its status."""

    def __init__(self, reactor: Any, look: Callable[[], dict[str, Any]]) -> None:
        self._reactor, self._look = reactor, look
        self._watchers: set[_Watcher] = set()
        self._board = Board()
        self._call: Any = None
        self._looked = 0.0

    def watch(self, arguments: dict[str, Any], reply: Reply) -> None:
        """``interval``: seconds between two changes told, at the least; 1 where none is given."""
        interval = arguments.get("interval", 1.0)
        if not isinstance(interval, int | float) or isinstance(interval, bool) or not 0 <= interval <= GREATEST_INTERVAL:
            raise CommandError(f"the interval is a number of seconds up to {GREATEST_INTERVAL:.0f}")
        if len(self._watchers) >= MAX_WATCHERS:
            raise CommandError(f"{MAX_WATCHERS} watch already")
        now = self._reactor.seconds()
        interval = max(STEP, float(interval))
        if not self._watchers:
            self._board = Board()
        self._update()
        watcher = _Watcher(reply, interval, now + interval, self._board.revision)
        self._watchers.add(watcher)
        reply.on_cancel(lambda: self._leave(watcher))
        reply.item({"snapshot": self._board.snapshot()})
        self._schedule()

    def stop(self) -> None:
        """Nobody is told any more. Idempotent."""
        self._watchers.clear()
        self._schedule()

    def _leave(self, watcher: _Watcher) -> None:
        self._watchers.discard(watcher)
        self._schedule()

    def _update(self) -> None:
        self._looked = self._reactor.seconds()
        self._board.update(self._look(), min((watcher.seen for watcher in self._watchers), default=self._board.revision))

    def _step(self) -> None:
        self._call = None
        now = self._reactor.seconds()
        due = [watcher for watcher in self._watchers if watcher.due <= now]
        if due:
            self._update()
            told: dict[int, dict[str, Any]] = {}
            for watcher in due:
                if watcher.seen not in told:
                    told[watcher.seen] = self._board.since(watcher.seen)
                changes = told[watcher.seen]
                watcher.seen, watcher.due = self._board.revision, now + watcher.interval
                if changes:
                    watcher.reply.item({"changes": changes})
        self._schedule()

    def _schedule(self) -> None:
        """The next look is when somebody is due, but not before a step has passed: watchers who came at different times share it."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
        if self._watchers:
            at = max(self._looked + STEP, min(watcher.due for watcher in self._watchers))
            self._call = self._reactor.callLater(max(0.0, at - self._reactor.seconds()), self._step)
