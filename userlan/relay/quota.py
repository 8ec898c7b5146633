"""How much a channel and a client may send: a bucket of octets and one of packets, taken from once for a whole burst.

A burst passes while neither bucket is empty and may leave it in debt by its own size, so that bursts of 64 KB meet the same rate as
single datagrams do. What does not pass is dropped: it is a tunnel's, and above it there is a TCP that slows down.
"""

from __future__ import annotations

from collections import OrderedDict

BURST_SECONDS = 0.25
"""Seconds of the rate that may come at once: two intercontinental round trips, the burst of a TCP that grows."""
LEAST_PACKET = 250
"""Octets: a rate in octets allows as many packets as if each had so many. Calls and games send 100 to 200, but few; bulk sends 1,400,
and as many acknowledgements of 100."""


class Quota:
    """Two token buckets. ``rate``: octets a second, 0: no limit."""

    __slots__ = ("_octets", "_packets", "_rate", "_updated", "dropped")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._octets = rate * BURST_SECONDS
        self._packets = self._octets / LEAST_PACKET
        self._updated = now
        self.dropped = 0

    @property
    def rate(self) -> float:
        """Octets a second."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        if rate != self._rate:
            self._rate = rate
            self._octets = min(self._octets, rate * BURST_SECONDS)
            self._packets = min(self._packets, self._octets / LEAST_PACKET)

    def take(self, octets: int, packets: int, now: float) -> bool:
        """Whether a burst may pass; counted against the rate if so, and as ``dropped`` packets otherwise."""
        rate = self._rate
        if rate <= 0:
            return True
        elapsed = now - self._updated
        if elapsed > 0:
            full = rate * BURST_SECONDS
            self._octets = min(full, self._octets + elapsed * rate)
            self._packets = min(full / LEAST_PACKET, self._packets + elapsed * rate / LEAST_PACKET)
            self._updated = now
        if self._octets <= 0 or self._packets <= 0:
            self.dropped += packets
            return False
        self._octets -= octets
        self._packets -= packets
        return True


class Rates:
    """Events a second of each of many names, the longest unused forgotten: BINDs of one source address."""

    def __init__(self, rate: float, burst: float, cap: int) -> None:
        self._rate = rate
        self._burst = burst
        self._cap = cap
        self._names: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def allow(self, name: bytes, now: float) -> bool:
        """Takes one of a name's tokens if there is one."""
        tokens, updated = self._names.pop(name, (self._burst, now))
        tokens = min(self._burst, tokens + max(0.0, now - updated) * self._rate)
        allowed = tokens >= 1.0
        self._names[name] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._names) > self._cap:
            self._names.popitem(last=False)
        return allowed
