"""Where an incremental NAT's next mappings will be: windows in slots, from a measurement right before. Pure.

A slot is one new mapping: the n-th after the last one that was measured has the outside port ``last + n · step``. Between the measurement
and the punch others make mappings, a Poisson process of rate λ: after t seconds they have used up about λt slots, give or take
3·sqrt(λt); λ itself is known only so well, which adds t² of its variance. So the punching side's first socket is in slot N, low ≤ N ≤ high.

**A comb instead of a line.** Where the punching side opens k sockets at once, they take k slots in a row, N … N+k-1, and the other side
hits one of them by every k-th slot alone (here every k/2-th: others' mappings come in between). k sockets and w/k packets do what w
packets did, and the number of packets hardly grows with the NAT's load.

**Both incremental.** Each packet to a new port moves the own next port too: by a slots a packet here and b there, one where nobody else is
busy, more where others are or the NAT leaves ports out. One side goes through the other's slots one by one, so that it finds a packet e
for every packet f of the other's, with e = b·f + y. The other one walks by s slots a packet, and meets that packet where s·f = a·e + x.
With s = a·b + δ that is at f = (x + a·y)/δ, whatever x and y are: the gap closes by δ a packet, and so is nothing at about 1/δ of them.
Where ports are left out at random it closes by fits and starts, and may be jumped over; so the walk turns round and closes it again, twice.
(Klinec and Matyáš 2014 walk by 1 and by 2, slowly, and see it collapse at 35 mappings a second.)
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import ceil, gcd, log, sqrt
from typing import NamedTuple

from userlan.traversal.sides import Sighting
from userlan.traversal.step import MAX_STRIDE

SIGMAS = 3.0
"""Half the window in standard deviations: 99.7 % of a normal distribution."""
PRIOR = 0.25
"""Seconds of observation that the known background rate is worth beside the measurement's own."""
BRIEF = 0.05
"""Seconds of measuring within which few others come in between."""
OWN_SLOTS = 4
"""Slots that this computer itself may use up meanwhile: three relays are bound, and one more program speaks."""
BUSY = 50.0
"""Others' mappings a second from which a walk's gap is to close slowly."""
CLOSING = 0.5
"""Slots a packet by which it closes: two chances to meet where nothing is left to chance."""
PARTS = 4
"""A walk's stride is a multiple of 1/4 slot: so many runs of ports side by side."""
FIRST_PORT = 1024
LAST_PORT = 65535
MISSED = 0.003
"""Share of rows that a comb may miss: what three standard deviations leave out."""
"""What an allocation wraps round to, and after, where its range is not known."""
BLOCKS = (64, 128, 256, 512, 1024, 2048, 4096)
"""Sizes of a carrier's port blocks, in ports: powers of two, and aligned (RFC 7422 5)."""


class Forecast(NamedTuple):
    """An incremental NAT right now. ``last``: the newest outside port measured; ``rate``: others' mappings a second, ``doubt`` its
    variance; ``noise``: ports that it leaves out for each mapping; ``low`` to ``high``: the range that it wraps round."""

    last: int
    step: int
    rate: float = 0.0
    doubt: float = 0.0
    noise: float = 0.0
    low: int = FIRST_PORT
    high: int = LAST_PORT

    def port(self, slot: int) -> int:
        """The outside port of a slot (1 is the next one), wrapped round the range."""
        size = self.high - self.low + 1
        return self.low + (self.last - self.low + slot * self.step) % size

    def window(self, seconds: float, own: int = OWN_SLOTS) -> Window:
        """Where the first new mapping is ``seconds`` after the measurement; ``own``: mappings that this computer may make before it."""
        each = 1 + self.noise
        mean = self.rate * seconds * each
        left_out = self.noise * each                # variance of the slots that one mapping leaves out: geometric, as is the rest
        variance = mean * (1 + 2 * self.noise) + (own + 1) * left_out + self.doubt * (seconds * each) ** 2
        deviation = SIGMAS * sqrt(variance)
        return Window(1 + max(0, int(mean - deviation)), ceil(mean + deviation + (own + 1) * each))

    def pace(self, spacing: float) -> float:
        """Slots from one own mapping to the next, ``spacing`` seconds later."""
        return (1 + self.noise) * (1 + self.rate * spacing)


class Window(NamedTuple):
    """Slots from ``first`` to ``last``."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many."""
        return self.last - self.first + 1


class Walk(NamedTuple):
    """``legs``: packets, and the slots that ``PARTS`` of them go; ``through``: slots that the other side goes through one by one."""

    legs: tuple[tuple[int, int], ...]
    through: int

    def slots(self) -> list[list[int]]:
        """The slots of each leg, from 0."""
        found, at = [], 0.0
        for packets, quarters in self.legs:
            found.append([int(at + number * quarters / PARTS) for number in range(packets)])
            at += packets * quarters / PARTS
        return found


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

    The rate is estimated as a Gamma distribution: what was known counts as ``PRIOR`` seconds of watching, the slots that were left out
    between the measurement's own count as others' mappings. More than these can have made in so short a time, the NAT itself leaves out.
    """
    step = step_of(sightings, step)
    if not sightings or not step:
        return None
    newest = _newest(sightings, step)
    times = [sighting.at for sighting in sightings]
    watched = max(times) - min(times)
    others = _others(sightings, step)
    usual = rate * watched
    noise = 0.0
    if watched < BRIEF and others > usual + SIGMAS * sqrt(usual) + 1:
        noise = (others - usual) / max(1, len(sightings) - 1)
        others = round(usual)
    total = PRIOR + watched
    mean = (rate * PRIOR + others) / total
    first, last = (low, high) if 0 < low < newest.port < high else (FIRST_PORT, LAST_PORT)
    if not first <= newest.port <= last:
        first = 1
    return Forecast(newest.port, step, mean, (mean + 1) / total, noise, first, last)


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


def comb(window: Window, sockets: int, noise: float = 0.0) -> list[int]:
    """The slots that are to be hit so that at least one of ``sockets`` slots in a row is, wherever in the window they begin.

    Two of them hit where the row is whole; with ``noise`` each one misses now and then, so that it takes more.
    """
    teeth = 2 if noise < 1 / 16 else min(max(2, sockets), ceil(log(MISSED) / log(noise / (1 + noise))) * 2)
    stride = max(1, int(sockets * (1 + noise)) // teeth)
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


def walk(near: Forecast, far: Forecast, windows: tuple[Window, Window], spacing: float) -> Walk:
    """How the side behind ``far`` walks through the slots of ``near``, and how far the side behind ``near`` has to go through those of
    ``far``, ``spacing`` seconds a packet; ``windows`` of both, from whose beginning both start."""
    here, there = near.pace(spacing), far.pace(spacing)
    closing = CLOSING if max(near.noise, far.noise) < 1 / 16 and max(near.rate, far.rate) < BUSY else CLOSING / 2
    quarters = ceil((here * there + closing) * PARTS)
    gap = windows[0].size + here * windows[1].size
    once = ceil(gap / (quarters / PARTS - here * there)) + PARTS
    back = max(PARTS + 1, int((here * there - closing) * PARTS))
    legs = [(once, quarters)]
    if max(near.noise, far.noise) >= 1 / 16:
        legs += [(once, back), (once, quarters)]
    total = sum(packets for packets, _ in legs)
    return Walk(tuple(legs), ceil(total * there) + windows[1].size)
