"""Which relays are best for one pair: a pure function of delays and loads.

::

    cost(r) = RTT(a, r) + RTT(b, r)
    near-equal: cost ≤ least + max(5 ms, 10 %)      → spread by load, the same choice for the same pair each time
    the others: by cost
    the one in use stays first, unless another is better by more than 10 ms and 15 %

The spreading is weighted rendezvous hashing: each relay's score is -ln(u) / weight with u a hash of pair and relay, the least wins. So a
relay that comes or goes moves only the pairs that are on it, and of two mediators that know the same both say the same.

A delay that an end has not measured is estimated: as its own to other relays of that region, else as that of what it knows at the
farthest with ``UNMEASURED`` on top: a relay of which nothing is known does not win over one that was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2s
from math import log
from typing import NamedTuple

NEAR_SECONDS = 0.005
NEAR_SHARE = 0.03
"""Costs that are within either of the least are as good: below what anybody notices, and the measurements' own noise. (A tenth would cost
3 ms on the average over the round trips of `tests.bench.relays`, a thirtieth costs 1.)"""
GAIN_SECONDS = 0.010
GAIN_SHARE = 0.15
"""Both must be gained for a pair to be moved: each move costs two ends a bind, and a reordering."""
UNMEASURED = 0.05
UNKNOWN = 0.2
"""Seconds: on top of the farthest that is known, and where an end has measured nothing at all (an intercontinental round trip)."""
LEAST_WEIGHT = 0.02
"""Of a relay with a full load: it is still there when all are."""
LOAD_STEPS = 4
"""Loads are taken in quarters, so that the choice does not follow every change."""
OVERLOADED = 0.95
"""Load of a relay that is taken only where there is none near it."""


class Known(NamedTuple):
    """What ranking needs of a relay."""

    key: bytes
    region: str
    load: float


def estimated(relay: Known, delays: Mapping[bytes, float], pool: Iterable[Known]) -> float:
    """Seconds from an end to a relay and back, measured or supposed; ``delays``: that end's, by relay."""
    measured = delays.get(relay.key)
    if measured is not None:
        return measured
    alike = [delays[other.key] for other in pool if relay.region and other.region == relay.region and other.key in delays]
    if alike:
        return sum(alike) / len(alike)
    return max(delays.values()) + UNMEASURED if delays else UNKNOWN


def ranked(
    pool: Iterable[Known], a: Mapping[bytes, float], b: Mapping[bytes, float], pair: bytes, current: bytes | None = None
) -> list[tuple[bytes, float]]:
    """The relays for a pair, the best first, each with its cost in seconds. ``pair``: both keys; ``current``: the relay that they use."""
    relays = list(pool)
    costs = {relay.key: estimated(relay, a, relays) + estimated(relay, b, relays) for relay in relays}
    if not costs:
        return []
    least = min(costs.values())
    limit = least + max(NEAR_SECONDS, NEAR_SHARE * least)
    near = sorted((_score(relay, pair), relay.key) for relay in relays if costs[relay.key] <= limit)
    far = sorted((costs[relay.key], relay.key) for relay in relays if costs[relay.key] > limit)
    order = [key for _, key in (*near, *far)]
    by_key = {relay.key: relay for relay in relays}
    if current in costs and current is not None and by_key[current].load < OVERLOADED and not _better(costs[order[0]], costs[current]):
        order.remove(current)
        order.insert(0, current)
    return [(key, costs[key]) for key in order]


def _better(new: float, old: float) -> bool:
    """Whether a move is worth it."""
    return old - new > GAIN_SECONDS and new < old * (1 - GAIN_SHARE)


def _score(relay: Known, pair: bytes) -> float:
    """Rendezvous hashing with weights: the least is chosen (-ln(u) / weight is exponential with that rate)."""
    draw = int.from_bytes(blake2s(pair + relay.key, digest_size=8).digest(), "big")
    free = 0.0 if relay.load >= OVERLOADED else 1.0 - int(relay.load * LOAD_STEPS) / LOAD_STEPS
    return -log((draw + 1) / (2**64 + 1)) / max(LEAST_WEIGHT, free)
