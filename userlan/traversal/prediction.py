"""Where an incremental NAT's next mappings will be: windows in slots, from a measurement right before. Pure.

A slot is one new mapping: the n-th after the last one that was measured has the outside port ``last + n · step``. Between the measurement
and the punch others make mappings, a Poisson process of rate λ: after t seconds they have used up about λt slots, give or take
3·sqrt(λt); λ itself is known only so well, which adds t² of its variance. So the punching side's first socket is in slot N, low ≤ N ≤ high.

**A comb instead of a line.** Where the punching side opens k sockets at once, they take k slots in a row, N … N+k-1, and the other side
hits one of them by every k-th slot alone (here every k/2-th: others' mappings come in between). k sockets and w/k packets do what w
packets did, and the number of packets hardly grows with the NAT's load.

**Both incremental.** Each packet to a new port moves the own next port too. One side walks its targets by one slot a packet, the other
by two: e and f are the numbers of their packets, x and y the slots used up by others before them. The e-th meets the f-th where
``e = f + y`` and ``2f = e + x``, so at f = x + y whatever x and y are, and as long as others use up less than one slot a
packet while they walk (Klinec and Matyáš 2014 walk slowly, and see it collapse at 35 mappings a second; at a packet a millisecond it
does not).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import ceil, gcd, sqrt
from typing import NamedTuple

from userlan.traversal.sides import Sighting
from userlan.traversal.step import MAX_STRIDE

SIGMAS = 3.0
"""Half the window in standard deviations: 99.7 % of a normal distribution."""
PRIOR = 0.25
"""Seconds of observation that the known background rate is worth beside the measurement's own."""
OWN_SLOTS = 4
"""Slots that this computer itself may use up meanwhile: three relays are bound, and one more program speaks."""
FIRST_PORT = 1024
LAST_PORT = 65535
"""What an allocation wraps round to, and after, where its range is not known."""
BLOCKS = (64, 128, 256, 512, 1024, 2048, 4096)
"""Sizes of a carrier's port blocks, in ports: powers of two, and aligned (RFC 7422 5)."""


class Forecast(NamedTuple):
    """An incremental NAT right now. ``last``: the newest outside port measured; ``rate``: others' mappings a second, ``doubt`` its
    variance; ``low`` to ``high``: the range that it wraps round."""

    last: int
    step: int
    rate: float = 0.0
    doubt: float = 0.0
    low: int = FIRST_PORT
    high: int = LAST_PORT

    def port(self, slot: int) -> int:
        """The outside port of a slot (1 is the next one), wrapped round the range."""
        size = self.high - self.low + 1
        return self.low + (self.last - self.low + slot * self.step) % size

    def window(self, seconds: float, own: int = OWN_SLOTS) -> Window:
        """Where the first new mapping is ``seconds`` after the measurement; ``own``: mappings that this computer may make before it."""
        mean = self.rate * seconds
        deviation = SIGMAS * sqrt(mean + self.doubt * seconds * seconds)
        return Window(1 + max(0, int(mean - deviation)), 1 + ceil(mean + deviation) + own)


class Window(NamedTuple):
    """Slots from ``first`` to ``last``."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many."""
        return self.last - self.first + 1


class Run(NamedTuple):
    """Ports first, first + stride …: ``length`` of them, none of them beyond a range's end."""

    first: int
    stride: int
    length: int


def step_of(sightings: Sequence[Sighting], known: int = 0) -> int:
    """The step between neighbouring mappings, from the ports of sockets that were opened one after the other; ``known``: what was
    measured before, kept where it fits. 0: they do not follow one another."""
    ports = [sighting.port for sighting in sorted(sightings)]
    steps = [after - before for before, after in itertools.pairwise(ports) if after != before]
    downwards = sum(step < 0 for step in steps) * 2 > len(steps)
    steady = [step for step in steps if (step < 0) == downwards]     # a wrap-round, or two that overtook each other
    if not steady or len(steady) * 2 <= len(steps):
        return known
    size = gcd(*steady)
    if known and size % known == 0:
        return known
    return -size if downwards else size


def forecast(sightings: Sequence[Sighting], *, step: int = 0, rate: float = 0.0, low: int = 0, high: int = 0) -> Forecast | None:
    """What a measurement says. ``step`` and ``rate`` are what was known before; ``low`` and ``high`` the range where it is known.

    The rate is estimated as a Gamma distribution: what was known counts as ``PRIOR`` seconds of watching, the mappings that others made
    between the measurement's own count as they are.
    """
    step = step_of(sightings, step)
    if not sightings or not step:
        return None
    newest = _newest(sightings, step)
    times = [sighting.at for sighting in sightings]
    watched = max(times) - min(times)
    others = _others(sightings, step)
    total = PRIOR + watched
    mean = (rate * PRIOR + others) / total
    first, last = (low, high) if 0 < low < newest.port < high else (FIRST_PORT, LAST_PORT)
    if not first <= newest.port <= last:
        first = 1
    return Forecast(newest.port, step, mean, mean / total, first, last)


def _newest(sightings: Sequence[Sighting], step: int) -> Sighting:
    """The one furthest on; behind a wrap-round the latest in order."""
    ordered = sorted(sightings)
    newest = ordered[0]
    for sighting in ordered[1:]:
        distance = (sighting.port - newest.port) * (1 if step > 0 else -1)
        if distance > 0 or distance < -(LAST_PORT // 2):
            newest = sighting
    return newest


def _others(sightings: Sequence[Sighting], step: int) -> int:
    """Slots between the measured ones that others took."""
    ports = sorted((sighting.port for sighting in sightings), reverse=step < 0)
    gaps = [(after - before) // step - 1 for before, after in itertools.pairwise(ports)]
    return sum(gap for gap in gaps if 0 < gap < LAST_PORT // 4)


def comb(window: Window, sockets: int) -> list[int]:
    """The slots that are to be hit so that at least one of ``sockets`` slots in a row is, wherever in the window they begin."""
    stride = max(1, sockets // 2)
    return list(range(window.first + stride - 1, window.last + stride, stride))


def runs(ports: Sequence[int]) -> list[Run]:
    """Ports as arithmetic runs, in their order: one, or two where the range wraps round."""
    found: list[Run] = []
    for port in ports:
        if found:
            first, stride, length = found[-1]
            if port == first + stride * length if length > 1 else abs(port - first) <= MAX_STRIDE:
                found[-1] = Run(first, port - first if length == 1 else stride, length + 1)
                continue
        found.append(Run(port, 1, 1))
    return found


def block(ports: Sequence[int]) -> tuple[int, int]:
    """The first and last port of the smallest aligned block that holds all that were seen."""
    low, high = min(ports), max(ports)
    for size in BLOCKS:
        if low // size == high // size:
            return max(1, low // size * size), low // size * size + size - 1
    return low, high


def walk(first: Window, second: Window) -> int:
    """Packets that each side of two incremental NATs has to send, from the beginning of both windows on: the meeting is at x + y."""
    return 2 * (first.size + second.size)
