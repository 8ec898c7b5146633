"""The formulas: windows and rates in segments, times in seconds, ``loss`` a probability for each segment."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

CUBIC_C = 0.4
CUBIC_BETA = 0.7
"""RFC 9438 4.1 and 4.6."""


def reno_window(loss: float) -> float:
    """The mean window of an AIMD sender that adds one segment a round trip and halves: √(3/2p) (Mathis et al. 1997, with an ACK for
    every segment; RFC 9438 5.1, Eq. 6 with α = 1 and β = 0.5)."""
    return math.sqrt(1.5 / loss)


def cubic_window(loss: float, rtt: float) -> float:
    """RFC 9438 5.1, Eq. 5, (C(3+β)/(4(1−β)))^¼ · RTT^¾ / p^¾ = 1.054 (RTT/p)^¾, and never below the Reno-friendly region's (Eq. 6)."""
    factor = math.pow(CUBIC_C * (3 + CUBIC_BETA) / (4 * (1 - CUBIC_BETA)), 0.25)
    return max(factor * math.pow(rtt / loss, 0.75), reno_window(loss))


RATES: Mapping[str, Callable[[float, float], float]] = {
    "newreno": lambda loss, rtt: reno_window(loss) / rtt,
    "cubic": lambda loss, rtt: cubic_window(loss, rtt) / rtt,
}
"""Segments a second at a loss and a round trip, by the name of the congestion control."""


def jain(shares: Sequence[float]) -> float:
    """Jain's index: 1 where all have the same, 1/n where one has everything (RFC 5166 2.3.1)."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0
