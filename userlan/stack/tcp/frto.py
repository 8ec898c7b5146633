"""F-RTO (RFC 5682): whether a retransmission timeout was spurious, without timestamps.

::

    timeout: the first segment again ──▶ FIRST ──▶ ACK advances: two new segments ──▶ SECOND ──▶ spurious
                                           │                                            │
                                           └── a duplicate, or all is acknowledged ─────┴──▶ conventional recovery

After the first ACK that advances, new segments are sent in place of further retransmissions. If the next ACK delivers
something that was sent before the timeout and not again, then what was waited for is under way: nothing was lost. If it
is a duplicate, there is a hole.

With SACK (section 3) a duplicate ACK in step FIRST only updates the scoreboard, and in step SECOND octets count that
are acknowledged selectively too; without it (section 2) only the advance of SND.UNA counts.
"""

from __future__ import annotations

from enum import Enum

NEW_SEGMENTS = 2
"""Segments that are sent in place of retransmissions (RFC 5682 2.1, step 2 b)."""


class Step(Enum):
    OFF = "off"
    FIRST = "first"
    SECOND = "second"


class Verdict(Enum):
    NONE = "none"
    SEND_NEW = "send new"
    SPURIOUS = "spurious"


class Frto:
    """One timeout's."""

    __slots__ = ("_point", "step")

    def __init__(self) -> None:
        self.step = Step.OFF
        self._point = 0

    def begin(self, point: int) -> None:
        """The timer ran out for the first time, with SND.NXT at ``point``."""
        self.step = Step.FIRST
        self._point = point

    def stop(self) -> None:
        self.step = Step.OFF

    def acknowledged(self, una: int, advanced: bool, first_original: int, sack: bool) -> Verdict:
        """An ACK in the recovery from a timeout; ``first_original``: the first octet that it delivered and that was
        sent once."""
        if self.step is Step.OFF:
            return Verdict.NONE
        if self.step is Step.FIRST:
            if not advanced:
                if not sack:
                    self.step = Step.OFF
                return Verdict.NONE
            if una >= self._point:
                self.step = Step.OFF
                return Verdict.NONE
            self.step = Step.SECOND
            return Verdict.SEND_NEW
        self.step = Step.OFF
        if first_original < self._point and (sack or advanced):
            return Verdict.SPURIOUS
        return Verdict.NONE
