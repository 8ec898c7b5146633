"""One file on its way from one member to another, as both of them note it.

::

    sender:     waiting ──▶ offered ──▶ accepted ──▶ active ◀──▶ paused ──▶ done
                   └───────────┴───────────┴───────────┴───────────┴──────▶ declined, failed, cancelled

    receiver:               offered ──▶ accepted ──▶ active ◀──▶ paused ──▶ done
                               └───────────┴───────────┴───────────┴──────▶ declined, failed, cancelled

waiting: the receiver has not been told; offered: its user has not answered; accepted: about to be fetched; active: octets pass;
paused: will go on by itself, ``error`` says what it waits for; the others are final.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal, TypeAlias

import msgspec

StateName: TypeAlias = Literal["waiting", "offered", "accepted", "active", "paused", "done", "declined", "failed", "cancelled"]
Direction: TypeAlias = Literal["in", "out"]

ENDED: Final = frozenset(("done", "declined", "failed", "cancelled"))
"""States that stay."""
UNDER_WAY: Final = frozenset(("accepted", "active", "paused"))
"""States of a file that its receiver wants and does not have."""

RATE_SPAN: Final = 3.0
"""Seconds over which a rate is smoothed: steady enough to read, quick enough to show that nothing comes any more."""


class Source(msgspec.Struct, frozen=True):
    """What a sent file was when it was offered: another one by now must not be sent in its place. (No device: its number may be another one
    after each start of the computer.)"""

    inode: int
    size: int
    mtime: int
    """Nanoseconds since 1970."""


class Transfer(msgspec.Struct, kw_only=True):
    """What is kept of it across restarts."""

    id: str
    """For people and commands; of this node alone."""
    token: str
    """For both nodes; see ``frames.Token``."""
    direction: Direction
    peer: str
    """The other member's key."""
    name: str
    """Its nickname, as last seen."""
    file: str
    """The file's name, made safe where a peer gave it."""
    size: int
    mtime: int
    state: StateName
    time: float
    """Wall seconds at which it was offered."""
    done: int = 0
    """Octets that are there, or have been sent."""
    error: str | None = None
    path: str | None = None
    sha256: str | None = None
    source: Source | None = None
    spooled: bool = False
    """The file that is sent is the bridge's own copy."""
    told: bool = False
    """Whether the other member knows how it stands."""
    again: bool = False
    """Whether it is fetched for the second time, since what came was not what was sent."""
    hidden: bool = False
    """Forgotten here; kept only until the other member has been told."""
    moved: float = 0.0
    """Wall seconds of the last progress, or of its end."""

    @property
    def ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ENDED

    def view(self, rate: float, held_up: bool = False) -> dict[str, Any]:
        """As commands show it. ``held_up``: this computer cannot take it now, for the reason that ``error`` says; nobody else can help."""
        return {
            "id": self.id,
            "direction": self.direction,
            "peer": self.peer,
            "name": self.name,
            "file": self.file,
            "size": self.size,
            "done": self.done,
            "rate": round(rate),
            "state": self.state,
            "error": self.error,
            "held_up": held_up,
            "path": self.path,
            "sha256": self.sha256,
            "time": self.time,
        }


class Meter:
    """Octets a second, smoothed over ``RATE_SPAN``."""

    __slots__ = ("_at", "_rate", "_since")

    def __init__(self, now: float) -> None:
        self._at = now
        self._since = now
        self._rate = 0.0

    def add(self, octets: int, now: float) -> None:
        """So many have passed since the last call."""
        span = now - self._at
        if span <= 0:
            self._rate += octets / RATE_SPAN
            return
        keep = math.exp(-span / RATE_SPAN)
        self._rate = self._rate * keep + octets / span * (1 - keep)
        self._at = now

    def rate(self, now: float) -> float:
        """Octets a second; in the first seconds what has passed counts for the time that there was."""
        seen = 1 - math.exp(-max(now - self._since, 0.1) / RATE_SPAN)
        return self._rate * math.exp(-max(0.0, now - self._at) / RATE_SPAN) / seen


def size_text(octets: float) -> str:
    """``12 MB``, as file managers count: thousands."""
    for unit in ("B", "kB", "MB", "GB"):
        if octets < 1000:
            return f"{octets:.0f} {unit}" if unit == "B" or octets >= 10 else f"{octets:.1f} {unit}"
        octets /= 1000
    return f"{octets:.1f} TB"


def plain(text: str) -> str:
    """Another member's words: nothing that cannot be seen, or that moves a cursor."""
    return "".join(one for one in text if one.isprintable())
