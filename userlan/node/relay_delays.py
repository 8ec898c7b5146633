"""How far each relay of the pools is: a round of requests to all of them, and the least round trip of each. Sans-IO.

::

    pool told, network changed, every 5 minutes (jittered) ──▶ round: each relay is asked three times, the nearest known ones first
    2.5 s later ──▶ ``delays``; the mediators hear theirs

The question is that of ``userlan.traversal.observation``, which every relay answers: 72 octets, answered by 56, and nothing but the relay's
key is needed. Where a relay does not answer by UDP within a second, it is asked by framed TCP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from userlan.control.meeting import RelayInfo
from userlan.traversal.candidates import TargetBudget
from userlan.traversal.observation import TAG_SIZE, TRANSACTION_SIZE, Request, Seal, is_reply
from userlan.tunnel.endpoint import Buffer, Burst
from userlan.wire.endpoint import TCP, UDP, Endpoint

INTERVAL = 300.0
"""Seconds between rounds; each is drawn from the last quarter of it, so that nodes do not ask at one moment."""
ASKED_AT = (0.0, 0.1, 0.3)
"""Seconds of a relay's turn at which it is asked by UDP: the least of three round trips has met the least queues."""
STREAM_AT = (1.0, 1.4, 1.7)
"""The same by framed TCP, where nothing came by UDP: the first one waits for the connection."""
PACE = 0.01
"""Seconds from one relay's turn to the next one's."""
PATIENCE = 2.5
"""Seconds from the last turn's start to the round's end."""
SOON = 0.2
"""Seconds from a change to a round: changes come in groups."""
LEAST_BETWEEN = 10.0
"""Seconds from a round's start to the next one's where a mediator has named other relays, which a hostile one may do all the time; a
change of the own network does not wait for it."""
HOST_RATE, HOST_BURST = 1.0, 64.0
"""Questions a second, and at once, to one host: it has seven relays at most, each asked up to nine times."""
MAX_ENDPOINTS = 4
"""Endpoints of a relay that are asked at once: by UDP one of each family, by TCP two ports of each."""


class _Asked:
    __slots__ = ("best", "endpoints", "info", "seal", "sent", "start", "step")

    def __init__(self, info: RelayInfo, endpoints: tuple[Endpoint, ...], start: float) -> None:
        self.info = info
        self.endpoints = endpoints
        self.start = start
        self.seal = Seal(info.key)
        self.sent: dict[bytes, float] = {}
        self.best: float | None = None
        self.step = 0

    @property
    def next_at(self) -> float:
        steps = ASKED_AT if self.best is not None else ASKED_AT + STREAM_AT
        return self.start + steps[self.step] if self.step < len(steps) else inf


class RelayDelays:
    """``delays``: seconds by relay's key, of the last round. ``entropy(n)`` gives n random octets."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self.delays: dict[bytes, float] = {}
        self._entropy = entropy
        self._relays: dict[bytes, tuple[RelayInfo, tuple[Endpoint, ...]]] = {}
        self._asked: dict[bytes, _Asked] = {}
        self._transactions: dict[bytes, _Asked] = {}
        self._budget = TargetBudget(HOST_RATE, HOST_BURST)
        self._next_round = inf
        self._began = -inf
        self._ends_at = inf
        self._done = False
        self._outgoing: list[Burst] = []

    def known(self, relays: Iterable[tuple[RelayInfo, tuple[Endpoint, ...]]], now: float) -> None:
        """The relays that there are, each with those of its endpoints that may be sent to."""
        before, self._relays = self._relays, {info.key: (info, endpoints) for info, endpoints in relays if endpoints}
        self.delays = {key: delay for key, delay in self.delays.items() if key in self._relays}
        if {key: ends for key, (_, ends) in before.items()} != {key: ends for key, (_, ends) in self._relays.items()}:
            self._want(max(now + SOON, self._began + LEAST_BETWEEN))

    def again(self, now: float) -> None:
        """Measure soon: the network changed."""
        self._want(now + SOON)

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram is an answer that is awaited."""
        return is_reply(data) and bytes(data[24 : 24 + TRANSACTION_SIZE]) in self._transactions

    def receive(self, data: Buffer, now: float) -> None:
        """An answer."""
        asked = self._transactions.get(bytes(data[24 : 24 + TRANSACTION_SIZE]))
        reply = asked.seal.read_reply(data) if asked is not None else None
        if asked is None or reply is None:
            return
        del self._transactions[reply.transaction]
        trip = max(0.0, now - asked.sent.pop(reply.transaction))
        asked.best = trip if asked.best is None else min(asked.best, trip)

    def measured(self) -> bool:
        """Whether a round has ended since the last call."""
        done, self._done = self._done, False
        return done

    def datagrams(self) -> list[Burst]:
        """Drained."""
        if not self._outgoing:
            return []
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        nearest = min(self._next_round, self._ends_at)
        if self._asked:
            nearest = min(nearest, *(asked.next_at for asked in self._asked.values()))
        return nearest if nearest < inf else None

    def tick(self, now: float) -> None:
        """Do what is due."""
        if now >= self._next_round:
            self._begin(now)
        for asked in self._asked.values():
            while now >= asked.next_at:
                self._ask(asked, now)
        if now >= self._ends_at:
            self._end()

    def _want(self, at: float) -> None:
        if self._relays:
            self._next_round = min(self._next_round, at)

    def _begin(self, now: float) -> None:
        self._began = now
        order = sorted(self._relays.values(), key=lambda relay: self.delays.get(relay[0].key, inf))
        self._asked = {info.key: _Asked(info, endpoints, now + place * PACE) for place, (info, endpoints) in enumerate(order)}
        self._transactions.clear()
        self._ends_at = now + len(order) * PACE + PATIENCE
        self._next_round = now + INTERVAL * (0.75 + self._entropy(1)[0] / 1024) if order else inf

    def _ask(self, asked: _Asked, now: float) -> None:
        transport = UDP if asked.step < len(ASKED_AT) else TCP
        asked.step += 1
        places: dict[tuple[bool, int], Endpoint] = {}
        for endpoint in asked.endpoints:
            if endpoint.transport == transport:     # of TCP each port: there may be one alone that passes
                places.setdefault((":" in endpoint.host, endpoint.port if transport == TCP else 0), endpoint)
        for endpoint in list(places.values())[:MAX_ENDPOINTS]:
            if not self._budget.allow(endpoint.host, now):
                continue
            transaction = self._entropy(TRANSACTION_SIZE)
            asked.sent[transaction] = now
            self._transactions[transaction] = asked
            data = asked.seal.request(Request(self._entropy(TAG_SIZE), transaction))
            self._outgoing.append(Burst(data, len(data), endpoint))

    def _end(self) -> None:
        self.delays = {key: asked.best for key, asked in self._asked.items() if asked.best is not None and key in self._relays}
        self._asked.clear()
        self._transactions.clear()
        self._ends_at = inf
        self._done = True
