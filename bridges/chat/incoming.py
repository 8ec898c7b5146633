"""A connection by which a member brings messages, sans-IO.

::

    waiting for hello ── hello ──▶ open ── message ──▶ Keep ── settle(id) ──▶ Send(taken or refused)
         │                           │
         └── HELLO_TIMEOUT           └── FRAME_TIMEOUT in the middle of a frame, IDLE_TIMEOUT between two, a frame that is none ──▶ Cut

``paused``: nothing more is to be read now, since the author has brought more than the allowance, or ``MAX_UNSETTLED`` are not on the disk
yet. What is read already waits; ``tick`` goes on.
"""

from __future__ import annotations

from typing import NamedTuple

from bridges.chat.allowance import Allowance
from bridges.chat.frames import VERSION, Frame, FrameError, Hello, Lines, Refused, Taken, Text, decode, encode

HELLO_TIMEOUT = 15.0
"""Seconds in which a connection must have said hello: three round trips of the slowest path, with losses."""

FRAME_TIMEOUT = 60.0
"""Seconds in which a frame that has begun must be complete: 64 KB at 10 kbit/s."""

IDLE_TIMEOUT = 600.0
"""Seconds without a frame after which a connection is ended: twice what a sender of ours keeps one."""

MAX_UNSETTLED = 64
"""Messages of one connection on their way to the disk."""


class Send(NamedTuple):
    """Octets for the other side."""

    data: bytes


class Keep(NamedTuple):
    """A message to be kept; ``settle`` is to be called then."""

    text: Text


class Cut(NamedTuple):
    """The connection is to be ended at once."""

    reason: str


Effect = Send | Keep | Cut


class Incoming:
    """See the module. ``allowance``: the author's, whatever the number of connections."""

    def __init__(self, allowance: Allowance, now: float) -> None:
        self._allowance = allowance
        self._lines = Lines()
        self._open = False
        self._over = False
        self._unsettled: dict[str, int] = {}
        self._count = 0
        self._resume: float | None = None
        self._deadline = now + HELLO_TIMEOUT
        self.active = now
        """When a whole frame arrived last."""

    @property
    def paused(self) -> bool:
        """Whether nothing more is to be read now."""
        return self._over or self._resume is not None or self._count >= MAX_UNSETTLED

    def receive(self, data: bytes, now: float) -> list[Effect]:
        """More has arrived."""
        fresh = not self._lines.partial
        try:
            self._lines.feed(data)
        except FrameError as error:
            return self._cut(str(error))
        effects = self._go_on(now)
        if self._open and self._lines.partial and (fresh or self.active == now):
            self._deadline = now + FRAME_TIMEOUT
        return effects

    def settle(self, identifier: str, reason: str, now: float) -> list[Effect]:
        """A message is kept (``reason`` empty), or will not be."""
        count = self._unsettled.pop(identifier, 0)
        if not count or self._over:
            return []
        self._count -= count
        answer: Frame = Refused(identifier, reason) if reason else Taken(identifier)
        return [Send(encode(answer) * count), *self._go_on(now)]

    def deadline(self) -> float | None:
        """When ``tick`` is due."""
        if self._over:
            return None
        return self._resume if self._resume is not None else self._deadline

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        if self._over:
            return []
        if self._resume is not None:
            if now < self._resume:
                return []
            self._resume = None
            self._deadline = now + (FRAME_TIMEOUT if self._lines.partial else IDLE_TIMEOUT)
            return self._go_on(now)
        if now < self._deadline:
            return []
        if self._count:
            self._deadline = now + IDLE_TIMEOUT     # the disk is slow: not the author's fault
            return []
        return self._cut("nothing came in time" if self._open else "no hello came")

    def _go_on(self, now: float) -> list[Effect]:
        """Take what has arrived, as far as may be."""
        effects: list[Effect] = []
        while not self.paused and (line := self._lines.take()) is not None:
            try:
                frame = decode(line)
            except FrameError as error:
                return [*effects, *self._cut(str(error))]
            if self._open:
                wait = self._allowance.take(len(line), now)
                if wait > 0:
                    self._lines.give_back(line)
                    self._resume = now + wait
                    break
            elif not isinstance(frame, Hello):
                return [*effects, *self._cut("the first frame is no hello")]
            self.active = now
            self._deadline = now + IDLE_TIMEOUT
            effects += self._handle(frame)
        return effects

    def _handle(self, frame: Frame | None) -> list[Effect]:
        if isinstance(frame, Hello) and not self._open:
            self._open = True
            return [Send(encode(Hello(VERSION)))]
        if isinstance(frame, Text):
            self._count += 1
            self._unsettled[frame.id] = self._unsettled.get(frame.id, 0) + 1
            return [Keep(frame)] if self._unsettled[frame.id] == 1 else []
        return []       # of a later version, or for the other direction

    def _cut(self, reason: str) -> list[Effect]:
        self._over = True
        return [Cut(reason)]
