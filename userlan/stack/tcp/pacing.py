"""Pacing: a window leaves over the round trip, not at once (RFC 9002 7.7, which says for QUIC what Linux does for TCP).

A window that leaves in one burst fills the queue of the bottleneck up to its own size and loses its tail there, though the
path could carry it. So new data leaves at ``gain x window / smoothed round trip``: 2 in slow start, which doubles the
window each round trip, else 1.2, so that pacing is never what limits.

A burst is what the rate gives in a millisecond, two segments at least and a super-segment at most: on a fast path the
unit stays the super-segment. What a late timer left undone is made up for at once (``LATE``), so a coarse timer costs
no throughput; after a pause that is the initial window. On paths of less than ``SHORT`` there is no pacing at all: a
window is gone there before a timer could tell.

Retransmissions wait as well, but for the first of a recovery.
"""

from __future__ import annotations

from math import inf

SHORT = 0.005
"""Seconds: a shorter round trip is not paced."""

SLOW_START_GAIN = 2.0
GAIN = 1.2
"""Linux: tcp_pacing_ss_ratio, tcp_pacing_ca_ratio."""

BURST_TIME = 0.001
"""Seconds that a burst takes at the rate."""

MIN_BURST_SEGMENTS = 2

LATE = 0.004
"""Seconds that a burst may leave late without loss of rate: more than a timer's granularity and an event loop's pause."""


class Pacer:
    """When the next burst may leave. ``on`` says whether the path is paced at all."""

    __slots__ = ("_next_at", "_rate", "blocked", "on")

    def __init__(self) -> None:
        self.on = False
        self.blocked = inf
        """When what was held back may leave; inf: nothing was."""
        self._next_at = 0.0
        self._rate = inf
        """Octets a second."""

    @property
    def rate(self) -> float | None:
        """Octets a second, None before anything was paced."""
        return self._rate if self._rate < inf else None

    def burst(self, window: int, round_trip: float, slow_start: bool, segment: int, initial: int, now: float) -> int:
        """How many octets may leave now in one burst; 0: none, see ``blocked``.

        ``window`` octets for each ``round_trip`` (s). After a pause, ``initial`` octets leave freely (RFC 9002 7.7: a
        burst of the initial window needs no pacing).
        """
        self._rate = rate = (SLOW_START_GAIN if slow_start else GAIN) * window / round_trip
        credit = max(initial / rate, LATE)
        if self._next_at < now - credit:
            self._next_at = now - credit
        if self._next_at > now:
            self.blocked = self._next_at
            return 0
        self.blocked = inf
        size = round(rate * max(BURST_TIME, now - self._next_at)) // segment * segment
        least = MIN_BURST_SEGMENTS * segment
        return size if size > least else least

    def sent(self, octets: int) -> None:
        """So many octets left."""
        self._next_at += octets / self._rate
