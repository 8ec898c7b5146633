"""Back-off of pairs: a pair whose punch failed is not punched again at once, however often it is asked for.

A relayed pair asks about once a minute for a better path. What failed with the same two NATs at the same two addresses
fails again, mostly, and costs up to thousands of packets; so the pause doubles with each failure, and ends at once when
either side's address or NAT has changed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

#: Seconds after the first failure; then 2, 4 … ``LONGEST`` times that: 32 minutes.
BASE = 30.0
#: The longest pause in units of ``BASE``.
LONGEST = 64
#: Pairs whose failures are remembered, about 200 octets each. The one that failed longest ago makes room: it starts anew.
MAX_PAIRS = 50_000

Pair = tuple[bytes, bytes]


class _Failure(NamedTuple):
    number: int
    until: float
    circumstances: int


class Backoff:
    """The pairs that failed. ``circumstances``: a hash of both sides' addresses and NATs; only its equality matters."""

    def __init__(self) -> None:
        self._failures: OrderedDict[Pair, _Failure] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def waits(self, pair: Pair, circumstances: int, now: float) -> bool:
        """Whether it is too early for another punch of a pair."""
        failure = self._failures.get(pair)
        return failure is not None and failure.circumstances == circumstances and now < failure.until

    def failed(self, pair: Pair, circumstances: int, now: float) -> float:
        """A punch failed; returns the seconds until the next may be."""
        before = self._failures.pop(pair, None)
        number = before.number + 1 if before is not None and before.circumstances == circumstances else 1
        pause = BASE * float(min(LONGEST, 1 << min(number - 1, 16)))
        self._failures[pair] = _Failure(number, now + pause, circumstances)
        if len(self._failures) > MAX_PAIRS:
            self._failures.popitem(last=False)
        return pause

    def met(self, pair: Pair) -> None:
        """A punch succeeded."""
        self._failures.pop(pair, None)
