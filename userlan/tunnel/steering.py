"""The ways to a peer between which the device's owner decides, and by which of them the peer is heard.

WireGuard sends to where the newest packet came from. With several ways that work at once (a relay's and a direct one, two networks) the
far end would decide by that what this side sends by, and the worst way would win as often as the best. So of a steered peer::

    an authentic packet comes by          the endpoint in use      nothing is to be decided
                                          another known way        ``WayHeard`` (now and then); the owner may ``steer`` there
                                          an unknown endpoint      it moves there, if that is the newest packet: its address changed

Peers that nobody steers (stock WireGuard, mediators) keep the plain rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from userlan.tunnel.constants import KNOWN_WAY_INTERVAL, MAX_WAYS
from userlan.wire.endpoint import Endpoint


class _Way:
    """Monotonic seconds; -inf: never."""

    __slots__ = ("heard_at", "told_at")

    def __init__(self) -> None:
        self.heard_at = -inf
        self.told_at = -inf


class Steering:
    """Of one peer. ``steered``: the owner decides; without it no way is known."""

    __slots__ = ("_ways", "steered")

    def __init__(self) -> None:
        self.steered = False
        self._ways: dict[Endpoint, _Way] = {}

    def know(self, endpoints: Iterable[Endpoint]) -> None:
        """These are the known ways (the first ``MAX_WAYS``), and no others; what was heard of them stays."""
        self.steered = True
        self._ways = {endpoint: self._ways.get(endpoint) or _Way() for endpoint in list(endpoints)[:MAX_WAYS]}

    def knows(self, endpoint: Endpoint) -> bool:
        """Whether it is a known way."""
        return endpoint in self._ways

    def note(self, endpoint: Endpoint, now: float) -> bool:
        """An authentic packet came by ``endpoint``; whether that is a known way."""
        way = self._ways.get(endpoint)
        if way is None:
            return False
        way.heard_at = now
        return True

    def leave(self, endpoint: Endpoint, heard_at: float) -> None:
        """``endpoint`` is not the one in use any more; it was heard last at ``heard_at``."""
        way = self._ways.get(endpoint)
        if way is not None:
            way.heard_at = max(way.heard_at, heard_at)

    def heard_at(self, endpoint: Endpoint) -> float:
        """When an authentic packet came by a known way that was not in use then (monotonic seconds, -inf: never)."""
        way = self._ways.get(endpoint)
        return way.heard_at if way is not None else -inf

    def tell(self, endpoint: Endpoint, now: float) -> bool:
        """Whether the owner shall hear of it now: once in ``KNOWN_WAY_INTERVAL``."""
        way = self._ways.get(endpoint)
        if way is None or now - way.told_at < KNOWN_WAY_INTERVAL:
            return False
        way.told_at = now
        return True
