"""One pair's negotiation: where it stands, and what is known of both sides so far. ``negotiations`` moves it on."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from userlan.control.meeting import Introduce, Measure
from userlan.control.messages import Candidate
from userlan.mediator.backoff import Pair
from userlan.mediator.experience import KindPair, kinds
from userlan.mediator.member import Member
from userlan.mediator.reach import Sight, site
from userlan.mediator.site_locks import Need
from userlan.traversal.nat import UNKNOWN, NatBehaviour, Policy
from userlan.traversal.plans import Sighting, Verdict, unhurried
from userlan.traversal.sides import Transport
from userlan.traversal.step import MAX_STEPS, Plan
from userlan.wire.endpoint import TCP

#: New mappings up to which a plan costs little, and does not disturb a neighbour's prediction for longer than a moment.
FEW = 8
#: New mappings from which a plan is a search: what a member allows itself in sockets and packets is enough for one or two at a time.
SEARCH = 128
#: The plan of a pair that failed a short while ago: its candidates, a few packets.
CHEAP = Plan("candidates", give_up=2.0)


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

    __slots__ = (
        "cheap",
        "circumstances",
        "deadline",
        "directs",
        "experience",
        "introduced",
        "members",
        "pair",
        "seen",
        "sights",
        "sockets",
        "state",
        "token",
        "verdict",
    )

    def __init__(self, members: tuple[Member, Member], token: bytes) -> None:
        self.members = members
        self.pair: Pair = (members[0].key, members[1].key)
        self.token = token
        self.state = State.WAITING
        self.verdict: Verdict | None = None
        #: Nothing but the candidates is tried, since the verdict's plans failed a short while ago; nothing is learned from it.
        self.cheap = False
        self.experience: dict[str, float] = {}
        self.sockets = (0, 0)
        self.seen: tuple[dict[int, Sighting], dict[int, Sighting]] = ({}, {})
        #: Each side's word for how they met, "": they did not; None: it has not said.
        self.directs: list[str | None] = [None, None]
        self.deadline = float("inf")
        #: What its failure depends on.
        self.circumstances = circumstances(members)
        #: When both were told of each other, and where they were seen then.
        self.introduced = float("-inf")
        self.sights = self.sights_now

    @property
    def sites(self) -> tuple[bytes, bytes]:
        """Both sides' public addresses."""
        return (self.members[0].site, self.members[1].site)

    @property
    def sights_now(self) -> tuple[Sight, Sight]:
        """Where both are seen."""
        return (self.members[0].sight, self.members[1].sight)

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
        """Whether more is tried than the candidates, and perhaps a packet to open the own NAT with."""
        return self.sockets != (0, 0) or any(mappings(plan) > FEW for plan in self.plans)

    @property
    def plans(self) -> tuple[Plan, Plan]:
        """Both sides', as far as they are made."""
        return unhurried((CHEAP, CHEAP), self.nats) if self.cheap or self.verdict is None else self.verdict.plans

    @property
    def needs(self) -> tuple[Need, ...]:
        """The locks without which somebody's prediction would go wrong. Each member makes one search at a time, too: its own lock has its
        key for a name, as others have an address."""
        needs: dict[bytes, Need] = {}
        for number, member in enumerate(self.members):
            policy = self.policy(number)
            moves, many = sequential(policy), self.sockets[number] > 0 or mappings(self.plans[number]) > FEW
            alone = many and (moves or scarce(policy))
            if alone or (moves and member.site not in needs):
                needs[member.site] = Need(member.site, member.key, shared=not alone)
            if mappings(self.plans[number]) > SEARCH:
                needs[member.key] = Need(member.key, member.key)
        return tuple(needs.values())

    @property
    def nats(self) -> tuple[NatBehaviour, NatBehaviour]:
        """What both say of their NATs."""
        return (self.members[0].nat or UNKNOWN, self.members[1].nat or UNKNOWN)

    @property
    def transport(self) -> Transport:
        """The verdict's."""
        return "udp" if self.verdict is None else self.verdict.transport

    def policy(self, number: int) -> Policy:
        """What the NAT of one side does for the verdict's transport."""
        return self.nats[number].policy(self.transport)

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
    """Whether the next mapping's port follows from the one before, whosever that is; as far as one knows."""
    dependent = policy.mapping in ("address-dependent", "address-and-port-dependent")
    return dependent and policy.allocation in ("incremental", "unknown")


def scarce(policy: Policy) -> bool:
    """Whether all behind the address share a block of some hundred ports, which two searches at once would use up."""
    return policy.allocation == "chunked"


def mappings(plan: Plan) -> int:
    """New mappings that a plan opens in a NAT whose mapping depends on the destination, at most."""
    return sum(step.count * (1 if step.spread else max(1, step.sockets)) for step in plan.steps)


def targets(plan: Plan) -> tuple[Candidate, ...]:
    """The peer's host as a candidate, where a plan's steps go to it by TCP: at the ports that are seen there nothing listens, so that they
    are named only together with a plan. A node sends to no host that is not named."""
    return tuple(Candidate(step.host, step.first, TCP, "observed") for step in plan.steps[:1] if step.transport == TCP)


def permitted(plan: Plan, host: str) -> Plan:
    """A plan without the steps that go anywhere else than to ``host``, the peer's own address ("": nowhere)."""
    steps = tuple(step for step in plan.steps if host and step.host == host)[:MAX_STEPS]    # sightings of chance can ask for any number
    return plan if steps == plan.steps else replace(plan, steps=steps)
