"""When which member is visited: at most one visit with news and a few that fetch at a time, again after failures ever more slowly.

A member that is seen (``reached``) is visited at once, whatever failed before.
"""

from __future__ import annotations

from typing import Final

RETRY_FIRST: Final = 2.0
"""Seconds to the next try after the first failure; it doubles."""
RETRY_MOST: Final = 300.0
"""Seconds between two tries at the most: an attempt is a few packets to a member that may have come back unnoticed."""
OFFER_BURST: Final = 256
"""Offers that a member may make in a row: a folder of photographs."""
OFFER_RATE: Final = 2.0
"""Offers a second that it may make for ever: each is shown to somebody and kept on disk."""


class Correspondent:
    """One member with which there are transfers, as the clock sees it."""

    __slots__ = ("_budget", "_budget_at", "coming", "errand", "failures", "fetching", "retry_at")

    def __init__(self, now: float) -> None:
        self.errand = False
        """Whether it is being visited with news."""
        self.fetching = 0
        """How many visits fetch from it."""
        self.coming = 0
        """How many of those have no file at the moment, and will ask for one."""
        self.failures = 0
        self.retry_at = now
        self._budget = float(OFFER_BURST)
        self._budget_at = now

    def may_offer(self, now: float) -> bool:
        """Whether it keeps to the rate of offers; counts this one."""
        self._budget = min(OFFER_BURST, self._budget + (now - self._budget_at) * OFFER_RATE)
        self._budget_at = now
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    def failed(self, now: float) -> None:
        """A visit came to nothing."""
        self.failures += 1
        self.retry_at = now + min(RETRY_MOST, RETRY_FIRST * 2.0 ** min(self.failures - 1, 16))

    def succeeded(self, now: float) -> None:
        """It has answered."""
        self.failures = 0
        self.retry_at = now

    @property
    def idle(self) -> bool:
        """Whether nothing depends on it."""
        return not self.errand and not self.fetching

    def rested(self, now: float) -> bool:
        """Whether its budget is whole again, so that to forget it gives nothing away."""
        return self._budget + (now - self._budget_at) * OFFER_RATE >= OFFER_BURST
