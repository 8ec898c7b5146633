"""Where an incremental NAT's next mappings will be: windows in slots, from a measurement right before. Pure.

A slot is one new mapping: the n-th after the last one that was measured has the outside port ``last + n · step``. Between the measurement
and the punch others make mappings, a Poisson process of rate λ: after t seconds they have used up about λt slots, give or take
3·sqrt(λt); λ itself is known only so well, which adds t² of its variance. So the punching side's first socket is in slot N, low ≤ N ≤ high.

**A comb instead of a line.** Where the punching side opens k sockets at once, they take k slots in a row, N … N+k-1, and the other side
hits one of them by every k-th slot alone (here every k/2-th: others' mappings come in between). k sockets and w/k packets do what w
packets did, and the number of packets hardly grows with the NAT's load.

**Both incremental.** Each packet to a new port moves the own next port too. Both sides send for about the same time, in blocks: within one,
each side draws the slots that the other one's mappings of that block are thought to be, every slot once, in random order::

    block       1            2                    3                         a block of n packets is as wide as where
    here ──  3 1 4 2     7 5 9 6 8 ·     14 10 12 · 11 15 13                 both sides are then is unsure
    there ─  2 4 1 3     8 · 6 5 7 9     11 13 10 15 · 14 12

Here's packet i goes where there's mapping j is, and j's packet to where i is, with a chance of 1/n each; there are n packets i and n
mappings j: so each block holds one such pair on the average, however wide it is, and less by as much as blocks have shifted against each
other or ports are left out. After ``BLOCKS_WOVEN`` blocks the pair that missed in all of them is one in some hundred, and nothing
depended on any of the mappings being foreseen exactly. The drift widens the blocks as they go on: what is known of the pace is only as good
as the measurement. (Klinec and Matyáš 2014 walk by 1 and by 2 ports a packet, and see it collapse at 35 mappings a second: a walk is right
in each of its steps or wrong from there on.)
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import ceil, gcd, log, sqrt
from statistics import mean, median, variance
from typing import NamedTuple

from userlan.traversal.sides import Sighting
from userlan.traversal.step import MAX_STRIDE

SIGMAS = 3.0
"""Half the window in standard deviations: 99.7 % of a normal distribution."""
PRIOR = 0.25
"""Seconds of observation that the known background rate is worth beside the measurement's own."""
DOUBT = 1 / 3, 10.0
"""How wrong a known rate may be: so much of itself, and so many mappings a second (standard deviations). It was seen seconds ago, and may
have been told from few."""
OUTLIER = 16
"""Usual gaps from which on a gap is none: a socket that had its mapping before, or a wrap-round."""
ALONE = 4
"""Times the next one from which on the largest gap is none either."""
BRIEF = 0.05
"""Seconds of measuring within which few others come in between."""
OWN_SLOTS = 4
"""Slots that this computer itself may use up meanwhile: three relays are bound, and one more program speaks."""
BLOCKS_WOVEN = 24
"""Blocks in which both sides draw each other's slots: each of them is a step of the plan."""
UNSURE = 3.0
"""Width of a block in standard deviations of how far the two sides may be apart: narrower ones miss each other, wider ones are fewer."""
LEAST_BLOCK = 3
"""Packets of a block at least."""
FIRST_PORT = 1024
LAST_PORT = 65535
SPAN = 3.2
"""Length of a row in standard deviations of where it begins: it lies across its port 89 times of 100 then, and with the sockets beyond
that more often. That several rows fit is worth more than to be surer of fewer."""
LEAST_ROW = 3
"""Sockets of a row beyond that."""
ROW_OWN = 2
"""``OWN_SLOTS`` where a side has just measured for a quarter of a second and speaks to nobody else by new ways."""
NOISY = 5
"""One of so many gaps at least is left out by a NAT that leaves out ports; fewer are others'."""
PAUSED_PRIOR, PAUSED_DOUBT = 0.02, 4.0
"""``PRIOR`` and the least standard deviation of the rate where a pause was measured: the rate that was known may hold the own mappings of
a member that has just come."""
MISSED = 0.003
"""Share of rows that a comb may miss: what three standard deviations leave out."""
"""What an allocation wraps round to, and after, where its range is not known."""
BLOCKS = (64, 128, 256, 512, 1024, 2048, 4096)
"""Sizes of a carrier's port blocks, in ports: powers of two, and aligned (RFC 7422 5)."""


class Forecast(NamedTuple):
    """An incremental NAT right now. ``last``: the newest outside port measured; ``rate``: others' mappings a second, ``doubt`` its
    variance; ``noise``: ports that it leaves out for each mapping, ``scatter``: variance of the slots from one to the next, both seen in
    ``gaps`` gaps; ``low`` to ``high``: the range that it wraps round."""

    last: int
    step: int
    rate: float = 0.0
    doubt: float = 0.0
    noise: float = 0.0
    scatter: float = 0.0
    gaps: int = 1
    low: int = FIRST_PORT
    high: int = LAST_PORT

    def port(self, slot: int) -> int:
        """The outside port of a slot (1 is the next one), wrapped round the range."""
        size = self.high - self.low + 1
        return self.low + (self.last - self.low + slot * self.step) % size

    def window(self, seconds: float, own: int = OWN_SLOTS) -> Window:
        """Where the first new mapping is ``seconds`` after the measurement; ``own``: mappings that this computer may make before it."""
        each = 1 + self.noise
        others = self.rate * seconds
        spread = others * (each**2 + self.scatter) + (own + 1) * self.scatter + self.doubt * (seconds * each) ** 2
        mean, deviation = others * each, SIGMAS * sqrt(spread)
        return Window(1 + max(0, int(mean - deviation)), ceil(mean + deviation + (own + 1) * each))

    def after(self, seconds: float, packets: int, own: int = OWN_SLOTS) -> tuple[float, float]:
        """The slot in which the newest mapping is, ``seconds`` after the measurement and ``packets`` mappings of the punch, and the
        variance of that: others' number, what they and we leave out, and how well the pace and the rate are known."""
        each = 1 + self.noise
        others = self.rate * seconds
        made = others + packets + own / 2
        known = self.scatter / self.gaps * made**2 + self.doubt * (seconds * each) ** 2
        return made * each, others * each**2 + made * self.scatter + own**2 / 12 * each**2 + known

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


class Block(NamedTuple):
    """``packets`` of one side to as many of the other side's ``size`` slots from ``first`` on, each of them once, in random order, after
    ``sent`` packets before."""

    first: int
    size: int
    packets: int
    sent: int


class Row(NamedTuple):
    """``sockets`` packets of one side to the other side's ``slot``, from a socket each, after ``sent`` packets before."""

    slot: int
    sockets: int
    sent: int


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


def forecast(
    sightings: Sequence[Sighting], *, step: int = 0, rate: float = 0.0, low: int = 0, high: int = 0, unsure: float = DOUBT[1]
) -> Forecast | None:
    """What a measurement says. ``step`` and ``rate`` are what was known before; ``low`` and ``high`` the range where it is known;
    ``unsure``: a standard deviation of the rate, whatever it is.

    The rate is estimated as a Gamma distribution: what was known counts as ``PRIOR`` seconds of watching, the slots that were left out
    between the measurement's own count as others' mappings. More than these can have made in so short a time, the NAT itself leaves out.
    """
    step = step_of(sightings, step)
    if not sightings or not step:
        return None
    newest = _newest(sightings, step)
    gaps = _gaps(sightings, step)
    times = [sighting.at for sighting in sightings]
    watched = max(times) - min(times)
    others = sum(gaps)
    usual = rate * watched
    noise = scatter = 0.0
    if watched < BRIEF and others > usual + SIGMAS * sqrt(usual) + 1:
        noise = (others - usual) / len(gaps)
        scatter = variance(gaps) if len(gaps) > 1 else 0.0
        others = round(usual)
    total = PRIOR + watched
    expected = (rate * PRIOR + others) / total
    first, last = (low, high) if 0 < low < newest.port < high else (FIRST_PORT, LAST_PORT)
    if not first <= newest.port <= last:
        first = 1
    doubt = (expected + 1) / total + (DOUBT[0] * expected) ** 2 + unsure**2
    return Forecast(newest.port, step, expected, doubt, noise, scatter, max(1, len(gaps)), first, last)


def forecast_paused(sightings: Sequence[Sighting], *, step: int = 0, rate: float = 0.0) -> Forecast | None:
    """The same of a measurement whose second half was taken after a pause; as without one where that cannot be seen of it."""
    step = step_of(sightings, step)
    usual = forecast(sightings, step=step, rate=rate)
    halves = _halves(sightings)
    if usual is None or halves is None:
        return usual
    before, after = halves
    gaps = [gap for half in halves for gap in _gaps(half, step)]
    noisy = sum(gap > 0 for gap in gaps) * NOISY >= len(gaps) > 1
    noise, scatter = (mean(gaps), variance(gaps)) if noisy else (0.0, 0.0)
    newest = _newest(before, step).port
    slots = min((one.port - newest) // step for one in after)
    if slots < 1:                       # the ports wrapped round, or one was seen again
        return usual
    others = max(0.0, slots / (1 + noise) - 1)
    total = PAUSED_PRIOR + median(one.at for one in after) - median(one.at for one in before)
    others_rate = (rate * PAUSED_PRIOR + others) / total
    doubt = (others_rate + 1) / total + PAUSED_DOUBT**2
    return usual._replace(rate=others_rate, doubt=doubt, noise=noise, scatter=scatter, gaps=max(1, len(gaps)))


def _halves(sightings: Sequence[Sighting]) -> tuple[list[Sighting], list[Sighting]] | None:
    """Before the pause and after it; None where two that overlap, or are of unlike size, say that there was none."""
    ordered = sorted(sightings)
    middle = len(ordered) // 2
    cuts = range(middle - len(ordered) // 4, middle + len(ordered) // 4 + 1)
    cut = max((cut for cut in cuts if 0 < cut < len(ordered)), key=lambda cut: ordered[cut].at - ordered[cut - 1].at, default=0)
    before, after = ordered[:cut], ordered[cut:]
    if cut < 2 or len(after) < 2 or min(one.at for one in after) - max(one.at for one in before) < BRIEF:
        return None
    return before, after


def _newest(sightings: Sequence[Sighting], step: int) -> Sighting:
    """The one furthest on; behind a wrap-round the latest in order."""
    ordered = sorted(sightings)
    newest = ordered[0]
    for sighting in ordered[1:]:
        distance = (sighting.port - newest.port) * (1 if step > 0 else -1)
        if distance > 0 or distance < -(LAST_PORT // 2):
            newest = sighting
    return newest


def _gaps(sightings: Sequence[Sighting], step: int) -> list[int]:
    """Slots that were left out between the measured ones, or that others took."""
    ports = sorted((sighting.port for sighting in sightings), reverse=step < 0)
    gaps = [(after - before) // step - 1 for before, after in itertools.pairwise(ports) if after != before]
    usual = median(gaps) if gaps else 0.0
    kept = sorted(gap for gap in gaps if gap < OUTLIER * (1 + usual))
    return kept[:-1] if len(kept) > 1 and kept[-1] > ALONE * (1 + kept[-2]) else kept


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


def weave(near: Forecast, far: Forecast, ages: tuple[float, float], spacing: float, most: int) -> tuple[list[Block], list[Block]]:
    """The blocks of both sides, ``spacing`` seconds a packet, ``most`` packets at most: those of the side behind ``near``, in slots of
    ``far``, and the other way round. ``ages``: seconds from both measurements to the first packet."""
    ends = near, far
    paces = [end.pace(spacing) for end in ends]
    blocks: tuple[list[Block], list[Block]] = ([], [])
    sent = 0
    while len(blocks[0]) < BLOCKS_WOVEN and sent < most:
        now = [end.after(age + sent * spacing, sent) for end, age in zip(ends, ages, strict=True)]
        apart = sqrt(sum(spread / pace**2 for (_, spread), pace in zip(now, paces, strict=True)))
        packets = min(most - sent, max(LEAST_BLOCK, ceil(UNSURE * apart)))
        for side, (other, pace) in enumerate(zip(now[::-1], paces[::-1], strict=True)):
            blocks[side].append(Block(1 + int(other[0]), min(ceil(packets * pace), LAST_PORT), packets, sent))
        sent += packets
    return blocks


def rows(
    near: Forecast, far: Forecast, ages: tuple[float, float], spacing: float, most: int, sockets: int
) -> tuple[list[Row], list[Row]]:
    """The rows of both sides, ``spacing`` seconds a packet, ``most`` packets and ``sockets`` sockets a side at most: those of the side
    behind ``near``, to slots of ``far``, and the other way round. ``ages``: seconds from both measurements to the first packet."""
    found: tuple[list[Row], list[Row]] = ([], [])
    sent = [0, 0]
    while True:
        lengths, middles = [], []
        for end, age, before in zip((near, far), ages, sent, strict=True):
            slot, spread = end.after(age + before * spacing, before, ROW_OWN)
            pace = end.pace(spacing)
            wanted = min(sockets, ceil(SPAN * sqrt(spread) / pace) + LEAST_ROW)
            lengths.append(min(wanted, most - before))
            middles.append(round(slot + 1 + end.noise + (lengths[-1] - 1) / 2 * pace))
            if 2 * lengths[-1] < wanted:
                return found
        for side in (0, 1):
            found[side].append(Row(max(1, middles[1 - side]), lengths[side], sent[side]))
            sent[side] += lengths[side]
