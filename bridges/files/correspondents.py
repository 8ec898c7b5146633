"""When which member is visited, and how much it may ask: at most one visit with news and a few that fetch at a time, again after
failures ever more slowly.

A member that is seen (``reached``) is visited at once, whatever failed before.
"""

from __future__ import annotations

from typing import Final

import attrs

RETRY_FIRST: Final = 2.0
"""Seconds to the next try after the first failure; it doubles."""
RETRY_MOST: Final = 300.0
"""Seconds between two tries at the most: an attempt is a few packets to a member that may have come back unnoticed."""
OFFER_BURST: Final = 256
"""Offers that a member may make in a row: a folder of photographs."""
OFFER_RATE: Final = 2.0
"""Offers a second that it may make for ever: each is shown to somebody and kept on disk."""

REQUEST_BURST: Final = 512
"""Requests of a member in a row that are answered at once."""
REQUEST_RATE: Final = 64.0
"""Requests a second of a member for ever, over however many connections, one after the other or at once; none of them is read for a while
where there are more."""

DAY: Final = 86400.0
"""Seconds."""


@attrs.frozen
class Unasked:
    """What is taken of one member unasked, where its files are: so much at once, and as much again with each day that passes."""

    octets: int = 10 << 30
    files: int = 1000


class Correspondent:
    """One member with which there are transfers, as the clock sees it."""

    __slots__ = (
        "_asked", "_asked_at", "_budget", "_budget_at", "_taken", "_taken_at", "_taken_until", "coming", "errand", "failures", "fetching",
        "retry_at", "turn",
    )  # fmt: skip

    def __init__(self, now: float) -> None:
        self.errand = False
        """Whether it is being visited with news."""
        self.fetching = 0
        """How many visits fetch from it."""
        self.coming = 0
        """How many of those have no file at the moment, and will ask for one."""
        self.failures = 0
        self.retry_at = now
        self.turn = float("-inf")
        """When it was last its turn to be fetched from."""
        self._budget = float(OFFER_BURST)
        self._budget_at = now
        self._asked = 0.0
        self._asked_at = now
        self._taken = (0.0, 0.0)
        """Octets and files that were taken unasked, less what time has made good."""
        self._taken_at = self._taken_until = now

    def may_offer(self, now: float) -> bool:
        """Whether it keeps to the rate of offers; counts this one."""
        self._budget = min(OFFER_BURST, self._budget + (now - self._budget_at) * OFFER_RATE)
        self._budget_at = now
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    def take_unasked(self, octets: int, most: Unasked, now: float) -> bool:
        """Whether a file of so many octets may still be taken unasked; counts it, whatever becomes of it."""
        days = (now - self._taken_at) / DAY
        size = max(0.0, self._taken[0] - days * most.octets) + octets
        files = max(0.0, self._taken[1] - days * most.files) + 1
        if size > most.octets or files > most.files:
            return False
        self._taken, self._taken_at = (size, files), now
        self._taken_until = now + DAY * max(size / most.octets, files / most.files)
        return True

    def asked(self, now: float) -> None:
        """It has made a request."""
        self._asked = max(0.0, self._asked - (now - self._asked_at) * REQUEST_RATE) + 1
        self._asked_at = now

    def owes(self, now: float) -> float:
        """Seconds for which no more of its requests are to be read."""
        return max(0.0, (self._asked - REQUEST_BURST) / REQUEST_RATE - (now - self._asked_at))

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
        """Whether its budgets are whole again, so that to forget it gives nothing away."""
        may_ask = now - self._asked_at >= self._asked / REQUEST_RATE
        return may_ask and now >= self._taken_until and self._budget + (now - self._budget_at) * OFFER_RATE >= OFFER_BURST
