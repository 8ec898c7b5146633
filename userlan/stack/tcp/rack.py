"""RACK (RFC 8985 6): a transmission is lost when another one that was sent later was delivered, and the reordering
window has passed since.

::

    RACK.rtt        ├────────────────────────┤
    sent  A B C                              ▲ C delivered           A, B lost: now > sent + RACK.rtt + window
                                             ├── window ──┤
                                                          the reordering timer, when nothing else comes before

The window is 0 once DupThresh segments were SACKed or a recovery is under way, as long as the path was never seen to
reorder: then losses are found as fast as by counting (RFC 6675). On a path that reorders it is a quarter of the
shortest round trip, and a quarter more for each round trip with a D-SACK, a smoothed round trip at most; 16 recoveries
without D-SACK make it small again.

The unit is the run (:mod:`.scoreboard`): its segments share a time, and their order is that of their positions, so
that what lies in one burst before a segment that was delivered is found as well. Retransmissions are runs like others,
so lost ones are found the same way.
"""

from __future__ import annotations

from math import inf

from userlan.stack.tcp.scoreboard import Run, Scoreboard

WINDOW_SHARE = 1 / 4
"""Of the shortest round trip: the reordering window's step (RFC 8985 6.2, step 4)."""

PERSIST = 16
"""Recoveries for which a larger window is kept (RFC 8985 6.2, step 4)."""

TOLERANCE = 1e-6
"""Seconds: rounding of times."""


class Rack:
    """RACK's variables (RFC 8985 5.3), named as there; times in seconds."""

    __slots__ = ("_end", "_persist", "_round_end", "_sent_at", "due", "multiplier", "reordering_seen", "rtt")

    def __init__(self) -> None:
        self._sent_at = -inf
        self._end = 0
        self.rtt = 0.0
        """RACK.rtt: of the transmission that was sent last of those delivered."""
        self.reordering_seen = False
        self.multiplier = 1
        """RACK.reo_wnd_mult."""
        self._persist = 0
        self._round_end: int | None = None
        """RACK.dsack_round."""
        self.due = inf
        """When the reordering timer runs out."""

    def delivered(self, run: Run, now: float) -> None:
        """``run`` is the newest of those that an ACK delivered (step 2)."""
        self.rtt = now - run.sent_at
        if run.sent_at > self._sent_at or (run.sent_at == self._sent_at and run.end > self._end):
            self._sent_at = run.sent_at
            self._end = run.end

    def duplicate(self, una: int, nxt: int) -> None:
        """A D-SACK came: what was sent again had not been lost. The window grows once for each round trip (step 4)."""
        if self._round_end is not None and una >= self._round_end:
            self._round_end = None
        if self._round_end is None:
            self._round_end = nxt
            self.multiplier += 1
            self._persist = PERSIST

    def recovered(self) -> None:
        """A recovery ended (step 4)."""
        if self.multiplier > 1:
            self._persist -= 1
            if self._persist <= 0:
                self.multiplier = 1

    def window(self, board: Scoreboard, segment: int, recovering: bool, shortest: float, smoothed: float) -> float:
        """The reordering window (s)."""
        if not self.reordering_seen and (recovering or board.many_sacked(segment)):
            return 0.0
        if shortest == inf:
            return smoothed
        return min(self.multiplier * shortest * WINDOW_SHARE, smoothed)

    def detect(self, board: Scoreboard, window: float, now: float) -> int:
        """Mark what is lost by now (step 5), and set the timer for what may be lost; returns the octets marked."""
        overdue = self.rtt + window
        marked, waits = board.mark_sent_before(self._sent_at, self._end, now - overdue + TOLERANCE)
        self.due = waits + overdue if waits else inf
        return marked

    def timed_out(self, board: Scoreboard, window: float, now: float) -> int:
        """The retransmission timer ran out (RFC 8985 6.3); returns the octets marked."""
        self.due = inf
        return board.mark_older(now - self.rtt - window + TOLERANCE)
