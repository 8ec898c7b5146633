"""An end of a channel, and a relay's allocations, without anything around them."""

from __future__ import annotations

from collections import Counter
from random import Random

from userlan.control import grants
from userlan.relay import datagrams
from userlan.relay.allocation import Allocations, Answer, Limits
from userlan.relay.datagrams import NO_COOKIE, Bind, Bound
from userlan.relay.forwarding import Forwarding
from userlan.wire.endpoint import UDP, Endpoint

KEY = bytes(range(32))
WALL = 1_700_000_000.0
UNLIMITED = Limits(client_rate=0.0, channel_rate=0.0)


class Scene:
    """``orphaned``: whether the mediator is away."""

    def __init__(self, limits: Limits = UNLIMITED) -> None:
        self.counters: Counter[str] = Counter()
        self.allocations = Allocations(Random(1).randbytes, limits, self.counters)
        self.allocations.keys[grants.key_id(KEY)] = KEY
        self.forwarding = Forwarding(self.allocations, self.counters)
        self.orphaned = False
        self.now = 100.0

    def take(self, datagram: bytes, source: Endpoint) -> Answer | None:
        """One BIND."""
        answer = self.allocations.bind(datagram, source, self.now, WALL + self.now, lambda _: self.orphaned)
        if answer is not None and answer.arrived is not None:
            self.forwarding.arrived(*answer.arrived, self.now)
        return answer

    def data(self, payload: bytes, segment: int, source: Endpoint) -> list[tuple[Endpoint, bytes, int]]:
        """Data that came, and what leaves."""
        assert self.forwarding.receive(payload, segment, source, self.now) == []
        return self.sent()

    def sent(self) -> list[tuple[Endpoint, bytes, int]]:
        """What leaves."""
        return [(burst.endpoint, bytes(burst.data), burst.segment) for burst in self.forwarding.datagrams()]


class Peer:
    """One end at an address; ``pair``: its public key and the other's."""

    def __init__(
        self, scene: Scene, pair: tuple[bytes, bytes], host: str, port: int = 41414, *, lifetime: float = grants.LIFETIME, rate: int = 0
    ) -> None:
        self.scene = scene
        self.role = grants.role_of(*pair)
        self.offer = grants.for_end(KEY, grants.seal(KEY, *pair, WALL + 100.0 + lifetime, rate), self.role)
        self.endpoint = Endpoint(UDP, host, port)
        self.header = datagrams.data_header(self.offer.channel)
        self.counter = 0
        self.cookie = NO_COOKIE

    def datagram(self) -> bytes:
        """The next BIND."""
        self.counter += 1
        return datagrams.encode_bind(Bind(self.counter, self.offer.grant, self.role, self.cookie), self.offer.secret)

    def bind(self) -> Bound:
        """One BIND and its answer; the cookie is echoed in the next one."""
        answer = self.scene.take(self.datagram(), self.endpoint)
        assert answer is not None
        assert datagrams.authentic(self.offer.secret, answer.datagram)
        bound = datagrams.decode_bound(answer.datagram)
        assert bound is not None
        assert bound.channel == self.offer.channel
        self.cookie = bound.cookie
        return bound

    def prove(self) -> Bound:
        """Bind, and echo the cookie."""
        self.bind()
        return self.bind()


ANNA, BEN, CARLA = (bytes([number]) * 32 for number in (1, 2, 3))


def pair(scene: Scene) -> tuple[Peer, Peer]:
    """Two ends, both proven."""
    anna, ben = Peer(scene, (ANNA, BEN), "192.0.2.1"), Peer(scene, (BEN, ANNA), "192.0.2.2")
    anna.prove()
    ben.prove()
    return anna, ben
