"""Which of a peer's paths is used: a pure function of what is known of each.

::

    class     direct UDP  >  direct TCP  >  relay            another class wins whatever its delay
    cost      round trip - bonus (loopback 50 ms, link 30, private 20, IPv6 10)
    change    within a class for a gain of more than 10 ms and 15 % of the round trip in use

A relay costs somebody's bandwidth and may be somewhere else tomorrow; TCP beneath the tunnel adds its own recovery to the inner one's.
The bonus stands for what a round trip does not show: a path inside a house has no queue of a provider's, IPv6 has no NAT that forgets.

Hysteresis. A change needs a cost lower by more than ``GAIN``, so that a chain of changes without news ends, each of them being downhill;
of two paths whose costs differ by d, one change and the change back need d to move by more than twice the gain.

A path is doubted from the moment at which its questions go unanswered until it is heard again (the owner says which), and one that was not
heard for ``FRESH`` seconds is none to change to. Where no path is sound a relay's is used first: it is the one that does not depend on
what anybody's NAT has forgotten.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from math import inf
from typing import NamedTuple

from userlan.traversal.candidates import is_private
from userlan.wire.endpoint import RELAY, TCP, Endpoint

GAIN = 0.010
"""Seconds of round trip that a change within a class must save."""
GAIN_SHARE = 0.15
"""The part of the round trip in use that it must save, too: 10 ms are much of 40 and little of 400."""
FRESH = 90.0
"""Seconds since a path was heard for which it counts as one to change to: paths that are not in use are asked every minute."""
LOOPBACK_BONUS, LINK_BONUS, PRIVATE_BONUS, IPV6_BONUS = 0.050, 0.030, 0.020, 0.010
"""Seconds of round trip that a kind of address is worth; the points of Tailscale's ``betterAddr``."""


class Path(NamedTuple):
    """One way to a peer, authenticated by the tunnel. ``rtt``: seconds, None: not measured. ``heard_at``: monotonic seconds, when an
    authentic packet came by it last. ``doubted``: it was asked and did not answer in time."""

    endpoint: Endpoint
    rtt: float | None = None
    heard_at: float = -inf
    doubted: bool = False


def rank(endpoint: Endpoint) -> int:
    """The class: 2 for direct UDP, 1 for direct TCP, 0 for a relay."""
    if endpoint.transport == RELAY:
        return 0
    return 1 if endpoint.transport == TCP else 2


@lru_cache(maxsize=1024)
def bonus(host: str) -> float:
    """Seconds that the kind of an address is worth; ``host`` is numeric."""
    address = ipaddress.ip_address(host)
    family = IPV6_BONUS if address.version == 6 else 0.0
    if address.is_loopback:
        return LOOPBACK_BONUS + family
    if address.is_link_local:
        return LINK_BONUS + family
    return PRIVATE_BONUS + family if is_private(host) else family


def cost(path: Path) -> float:
    """Seconds, the less the better within a class; infinite for what is not measured. A relay's own address says nothing of the way."""
    if path.rtt is None:
        return inf
    return path.rtt - (bonus(path.endpoint.host) if path.endpoint.transport != RELAY else 0.0)


def order(path: Path) -> tuple[int, float, float, Endpoint]:
    """The key of a total order, the best path first: class, cost, then what was heard last, then the endpoint itself."""
    return -rank(path.endpoint), cost(path), -path.heard_at, path.endpoint


def better(path: Path, current: Path) -> bool:
    """Whether ``path`` is so much better that the change pays. Both are believed to work; what is not measured is not compared."""
    if rank(path.endpoint) != rank(current.endpoint):
        return rank(path.endpoint) > rank(current.endpoint)
    if path.rtt is None or current.rtt is None:
        return False
    gain = cost(current) - cost(path)
    return gain > GAIN and gain > GAIN_SHARE * current.rtt


def choose(paths: Iterable[Path], current: Endpoint | None, now: float) -> Endpoint | None:
    """The path to send by; ``current`` is the one in use, None: none. ``now``: monotonic seconds. ``current`` where there are no paths."""
    known = sorted(paths, key=order)
    if not known:
        return current
    used = next((path for path in known if path.endpoint == current), None)
    sound = [path for path in known if not path.doubted and (path is used or now - path.heard_at <= FRESH)]
    if not sound:
        relays = [path for path in known if path.endpoint.transport == RELAY]
        return (relays[0] if relays else used or max(known, key=lambda path: path.heard_at)).endpoint
    if used is None or used.doubted:
        return sound[0].endpoint
    return next((path for path in sound if better(path, used)), used).endpoint
