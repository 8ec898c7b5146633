"""What the node's own NAT does: measured when it may have changed, told to the mediators, kept up to date.

::

    Vantages (a mediator), RelayPool ──┐
    network changed, 30 min over ──────┼──▶ due ──▶ Netcheck ──▶ sufficient, done ──▶ nat ──▶ Reachability to each mediator
    a punch contradicted ──────────────┘                                  ▲
    Lifetime (hours) ────────────────────── lower bound ──────────────────┴──▶ keepalive

A mediator names the endpoints that are asked, and is not trusted with them: they are checked as candidates are, capped, and asked no
oftener than once in ``LEAST_BETWEEN``, so that a node sends nobody more than some dozen small datagrams in that time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Final, Protocol

import msgspec

from userlan.control.mediation import LinkState, MediatorLink
from userlan.control.meeting import MAX_RELAYS, Measure, RelayInfo, RelayPool, ServerEndpoint, Sighted, Vantages
from userlan.control.meeting import Reachability as ReachabilityMessage
from userlan.node.sightings import Sightings
from userlan.node.sockets import Sockets
from userlan.traversal.asking import Point
from userlan.traversal.candidates import is_private, usable
from userlan.traversal.classify import Classification, classify
from userlan.traversal.evidence import Evidence
from userlan.traversal.lifetime import Lifetime
from userlan.traversal.nat import UNKNOWN, NatBehaviour, PortMapping
from userlan.traversal.netcheck import SOCKETS, Netcheck, Seen
from userlan.wire.burst import Burst
from userlan.wire.endpoint import TCP, UDP, Endpoint, unmapped
from userlan.wire.numbers import Buffer

EVERY: Final = 1800.0
"""Seconds between two measurements when nothing happens: a router that was given new settings is noticed within half an hour."""
MAX_REPEATED: Final = 3
"""Measurements in a row that are repeated as soon as may be, since they were cut short (a computer that is busy starting, a link that
is full); where it is always so, only as often as all others."""
LEAST_BETWEEN: Final = 10.0
"""Seconds from one measurement's start to the next one's, whoever wants it; a change of the network does not wait for it."""
GATHER: Final = 0.05
"""Seconds from a mediator's word to the start: what it says next (the pool of relays) is used too."""
CHANGED: Final = 0.2
"""Seconds after a change of the network: addresses come one by one."""
CONTRADICTED: Final = 0.5
"""Confidence is lowered to so much of itself by a punch that showed another behaviour."""
DOUBTED_BETWEEN: Final = 60.0
"""Seconds after a measurement for which a punch's end does not put it into doubt: a peer that is gone fails again and again."""
MAX_POINTS: Final = 24
"""Endpoints that one measurement may ask."""
MAX_RELAY_POINTS: Final = 3
"""Relays that are asked as further hosts: two hosts tell all that mapping has to tell, and one may be down."""
LIFETIME_GAIN: Final = 1.2
"""A lower bound of the lifetime is told to the mediators when it is so many times what they know."""


class Tunnels(Protocol):
    """What is needed of the device: where a mediator's tunnel goes."""

    def peer(self, key: bytes, /) -> _Tunnel | None: ...


class _Tunnel(Protocol):
    @property
    def endpoint(self) -> Endpoint | None: ...


class Reachability:
    """Of one node. ``nat`` is what is known now; ``classification`` has the evidence of the last measurement that ended, ``at`` its time.

    ``mediators`` are the links by key; ``counters`` says what was refused.
    """

    def __init__(
        self, mediators: Mapping[bytes, MediatorLink], tunnels: Tunnels, sockets: Sockets, entropy: Callable[[int], bytes], now: float
    ) -> None:
        self.nat: NatBehaviour = UNKNOWN
        self.classification: Classification | None = None
        self.at: float | None = None
        self.counters: Counter[str] = Counter()
        self.lifetime = Lifetime(sockets, entropy, now)
        self.sightings = Sightings(entropy)
        self._mediators = mediators
        self._tunnels = tunnels
        self._sockets = sockets
        self._entropy = entropy
        self._vantages: dict[bytes, Vantages] = {}
        self._relays: dict[bytes, tuple[RelayInfo, ...]] = {}
        self._seen: dict[bytes, str] = {}
        self._own: frozenset[Endpoint] = frozenset()
        self._external: tuple[PortMapping, str] = ("", "")
        self._evidence: Evidence | None = None
        self._check: Netcheck | None = None
        self._numbers: tuple[int, ...] = ()
        self._ways: set[Endpoint] = set()
        self._due = inf
        self._asked = False
        self._began = -inf
        self._told: dict[bytes, NatBehaviour] = {}
        self._hosts_asked = 0
        self._repeated = 0

    # ------------------------------------------------------------------ what the node tells it

    def vantages(self, mediator: bytes, message: Vantages, now: float) -> None:
        """A mediator's word of where it can be asked."""
        self._vantages[mediator] = message
        self._told.pop(mediator, None)
        self._sight(mediator, message, now)
        fresh = self.at is None or now - self.at > EVERY
        self._want(now + GATHER if fresh else inf)

    def relay_pool(self, mediator: bytes, message: RelayPool, now: float) -> None:
        """Relays are further hosts: if until now there was one only, it is worth while to measure again."""
        self._relays[mediator] = message.relays[:MAX_RELAYS]
        if self._hosts_asked == 1 and message.relays:
            self._want(now + GATHER)

    def observed(self, mediator: bytes, host: str, now: float) -> None:
        """Where a mediator sees this node: another host is another NAT, or the same one behind a new address."""
        before, self._seen[mediator] = self._seen.get(mediator, host), host
        if before != host:
            self._want(now + CHANGED)
        self.sightings.moved(mediator, self._session(mediator), now)

    def own_endpoints(self, endpoints: Iterable[Endpoint]) -> None:
        """This computer's own addresses, with the ports that are listened on."""
        self._own = frozenset(endpoints)
        self.sightings.own_hosts(one.host for one in self._own)

    def network_changed(self, now: float) -> None:
        """Other addresses: another NAT, most likely."""
        self._stop()
        self.nat, self.classification, self._evidence, self.at = UNKNOWN, None, None, None
        self._external = ("", "")
        self._told.clear()
        self._began = -inf
        self._repeated = 0
        self.lifetime.network_changed(now)
        self.sightings.network_changed(now)
        self._due = now + CHANGED

    def mapped(self, kind: PortMapping, external: str) -> None:
        """A port mapping was got (or lost: ""), and the router calls ``external`` its outside address."""
        if (kind, external) == self._external:
            return
        self._external = (kind, external)
        if self._evidence is None:
            self._conclude(msgspec.structs.replace(self.nat, port_mapping=kind))
        else:
            self.classification = self._classified(self._evidence)
            self._conclude(self.classification.nat)

    def placed(self, mediator: bytes, message: Measure) -> Measure:
        """A mediator's order to measure, its wildcard hosts replaced by those by which it is reached."""
        link = self._mediators.get(mediator)
        hosts = self._hosts(mediator, link) if link is not None else ()
        vantages = (ServerEndpoint(one.host, one.port, "tcp" if one.transport == TCP else "udp") for one in placed(message.vantages, hosts))
        return msgspec.structs.replace(message, vantages=tuple(vantages))

    def contradicted(self, now: float) -> None:
        """A punch ended otherwise than the NAT's behaviour made likely: this NAT's, the other one's, or the peer is gone."""
        if now - self._began < DOUBTED_BETWEEN:
            return
        self.counters["nat-contradicted"] += 1
        self._conclude(msgspec.structs.replace(self.nat, confidence=self.nat.confidence * CONTRADICTED))
        self._want(now)

    def measure(self, now: float, at_once: bool = False) -> bool:
        """Measure as soon as it may be, or now where the node's owner asks; whether there is anybody to ask."""
        if at_once and self._check is None:
            self._began = -inf
        self._want(now)
        self._asked = bool(self._points())
        return self._asked

    def keepalive(self, least: float) -> float:
        """Seconds between signs of life that hold a mapping here; ``least`` where nothing is known of its lifetime."""
        return max(least, self.lifetime.keepalive) if self.lifetime.lower else least

    @property
    def measuring(self) -> bool:
        """Whether a measurement is under way, or due as soon as may be."""
        return self._check is not None or self._asked

    # ------------------------------------------------------------------ what the driver feeds

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram answers a question of this part."""
        return (self._check is not None and self._check.owns(data)) or self.lifetime.owns(data) or self.sightings.owns(data)

    def receive(self, data: Buffer, source: Endpoint, now: float) -> None:
        """One datagram that ``owns`` said yes to."""
        if self._check is not None and self._check.owns(data):
            self._check.receive(data, source, now)
            self._progress(now)
        elif self.sightings.owns(data):
            self.sightings.receive(data, source, now)
        else:
            self.lifetime.receive(data, source, now)

    def way_opened(self, endpoint: Endpoint, now: float) -> None:
        """A framed TCP connection is established."""
        if self._check is not None:
            self._check.way_opened(endpoint, now)

    def way_lost(self, endpoint: Endpoint) -> None:
        """It has ended."""
        if self._check is not None:
            self._check.way_lost(endpoint)

    def datagrams(self, now: float) -> list[Burst]:
        """What is to be sent. Drained."""
        asked = self.sightings.datagrams() + self.lifetime.datagrams()
        return self._check.datagrams(now) + asked if self._check is not None else asked

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        nearest = inf
        for watched in (self.lifetime.deadline(), self.sightings.deadline()):
            nearest = nearest if watched is None else min(nearest, watched)
        if self._check is not None:
            check = self._check.deadline()
            nearest = nearest if check is None else min(nearest, check)
        elif self._due < inf and self._vantages:
            nearest = min(nearest, max(self._due, self._began + LEAST_BETWEEN))
        return nearest if nearest < inf else None

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self._check is not None:
            self._check.tick(now)
            self._progress(now)
        elif max(self._due, self._began + LEAST_BETWEEN) <= now and self._vantages:
            self._start(now)
        self.lifetime.tick(now)
        self.sightings.tick(now)
        if self.lifetime.lower > self.nat.udp.lifetime * LIFETIME_GAIN and self.at is not None:
            self._conclude(self.nat)

    def messages(self) -> list[tuple[bytes, ReachabilityMessage | Sighted]]:
        """What is to be told to which mediator, of those that are ready. Each is drained once."""
        told: list[tuple[bytes, ReachabilityMessage | Sighted]] = []
        if self.sightings.news:
            told += self.sightings.messages([key for key, link in self._mediators.items() if link.state is LinkState.READY])
        for key, link in self._mediators.items():
            before = self._told.get(key, UNKNOWN)
            if before is not self.nat and link.state is LinkState.READY and before != self.nat:
                self._told[key] = self.nat
                told.append((key, ReachabilityMessage(self.nat)))
        return told

    # ------------------------------------------------------------------ inside

    def _want(self, at: float) -> None:
        self._due = min(self._due, at)

    def _start(self, now: float) -> None:
        for gone in (self._vantages.keys() | self._seen.keys()) - self._mediators.keys():
            for of_mediator in (self._vantages, self._relays, self._told, self._seen):
                of_mediator.pop(gone, None)
            self.sightings.forget(gone)
        points = self._points()
        self._due = now + EVERY
        self._asked = False
        if not points:
            return
        self._numbers = self._sockets.take(SOCKETS)
        if not self._numbers:
            self._due = now + LEAST_BETWEEN
            return
        self._began = now
        asked = [point for point in points if point.endpoint.transport == UDP and ":" not in point.endpoint.host]
        self._hosts_asked = len({point.endpoint.host for point in asked})
        ports = {endpoint.transport: endpoint.port for endpoint in self._own}

        def port(via: int, transport: str) -> int:
            return self._sockets.port(via, transport) if via else ports.get(transport, 0)

        reached = [self._tunnels.peer(key) for key in self._vantages]
        over_tcp = any(one is not None and one.endpoint is not None and one.endpoint.transport == TCP for one in reached)
        known = Seen(frozenset(endpoint.host for endpoint in self._own), port, over_tcp)
        self._check = Netcheck(points, self._reflecting(), self._numbers, known, self._entropy, now)
        self.lifetime.use(asked[0] if asked else None)

    def _stop(self) -> None:
        self._check = None
        self._sockets.give_back(*self._numbers)
        self._numbers = ()

    def _progress(self, now: float) -> None:
        """The first, sufficient answer, unless more was known before; and the whole one."""
        check = self._check
        if check is None or not (check.done or (check.sufficient and self.at is None)):
            return
        evidence = check.evidence()
        found = self._classified(evidence)
        if not check.done:
            udp, before = found.nat.udp, self.nat.udp
            if udp.mapping != "unknown" and (udp.mapping != before.mapping or (udp.rate > 0 and not before.rate)):
                self._conclude(found.nat)
            return
        self._stop()
        self.classification, self._evidence, self.at = found, evidence, now
        self._conclude(found.nat)
        self._repeated = self._repeated + 1 if check.cut else 0
        if 0 < self._repeated <= MAX_REPEATED:
            self.counters["netcheck-cut"] += 1
            self._want(now)

    def _classified(self, evidence: Evidence) -> Classification:
        """With what is known beside the measurement."""
        evidence.port_mapping, evidence.external = self._external
        evidence.lifetime = self.lifetime.lower
        return classify(evidence)

    def _conclude(self, nat: NatBehaviour) -> None:
        lifetime = max(self.lifetime.lower, 0.0)
        self.nat = msgspec.structs.replace(nat, udp=msgspec.structs.replace(nat.udp, lifetime=lifetime))

    def _reflecting(self) -> frozenset[bytes]:
        """The mediators that can have another host answer."""
        able = set()
        for key, vantages in self._vantages.items():
            hosts = {one.host for one in vantages.own if ":" not in one.host and not _wildcard(one.host)}
            if len(hosts) > 1 or vantages.others or self._relay_elsewhere(key, hosts):
                able.add(key)
        return frozenset(able)

    def _relay_elsewhere(self, key: bytes, own: set[str]) -> bool:
        """Whether a mediator's pool has a relay that is not on its own machine: that one would be no other host."""
        link = self._mediators.get(key)
        own = own.union(self._hosts(key, link)) if link is not None else own
        relays = (one for info in self._relays.get(key, ()) for one in info.endpoints if one.transport == UDP)
        return any(one.host not in own and one.host not in LOOPBACK for one in relays)

    def _points(self) -> list[Point]:
        """All that may be asked, the first mediator's first, relays last."""
        found: dict[Point, None] = {}
        for key, vantages in self._vantages.items():
            link = self._mediators.get(key)
            if link is None or link.state is not LinkState.READY:
                continue
            for endpoint in placed(vantages.own, self._hosts(key, link)):
                self._add(found, key, endpoint, self._hosts(key, link))
        relays = {info.key: info for pool in self._relays.values() for info in pool}
        for info in list(relays.values())[:MAX_RELAY_POINTS]:
            for one in info.endpoints:
                if one.transport == UDP:
                    self._add(found, info.key, Endpoint(UDP, one.host, one.port), ())
        return list(found)[:MAX_POINTS]

    def _session(self, mediator: bytes) -> Endpoint | None:
        tunnel = self._tunnels.peer(mediator)
        return tunnel.endpoint if tunnel is not None else None

    def _sight(self, mediator: bytes, vantages: Vantages, now: float) -> None:
        link = self._mediators.get(mediator)
        if link is None or not vantages.proofs:
            self.sightings.forget(mediator)
            return
        found: dict[Point, None] = {}
        hosts = self._hosts(mediator, link)
        for endpoint in placed(vantages.own, hosts):
            self._add(found, mediator, endpoint, hosts)
        self.sightings.greeted(mediator, found, self._session(mediator), now)

    def _hosts(self, key: bytes, link: MediatorLink) -> tuple[str, ...]:
        """The numeric addresses by which a mediator is reached: the one in use first."""
        tunnel = self._tunnels.peer(key)
        now = (tunnel.endpoint.host,) if tunnel is not None and tunnel.endpoint is not None else ()
        return tuple(dict.fromkeys(unmapped(host) for host in (*now, *(one.host for one in link.endpoints(UDP)))))

    def _add(self, found: dict[Point, None], key: bytes, endpoint: Endpoint, reached: tuple[str, ...]) -> None:
        """A private address is believed only of a mediator that is reached by a private one."""
        private = any(is_private(host) for host in reached)
        if endpoint.host in reached or usable(endpoint, None if private else "192.0.2.0", private):
            found[Point(key, endpoint)] = None
        else:
            self.counters["vantage-refused"] += 1


def placed(endpoints: Iterable[ServerEndpoint], reached: Iterable[str]) -> list[Endpoint]:
    """A server's endpoints where a wildcard host stands for those by which it is ``reached``, one for each family."""
    hosts: dict[bool, str] = {}
    for host in reached:
        hosts.setdefault(":" in host, host)
    found = []
    for one in endpoints:
        try:
            host = hosts.get(":" in one.host, "") if _wildcard(one.host) else unmapped(one.host)
        except ValueError:
            continue
        if host:
            found.append(Endpoint(one.transport, host, one.port))
    return found


LOOPBACK = ("127.0.0.1", "::1")
"""Where a relay is on the reader's machine, or on the mediator's: both are one then."""


def _wildcard(host: str) -> bool:
    return host in ("0.0.0.0", "::")
