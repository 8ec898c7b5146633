"""How large the receive window is: what the reader needs, and no more.

Theory
------
A window of one bandwidth-delay product keeps a path busy; two let a loss be repaired without a stop. A
larger one only lets the sender fill queues. The product is *octets that the application consumed in the shortest
round trip seen*: with the shortest one, a queue in the path, which lengthens the round trip, does not look like a
need for more window, so the window does not feed the queue (the defect of tuning by the current round trip). It never
shrinks: RFC 9293 3.8.6 forbids taking back.

::

    limit = clamp(2 x consumed / elapsed x shortest round trip, start .. maximum)

A sender in slow start doubles what it sends each round trip, and is measured a round trip late: while consumption
exceeds all that was measured before by half, the gain is 3. What a filled gap lets through at once is no such growth, so
no more counts than arrived in the same time. It starts small: only what an application really read makes it
grow, so a peer whose octets nobody reads holds no more than the start.
"""

from __future__ import annotations

GAIN = 2
"""Windows per bandwidth-delay product: one in flight, one while a loss is repaired."""

GROWTH_GAIN = 3
GROWTH = 1.5
"""The gain while consumption exceeds its peak by this factor."""

MIN_INTERVAL = 0.010
"""Seconds over which consumption is measured at least: shorter ones measure the batches of the event loop."""

SHORTEST_LIFETIME = 60.0
"""Seconds: a shortest round trip that was not seen again is forgotten, since the path may have changed."""


class ReceiveWindow:
    """``limit`` is how many octets may be buffered or in flight towards here."""

    __slots__ = ("_arrived", "_consumed", "_maximum", "_measured_at", "_next", "_peak", "_since", "limit", "round_trip")

    def __init__(self, start: int, maximum: int) -> None:
        self.limit = start
        self.round_trip: float | None = None
        self._maximum = max(start, maximum)
        self._next: float | None = None
        self._measured_at = 0.0
        self._since: float | None = None
        self._consumed = 0
        self._arrived = 0
        self._peak = 0.0

    def bound(self, maximum: int) -> None:
        """No window beyond ``maximum`` octets can be told."""
        self._maximum = min(self._maximum, maximum)
        self.limit = min(self.limit, maximum)

    def round_trip_sample(self, rtt: float, now: float) -> None:
        """A round trip took ``rtt`` seconds."""
        if self._next is None or rtt < self._next:
            self._next = rtt
        if self.round_trip is None or rtt <= self.round_trip:
            self.round_trip = rtt
            self._measured_at = now
        elif now - self._measured_at > SHORTEST_LIFETIME:
            self.round_trip = self._next
            self._next = None
            self._measured_at = now

    def consumed(self, total: int, arrived: int, now: float) -> None:
        """The application has read ``total`` octets since the connection began; ``arrived`` is where the octets end that
        are here, with those out of order counted. Called for each ACK that is sent."""
        since = self._since
        if since is None:
            self._since, self._consumed, self._arrived = now, total, arrived
            return
        round_trip = self.round_trip
        elapsed = now - since
        if round_trip is None or elapsed < round_trip or elapsed < MIN_INTERVAL:
            return
        rate = min(total - self._consumed, arrived - self._arrived) / elapsed
        wanted = int((GROWTH_GAIN if 0 < GROWTH * self._peak < rate else GAIN) * rate * round_trip)
        if rate > self._peak:
            self._peak = rate
        if wanted > self.limit:
            self.limit = min(wanted, self._maximum)
        self._since, self._consumed, self._arrived = now, total, arrived
