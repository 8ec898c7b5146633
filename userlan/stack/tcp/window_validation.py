"""Congestion window validation (RFC 7661): a window that was not used says nothing about the path.

``pipeACK`` is what was acknowledged in a round trip, the most of the last sampling period. While it is half of the window
or more the window is *validated* and may grow, and congestion is answered from the window. Below, it neither grows nor
is it taken for what was in the network. For five minutes it may stay unused, then half of it is left.
"""

from __future__ import annotations

SAMPLING_ROUND_TRIPS = 3
SAMPLING_MINIMUM = 1.0
"""The pipeACK sampling period: so many round trips, so many seconds at least (RFC 7661 3)."""

NON_VALIDATED_PERIOD = 300.0
"""Seconds (RFC 7661 3: NVP)."""


class WindowValidation:
    """pipeACK in octets; times in seconds."""

    __slots__ = ("_current", "_period_end", "_previous", "_since")

    def __init__(self) -> None:
        self._current = 0
        self._previous = 0
        self._period_end = 0.0
        self._since: float | None = None

    @property
    def pipe_ack(self) -> int:
        """The most that was acknowledged in a round trip."""
        return self._current if self._current > self._previous else self._previous

    def sample(self, octets: int, round_trip: float, now: float) -> None:
        """``octets`` were acknowledged in a round trip (RFC 7661 4.2)."""
        if now >= self._period_end:
            self._previous = self._current
            self._current = 0
            period = SAMPLING_ROUND_TRIPS * round_trip
            self._period_end = now + (period if period > SAMPLING_MINIMUM else SAMPLING_MINIMUM)
        if octets > self._current:
            self._current = octets

    def validated(self, window: int) -> bool:
        """Whether half of the window was used (RFC 7661 4.2)."""
        return 2 * self.pipe_ack >= window

    def used(self) -> None:
        """The window held the sender back, or was validated."""
        self._since = None

    def unused(self, now: float) -> float:
        """It did not; returns for how long (s) that has been so."""
        if self._since is None:
            self._since = now
        return now - self._since

    def expired(self, unused: float, now: float) -> bool:
        """The non-validated period is over; another one begins (RFC 7661 4.4.3)."""
        if unused < NON_VALIDATED_PERIOD:
            return False
        self._since = now
        return True
