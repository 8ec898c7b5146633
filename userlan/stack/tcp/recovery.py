"""Loss episodes: when one begins, what may be sent in it, when it ends (RFC 8985, RFC 6582 3.2, RFC 5681 3.2, RFC 6937,
RFC 4015).

::

                      RACK found a loss, or third duplicate ACK                SND.UNA reaches the point
      (no episode) ─────────────────────────────────────────────▶ FAST ─────────────────────────────▶ (no episode)
            │                                                      │ timeout                               ▲
            └─────────────── retransmission timeout ───────────▶ LOSS ────────────────────────────────────┘

The point is SND.NXT at the beginning: one window is reduced once, however many losses it has.

What is lost is :mod:`.rack`'s business where the peer sends SACK; else three duplicate ACKs and partial ACKs tell
(NewReno). How much leaves in FAST is :mod:`.prr`'s, in LOSS slow start's. An episode without a reason is recognized by
:mod:`.undo` or :mod:`.frto` and undone: window, threshold and the algorithm's memory come back, and what was marked and
not sent again is in flight after all.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from math import inf

from userlan.stack.tcp.congestion import CongestionControl
from userlan.stack.tcp.frto import NEW_SEGMENTS, Frto, Verdict
from userlan.stack.tcp.prr import Prr
from userlan.stack.tcp.rack import Rack
from userlan.stack.tcp.rtt import RttEstimator
from userlan.stack.tcp.scoreboard import DUPLICATE_THRESHOLD, NOTHING, Scoreboard
from userlan.stack.tcp.undo import Undo

UNKNOWN_ROUND_TRIP = 0.1
"""Seconds, where none was measured yet."""


class Episode(Enum):
    NONE = "none"
    FAST = "fast"
    LOSS = "loss"


class Recovery:
    """Decides on losses. The scoreboard holds what is lost, the congestion control how much may be in flight."""

    __slots__ = (
        "_board",
        "_counters",
        "_duplicates",
        "_frto",
        "_point",
        "_prr",
        "_rtt",
        "_timeouts",
        "_undo",
        "congestion",
        "episode",
        "force",
        "fresh",
        "rack",
        "reduced",
        "sack",
        "shortest",
    )

    def __init__(
        self, board: Scoreboard, congestion: CongestionControl, rtt: RttEstimator, counters: Counter[str]
    ) -> None:
        self._board = board
        self._counters = counters
        self._rtt = rtt
        self._undo = Undo()
        self._prr = Prr()
        self._frto = Frto()
        self.rack = Rack()
        self.congestion = congestion
        self.episode = Episode.NONE
        self.force = False
        """The next retransmission leaves whatever the window says (RFC 6675 5, step 4.3; RFC 6582 3.2, step 3)."""
        self.fresh = 0
        """Octets that are to be new ones, before anything is sent again (F-RTO)."""
        self.sack = False
        """The peer sends SACK; else every duplicate ACK is one segment that left."""
        self.shortest = inf
        """Seconds: the shortest round trip, RACK.min_RTT."""
        self.reduced = False
        """The window was reduced, which the peer is to be told of when ECN is in use (RFC 3168 6.1.2)."""
        self._point = 0
        self._duplicates = 0
        self._timeouts = 0

    # ------------------------------------------------------------------ what arrives

    def acknowledged(
        self,
        una: int,
        nxt: int,
        segment: int,
        base: int,
        delivered: int,
        advanced: bool,
        echo_sent_at: float | None,
        now: float,
    ) -> None:
        """An ACK was put on the scoreboard: it delivered so many octets; ``advanced``: it moved SND.UNA.

        ``base``: the octets that congestion is answered from. ``echo_sent_at`` (s): the latest that what it echoes can
        have been sent; None: unknown.
        """
        board = self._board
        if self.episode is not Episode.NONE:
            self._in_episode(una, nxt, segment, advanced, echo_sent_at)
        if advanced:
            self._duplicates = 0
            self._timeouts = 0
        lost = 0
        if self.sack:
            if board.reordered:
                self._reordering()
            if board.newest is not None:
                self.rack.delivered(board.newest, now)
            if not board.sacked and una >= board.retransmitted_to:
                self.rack.due = inf
            elif delivered or self.rack.due <= now:
                lost = self._find(una, nxt, segment, base, now)
        elif self.episode is Episode.FAST and advanced and not board.lost:
            lost = board.mark_first_lost(segment)
            self.force = True
        if self.episode is Episode.FAST:
            self._reduce_proportionally(delivered, segment, advanced and not lost)

    def _in_episode(
        self, una: int, nxt: int, segment: int, advanced: bool, echo_sent_at: float | None
    ) -> None:
        """Is it over, or was it spurious?"""
        if advanced and self._undo.by_echo(echo_sent_at):
            if self.episode is Episode.FAST:
                self._reordering()
            self._spurious("eifel")
            return
        if self.episode is Episode.LOSS:
            first = self._board.first_original
            verdict = self._frto.acknowledged(una, advanced, first, self.sack)
            if verdict is Verdict.SPURIOUS:
                self._spurious("f-rto")
                return
            if verdict is Verdict.SEND_NEW:
                self.fresh = NEW_SEGMENTS * segment
        if una >= self._point:
            self._end()

    def duplicate(self, una: int, nxt: int, segment: int, base: int, now: float) -> None:
        """A duplicate ACK (RFC 5681 2) of a peer without SACK."""
        board = self._board
        self._duplicates += 1
        board.duplicates = min(board.duplicates + segment, nxt - una)
        if self.episode is Episode.LOSS:
            self._frto.acknowledged(una, False, NOTHING, False)
            self.fresh = 0
        elif self.episode is Episode.FAST:
            self._reduce_proportionally(segment, segment, False)
        elif self._duplicates == DUPLICATE_THRESHOLD and una >= self._point:
            board.mark_first_lost(segment)
            self._enter_fast(una, nxt, base, now)
            self._reduce_proportionally(segment, segment, False)

    def duplicated(self, left: int, right: int, una: int, nxt: int) -> None:
        """The peer reports by D-SACK that these octets, which were sent again, came twice (RFC 2883)."""
        if self.sack:
            self.rack.duplicate(una, nxt)
        if self._undo.by_duplicate(left, right):
            self._spurious("d-sack")

    # ------------------------------------------------------------------ RACK

    def _window(self, segment: int) -> float:
        smoothed = self._rtt.smoothed or UNKNOWN_ROUND_TRIP
        recovering = self.episode is not Episode.NONE
        return self.rack.window(self._board, segment, recovering, self.shortest, smoothed)

    def _find(self, una: int, nxt: int, segment: int, base: int, now: float) -> int:
        lost = self.rack.detect(self._board, self._window(segment), now)
        if lost and self.episode is Episode.NONE:
            self._enter_fast(una, nxt, base, now)
        return lost

    def reordering_timer(self, una: int, nxt: int, segment: int, base: int, now: float) -> None:
        """What could still have been reordered is lost by now (RFC 8985 6.2, step 5)."""
        self.rack.due = inf
        lost = self._find(una, nxt, segment, base, now)
        if lost and self.episode is Episode.FAST:
            self._reduce_proportionally(0, segment, False)

    def _reordering(self) -> None:
        self.rack.reordering_seen = True
        self._counters["reordering"] += 1

    # ------------------------------------------------------------------ episodes

    def _enter_fast(self, una: int, nxt: int, base: int, now: float) -> None:
        self.episode = Episode.FAST
        self.force = True
        self._point = nxt
        self._counters["fast-retransmit"] += 1
        self._undo.begin(una, nxt, now)
        self._prr.begin(nxt - una)
        self.congestion.loss(base)
        self.reduced = True

    def _reduce_proportionally(self, delivered: int, segment: int, good: bool) -> None:
        """The window of RFC 6937: what is in flight and what may be added."""
        congestion = self.congestion
        pipe = self._board.in_flight
        allowed = self._prr.allowance(delivered, pipe, int(congestion.threshold), segment, good)
        congestion.window = max(pipe + allowed, segment)

    def sent(self, octets: int, again: bool) -> None:
        """Octets left; ``again``: not for the first time."""
        if self.episode is Episode.NONE:
            return
        if self.episode is Episode.FAST:
            self._prr.sent(octets)
        if again:
            self._undo.again(octets)

    def timeout(self, una: int, nxt: int, segment: int, base: int, now: float) -> None:
        """The retransmission timer ran out (RFC 6298 5, RFC 8985 6.3)."""
        again = self._timeouts > 0
        if self.sack:
            self.rack.timed_out(self._board, self._window(segment), now)
        else:
            self._board.mark_all_lost()
        self.congestion.timeout(base, again)
        if again:
            self._frto.stop()
        else:
            self._frto.begin(nxt)
            self._undo.begin(una, nxt, now)
        self.episode = Episode.LOSS
        self.force = True
        self.fresh = 0
        self.reduced = True
        self._point = nxt
        self._duplicates = 0
        self._timeouts += 1

    def congestion_experienced(self, una: int, nxt: int, base: int) -> None:
        """The peer echoes congestion (RFC 3168 6.1.2): answered once for a window, and not beside a loss."""
        if self.episode is Episode.NONE and una >= self._point:
            self._point = nxt
            self._undo.end()
            self.congestion.congestion_experienced(base)
            self.reduced = True
            self._counters["ecn-reduced"] += 1

    def probe_repaired(self, una: int, nxt: int, base: int) -> None:
        """A tail loss probe filled the only hole: that was congestion too (RFC 8985 7.4.2)."""
        if self.episode is Episode.NONE:
            self._point = nxt
            self._undo.end()
            self.congestion.congestion_experienced(base)
            self.reduced = True
            self._counters["probe-repaired"] += 1

    def _end(self) -> None:
        if self.episode is Episode.FAST:
            self.congestion.recovered()
        self.episode = Episode.NONE
        self.force = False
        self.fresh = 0
        self._frto.stop()
        self.rack.recovered()

    def _spurious(self, by: str) -> None:
        """Nothing was lost (RFC 4015 3)."""
        self._counters["spurious"] += 1
        self._counters[by] += 1
        self._board.undo()
        if self.episode is Episode.FAST:
            self.congestion.recovered()
        self.congestion.undo()
        self._undo.end()
        self._frto.stop()
        self.episode = Episode.NONE
        self.force = False
        self.fresh = 0
