"""What each way of choosing a relay comes to, for every pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from random import Random
from statistics import mean, median

from tests.bench.measure import quantile
from tests.bench.relays.sites import Rtt
from userlan.mediator.relay_ranking import Known, ranked

NOISE = 0.05
"""Share by which a node's measurement of a round trip is off, either way."""


@dataclass(frozen=True)
class Pair:
    """Two sites and the round trips between them, in seconds, by each choice."""

    a: str
    b: str
    relay: str
    ours: float
    least: float
    home_a: float
    home_b: float
    direct: float


def key(site: str) -> bytes:
    return blake2s(site.encode()).digest()


def compare(names: Sequence[str], rtt: Rtt, relays: Sequence[str], seed: int = 1) -> list[Pair]:
    """Every pair of sites once."""
    random = Random(seed)
    pool = [Known(key(relay), "", 0.0) for relay in relays]
    by_key = {key(relay): relay for relay in relays}
    measured = {
        name: {key(relay): rtt[name, relay] * random.uniform(1 - NOISE, 1 + NOISE) for relay in relays} for name in names
    }
    pairs = []
    for index, a in enumerate(names):
        for b in names[index + 1 :]:
            def by(relay: str, a: str = a, b: str = b) -> float:
                return rtt[a, relay] + rtt[b, relay]

            chosen = by_key[ranked(pool, measured[a], measured[b], key(a) + key(b))[0][0]]
            homes = [min(relays, key=lambda relay, node=node: rtt[node, relay]) for node in (a, b)]     # type: ignore[misc]  # a default binds it
            pairs.append(Pair(a, b, chosen, by(chosen), min(map(by, relays)), by(homes[0]), by(homes[1]), rtt[a, b]))
    return pairs


@dataclass(frozen=True)
class Saving:
    """Milliseconds of a round trip, over all pairs."""

    median: float
    p90: float
    mean: float
    worse: float
    better: float
    """Shares of the pairs for which the pair's own relay is the slower or the faster one, by more than 1 ms."""
    gain: float
    """The median of those for which it is faster."""


def saving(values: Iterable[tuple[float, float]]) -> Saving:
    """Of (the other choice, the pair's own relay)."""
    gains = [1000 * (other - ours) for other, ours in values]
    faster = [gain for gain in gains if gain > 1]
    slower = sum(gain < -1 for gain in gains)
    return Saving(
        median(gains), quantile(gains, 0.9), mean(gains), slower / len(gains), len(faster) / len(gains), median(faster) if faster else 0.0
    )


def savings(pairs: Sequence[Pair]) -> dict[str, Saving]:
    """Against each alternative, and against the worse of both homes: what a pair gets whose two ends disagree on whose relay to use."""
    return {
        "a's home relay": saving((pair.home_a, pair.ours) for pair in pairs),
        "b's home relay": saving((pair.home_b, pair.ours) for pair in pairs),
        "one of both homes, by chance": saving((home, pair.ours) for pair in pairs for home in (pair.home_a, pair.home_b)),
        "the better of both homes": saving((min(pair.home_a, pair.home_b), pair.ours) for pair in pairs),
        "the best relay": saving((pair.least, pair.ours) for pair in pairs),
        "no relay": saving((pair.direct, pair.ours) for pair in pairs),
    }


def by_size(names: Sequence[str], rtt: Rtt, sizes: Iterable[int], draws: int, seed: int = 1) -> dict[int, Saving]:
    """Pools of other sizes, their sites drawn at random: what is saved against one of both homes."""
    random = Random(seed)
    found = {}
    for size in sizes:
        values: list[tuple[float, float]] = []
        for draw in range(draws):
            for pair in compare(names, rtt, random.sample(list(names), size), draw):
                values += [(pair.home_a, pair.ours), (pair.home_b, pair.ours)]
        found[size] = saving(values)
    return found
