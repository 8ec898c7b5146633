"""Loss episodes: when one begins, what may be sent in it, when it ends (RFC 6675 5, RFC 6582 3.2, RFC 5681 3.2, RFC
4015).

::

                      loss found by SACK, or third duplicate ACK                 SND.UNA reaches the point
      (no episode) ─────────────────────────────────────────────▶ FAST ─────────────────────────────▶ (no episode)
            │                                                      │ timeout                               ▲
            └─────────────── retransmission timeout ───────────▶ LOSS ────────────────────────────────────┘

The point is SND.NXT at the beginning: one window is reduced once, however many losses it has.

An episode was spurious when the first ACK that advances in it echoes a timestamp from before it (Eifel): what it answers was
not lost, only late. Then all is undone, and after a fast retransmit the path is known to reorder: twice as much has to overtake
a segment before it is taken for lost, up to a super-segment (as Linux adapts its tcp_reordering).
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

from userlan.stack.tcp.congestion import CongestionControl
from userlan.stack.tcp.scoreboard import DUPLICATE_THRESHOLD, Scoreboard

REORDERING_SHARE = 1 / 4
"""Of the round trip: how much later a transmission must have been delivered so that an earlier retransmission is lost
(RFC 8985 6.2)."""


MAX_THRESHOLD = 45
"""Segments: reordering beyond a super-segment is not waited for."""


class Episode(Enum):
    NONE = "none"
    FAST = "fast"
    LOSS = "loss"


class Recovery:
    """Decides on losses. The scoreboard holds what is lost, the congestion control how much may be in flight."""

    __slots__ = (
        "_board",
        "_congestion",
        "_counters",
        "_duplicates",
        "_point",
        "_reduced_at",
        "_threshold",
        "_timeouts",
        "episode",
        "force",
        "sack",
    )

    def __init__(self, board: Scoreboard, congestion: CongestionControl, counters: Counter[str]) -> None:
        self._board = board
        self._counters = counters
        self._threshold = DUPLICATE_THRESHOLD
        self._congestion = congestion
        self.episode = Episode.NONE
        self.force = False
        """The next retransmission leaves whatever the window says (RFC 6675 5, step 4.3; RFC 6582 3.2, step 3)."""
        self.sack = False
        """The peer sends SACK; else every duplicate ACK is one segment that left."""
        self._point = 0
        self._duplicates = 0
        self._timeouts = 0
        self._reduced_at: float | None = None

    def acknowledged(
        self,
        una: int,
        nxt: int,
        segment: int,
        round_trip: float,
        advanced: bool,
        echo_sent_at: float | None,
        now: float,
    ) -> None:
        """An ACK with or without SACK was put on the scoreboard; ``advanced``: it moved SND.UNA.

        ``round_trip`` (s) is smoothed. ``echo_sent_at`` (s): the latest that what it echoes can have been sent; None:
        unknown.
        """
        board = self._board
        if advanced:
            self._duplicates = 0
            if self._reduced_at is not None:
                if echo_sent_at is not None and echo_sent_at < self._reduced_at:
                    self._spurious()
                self._reduced_at = None
            self._timeouts = 0
            if self.episode is not Episode.NONE and una >= self._point:
                self.episode = Episode.NONE
                self.force = False
                self._congestion.recovered(board.in_flight)
        if self.sack:
            found = board.find_losses(segment, self._threshold, round_trip * REORDERING_SHARE)
            if found and self.episode is Episode.NONE:
                self._enter_fast(una, nxt, now)
        elif self.episode is Episode.FAST and advanced and not board.lost:
            board.mark_first_lost(segment)
            self.force = True

    def duplicate(self, una: int, nxt: int, segment: int, now: float) -> None:
        """A duplicate ACK (RFC 5681 2) of a peer without SACK."""
        board = self._board
        self._duplicates += 1
        board.duplicates = min(board.duplicates + segment, nxt - una)
        if self._duplicates == DUPLICATE_THRESHOLD and self.episode is Episode.NONE and una >= self._point:
            board.mark_first_lost(segment)
            self._enter_fast(una, nxt, now)

    def _enter_fast(self, una: int, nxt: int, now: float) -> None:
        self.episode = Episode.FAST
        self.force = True
        self._point = nxt
        self._reduced_at = now
        self._counters["fast-retransmit"] += 1
        self._congestion.loss(nxt - una, now)

    def timeout(self, una: int, nxt: int, now: float) -> None:
        """The retransmission timer ran out."""
        self._congestion.timeout(nxt - una, self._timeouts > 0, now)
        self._board.mark_all_lost()
        self.episode = Episode.LOSS
        self.force = False
        self._point = nxt
        self._duplicates = 0
        if not self._timeouts:
            self._reduced_at = now
        self._timeouts += 1

    def _spurious(self) -> None:
        """Eifel (RFC 3522 3.2, RFC 4015 3.2): the ACK answers what was sent before the reduction, so nothing was lost."""
        if self.episode is Episode.FAST:
            self._threshold = min(2 * self._threshold, MAX_THRESHOLD)
        self._counters["spurious"] += 1
        self._board.undo()
        self._congestion.undo()
        self.episode = Episode.NONE
        self.force = False
