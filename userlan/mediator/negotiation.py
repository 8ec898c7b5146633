"""One pair's negotiation: where it stands, and what is known of both sides so far. ``negotiations`` moves it on."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from userlan.control.meeting import Introduce, Measure
from userlan.mediator.backoff import Pair
from userlan.mediator.experience import KindPair, kinds
from userlan.mediator.member import Member
from userlan.mediator.reach import site
from userlan.traversal.nat import UNKNOWN, NatBehaviour, Policy
from userlan.traversal.plans import Sighting, Verdict
from userlan.traversal.step import Plan


class Introduction(NamedTuple):
    """One message and the key of the member that it goes to."""

    key: bytes
    message: Introduce | Measure


class State(enum.Enum):
    """Where a negotiation stands."""

    WAITING = "waiting"  # for a lock
    MEASURING = "measuring"
    INTRODUCED = "introduced"
    ENDED = "ended"


class Negotiation:
    """One pair's, from the first verdict to the outcome."""

    __slots__ = ("circumstances", "deadline", "directs", "experience", "members", "pair", "seen", "sockets", "state", "token", "verdict")

    def __init__(self, members: tuple[Member, Member], token: bytes) -> None:
        self.members = members
        self.pair: Pair = (members[0].key, members[1].key)
        self.token = token
        self.state = State.WAITING
        #: None: nothing but candidates and relays, so nothing is learned from it.
        self.verdict: Verdict | None = None
        self.experience: dict[str, float] = {}
        self.sockets = (0, 0)
        self.seen: tuple[dict[int, Sighting], dict[int, Sighting]] = ({}, {})
        #: Each side's word for how they met, "": they did not; None: it has not said.
        self.directs: list[str | None] = [None, None]
        self.deadline = float("inf")
        #: What its failure depends on.
        self.circumstances = circumstances(members)

    @property
    def sites(self) -> tuple[bytes, bytes]:
        """Both sides' public addresses."""
        return (self.members[0].site, self.members[1].site)

    @property
    def together(self) -> bool:
        """Whether both are behind one public address."""
        return self.members[0].site == self.members[1].site

    @property
    def kinds(self) -> KindPair:
        """What is learned is learned of these."""
        return kinds(*self.nats, self.together)

    @property
    def costly(self) -> bool:
        """Whether more than the candidates is tried."""
        return self.verdict is not None and any(plan.steps for plan in self.verdict.plans)

    @property
    def nats(self) -> tuple[NatBehaviour, NatBehaviour]:
        """What both say of their NATs."""
        return (self.members[0].nat or UNKNOWN, self.members[1].nat or UNKNOWN)

    def policy(self, number: int) -> Policy:
        """What the NAT of one side does for the verdict's transport."""
        nat = self.nats[number]
        return nat.tcp if self.verdict is not None and self.verdict.transport == "tcp" else nat.udp

    @property
    def one_ways(self) -> tuple[float, float]:
        """Both links' delays, seconds; one that is not measured counts as the other."""
        known = [member.link.one_way for member in self.members if member.link.one_way is not None]
        usual = max(known, default=0.0)
        first, second = (usual if member.link.one_way is None else member.link.one_way for member in self.members)
        return first, second

    def sightings(self, number: int) -> tuple[Sighting, ...]:
        """What was seen of one side's sockets, in the order of sending, where it still has that address."""
        member = self.members[number]
        seen = (sighting for _, sighting in sorted(self.seen[number].items()))
        return tuple(sighting for sighting in seen if site(sighting.host) == member.site)

    @property
    def measured(self) -> bool:
        """Whether all sockets that shall be seen were seen."""
        return all(len(seen) >= sockets for seen, sockets in zip(self.seen, self.sockets, strict=True))


def circumstances(members: Sequence[Member]) -> int:
    """Both sides' addresses and NATs; what failed with these is not tried again soon."""
    return hash(tuple(member.circumstances for member in members))


def sequential(policy: Policy) -> bool:
    """Whether the next mapping's port follows from the one before, whosever that is."""
    return policy.allocation == "incremental" and policy.mapping != "endpoint-independent"


def mappings(plan: Plan) -> int:
    """New mappings that a plan opens in a NAT whose mapping depends on the destination, at most."""
    return sum(step.count * (1 if step.spread else max(1, step.sockets)) for step in plan.steps)


def permitted(plan: Plan, host: str) -> Plan:
    """A plan without the steps that go anywhere else than to ``host``, the peer's own address ("": nowhere)."""
    steps = tuple(step for step in plan.steps if host and step.host == host)
    return plan if steps == plan.steps else replace(plan, steps=steps)
