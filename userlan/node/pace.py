"""How long a handshake takes at present, by what the last ones took: how soon it is worth repeating.

A network's members have much in common: the computer that all handshakes of a node begin on, and often the line. Where fifty come at one
moment, on computers that have other work, an answer takes seconds, and an initiation that is repeated meanwhile finds its predecessor in
the peer's socket: it costs both ends as much as the first one and brings nothing (RFC 6298 for TCP; RFC 9040 2 on what connections may
share). So the intervals of all attempts are stretched to what handshakes are known to take.

The quicker ones count (the lower quartile): one slow peer says nothing of the others, but where even these are slow, it is here or on
the line. Before four are known nothing is stretched.
"""

from __future__ import annotations

from collections import deque

SAMPLES = 16
"""Handshakes that are remembered: a burst of a third of a full mesh of fifty."""
LEAST_SAMPLES = 4
"""Handshakes from which anything is concluded."""
MARGIN = 1.5
"""Times what a handshake took that the next one may take: those that begin together wait for each other."""
LONGEST = 5.0
"""Seconds that an initiation waits for its answer at most (white paper, 6.1: REKEY_TIMEOUT)."""
FORGET_AFTER = 30.0
"""Seconds after the latest of them for which they say anything."""


class Pace:
    """Of one node. Times are monotonic seconds."""

    __slots__ = ("_at", "_took")

    def __init__(self) -> None:
        self._took: deque[float] = deque(maxlen=SAMPLES)
        self._at = 0.0

    def took(self, seconds: float, now: float) -> None:
        """A handshake that was begun here took so long from its initiation to the answer."""
        if now - self._at > FORGET_AFTER:
            self._took.clear()
        self._took.append(seconds)
        self._at = now

    def patience(self, now: float) -> float:
        """Seconds that an initiation is to wait for its answer before it is repeated, at least; 0: as its schedule says."""
        if len(self._took) < LEAST_SAMPLES or now - self._at > FORGET_AFTER:
            return 0.0
        return min(MARGIN * sorted(self._took)[len(self._took) // 4], LONGEST)
