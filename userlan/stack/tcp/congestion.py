"""Congestion control: one interface, and NewReno (RFC 5681, RFC 6582) with HyStart++ (RFC 9406) and a large initial
window (RFC 6928).

The window is in octets and grows by octets acknowledged. One ACK covers a super-segment of up to 64 KB, so RFC 3465's
limit of two segments an ACK does not apply; an ACK for N segments counts as N (RFC 9406 4.2 does away with the limit
as well).

An algorithm only keeps ``window`` and ``threshold``. *What* is lost and *when* a loss episode begins and ends is the
business of :mod:`userlan.stack.tcp.recovery`; another algorithm (CUBIC) is another subclass with its own ``_avoid``
and ``loss``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

INITIAL_WINDOW_OCTETS = 14_600
"""RFC 6928 2: min(10 x MSS, max(2 x MSS, 14600)) octets."""

LOSS_WINDOW_SEGMENTS = 1
"""RFC 5681 3.1, after a timeout."""

MIN_THRESHOLD_SEGMENTS = 2
"""RFC 5681 3.1, equation 4."""

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
    """HyStart++: leaves slow start when the round trip grows, before the queue at the bottleneck overflows (RFC
    9406)."""

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


class CongestionControl:
    """What recovery and output need to know of an algorithm. ``window`` and ``threshold`` are octets."""

    __slots__ = ("_exit", "_initial_segments", "_kept", "segment", "threshold", "window")

    def __init__(self, segment: int, initial_segments: int) -> None:
        self.segment = segment
        self._initial_segments = initial_segments
        self.window: int = self.initial_window
        self.threshold: float = inf
        self._exit = SlowStartExit()
        self._kept: tuple[int, float] | None = None

    @property
    def initial_window(self) -> int:
        """RFC 6928, in octets."""
        segment = self.segment
        return min(self._initial_segments * segment, max(2 * segment, INITIAL_WINDOW_OCTETS))

    @property
    def slow_start(self) -> bool:
        return self.window < self.threshold

    @property
    def conservative(self) -> bool:
        """In slow start, and a queue is suspected (RFC 9406 4.2)."""
        return self._exit.conservative

    def leave_slow_start(self) -> None:
        """The path is known to carry no more."""
        if self.window < self.threshold:
            self.threshold = self.window

    def acknowledged(self, octets: int, rtt: float | None, una: int, nxt: int, now: float) -> None:
        """``octets`` were delivered while the window was what held the sender back, outside of a loss episode."""
        if self.window >= self.threshold:
            self._avoid(octets, rtt, now)
            return
        leave = self._exit
        if self.threshold == inf:
            leave.acknowledged(rtt, una, nxt)
        self.window += octets // CSS_GROWTH_DIVISOR if leave.conservative else octets
        if leave.done and self.threshold == inf:
            self.threshold = self.window

    def _avoid(self, octets: int, rtt: float | None, now: float) -> None:
        """Congestion avoidance: one segment a round trip (RFC 5681 3.1)."""
        self.window += max(1, self.segment * octets // self.window)

    def loss(self, flight: int, now: float) -> None:
        """An episode begins with ``flight`` octets outstanding: halve (RFC 5681 3.2, RFC 6675 5)."""
        self._kept = (self.window, self.threshold)
        self.threshold = max(flight // 2, MIN_THRESHOLD_SEGMENTS * self.segment)
        self.window = int(self.threshold)

    def timeout(self, flight: int, again: bool, now: float) -> None:
        """The retransmission timer ran out; ``again``: for the same octets, so the threshold stays (RFC 5681 3.1)."""
        if not again:
            self._kept = (self.window, self.threshold)
            self.threshold = max(flight // 2, MIN_THRESHOLD_SEGMENTS * self.segment)
        self.window = LOSS_WINDOW_SEGMENTS * self.segment

    def undo(self) -> None:
        """The last reduction had no reason (RFC 4015 3.2)."""
        if self._kept is not None:
            window, self.threshold = self._kept
            self.window = max(self.window, window)
            self._kept = None

    def recovered(self, flight: int) -> None:
        """The episode is over."""

    def idle(self) -> None:
        """Nothing was sent for an RTO: restart with the initial window at most (RFC 5681 4.1)."""
        self.window = min(self.window, self.initial_window)

    def handshake_lost(self) -> None:
        """A SYN or its ACK had to be sent again: one segment at first (RFC 5681 3.1, RFC 6928 2)."""
        self.window = self.segment

    def segment_changed(self, segment: int) -> None:
        """The effective MSS is another one; the window in octets stays (RFC 8201 5.3), but holds a segment."""
        self.segment = segment
        self.window = max(self.window, segment)


class NewReno(CongestionControl):
    """RFC 5681 and RFC 6582: the interface's own behaviour."""

    __slots__ = ()


ALGORITHMS: Final[dict[str, Callable[[int, int], CongestionControl]]] = {"newreno": NewReno}
"""By the names that ``Config.congestion`` may have; called with segment (octets) and initial window (segments)."""
