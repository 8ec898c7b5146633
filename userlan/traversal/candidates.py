"""Which addresses a client lets itself be sent to, and in what order they are tried.

A mediator is hostile until proven: it names targets, so the client checks each of them and keeps its own budget. The rules are
those of ICE's and frp's experience: no multicast, no unspecified, no reserved range, no port 0; private addresses only where both
ends may share a private network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice, zip_longest

from userlan.wire.endpoint import TCP, UDP, Endpoint, unmapped

MAX_CANDIDATES = 12
"""Endpoints of one attempt. More would let an introduction be used to spray a network (a computer has rarely more than 6 addresses)."""
TARGET_RATE = 20.0
"""Packets a second to one target host over all attempts; a whole attempt needs 7 in 5 s for each of its ports."""
TARGET_BURST = 40.0
"""Packets to one target host that may leave at once: several members behind one public address are introduced together."""
MAX_TARGETS = 4096
"""Target hosts with a budget of their own: 1,000 members with four addresses each. Beyond that, one whose budget is whole again is
forgotten, and where there is none such, no further host is sent to: whoever names ever new hosts gives no host its budget anew."""
LOOKED_THROUGH = 4
"""Budgets that are looked at for one that is whole again: what a datagram of a stranger's costs stays small."""


PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8", "::1/128",                              # this computer (RFC 1122, 4291)
        "169.254.0.0/16", "fe80::/10",                         # this link (RFC 3927, 4291)
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",       # this site (RFC 1918)
        "fc00::/7",                                            # this site (RFC 4193)
        "100.64.0.0/10",                                       # behind a carrier's NAT (RFC 6598)
    )
)


@lru_cache(maxsize=1024)
def is_private(host: str) -> bool:
    """Whether a numeric host is of this computer, this link or a private network: it means nothing elsewhere."""
    address = ipaddress.ip_address(host)
    return any(address in network for network in PRIVATE)


def is_loopback(host: str) -> bool:
    """Whether a host is this computer itself; False for what is no numeric host."""
    try:
        return ipaddress.ip_address(unmapped(host)).is_loopback
    except ValueError:
        return False


def usable(endpoint: Endpoint, own_observed: str | None, same_network: bool) -> bool:
    """Whether a client may send to ``endpoint`` when a mediator says so.

    ``own_observed`` is the client's own host as the mediator sees it; ``same_network``: the peer's observed host is the same as the
    client's. Loopback is allowed only where the client itself is seen on loopback (everything on one computer).
    """
    if endpoint.transport not in (UDP, TCP) or not 1 <= endpoint.port <= 65535:
        return False
    try:
        address = ipaddress.ip_address(endpoint.host)
    except ValueError:
        return False
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv4Address) and address == ipaddress.IPv4Address("255.255.255.255"):
        return False
    if not is_private(endpoint.host):
        return True
    seen_private = own_observed is None or is_private(own_observed)
    if address.is_loopback:
        return own_observed is None or ipaddress.ip_address(own_observed).is_loopback or same_network
    return seen_private or same_network


def select(
    endpoints: Iterable[Endpoint], own_observed: str | None, peer_observed: str | None, own: frozenset[Endpoint] = frozenset()
) -> tuple[Endpoint, ...]:
    """The usable endpoints, unmapped, without repeats and without one's ``own``; the families alternate, so that a cap cuts off neither."""
    families: tuple[list[Endpoint], list[Endpoint]] = ([], [])
    same = own_observed is not None and own_observed == peer_observed
    seen: set[Endpoint] = set()
    for endpoint in endpoints:
        try:
            plain = Endpoint(endpoint.transport, unmapped(endpoint.host), endpoint.port)
        except ValueError:
            continue
        if plain in seen or plain in own or not usable(plain, own_observed, same):
            continue
        seen.add(plain)
        families[":" in plain.host].append(plain)
    mixed = [endpoint for pair in zip_longest(*families) for endpoint in pair if endpoint is not None]
    return tuple(mixed[:MAX_CANDIDATES])


def subscriber(host: str) -> str:
    """What counts as one target or source: an IPv4 address, or the /64 that one IPv6 subscriber has (RFC 6177)."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return host
    plain = unmapped(str(address))
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64)) if ":" in plain else plain


_subscriber = lru_cache(maxsize=MAX_TARGETS)(subscriber)


class TargetBudget:
    """A token bucket for each target host (IPv6: each /64), over all attempts of this node: the node is no weapon, whoever schedules it."""

    def __init__(self, rate: float = TARGET_RATE, burst: float = TARGET_BURST, hosts: int = MAX_TARGETS) -> None:
        self._rate = rate
        self._burst = burst
        self._hosts = hosts
        self._buckets: dict[str, tuple[float, float]] = {}
        """Tokens, and when they were counted; the host unused for longest first."""
        self.refused = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def allow(self, host: str, now: float) -> bool:
        """Take one packet's worth for ``host``; False (and counted) where its budget is used up."""
        name = _subscriber(host)
        bucket = self._buckets.pop(name, None)
        if bucket is None and len(self._buckets) >= self._hosts and not self._make_room(now):
            self.refused += 1
            return False
        tokens, updated = bucket or (self._burst, now)
        tokens = min(self._burst, tokens + (now - updated) * self._rate)
        allowed = tokens >= 1.0
        self._buckets[name] = (tokens - 1.0 if allowed else tokens, now)
        if not allowed:
            self.refused += 1
        return allowed

    def _make_room(self, now: float) -> bool:
        """Forget a bucket that is full again, of those unused for longest: to forget it changes nothing."""
        for name in list(islice(self._buckets, LOOKED_THROUGH)):
            tokens, updated = self._buckets[name]
            if tokens + (now - updated) * self._rate >= self._burst:
                del self._buckets[name]
                return True
            self._buckets[name] = self._buckets.pop(name)       # another time: it is the others' turn to be looked at
        return False
