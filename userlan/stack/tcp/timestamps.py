"""The timestamps option (RFC 7323 3 to 5): our clock, the peer's latest value, PAWS."""

from __future__ import annotations

from userlan.stack.tcp.seq import SEQUENCE_MASK, is_older

TICKS_PER_SECOND = 1000
"""One a millisecond, the fastest that RFC 7323 5.4 allows."""

TICK = 1 / TICKS_PER_SECOND
"""Seconds."""

OLD_AFTER = 24 * 24 * 3600.0
"""Seconds after which TS.Recent says nothing any more: 24 days (RFC 7323 5.5)."""

MAX_ECHO_AGE = 600.0
"""Seconds: an echo of a value that is older, or not yet sent, is no measurement."""

OPTION_LENGTH = 12
"""Octets with its two NOPs (RFC 7323 appendix A)."""


class Timestamps:
    """One connection's; ``enabled`` once both SYNs had the option."""

    __slots__ = ("_offset", "_recent_at", "enabled", "recent")

    def __init__(self, offset: int) -> None:
        self.enabled = False
        self.recent = 0
        """TS.Recent."""
        self._recent_at = 0.0
        self._offset = offset

    def value(self, now: float) -> int:
        """TSval of a segment that is sent at ``now``."""
        return (int(now * TICKS_PER_SECOND) + self._offset) & SEQUENCE_MASK

    def option(self, now: float) -> tuple[int, int] | None:
        """(TSval, TSecr) of a segment that is sent at ``now``, or None when the option is not in use."""
        if not self.enabled:
            return None
        return ((int(now * TICKS_PER_SECOND) + self._offset) & SEQUENCE_MASK, self.recent)

    def age(self, echo: int, now: float) -> float | None:
        """How long ago (s) the value that came back was sent; None when it cannot have been."""
        age = ((self.value(now) - echo) & SEQUENCE_MASK) / TICKS_PER_SECOND
        return age if age <= MAX_ECHO_AGE else None

    def keep(self, value: int, now: float) -> None:
        """The peer's TSval is the new TS.Recent; the caller has checked where the segment lies (RFC 7323 4.3)."""
        self.recent = value
        self._recent_at = now

    def is_stale(self, value: int, now: float) -> bool:
        """PAWS: whether a segment with this TSval is an old duplicate (RFC 7323 5.2 and 5.3, R1)."""
        return is_older(value, self.recent) and now - self._recent_at < OLD_AFTER
