"""HyStart++ (RFC 9406): leaves slow start when the round trip grows, before the queue at the bottleneck overflows.

::

                     round trip grew                    five rounds
    slow start ───────────────────────▶ conservative ──────────────────▶ done (congestion avoidance)
        ▲    growth x 1        │        growth x 1/4
        └──────────────────────┘ it shrank again
"""

from __future__ import annotations

from math import inf

MIN_RTT_THRESHOLD = 0.004
MAX_RTT_THRESHOLD = 0.016
MIN_RTT_DIVISOR = 8
CSS_GROWTH_DIVISOR = 4
CSS_ROUNDS = 5
"""RFC 9406 4.3; times in seconds."""

ROUND_SAMPLES = 4
"""RTT samples in a round before it is judged. RFC 9406 has 8, for an ACK every two segments; here one ACK covers up
to 45."""


class SlowStartExit:
    """One connection's; ``conservative`` and ``done`` are its verdict."""

    __slots__ = ("_baseline", "_current", "_last", "_round_end", "_rounds", "_samples", "conservative", "done")

    def __init__(self) -> None:
        self.done = False
        self.conservative = False
        self._round_end: int | None = None
        self._last = inf
        self._current = inf
        self._samples = 0
        self._baseline = inf
        self._rounds = 0

    def acknowledged(self, rtt: float | None, una: int, nxt: int) -> None:
        """An ACK up to ``una`` in slow start, with its RTT sample (s). Sets ``conservative`` and ``done``."""
        if self._round_end is None or una >= self._round_end:
            self._next_round(nxt)
        if rtt is None:
            return
        self._samples += 1
        if rtt < self._current:
            self._current = rtt
        if self._samples < ROUND_SAMPLES:
            return
        if self.conservative:
            if self._current < self._baseline:
                self.conservative = False
                self._baseline = inf
        elif self._last < inf:
            allowance = min(max(self._last / MIN_RTT_DIVISOR, MIN_RTT_THRESHOLD), MAX_RTT_THRESHOLD)
            if self._current >= self._last + allowance:
                self._baseline = self._current
                self.conservative = True
                self._rounds = 0

    def _next_round(self, nxt: int) -> None:
        first = self._round_end is None
        self._round_end = nxt
        if not first:
            self._last = self._current if self._current < inf else self._last
        self._current = inf
        self._samples = 0
        if self.conservative:
            self._rounds += 1
            if self._rounds > CSS_ROUNDS:
                self.done = True
