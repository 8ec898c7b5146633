"""A netcheck and a vantage as two processes of the simulated Internet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.sim.internet import Attachment, Internet
from tests.sim.link import LinkProfile
from tests.sim.nat import Nat
from tests.sim.nat_behaviour import NatBehaviour
from tests.sim.world import World
from userlan.node.sockets import Sockets
from userlan.traversal.asking import Point
from userlan.traversal.classify import Classification
from userlan.traversal.netcheck import SOCKETS, Netcheck, Seen
from userlan.traversal.vantage import Vantage
from userlan.wire.burst import Burst
from userlan.wire.endpoint import TCP, UDP, Endpoint

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
FIRST, SECOND, RELAY = "192.0.2.1", "192.0.2.2", "192.0.2.77"
FIRST6 = "2001:db8::1"
MAIN, BESIDE = 41_414, 41_415
HOME, AT_HOME, AT_HOME6 = "198.51.100.1", "192.168.1.2", "2606:4700::2"
NEAR = LinkProfile(delay=0.01)


class Ways:
    """What a core hears that has neither ways nor sockets."""

    def way_opened(self, endpoint: Endpoint) -> None: ...
    def way_lost(self, endpoint: Endpoint) -> None: ...
    def events(self) -> list[object]:
        return []


class Server(Ways):
    """A vantage; ``others`` are those that reflect for it."""

    def __init__(self, world: World, key: bytes = KEY) -> None:
        self.vantage = Vantage(key, world.entropy())
        self.others: list[Attachment] = []
        self.out: list[Burst] = []

    def owns(self, data: Any) -> bool:
        return self.vantage.owns(data)

    def receive(self, data: Any, segment: int, source: Endpoint, now: float) -> None:
        for start in range(0, len(data), segment):
            self.out += self.vantage.receive(data[start : start + segment], source, now)
        for reflection in self.vantage.reflections():
            other = self.others[0]
            other.core.out.append(Burst(reflection.datagram, len(reflection.datagram), reflection.target))
            other.world.touch(other)

    def datagrams(self, now: float) -> list[Burst]:
        out, self.out = self.out, []
        return out

    def deadline(self) -> float | None:
        return None

    def tick(self, now: float) -> None: ...


class Asker(Ways):
    """Runs one netcheck when told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sockets = Sockets()
        self.check: Netcheck | None = None
        self.sufficient_at = self.done_at = 0.0
        self.sent = 0

    def start(self, points: Sequence[Point], own: Sequence[str], others: bool = True, over_tcp: bool = False) -> None:
        def port(via: int, transport: str) -> int:
            return self.sockets.port(via, transport) if via else MAIN

        known = Seen(frozenset(own), port, over_tcp)
        keys = frozenset({KEY}) if others else frozenset()
        self.check = Netcheck(points, keys, self.sockets.take(SOCKETS), known, self.world.entropy(), self.world.now)
        self.sufficient_at = self.done_at = 0.0

    def owns(self, data: Any) -> bool:
        return self.check is not None and self.check.owns(data)

    def receive(self, data: Any, segment: int, source: Endpoint, now: float) -> None:
        for start in range(0, len(data), segment):
            part = data[start : start + segment]
            if self.check is not None and self.check.owns(part):
                self.check.receive(part, source, now)
        self._note(now)

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        self.sockets.opened(via, transport, port)

    def dismissed(self) -> list[int]:
        return self.sockets.dismissed()

    def way_opened(self, endpoint: Endpoint) -> None:
        if self.check is not None:
            self.check.way_opened(endpoint, self.world.now)

    def datagrams(self, now: float) -> list[Burst]:
        out = self.check.datagrams(now) if self.check is not None else []
        self.sent += len(out)
        return out

    def deadline(self) -> float | None:
        return self.check.deadline() if self.check is not None else None

    def tick(self, now: float) -> None:
        if self.check is not None:
            self.check.tick(now)
        self._note(now)

    def _note(self, now: float) -> None:
        if self.check is not None and self.check.sufficient and not self.sufficient_at:
            self.sufficient_at = now
        if self.check is not None and self.check.done and not self.done_at:
            self.done_at = now


class Place:
    """An Internet with a mediator's vantage (of two ports, and ``hosts`` addresses) and an asker at home."""

    def __init__(
        self,
        behaviour: NatBehaviour | None = None,
        *,
        hosts: int = 2,
        relay: bool = False,
        seed: int = 1,
        profile: LinkProfile = NEAR,
        pool: Sequence[str] = (),
        outer: NatBehaviour | None = None,
        ipv6: bool = False,
        hops: int = 3,
    ) -> None:
        self.world = World(seed)
        self.internet = Internet(self.world)
        self.internet.hops = hops
        self.points: list[Point] = []
        self.server = Server(self.world)
        addresses = (FIRST, SECOND)[:hosts]
        self.attach(self.server, KEY, addresses, FIRST6 if ipv6 else "")
        if relay:
            other = Server(self.world, OTHER_KEY)
            self.server.others.append(self.attach(other, OTHER_KEY, (RELAY,)))
            self.server.vantage.reflecting = True
        self.asker = Asker(self.world)
        self.own = (AT_HOME, AT_HOME6) if ipv6 else (AT_HOME,)
        segment = self.internet
        if outer is not None:
            segment = Nat(segment, HOME, behaviour=outer).inside
        self.nat: Nat | None = None
        if behaviour is not None:
            self.nat = Nat(segment, "100.64.0.9" if outer is not None else HOME, behaviour=behaviour, pool=pool)
            segment = self.nat.inside
        else:
            self.own = (HOME,)
        self.home = segment.attach(self.asker, *self.own, port=MAIN, profile=profile)

    def attach(self, server: Server, key: bytes, addresses: Sequence[str], ipv6: str = "") -> Attachment:
        attachment = self.internet.attach(server, *addresses, *filter(None, (ipv6,)), port=MAIN, profile=NEAR)
        via = 0
        for host in (*addresses, *filter(None, (ipv6,))):
            for port in (MAIN, BESIDE):
                if via:
                    attachment.listen(port, via, host)
                server.vantage.listening(via, host, port)
                self.points += [Point(key, Endpoint(transport, host, port)) for transport in (UDP, TCP)]
                via += 1
        return attachment

    def measure(self, seconds: float = 4.0, **options: Any) -> Classification:
        """One netcheck to its end."""
        options.setdefault("others", len(self.server.vantage.hosts) > 1 or self.server.vantage.reflecting)
        self.asker.start(self.points, self.own, **options)
        began = self.world.now
        self.world.run_until(lambda: self.asker.done_at > 0, seconds)
        self.took, self.sufficient = self.asker.done_at - began, self.asker.sufficient_at - began
        assert self.asker.check is not None
        return self.asker.check.result()
