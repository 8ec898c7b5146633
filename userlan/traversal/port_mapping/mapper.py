"""The coordinator: one gateway, three methods, at most one of them in use.

::

    IDLE ── network() ──▶ PROBING ── a method is available ──▶ MAPPING ── granted ──▶ MAPPED ── half the lifetime ──▶ MAPPING …
                             ▲             ▲                      └── refused ──▶ the next method
                             │             └───────────────────────────┘
                             └── network(), RETRY_INTERVAL ──── GIVEN UP ◀── no method is left
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, NamedTuple

from userlan.traversal.nat import PortMapping
from userlan.traversal.port_mapping.igd import Igd
from userlan.traversal.port_mapping.methods import Datagram, HttpRequest, Method, NatPmp, Pcp
from userlan.wire.endpoint import Endpoint

SETTLE: Final = 0.5
"""Seconds for which a better method than the first that answers is waited for: all of them are one hop away."""
LONGEST_RENEWAL: Final = 600.0
"""Seconds between renewals at most, however long the grant: a router that has restarted without a word is noticed by then."""
LEAST_RENEWAL: Final = 15.0
"""Seconds between renewals at least: a router that grants less is asked too often."""
RETRY_INTERVAL: Final = 3600.0
"""Seconds after which routers that would not are asked again: somebody may have switched it on."""


class State(enum.Enum):
    """See the module."""

    IDLE = "idle"
    PROBING = "probing"
    MAPPING = "mapping"
    MAPPED = "mapped"
    GIVEN_UP = "given up"


class Mapped(NamedTuple):
    """What others can reach this node at: the method's name (empty: none), and the external endpoints."""

    method: PortMapping = ""
    endpoints: tuple[Endpoint, ...] = ()


NOTHING: Final = Mapped()


class PortMapper:
    """Sans-IO: ``outgoing`` is drained by the driver, ``changed`` says when ``mapped`` is another. ``now`` in seconds."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self.state = State.IDLE
        self.mapped = NOTHING
        self._entropy = entropy
        self._network: tuple[str, str, int] | None = None
        self._methods: list[Method] = []
        self._chosen: Method | None = None
        self._began = 0.0
        self._restarted_at = float("-inf")
        self._at: float | None = None
        self._changed = False
        self._outgoing: list[Datagram | HttpRequest] = []
        self._requests: dict[int, tuple[Method, int]] = {}
        """HTTP requests that are out, by a number that is used once; who asked, and its own number. As many as the methods ask at once."""
        self._next_request = 0

    # -- what happens

    def network(self, gateway: str | None, own_host: str, port: int, now: float) -> None:
        """The default gateway is ``gateway`` (None: there is none), our address towards it ``own_host``, and ``port`` is listened on.

        The same as before changes nothing.
        """
        network = (gateway, own_host, port) if gateway is not None else None
        if network == self._network:
            return
        self._network = network
        self._start(now)

    def received(self, data: bytes, host: str, port: int, now: float) -> None:
        """A datagram. Only the gateway's are looked at."""
        if self._network is None or host != self._network[0]:
            return
        for method in self._methods:
            method.received(data, port, now)
        self._decide(now)

    def answered(self, number: int, status: int, body: bytes, now: float) -> None:
        """The answer to an HTTP request; status 0: none came."""
        asked = self._requests.pop(number, None)
        if asked is None:
            return
        method, own_number = asked
        method.answered(own_number, status, body, now)
        self._decide(now)

    def stop(self, now: float) -> None:
        """Give back what is mapped; what ``outgoing`` says then is the last."""
        if self._chosen is not None:
            self._chosen.unmap(now)
        self._drain()
        self._network = None
        self._methods, self._chosen, self._at = [], None, None
        self._requests.clear()
        self.state = State.IDLE
        self._tell(NOTHING)

    # -- time and results

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        times = [method.deadline() for method in self._methods]
        return min((time for time in (*times, self._at) if time is not None), default=None)

    def tick(self, now: float) -> None:
        """Do what is due."""
        for method in self._methods:
            method.tick(now)
        if self._at is not None and now >= self._at:
            self._at = None
            if self.state is State.GIVEN_UP:
                self._start(now)
                return
            if self.state is State.MAPPED and self._chosen is not None:
                self.state = State.MAPPING
                self._chosen.map(now)
        self._decide(now)

    def outgoing(self) -> list[Datagram | HttpRequest]:
        """What is to be sent. Drained."""
        self._drain()
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def changed(self) -> bool:
        """Whether ``mapped`` has changed since this was asked last."""
        changed, self._changed = self._changed, False
        return changed

    # -- inside

    def _start(self, now: float) -> None:
        self._chosen, self._at, self._outgoing = None, None, []
        self._methods = []
        self._requests.clear()
        self._tell(NOTHING)
        if self._network is None:
            self.state = State.IDLE
            return
        gateway, own_host, port = self._network
        self._methods = [Pcp(gateway, own_host, port, self._entropy)]
        if ":" not in own_host:
            # Over IPv6 nothing is translated, and PCP alone opens firewalls (RFC 6887 2.1).
            self._methods += [NatPmp(gateway, own_host, port), Igd(gateway, own_host, port, self._entropy)]
        self.state = State.PROBING
        self._began = now
        for method in self._methods:
            method.probe(now)

    def _drain(self) -> None:
        for method in self._methods:
            output, method.output = method.output, []
            for one in output:
                if isinstance(one, HttpRequest):
                    self._next_request += 1
                    self._requests[self._next_request] = (method, one.number)
                    one = one._replace(number=self._next_request)
                self._outgoing.append(one)

    def _decide(self, now: float) -> None:
        """Follow what the methods have come to."""
        if self.state is State.PROBING:
            self._choose(now)
        chosen = self._chosen
        if chosen is None:
            return
        if chosen.refused:
            chosen.available = False
            self._chosen = None
            self.state = State.PROBING
            self._tell(NOTHING)
            self._choose(now)
            return
        if chosen.restarted:
            chosen.restarted = False
            if now >= self._restarted_at + LEAST_RENEWAL:
                self._restarted_at = now
                self.state = State.MAPPING
                chosen.map(now)
            elif self.state is State.MAPPED and self._at is not None:       # one that says so with each answer is not asked with each
                self._at = min(self._at, self._restarted_at + LEAST_RENEWAL)
        if self.state is State.MAPPING and chosen.granted and not chosen.asking:
            self.state = State.MAPPED
            shortest = min(grant.lifetime for grant in chosen.granted.values())
            self._at = now + max(LEAST_RENEWAL, min(shortest / 2, LONGEST_RENEWAL))
        if chosen.granted and not chosen.asking:
            endpoints = (Endpoint(transport, grant.host, grant.port) for transport, grant in sorted(chosen.granted.items(), reverse=True))
            self._tell(Mapped(chosen.name, tuple(endpoints)))

    def _choose(self, now: float) -> None:
        self._at = None
        for method in self._methods:
            if method.available:
                self._chosen = method
                self.state = State.MAPPING
                method.map(now)
                return
            if method.available is None and now < self._began + SETTLE:
                if any(other.available for other in self._methods):
                    self._at = self._began + SETTLE
                return
        if all(method.available is False for method in self._methods):
            self.state = State.GIVEN_UP
            self._at = now + RETRY_INTERVAL

    def _tell(self, mapped: Mapped) -> None:
        if mapped != self.mapped:
            self.mapped = mapped
            self._changed = True
