"""Round-trip time and retransmission timeout (RFC 6298, RFC 7323 4.2 and appendix G)."""

from __future__ import annotations

GRANULARITY = 0.001
"""G of RFC 6298, in seconds."""

ALPHA = 1 / 8
BETA = 1 / 4
K = 4
"""RFC 6298 2.2 and 2.3."""

STALE_ECHO = 2
"""Times the timeout, without back-off."""

MAX_SAMPLE = 300.0
"""Seconds; a longer sample comes from a clock that stood still or an echo that is a lie."""


class RttEstimator:
    """Smoothed round-trip time, its variation and the timeout that follows. All in seconds."""

    __slots__ = ("_base", "_initial", "_maximum", "_minimum", "backoffs", "latest", "smoothed", "variation")

    def __init__(self, initial: float, minimum: float, maximum: float) -> None:
        self.smoothed: float | None = None
        self.variation = 0.0
        self.latest: float | None = None
        self.backoffs = 0
        self._initial = initial
        self._minimum = minimum
        self._maximum = maximum
        self._base = initial

    def sample(self, rtt: float, samples_per_round: int = 1) -> None:
        """Take one measurement. Where a round trip gives several, each weighs less (RFC 7323 appendix G)."""
        if not 0 <= rtt <= MAX_SAMPLE:
            return
        self.latest = rtt
        smoothed = self.smoothed
        if smoothed is None:
            self.smoothed = rtt
            self.variation = rtt / 2
        else:
            weight = 1 / samples_per_round if samples_per_round > 1 else 1.0
            self.variation += (abs(smoothed - rtt) - self.variation) * BETA * weight
            self.smoothed = smoothed + (rtt - smoothed) * ALPHA * weight
        spread = K * self.variation
        base = self.smoothed + (spread if spread > GRANULARITY else GRANULARITY)
        self._base = min(max(base, self._minimum), self._maximum)

    def answers(self, echo_age: float) -> bool:
        """Whether what was echoed so late (s) measures the path. After a timeout the ACK of what was sent again may be
        one that was lost, told later on with what was echoed then; that is no round trip (RFC 7323 4.1 does not see
        it). A real one of that length shows in the samples of what was sent once."""
        return echo_age <= STALE_ECHO * self._base

    @property
    def timeout(self) -> float:
        """RTO with its back-off: between the minimum and the maximum."""
        if self.backoffs:
            return min(self._base * (1 << min(self.backoffs, 16)), self._maximum)
        return self._base

    def back_off(self) -> None:
        """The timer ran out: the next one is twice as long (RFC 6298 5.5)."""
        self.backoffs += 1

    def progress(self) -> None:
        """New data was acknowledged: the back-off ends."""
        self.backoffs = 0

    def forget_handshake(self) -> None:
        """The SYN had to be sent again and gave no measurement: start data with 3 s (RFC 6298 5.7)."""
        if self.smoothed is None:
            self._base = max(self._initial, 3.0)
