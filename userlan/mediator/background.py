"""How busy a NAT is: the mappings a second that others make behind one public address, from what the vantage sees.

A measurement sees ``n`` fresh sockets one after the other. An incremental NAT that nobody else uses gives them ports one
step apart; what is more than a step was taken by others meanwhile. Between two measurements of one address, what the
port moved on, less what the mediator's own plans opened there, was taken by others too. The rate widens the window in
which the next port is looked for (``userlan.traversal.prediction``)::

    rate = ((last port - first port) / step / steps a mapping - own mappings) / seconds
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, median
from typing import NamedTuple

#: Public addresses that are remembered, about 200 octets each.
MAX_SITES = 4096
#: Seconds between two sightings that say something: the clocks of links jitter by milliseconds.
SHORTEST = 0.02
#: Seconds after which a port has moved on too far: at 266 mappings a second, a quarter of all ports.
LONGEST = 60.0
#: Weight of a new estimate that is lower; a higher one counts at once, since too narrow a window costs a punch.
FALL_GAIN = 0.3
#: Greatest rate believed, mappings a second; the busiest that was seen in the literature is 266.
MAX_RATE = 1000.0
#: Mappings that a member makes by itself when it comes: it asks about its NAT.
OWN_AT_FIRST = 20.0
#: Usual gaps from which on a gap is none: the ports wrapped round, or a socket had its mapping before.
OUTLIER = 16
#: Ports of a whole range, over which a NAT wraps around.
PORTS = 64_512


class _Site(NamedTuple):
    port: int
    at: float
    opened: float  # mappings that own plans have made since
    rate: float


class Background:
    """The rates by public address. ``at`` and ``now`` are monotonic seconds of one clock."""

    def __init__(self) -> None:
        self._sites: OrderedDict[bytes, _Site] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sites)

    def rate(self, site: bytes) -> float:
        """Mappings a second of others; 0 where nothing is known."""
        known = self._sites.get(site)
        return 0.0 if known is None else known.rate

    def opened(self, site: bytes, mappings: int) -> None:
        """A plan let a member open so many mappings behind a site."""
        known = self._sites.get(site)
        if known is not None:
            self._sites[site] = known._replace(opened=known.opened + mappings)

    def came(self, site: bytes, port: int, at: float) -> None:
        """A member came: its session's port was given at ``at``. Only where nothing newer is known."""
        if port and site not in self._sites:
            self._sites[site] = _Site(port, at, OWN_AT_FIRST, 0.0)

    def measured(self, site: bytes, seen: Sequence[tuple[int, float]], step: int) -> None:
        """One measurement: ports and times of fresh sockets in the order in which they were seen; ``step`` as of the NAT."""
        if not seen or step == 0:
            return
        before = self._sites.pop(site, None)
        each = _each(seen, step)
        estimates = [_estimate(seen[0], seen[-1], len(seen) - 1, step)]
        if before is not None:
            estimates.append(_estimate((before.port, before.at), seen[0], before.opened + 1, step, each))
        known = [estimate for estimate in estimates if estimate is not None]
        rate = 0.0 if before is None else before.rate
        if known:
            newest = max(known)
            rate = newest if newest > rate else rate + FALL_GAIN * (newest - rate)
        self._sites[site] = _Site(*seen[-1], 0.0, rate)
        if len(self._sites) > MAX_SITES:
            self._sites.popitem(last=False)


def _each(seen: Sequence[tuple[int, float]], step: int) -> float:
    """Steps from one mapping to the next that was made at the same moment: what is beyond one, the NAT itself leaves out."""
    if len(seen) < 2 or seen[-1][1] - seen[0][1] >= SHORTEST:
        return 1.0
    gaps = [abs(after - before) / abs(step) for before, after in pairwise(sorted(port for port, _ in seen))]
    regular = [gap for gap in gaps if 0 < gap <= OUTLIER * median(gaps)]
    return max(1.0, mean(regular)) if regular else 1.0


def _estimate(first: tuple[int, float], last: tuple[int, float], own: float, step: int, each: float = 1.0) -> float | None:
    """Mappings a second of others between two sightings; None where they say nothing."""
    seconds = last[1] - first[1]
    if not SHORTEST <= seconds <= LONGEST:
        return None
    moved = (last[0] - first[0]) * (1 if step > 0 else -1) % PORTS / abs(step)
    if moved * abs(step) > PORTS / 2:
        return None
    return min(max(0.0, moved / each - own) / seconds, MAX_RATE)
