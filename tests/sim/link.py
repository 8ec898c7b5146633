"""One direction of a cable: delay, jitter, loss, duplication, reordering, corruption, bandwidth, a queue in bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from tests.sim.clock import Clock


@dataclass(frozen=True)
class LinkProfile:
    """What a link does to packets. Times in seconds, probabilities 0..1, sizes in bytes.

    ``jitter`` (0..jitter is added) keeps the order; ``reorder`` is the share of packets held back by ``reorder_delay``.
    ``rate`` is in bits a second (0: no limit); a packet that finds more than ``queue`` bytes waiting is lost.
    """

    delay: float = 0.010
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_delay: float = 0.005
    corrupt: float = 0.0
    rate: float = 0.0
    queue: int = 256 * 1024
    mtu: int = 65535


PERFECT = LinkProfile(delay=0.0)
"""Delivers at once: for tests in which the network plays no part."""


class Link:
    """Carries bytes one way; ``profile`` may be replaced while packets are under way."""

    def __init__(self, clock: Clock, random: Random, profile: LinkProfile = PERFECT) -> None:
        self.profile = profile
        self.counters: Counter[str] = Counter()
        self._clock = clock
        self._random = random
        self._free_at = clock.now
        self._last_arrival = clock.now

    def send(self, data: bytes, deliver: Callable[[bytes], None], reliable: bool = False) -> None:
        """Hand ``data`` to ``deliver`` when, and if, it arrives.

        ``reliable``: something below retransmits, so only delay and rate hold.
        """
        profile = self.profile
        self.counters["sent"] += 1
        if reliable:
            self._clock.call_at(self._in_order(self._departure(len(data))), partial(deliver, data))
        elif len(data) > profile.mtu:
            self.counters["too-big"] += 1
        elif profile.rate and (self._free_at - self._clock.now) * profile.rate / 8 > profile.queue:
            self.counters["queue-full"] += 1
        else:
            departure = self._departure(len(data))
            if not self._happens(profile.loss, "lost"):
                self._deliver(departure, data, deliver)

    @property
    def queued(self) -> float:
        """Seconds that a packet waits now before its own first bit leaves: the queue of a link with a rate."""
        return max(0.0, self._free_at - self._clock.now)

    def _deliver(self, departure: float, data: bytes, deliver: Callable[[bytes], None]) -> None:
        profile = self.profile
        if data and self._happens(profile.corrupt, "corrupted"):
            flipped = bytearray(data)
            flipped[self._random.randrange(len(flipped))] ^= 1 << self._random.randrange(8)
            data = bytes(flipped)
        if self._happens(profile.reorder, "reordered"):
            arrival = departure + profile.delay + profile.reorder_delay
        else:
            arrival = self._in_order(departure)
        for _ in range(1 + self._happens(profile.duplicate, "duplicated")):
            self._clock.call_at(arrival, partial(deliver, data))

    def _in_order(self, departure: float) -> float:
        profile = self.profile
        late = self._random.random() * profile.jitter if profile.jitter else 0.0
        self._last_arrival = max(departure + profile.delay + late, self._last_arrival)
        return self._last_arrival

    def _happens(self, probability: float, counter: str) -> bool:
        if probability and self._random.random() < probability:
            self.counters[counter] += 1
            return True
        return False

    def _departure(self, size: int) -> float:
        start = max(self._clock.now, self._free_at)
        rate = self.profile.rate
        self._free_at = start + size * 8 / rate if rate else start
        return self._free_at
