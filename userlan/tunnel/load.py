"""Defence of the costly part of the handshake: when cookies are asked for, and how much one proven address may ask."""

from __future__ import annotations

import ipaddress

from userlan.tunnel.constants import SOURCE_BURST, SOURCE_RATE, SOURCES_LIMIT, UNDER_LOAD_RATE, UNDER_LOAD_TIME
from userlan.wire.endpoint import Endpoint, unmapped


class LoadMeter:
    """Under load: more than `rate` handshake messages a second (a bucket of one second's worth), and 1 s afterwards."""

    def __init__(self, now: float, rate: float = UNDER_LOAD_RATE) -> None:
        self._rate = rate
        self._level = 0.0
        self._updated = now
        self._until = now

    def message(self, now: float) -> bool:
        """Count a handshake message whose mac1 is valid; True when it finds us under load."""
        self._level = max(self._level - (now - self._updated) * self._rate, 0.0)
        self._updated = now
        if self._level + 1.0 > self._rate:
            self._until = now + UNDER_LOAD_TIME
            return True
        self._level += 1.0
        return now < self._until


class SourceLimiter:
    """A token bucket for each IPv4 address or IPv6 /64 that proved itself by a cookie (kernel: ratelimiter.c)."""

    def __init__(self) -> None:
        self._buckets: dict[bytes, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def allow(self, source: Endpoint, now: float) -> bool:
        """Take a token; False when the source has none left, or when too many sources are remembered already."""
        key = _network_of(source)
        held = self._buckets.pop(key, None)
        if held is None:
            self._forget_idle(now)
            if len(self._buckets) >= SOURCES_LIMIT:
                return False
            tokens = SOURCE_BURST
        else:
            tokens = min(held[0] + (now - held[1]) * SOURCE_RATE, SOURCE_BURST)
        allowed = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if allowed else tokens, now)
        return allowed

    def _forget_idle(self, now: float) -> None:
        """Drop the buckets that are full again; they are in the order of their last use."""
        refill = SOURCE_BURST / SOURCE_RATE
        while self._buckets:
            oldest = next(iter(self._buckets))
            if now - self._buckets[oldest][1] < refill:
                return
            del self._buckets[oldest]


def _network_of(source: Endpoint) -> bytes:
    """The IPv4 address, or the IPv6 /64, as bytes; a host that is not numeric counts as itself."""
    try:
        packed = ipaddress.ip_address(unmapped(source.host)).packed
    except ValueError:
        return source.host.encode()
    return packed[:8] if len(packed) == 16 else packed
