"""Who is not where messages wait for him, and since when, sans-IO: whoever is gone for good is told apart from a roster in motion."""

from __future__ import annotations

from collections.abc import Callable, Iterable

GRACE = 60.0
"""Seconds that a recipient must be missing: a mediator that restarts, or a network that is joined again, has its members back by then."""

Waiting = tuple[str, str]
"""A recipient's key and the conversation of what waits."""


class Absences:
    """See the module."""

    def __init__(self) -> None:
        self._since: dict[Waiting, float] = {}

    def look(self, waiting: Iterable[Waiting], absent: Callable[[str, str], bool], now: float) -> list[Waiting]:
        """Those that have been absent for ``GRACE``; they are forgotten."""
        missing = {one for one in waiting if absent(*one)}
        self._since = {one: self._since.get(one, now) for one in missing}
        gone = sorted(one for one, since in self._since.items() if now - since >= GRACE)
        for one in gone:
            del self._since[one]
        return gone

    def deadline(self) -> float | None:
        """When to look again."""
        return min(self._since.values()) + GRACE if self._since else None
