"""A street of members behind NATs, in virtual time: links that jitter, NATs that count, members that do as they are told."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from userlan.control.meeting import Introduce, Measure, Outcome
from userlan.mediator.matchmaker import Matchmaker, no_offers
from userlan.mediator.negotiations import Offers, Planner
from userlan.traversal.nat import NatBehaviour, Policy
from userlan.traversal.observation import tag_of
from userlan.traversal.plans import Experience, Side, Verdict
from userlan.traversal.step import Plan, Step
from userlan.traversal.vantage import Observation
from userlan.wire.endpoint import Endpoint

HOME = 1
CONE = NatBehaviour(
    udp=Policy(mapping="endpoint-independent", filtering="address-and-port-dependent", allocation="preserving"), confidence=0.9
)
INCREMENTAL = NatBehaviour(
    udp=Policy(
        mapping="address-and-port-dependent", filtering="address-and-port-dependent", allocation="incremental", step=1
    ),
    confidence=0.9,
)
MEASURED = 3
"""Sockets that ``tight`` asks for."""


def tight(a: Side, b: Side, *, start: float = 0.0, experience: Experience | None = None) -> Verdict:
    """A planner that can be wrong: it aims at exactly the next port of an incremental NAT, and at no other."""
    del experience
    sides = (a, b)
    moving = [side.nat.udp.allocation == "incremental" for side in sides]
    name = "prediction" if any(moving) else "candidates"
    if any(move and not side.measured for move, side in zip(moving, sides, strict=True)):
        return Verdict(
            (Plan(name, give_up=3.0), Plan(name, give_up=3.0)), (MEASURED * moving[0], MEASURED * moving[1]), technique=name
        )
    plans = []
    for side, other in ((a, b), (b, a)):
        port = other.measured[-1].port + other.nat.udp.step if other.measured else other.port
        assert all(sighting.at <= start for sighting in side.measured)
        plans.append(Plan(name, (Step(other.host, port),) if other.host and port and any(moving) else (), give_up=3.0))
    return Verdict((plans[0], plans[1]), technique=name)


@dataclass
class Router:
    """An incremental NAT, or a cone. Every mapping behind it is counted, whosever it is."""

    host: str
    nat: NatBehaviour
    port: int = 30_000

    def map(self) -> int:
        if self.nat.udp.allocation == "incremental":
            self.port += self.nat.udp.step
        return self.port


@dataclass
class Resident:
    """A member. ``first_packet``: when it left and by which outside port, by token."""

    key: bytes
    router: Router
    one_way: float
    answers: bool = True
    reports: bool = True
    told: list[tuple[float, Introduce]] = field(default_factory=list)
    asked: list[tuple[float, Measure]] = field(default_factory=list)
    first_packet: dict[bytes, tuple[float, int]] = field(default_factory=dict)
    met: dict[bytes, float] = field(default_factory=dict)
    failed: list[float] = field(default_factory=list)


class Street:
    """A matchmaker and those who live by it."""

    def __init__(self, planner: Planner = tight, offers: Offers = no_offers, jitter: float = 0.0, seed: int = 1) -> None:
        self.now = 100.0
        self.random = Random(seed)
        self.jitter = jitter
        self.core = Matchmaker(entropy=Random(seed).randbytes, now=self.now, planner=planner, offers=offers)
        self.residents: dict[bytes, Resident] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def move_in(self, number: int, router: Router, one_way: float = 0.04, network: int = HOME) -> Resident:
        """A member comes online; it is not settled before ``ready``."""
        resident = self.residents[number.to_bytes(32, "big")] = Resident(number.to_bytes(32, "big"), router, one_way)
        port = router.map() if router.nat.udp.allocation == "incremental" else 5000 + number
        self.core.arrived(resident.key, (network,), Endpoint("udp", router.host, port), (), False, self.now)
        return resident

    def ready(self, *residents: Resident) -> None:
        """They are all measured and classified at one moment."""
        for resident in residents:
            self.core.classified(resident.key, resident.router.nat, self.now)
            self.core.measured(resident.key, 2 * resident.one_way, self.now)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, action))

    def run(self, seconds: float) -> None:
        """Until then, with only the calls that ``deadline`` asks for and those that what comes in leads to."""
        end = self.now + seconds
        while True:
            for receiver, message in self.core.due(self.now):
                resident = self.residents[receiver]
                self._deliver(resident, lambda r=resident, m=message: self._told(r, m))  # type: ignore[misc]
            deadline = self.core.deadline()
            times = [time for time in (deadline, self._events[0][0] if self._events else None) if time is not None]
            if not times or min(times) > end:
                self.now = end
                return
            assert min(times) > self.now or self._events[0][0] <= self.now, "a deadline that is never met spins the driver"
            self.now = max(self.now, min(times))
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _deliver(self, resident: Resident, action: Callable[[], None]) -> None:
        self.later(resident.one_way + self.random.random() * self.jitter, action)

    def _told(self, resident: Resident, message: Introduce | Measure) -> None:
        if isinstance(message, Introduce):
            resident.told.append((self.now, message))
            if message.plan.technique != "relay":
                self.later(message.delay, lambda: self._punch(resident, message))
            return
        resident.asked.append((self.now, message))
        for index in range(message.sockets if resident.answers else 0):
            self.see(resident, message.token, index, Endpoint("udp", resident.router.host, resident.router.map()))

    def see(self, resident: Resident, token: bytes, index: int, endpoint: Endpoint) -> None:
        """A request of a resident's is on its way to the vantage."""
        self._deliver(resident, lambda: self.core.observed(Observation(tag_of(token), index, endpoint, self.now)))

    def _punch(self, resident: Resident, message: Introduce) -> None:
        """The first packet opens the own NAT; whether the peer aims at that port is seen a round trip later."""
        incremental = resident.router.nat.udp.allocation == "incremental"
        port = resident.router.map() if incremental else 5000 + int.from_bytes(resident.key, "big")
        resident.first_packet[message.token] = (self.now, port)
        self.later(0.2, lambda: self._look(resident, message))

    def _look(self, resident: Resident, message: Introduce) -> None:
        peer = self.residents[message.peer]
        theirs = next((told for _, told in peer.told if told.token == message.token), None)
        met = theirs is not None and message.token in peer.first_packet and self._aimed(theirs, resident, message)
        if met and theirs is not None:
            met = self._aimed(message, peer, theirs)
        if met:
            resident.met[message.peer] = self.now
        self.later(0.0 if met else message.plan.give_up, lambda: self._report(resident, message, met))

    def _aimed(self, told: Introduce, target: Resident, targets: Introduce) -> bool:
        """Whether who was ``told`` sends to the port that the target's first packet opened."""
        port = target.first_packet[targets.token][1]
        steps = {(step.host, step.first) for step in told.plan.steps}
        candidates = {(candidate.host, candidate.port) for candidate in told.candidates}
        return (target.router.host, port) in steps | candidates

    def _report(self, resident: Resident, message: Introduce, met: bool) -> None:
        if not met:
            resident.failed.append(self.now)
        if resident.reports:
            outcome = Outcome(message.peer, message.token, "direct" if met else "none", message.plan.technique)
            self._deliver(resident, lambda: self.core.outcome(resident.key, outcome, self.now))


def cone(number: int) -> Router:
    """A home's router that keeps ports."""
    return Router(f"198.18.1.{number}", CONE)


def incremental(number: int = 1) -> Router:
    """A router that counts its mappings."""
    return Router(f"198.18.2.{number}", INCREMENTAL)


def last(resident: Resident) -> Introduce:
    """What it was told last."""
    return resident.told[-1][1]
