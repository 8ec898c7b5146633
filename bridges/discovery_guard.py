"""What keeps the discovery relay bounded and free of loops, sans-IO: rates, the memory of what was carried, what was found."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import NamedTuple

ECHO_WINDOW = 2.0
"""Seconds in which the same datagram, carried by another node of this computer, is known again."""

MAX_CARRIED = 512
"""Datagrams remembered for that; the oldest is forgotten."""

FOUND_LIFETIME = 600.0
"""Seconds that something found is told after it was last heard of."""

MAX_FOUND = 512
"""Things found; the one heard of longest ago gives way."""

MAX_FOUND_OF_PEER = 64
"""Things found of one peer: it can name as many ports as there are."""


class Bucket:
    """A token bucket: ``rate`` a second, ``burst`` at once."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether one more may pass at ``now``."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Carried:
    """What was carried from here to the LAN a moment ago.

    Two nodes on one computer hear the same local broadcast and both carry it: what comes from the other one is nothing that the
    local programs have not heard.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def note(self, port: int, channel: int, datagram: bytes, now: float) -> None:
        """It is carried, from a local port to the port of a channel."""
        key = _digest(port, channel, datagram)
        self._seen[key] = now
        self._seen.move_to_end(key)
        while len(self._seen) > MAX_CARRIED:
            self._seen.popitem(last=False)

    def knows(self, port: int, channel: int, datagram: bytes, now: float) -> bool:
        """Whether the same was carried within the window."""
        at = self._seen.get(_digest(port, channel, datagram))
        return at is not None and now - at < ECHO_WINDOW


def _digest(port: int, channel: int, datagram: bytes) -> bytes:
    return hashlib.blake2s(b"%d %d " % (port, channel) + datagram, digest_size=16).digest()


class Sighting(NamedTuple):
    """Something that a peer offers, as a profile's programs told it."""

    profile: str
    peer: str
    """Name."""
    key: str
    address: str
    """Its address on the LAN."""
    host: str
    """Where local programs see it."""
    port: int
    peer_port: int
    protocol: str
    seen: float


class Found:
    """What was found, for people: bounded, and forgotten when it is not heard of again."""

    def __init__(self) -> None:
        self._sightings: OrderedDict[tuple[str, str, int, str], Sighting] = OrderedDict()

    def note(self, sighting: Sighting) -> None:
        """Heard of (again)."""
        key = (sighting.profile, sighting.key, sighting.peer_port, sighting.protocol)
        if key not in self._sightings:
            of_peer = [other for other, known in self._sightings.items() if known.key == sighting.key]
            if len(of_peer) >= MAX_FOUND_OF_PEER:
                del self._sightings[of_peer[0]]
            while len(self._sightings) >= MAX_FOUND:
                self._sightings.popitem(last=False)
        self._sightings[key] = sighting
        self._sightings.move_to_end(key)

    def forget(self, profile: str) -> None:
        """A profile was switched off."""
        for key in [key for key in self._sightings if key[0] == profile]:
            del self._sightings[key]

    def listing(self, now: float) -> list[Sighting]:
        """What there is, the latest last."""
        while self._sightings and now - next(iter(self._sightings.values())).seen >= FOUND_LIFETIME:
            self._sightings.popitem(last=False)
        return list(self._sightings.values())
