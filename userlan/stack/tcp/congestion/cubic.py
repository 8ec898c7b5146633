"""CUBIC (RFC 9438): in congestion avoidance the window is a cubic function of the time since the last reduction.

::

    window
      │                                              ╱   convex: looks for more
      │  W_max ─ ─ ─ ─ ─ ─ ─ ─ ─ ───────────────────╱─
      │                    ╱                   W_cubic(t) = C (t - K)^3 + W_max
      │                 ╱     concave: back to where it was, flat around it
      │              ╱
      │  beta W_max                                K = cbrt((W_max - beta W_max) / C)
      └──────────────┼─────────────────────┼──────────────────────────────▶ t
                     0                     K

So the growth does not depend on the round trip, long paths are filled, and near the last point of congestion it is
careful. Where Reno would have a larger window (short or lossy paths), Reno's is taken: ``W_est`` (4.3), whose growth
alpha makes up for the gentler reduction, and is Reno's own above the window of before.

Time does not go on while the window was not in use (4.2: an application-limited period), so that it does not leap after
it. Sizes are in segments as in the RFC, the window in octets.
"""

from __future__ import annotations

from userlan.stack.tcp.congestion.control import CongestionControl, State

BETA = 0.7
"""Multiplicative decrease factor (RFC 9438 4.6)."""

C = 0.4
"""Segments a cubic second: how aggressively the window grows (RFC 9438 5)."""

ALPHA = 3 * (1 - BETA) / (1 + BETA)
"""Segments a round trip with which AIMD(alpha, BETA) has Reno's average window (RFC 9438 4.3)."""

MAX_GROWTH = 1.5
"""The window grows by half in a round trip at most (RFC 9438 4.2)."""


class Cubic(CongestionControl):
    """Sizes in segments, times in seconds."""

    __slots__ = ("_begin", "_estimate", "_growth", "_k", "_maximum", "_prior")

    name = "cubic"

    def __init__(self, segment: int, initial_segments: int) -> None:
        super().__init__(segment, initial_segments)
        self._maximum = 0.0
        """W_max: the window of before the last reduction; 0: there was none, or it does not count."""
        self._prior = 0.0
        """cwnd_prior."""
        self._estimate = 0.0
        """W_est."""
        self._k = 0.0
        self._begin = -1.0
        """When this stage of congestion avoidance began; negative: it has not."""
        self._growth = 0.0
        """What the window grew by less than an octet."""

    def _avoid(self, octets: int, round_trip: float, now: float) -> None:
        """RFC 9438 4.2 to 4.5."""
        segment = self.segment
        window = self.window / segment
        if self._begin < 0:
            self._start(window, now)
        acknowledged = octets / segment
        elapsed = now - self._begin
        ahead = elapsed - self._k
        self._estimate += (ALPHA if self._estimate < self._prior else 1.0) * acknowledged / window
        if C * ahead * ahead * ahead + self._maximum < self._estimate:
            if self._estimate > window:
                self.window = int(self._estimate * segment)
            return
        ahead += round_trip
        target = C * ahead * ahead * ahead + self._maximum
        if target <= window:
            return
        if target > MAX_GROWTH * window:
            target = MAX_GROWTH * window
        growth = self._growth + (target - window) / window * octets
        whole = int(growth)
        self._growth = growth - whole
        self.window += whole

    def _start(self, window: float, now: float) -> None:
        """A stage of congestion avoidance begins. Without a W_max above the window, from its plateau on (4.8, 4.10)."""
        self._begin = now
        self._estimate = window
        if self._maximum > window:
            self._k = float(((self._maximum - window) / C) ** (1 / 3))
        else:
            self._maximum = window
            self._k = 0.0

    def _reduced(self, base: int) -> int:
        """RFC 9438 4.6, with fast convergence (4.7): a window that is smaller than the last one makes room."""
        window = base / self.segment
        self._prior = window
        self._maximum = window * (1 + BETA) / 2 if window < self._maximum else window
        self._begin = -1.0
        return int(base * BETA)

    def _timed_out(self) -> None:
        """RFC 9438 4.8: the window of before says nothing; the first stage afterwards begins where slow start ends."""
        self._maximum = 0.0

    def paused(self, seconds: float) -> None:
        if self._begin >= 0:
            self._begin += seconds

    def _state(self) -> State:
        return (self._maximum, self._prior, self._estimate, self._k, self._begin)

    def _restore(self, state: State) -> None:
        self._maximum, self._prior, self._estimate, self._k, self._begin = state

    def segment_changed(self, segment: int) -> None:
        if segment != self.segment:
            scale = self.segment / segment
            self._maximum *= scale
            self._prior *= scale
            self._estimate *= scale
            if self._begin >= 0:
                self._k *= scale ** (1 / 3)
        super().segment_changed(segment)
