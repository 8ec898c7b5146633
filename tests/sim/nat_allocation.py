"""Which outside port a new mapping gets: one allocator for each outside address and transport of a box.

Others use the box as well. What they did since the last allocation is made up only when it matters: an incremental counter moves
on by a Poisson number of mappings; and of all ports the share ``load * load_lifetime / range`` is taken (Little's law), so that
whether a port is among them is drawn when it is asked for, and again once such a mapping would have ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from tests.sim.clock import Clock
from tests.sim.nat_behaviour import CHUNKED, INCREMENTAL, OVERLOADED, PRESERVING, NatBehaviour
from tests.sim.packet import Address

MAX_TAKEN = 0.9
"""Share of the ports that others hold at most."""

EXACT_POISSON = 30.0
"""Mean up to which the number is drawn exactly; the normal distribution serves beyond."""

MAX_TRIES = 4096
"""Ports looked at before a box gives up; RFC 4787 says nothing of a NAT without ports but that it must not lie."""


def poisson(random: Random, mean: float) -> int:
    """A number of events of which ``mean`` are expected."""
    if mean > EXACT_POISSON:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, random.random()
    while product > limit:
        count += 1
        product *= random.random()
    return count


class Allocator:
    """``taken`` says whether one of the box's own mappings has a port."""

    def __init__(self, behaviour: NatBehaviour, random: Random, clock: Clock, taken: Callable[[int], bool]) -> None:
        self._behaviour = behaviour
        self._random = random
        self._clock = clock
        self._taken = taken
        self._size = behaviour.high - behaviour.low + 1
        self._next = random.randint(behaviour.low, behaviour.high)
        self._advanced = clock.now
        self._blocks: dict[str, list[int]] = {}
        self._others: dict[int, tuple[bool, float]] = {}
        self._busy = min(MAX_TAKEN, behaviour.load * behaviour.load_lifetime / self._size)

    def choose(self, inside: Address, elsewhere: bool = False) -> int:
        """A port for a new mapping; ``elsewhere``: the inside port will not do."""
        allocation = self._behaviour.allocation
        if allocation == OVERLOADED and not elsewhere:
            return inside[1]
        if allocation == PRESERVING and not elsewhere and self._free(inside[1]):
            return inside[1]
        if allocation == INCREMENTAL:
            return self._incremental()
        if allocation == CHUNKED:
            return self._from_block(inside[0])
        return self._first_free(lambda: self._random.randint(self._behaviour.low, self._behaviour.high))

    def _free(self, port: int) -> bool:
        if self._taken(port):
            return False
        if not self._busy:
            return True
        others, until = self._others.get(port, (False, 0.0))
        if until <= self._clock.now:
            others = self._random.random() < self._busy
            self._others[port] = others, self._clock.now + self._behaviour.load_lifetime
        return not others

    def _first_free(self, draw: Callable[[], int]) -> int:
        for _ in range(MAX_TRIES):
            port = draw()
            if self._free(port):
                return port
        raise AssertionError("the box has no port left")

    def _incremental(self) -> int:
        now, load = self._clock.now, self._behaviour.load
        if load:
            for _ in range(poisson(self._random, load * (now - self._advanced)) % self._size):
                self._step()
        self._advanced = now
        return self._first_free(self._step)

    def _step(self) -> int:
        behaviour, port = self._behaviour, self._next
        steps = 1 + (self._random.randint(0, behaviour.noise) if behaviour.noise else 0)
        self._next = behaviour.low + (port + behaviour.step * steps - behaviour.low) % self._size
        return port

    def _from_block(self, host: str) -> int:
        blocks = self._blocks.setdefault(host, [])
        size = self._behaviour.chunk
        free = [port for start in blocks for port in range(start, start + size) if not self._taken(port)]
        if not free:
            used = {start for starts in self._blocks.values() for start in starts}
            starts = [start for start in range(self._behaviour.low, self._behaviour.high - size + 2, size) if start not in used]
            blocks.append(self._random.choice(starts))
            free = list(range(blocks[-1], blocks[-1] + size))
        return self._random.choice(free)
