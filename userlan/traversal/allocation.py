"""How a NAT picks the outside ports, estimated from a few of them: robust against loss, reordering and the mappings of others.

What an incremental NAT gives, sorted, is an arithmetic progression with holes where others took ports meanwhile: every gap is a multiple
of the step, so that the step is their greatest common divisor, whatever the noise; and it follows time, which tells it from a random
choice within a small block::

    time ─▶  40120  40122  40128  40126  40134      sorted gaps 2 4 2 6 → step +2, two ports went to others, two packets overtook
    time ─▶  40133  40007  40201  40090  40155      no order in time, all within 256 → a block of a carrier's NAT (chunked)
    time ─▶  61022   3390  18876  44071  27519      random
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import mean, median
from typing import Final, NamedTuple

from userlan.traversal.nat import Allocation

LEAST_FOR_STEP: Final = 4
"""Ports from which a step is told: four random ports lie in order and within 64 of each other once in 10^8."""

LEAST_FOR_BLOCK: Final = 6
"""Ports from which a block is told: six random ports lie within ``LARGEST_BLOCK`` once in 5,000."""

ENOUGH: Final = 6
"""Mappings after which more of them add nothing to what is known of the kind."""

LARGEST_BLOCK: Final = 4096
"""Ports of the largest block that counts as one (RFC 7422 and vendors' defaults: 64 to 8,064, mostly up to 4,032). Of a larger one the
bounds say the same."""

LARGEST_STEP: Final = 4096
ORDERED: Final = 0.8
"""Kendall's tau between time and port from which ports follow time: adjacent packets may overtake each other, no more."""

NOISE: Final = 64
"""Median gap in steps up to which ports count as consecutive: others make 266 mappings a second at worst, in bursts of some ms."""

OUTLIER: Final = 16
"""A gap of so many median ones is none: the allocator wrapped round, or went on in another block."""

FASTEST: Final = 1000.0
"""Ports in a second that others may take, so that a gap with so much time in it is none of an outlier."""

DENSE: Final = 2
"""Steps for each mapping up to which consecutive ports are told from a block's without their order, which a bad line has mixed up: 15 of
a block of 64, the smallest, lie so close together once in 2,000."""

REGULAR: Final = 0.75
"""Part of the gaps that may be no outliers, at least."""

APART: Final = 0.1
"""Seconds after which a packet does not overtake another one."""

TOGETHER: Final = 0.005
"""Seconds within which two mappings count as made at one moment: what lies between their ports then, the NAT leaves out by itself."""

LEAST_DURATION: Final = 0.05
"""Seconds below which no rate is estimated."""

KEPT: Final = 2 / 3
"""Part of the mappings that keep their inside port from which on the NAT preserves ports; the others were taken already."""

LOWEST, HIGHEST = 1024, 65535
"""Where NATs take ports from (RFC 6056 3.2)."""

USUAL_PART: Final = 0.75
"""Part of all ports above LOWEST from which a range that was seen is taken for all of them."""


class Mapped(NamedTuple):
    """One mapping: its inside port (0: unknown), its outside address and port, and when its first packet left, seconds."""

    inside: int
    host: str
    port: int
    at: float


class Estimate(NamedTuple):
    """``step`` is 0 unless incremental; ``low`` and ``high`` bound the ports in use, 0: nothing to say; ``rate``: others' new mappings a
    second; ``fit``: which part of the ports is as the kind says."""

    kind: Allocation
    step: int = 0
    low: int = 0
    high: int = 0
    rate: float = 0.0
    fit: float = 0.0


def estimate(mappings: Sequence[Mapped], made: Sequence[float] = ()) -> Estimate:
    """From distinct mappings of this computer, in any order. ``made``: when each mapping of its own was made, also of those that were not
    seen; what is beyond them was others'."""
    known = [mapping for mapping in mappings if mapping.inside]
    kept = [mapping for mapping in known if mapping.inside == mapping.port]
    if len(kept) >= 2 and len(kept) >= KEPT * len(known):
        return Estimate("preserving", fit=len(kept) / len(known))
    others = [mapping for mapping in mappings if mapping not in kept]
    pools: dict[str, list[Mapped]] = {}
    for mapping in others:
        pools.setdefault(mapping.host, []).append(mapping)
    most = max(pools, key=lambda host: len(pools[host]), default="")
    largest = sorted(pools.get(most, ()), key=lambda mapping: mapping.at)
    return _incremental(largest, made) or _scattered([mapping.port for mapping in others])


class _Gap(NamedTuple):
    size: int
    seconds: float


def _incremental(mappings: Sequence[Mapped], made: Sequence[float]) -> Estimate | None:
    if len(mappings) < LEAST_FOR_STEP:
        return None
    middle = mappings[len(mappings) // 2].port
    offsets = [(mapping.port - middle + 32768) % 65536 - 32768 for mapping in mappings]
    times = [mapping.at for mapping in mappings]
    sequence = sorted(zip(offsets, times, strict=True))
    gaps = [_Gap(two[0] - one[0], abs(two[1] - one[1])) for one, two in pairwise(sequence) if two[0] != one[0]]
    if not gaps:
        return None
    usual = median(gap.size for gap in gaps)
    regular = [gap.size for gap in gaps if gap.size <= usual * (OUTLIER + FASTEST * gap.seconds)]
    step = math.gcd(*regular)
    steps = sum(regular) // step
    order = _kendall(offsets, times)
    if abs(order) < ORDERED and steps > DENSE * len(mappings):
        return None
    if step > LARGEST_STEP or usual > NOISE * step or len(regular) < REGULAR * len(gaps):
        return None
    ports = [mapping.port for mapping in mappings]
    signed = step if order > 0 else -step
    together = [gap.size // step for gap in gaps if gap.seconds < TOGETHER and gap.size in regular]
    each = mean(together) if len(together) >= LEAST_FOR_STEP else 1.0
    return Estimate("incremental", signed, min(ports), max(ports), _rate(steps / each, times, made), len(regular) / len(gaps))


def _rate(steps: float, times: Sequence[float], made: Sequence[float]) -> float:
    """New mappings a second that were none of this computer's, of ``steps`` that were made in all."""
    first, last = min(times), max(times)
    if last - first < LEAST_DURATION:
        return 0.0
    own = sum(first <= at <= last for at in made) if made else len(times)
    return max(0.0, (steps - (own - 1)) / (last - first))


def _scattered(ports: Sequence[int]) -> Estimate:
    if len(ports) < LEAST_FOR_STEP:
        return Estimate("unknown")
    low, high = min(ports), max(ports)
    span = high - low
    if len(ports) >= LEAST_FOR_BLOCK and span < LARGEST_BLOCK:
        low, high = _block(low, high, len(ports))
        return Estimate("chunked", 0, low, high, fit=1.0)
    margin = span // (len(ports) - 1)
    low, high = max(LOWEST if low >= LOWEST else 1, low - margin), min(HIGHEST, high + margin)
    if high - low >= USUAL_PART * (HIGHEST - LOWEST):
        low, high = min(low, LOWEST), HIGHEST
    return Estimate("random", 0, low, high, fit=1.0)


def _block(low: int, high: int, count: int) -> tuple[int, int]:
    """The block that ports from ``low`` to ``high`` come from: an aligned power of two where one fits well, else a mean gap more."""
    span = high - low + 1
    size = 1 << (span - 1).bit_length()
    for larger in (size, 2 * size):
        start = low // larger * larger
        if high < start + larger <= 65536:
            return max(1, start), start + larger - 1
    margin = span // (count - 1)
    return max(1, low - margin), min(HIGHEST, high + margin)


def _kendall(values: Sequence[int], times: Sequence[float]) -> float:
    """Kendall's tau between time and value: 1 rising, -1 falling, about 0 without order.

    Of pairs that are ``APART``, where there are any: what left at one moment may have arrived in any order.
    """
    pairs = [(one, two) for one, two in combinations(range(len(values)), 2)]
    apart = [(one, two) for one, two in pairs if times[two] - times[one] >= APART]
    told = sum((values[two] > values[one]) - (values[two] < values[one]) for one, two in pairs) / len(pairs)
    if abs(told) < ORDERED and apart:
        slow = sum((values[two] > values[one]) - (values[two] < values[one]) for one, two in apart) / len(apart)
        return math.copysign(min(abs(slow), ORDERED / 2), slow)
    return told
