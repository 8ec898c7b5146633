"""Two ends behind simulated NATs and whoever introduces them: what ``plans``, ``punch`` and ``punching`` do together, in virtual time.

The mediator is a vantage and a few lines that do what the matchmaker does; the ends are ``Punching`` alone, without a tunnel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import convert
from msgspec.structs import replace

from tests.sim.attachment import Attachment
from tests.sim.internet import Internet
from tests.sim.link import LinkProfile
from tests.sim.nat import Nat
from tests.sim.nat_behaviour import MOVES
from tests.sim.nat_behaviour import NatBehaviour as Box
from tests.sim.world import World
from userlan.control.meeting import Introduce, Measure, ServerEndpoint
from userlan.control.messages import Candidate
from userlan.node.punching import Punching, PunchingEvent
from userlan.node.sockets import Sockets
from userlan.traversal.nat import NatBehaviour, Policy
from userlan.traversal.observation import Request, Seal
from userlan.traversal.plans import Side, Sighting, Verdict, make_plans
from userlan.traversal.punch import PathAnswered
from userlan.traversal.vantage import Observation, Vantage
from userlan.wire.burst import Burst
from userlan.wire.endpoint import Endpoint

MEDIATOR_KEY = b"m" * 32
ONE_WAY = 0.04
"""Seconds between any two."""
PORT = 41414
MEASURED_WITHIN = 0.25
"""Seconds for which the mediator waits for what is missing of a measurement."""


class Watcher:
    """The mediator's vantage as a core."""

    def __init__(self, world: World) -> None:
        self.vantage = Vantage(MEDIATOR_KEY, world.entropy())
        self.vantage.listening(0, "0.0.0.0", PORT)
        self.seen: list[Observation] = []
        self._bursts: list[Burst] = []

    def owns(self, data: bytes) -> bool:
        return self.vantage.owns(data)

    def receive(self, data: bytes, segment: int, source: Endpoint, now: float) -> None:
        for offset in range(0, len(data), segment):
            self._bursts += self.vantage.receive(data[offset : offset + segment], source, now)
        self.seen += self.vantage.observations()

    def datagrams(self, now: float) -> list[Burst]:
        bursts, self._bursts = self._bursts, []
        return bursts

    def deadline(self) -> float | None:
        return None

    def tick(self, now: float) -> None: ...

    def events(self) -> list[object]:
        return []

    def socket_opened(self, via: int, transport: str, port: int) -> None: ...


class End:
    """A node's punching as a core."""

    def __init__(self, world: World, key: bytes) -> None:
        self.key = key
        self.sockets = Sockets()
        self.punching = Punching(key, world.entropy(), self.sockets)
        self.sent = 0
        self.outgoing: list[Burst] = []
        self._now = world.now

    def owns(self, data: bytes) -> bool:
        return True

    def receive(self, data: bytes, segment: int, source: Endpoint, now: float) -> None:
        self._now = now
        for offset in range(0, len(data), segment):
            self.punching.receive(data[offset : offset + segment], source, now)

    def datagrams(self, now: float) -> list[Burst]:
        self._now = now
        bursts = self.outgoing + self.punching.datagrams(now)
        self.outgoing = []
        self.sent += len(bursts)
        return bursts

    def deadline(self) -> float | None:
        return self.punching.deadline()

    def tick(self, now: float) -> None:
        self.punching.tick(now)

    def events(self) -> list[PunchingEvent]:
        return self.punching.events()

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        self.sockets.opened(via, transport, port)

    def dismissed(self) -> list[int]:
        return self.sockets.dismissed()

    def way_opened(self, endpoint: Endpoint) -> None:
        self.punching.way_opened(endpoint, self._now)


class Result(NamedTuple):
    """``seconds`` from the mediator's decision to the first answer, and from the common start; ``packets`` of both sides."""

    met: bool
    seconds: float
    since_start: float
    packets: int
    verdict: Verdict


def behaviour(box: Box) -> NatBehaviour:
    """What a perfect netcheck would say of a box."""

    def policy(transport: str) -> Policy:
        of = box.of(transport)
        allocation = {"overloaded": "preserving"}.get(of.allocation, of.allocation)
        wide = allocation == "random"
        words = {
            "passes": transport not in box.blocked and not (transport == "tcp" and box.tcp_ports),
            "mapping": of.mapping, "filtering": of.filtering, "allocation": allocation,
            "step": of.step if allocation == "incremental" else 0,
            "low": of.low if wide else 0, "high": of.high if wide else 0,
            "rate": of.load if allocation == "incremental" else 0.0,
        }  # fmt: skip
        return convert(words, Policy)

    early = "moves" if box.early == MOVES else "harmless"
    words = {"translated": True, "pooling": box.pooling, "hairpin": box.hairpin, "nested": False, "early": early}
    return replace(convert(words, NatBehaviour), udp=policy("udp"), tcp=policy("tcp"))


@dataclass
class Pair:
    """Two ends, A and B, each behind a box of its own."""

    boxes: tuple[Box, Box]
    seed: int = 1
    one_way: float = ONE_WAY
    loss: float = 0.0
    skew: float = 0.0
    """Seconds by which B starts later than it was told to."""
    believed: tuple[NatBehaviour, NatBehaviour] | None = None
    world: World = field(init=False)

    def __post_init__(self) -> None:
        self.world = World(self.seed)
        internet = Internet(self.world)
        profile = LinkProfile(delay=self.one_way / 2, loss=self.loss)
        self.watcher = Watcher(self.world)
        server = internet.attach(self.watcher, "192.0.2.1", port=PORT, profile=profile)
        self.server = server.endpoint()
        self.nats = tuple(Nat(internet, f"203.0.113.{number + 1}", profile, box) for number, box in enumerate(self.boxes))
        self.ends = tuple(End(self.world, key) for key in (b"a" * 32, b"b" * 32))
        self.places: tuple[Attachment, ...] = tuple(
            nat.inside.attach(end, f"192.168.{number}.2") for number, (nat, end) in enumerate(zip(self.nats, self.ends, strict=True))
        )
        self.token = self.world.entropy()(16)

    def observe(self) -> tuple[Side, Side]:
        """Both sides' main sockets are seen, as the tunnel to the mediator shows them."""
        sides = []
        for number, (end, box) in enumerate(zip(self.ends, self.boxes, strict=True)):
            tag = bytes([number]) * 8
            for _ in range(8):
                request = Seal(MEDIATOR_KEY).request(Request(tag, bytes(8)))
                end.outgoing.append(Burst(request, len(request), self.server))
                self.world.run(2 * self.one_way)
                seen = [one.endpoint for one in self.watcher.seen if one.tag == tag]
                if seen:
                    break
            nat = self.believed[number] if self.believed is not None else behaviour(box)
            place = seen[0] if seen else Endpoint("udp", self.nats[number].address, 0)
            sides.append(Side(nat, place.host, place.port, one_way=self.one_way))
            end.sent = 0
        return sides[0], sides[1]

    def meet(self) -> Result:
        """The whole of it, from the mediator's decision on."""
        sides = self.observe()
        begun = self.world.now
        verdict = make_plans(*sides)
        if any(verdict.measure):
            sides = self.measured(sides, verdict)
        start = self.world.now + self.one_way + 0.005
        verdict = make_plans(*sides, start=start)
        self.world.run(self.one_way)
        for number, end in enumerate(self.ends):
            other = sides[1 - number]
            candidates = [Candidate(other.host, other.port, "udp", "observed")] if other.port else []
            candidates.append(Candidate(f"192.168.{1 - number}.2", PORT, "udp", "local"))
            delay = start - self.world.now + (self.skew if number else 0.0)
            message = Introduce(self.ends[1 - number].key, tuple(candidates), delay, self.token, verdict.plans[number])
            usable = [Endpoint(one.transport, one.host, one.port) for one in candidates if one.kind == "observed"]
            if not usable:
                usable = [Endpoint("tcp", other.host, PORT)]
                message = Introduce(message.peer, (Candidate(other.host, PORT, "tcp", "observed"),), delay, self.token, message.plan)
            end.punching.introduce(message, usable, self.world.now)
        answered: list[float] = []
        for place in self.places:
            place.handler = lambda event: answered.append(self.world.now) if isinstance(event, PathAnswered) else None
        limit = start + 6.0
        while not answered and self.world.now < limit:
            self.world.run(0.005)
        if answered:
            for end in self.ends:
                end.punching.stop(self.ends[0].key if end is self.ends[1] else self.ends[1].key, self.world.now)
        packets = sum(end.sent for end in self.ends)
        first = answered[0] if answered else self.world.now
        return Result(bool(answered), first - begun, first - start, packets, verdict)

    def measured(self, sides: tuple[Side, Side], verdict: Verdict) -> tuple[Side, Side]:
        """Both sides with what was seen of the sockets that the verdict asks for."""
        self.world.run(self.one_way)
        before = len(self.watcher.seen)
        vantage = ServerEndpoint(self.server.host, self.server.port, verdict.transport)
        for end, count in zip(self.ends, verdict.measure, strict=True):
            if count:
                message = Measure(self.token, count, (vantage,), verdict.transport)
                end.punching.measure(message, MEDIATOR_KEY, (self.server,), self.world.now)
        end_at = self.world.now + MEASURED_WITHIN
        hosts = [nat.addresses for nat in self.nats]
        wanted = list(verdict.measure)
        while self.world.now < end_at:
            self.world.run(0.002)
            seen = [{one.index: one for one in self.watcher.seen[before:] if one.endpoint.host in hosts[number]} for number in (0, 1)]
            if all(len(seen[number]) >= wanted[number] for number in (0, 1)):
                break
        done = []
        for number, side in enumerate(sides):
            sightings = [Sighting(one.index, one.endpoint.host, one.endpoint.port, one.at) for one in seen[number].values()]
            done.append(side._replace(measured=tuple(sorted(sightings))))
        return done[0], done[1]
