"""Back-off of pairs: a pair whose punch failed is not punched again at once, however often it is asked for.

A relayed pair asks about once a minute for a better path. What failed with the same two NATs at the same two addresses
fails again, mostly, and costs up to thousands of packets; so the pause doubles with each failure, and ends at once when
either side's address or NAT has changed. What failed by IPv6 cost a handful of packets, and says nothing of IPv4's NATs:
it makes no pause, and is remembered so that the next try is by IPv4. What is a draw anew each time, after a fresh measurement, is tried
``userlan.traversal.ends.ROUNDS`` times before the pause begins.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from userlan.traversal.ends import ROUNDS

#: Seconds after the first failure; then 2, 4 … ``LONGEST`` times that: 32 minutes.
BASE = 30.0
#: The longest pause in units of ``BASE``.
LONGEST = 64
#: Pairs whose failures are remembered, about 200 octets each. The one that failed longest ago makes room: it starts anew.
MAX_PAIRS = 50_000
#: The technique (``userlan.traversal.plans``) that has nothing to do with a NAT.
BY_IPV6 = "ipv6"
#: The one of which a failure says little. 64 connections of each side a round, and two seconds from one to the next: less than a tenth of a
#: birthday's packets, of which one failure is enough.
BY_ROUNDS = "tcp-both-incremental"

Pair = tuple[bytes, bytes]


class _Failure(NamedTuple):
    number: int
    until: float
    circumstances: int
    technique: str
    rounds: int = 0


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

    def technique(self, pair: Pair, circumstances: int) -> str:
        """By which technique a pair failed the last time; "": it did not."""
        failure = self._failures.get(pair)
        return failure.technique if failure is not None and failure.circumstances == circumstances else ""

    def rounds(self, pair: Pair, circumstances: int) -> int:
        """Rounds that a pair has had of those that it is given without a pause."""
        failure = self._failures.get(pair)
        return failure.rounds if failure is not None and failure.circumstances == circumstances else 0

    def failed(self, pair: Pair, circumstances: int, now: float, technique: str = "") -> float:
        """A punch failed; returns the seconds until the next may be."""
        rounds = self.rounds(pair, circumstances) + 1 if technique == BY_ROUNDS else 0
        before = self._failures.pop(pair, None)
        number = before.number if before is not None and before.circumstances == circumstances else 0
        until = before.until if before is not None and number else now
        if rounds >= ROUNDS:
            rounds = 0
        if technique != BY_IPV6 and not rounds:
            number += 1
            until = now + BASE * float(min(LONGEST, 1 << min(number - 1, 16)))
        self._failures[pair] = _Failure(number, until, circumstances, technique, rounds)
        if len(self._failures) > MAX_PAIRS:
            self._failures.popitem(last=False)
        return max(0.0, until - now)

    def met(self, pair: Pair) -> None:
        """A punch succeeded."""
        self._failures.pop(pair, None)
