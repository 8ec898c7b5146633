"""The matchmaker: observations in, introductions out; who is introduced to whom, and when.

For each member it knows where it is seen, what it offers, what its NAT does (``Reachability``), and how long a message
takes to it: half of its control link's round trip (the mediator's Ping and the member's Pong).

A pair is due when both are online, measured and classified (or ``SETTLE_WAIT`` old) and share a network; again when
either's endpoints or NAT changed, and when a member asks (``meet``). ``pair_queue`` says in which order and how fast,
``negotiations`` how a pair comes to its plans.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable

from userlan.control.meeting import EndpointList, OfferList, Outcome
from userlan.control.messages import Candidate
from userlan.mediator.link_delay import MAX_ONE_WAY
from userlan.mediator.member import Member
from userlan.mediator.negotiation import Introduction
from userlan.mediator.negotiations import SLACK, TOKEN_SIZE, Negotiations, Offers, Planner
from userlan.mediator.pair_queue import PAIR_INTERVAL, Pair, PairQueue, pair_of
from userlan.mediator.reach import Sight
from userlan.traversal.nat import NatBehaviour
from userlan.traversal.plans import make_plans
from userlan.traversal.vantage import COOKIE_PERIOD, COOKIE_PERIODS, Observation
from userlan.wire.endpoint import Endpoint

__all__ = [
    "CROWDED_WAIT",
    "MAX_ONE_WAY",
    "PAIR_INTERVAL",
    "SETTLE_WAIT",
    "SLACK",
    "TOKEN_SIZE",
    "Introduction",
    "Matchmaker",
]

#: Seconds that a new member's first measurement, and its word on its NAT, are waited for before its pairs are introduced.
SETTLE_WAIT = 0.6
#: Seconds for which an endpoint beside a session is named after its last proof; nodes prove it anew every five minutes.
PROVEN_FOR = COOKIE_PERIOD * COOKIE_PERIODS
#: Seconds after which a pair for which there was no room behind its NAT is tried again.
CROWDED_WAIT = 10.0


def no_offers(a: bytes, b: bytes, now: float) -> tuple[OfferList, OfferList]:
    """What a mediator without relays has to offer to a pair."""
    del a, b, now
    return (), ()


class Matchmaker:
    """Decides who is introduced to whom, when, and with which endpoints and plans. Times are monotonic seconds."""

    def __init__(
        self,
        *,
        entropy: Callable[[int], bytes],
        now: float,
        planner: Planner = make_plans,
        offers: Offers = no_offers,
    ) -> None:
        self._members: dict[bytes, Member] = {}
        self._networks: dict[int, dict[bytes, None]] = {}
        self._unsettled: OrderedDict[bytes, None] = OrderedDict()  # by arrival
        self._proven: OrderedDict[bytes, float] = OrderedDict()  # until when an endpoint beside the session is believed
        self._queue = PairQueue(now)
        self._negotiations = Negotiations(entropy, planner, offers)

    @property
    def counters(self) -> Counter[str]:
        """What happened, by name."""
        return self._queue.counters + self._negotiations.all_counters()

    def status(self) -> dict[str, int]:
        """How many negotiations stand where, and what is remembered."""
        return self._negotiations.status()

    # --- observations ------------------------------------------------------------------------------------------------

    def arrived(
        self,
        key: bytes,
        networks: Iterable[int],
        observed: Endpoint,
        offered: tuple[Candidate, ...],
        colocated: bool,
        now: float,
    ) -> None:
        """A member greeted (again: its earlier session is forgotten)."""
        self.departed(key)
        member = self._members[key] = Member(key, Sight(observed, offered, colocated), set(networks), now)
        self._unsettled[key] = None
        for network in member.networks:
            self._networks.setdefault(network, {})[key] = None

    def departed(self, key: bytes) -> None:
        """A member is gone; its pairs are dropped when their turn comes."""
        member = self._members.pop(key, None)
        if member is None:
            return
        member.online = False
        self._negotiations.departed(member)
        self._unmeet(member)
        self._unsettled.pop(key, None)
        self._proven.pop(key, None)
        for network in member.networks:
            self._forget(network, key)

    def joined(self, key: bytes, network: int, now: float) -> None:
        """A member came into a network."""
        member = self._members.get(key)
        if member is None or network in member.networks:
            return
        member.networks.add(network)
        others = self._networks.setdefault(network, {})
        if member.settled:
            for other in others:
                self._want(key, other, now)
        others[key] = None

    def parted(self, key: bytes, network: int) -> None:
        """A member left a network."""
        member = self._members.get(key)
        if member is not None and network in member.networks:
            member.networks.discard(network)
            self._forget(network, key)

    def located(self, key: bytes, observed: Endpoint, colocated: bool, now: float) -> None:
        """Where a member's datagrams come from; a change makes all its introductions due again, and a move has it prove anew
        where it is beside."""
        self._see(key, now, observed=observed, colocated=colocated)

    def offers(self, key: bytes, offered: tuple[Candidate, ...], now: float) -> None:
        """A member's own endpoints; a change makes all its introductions due again."""
        self._see(key, now, offered=offered)

    def sighted(self, key: bytes, beside: tuple[Endpoint, ...], now: float) -> None:
        """Where a member has proved to be beside its session, one endpoint of a family; believed for ``PROVEN_FOR``."""
        families = {":" in one.host: one for one in reversed(beside)}
        self._proven.pop(key, None)
        if families and key in self._members:
            self._proven[key] = now + PROVEN_FOR
        self._see(key, now, beside=tuple(families[version] for version in sorted(families)))

    def classified(self, key: bytes, nat: NatBehaviour, now: float) -> None:
        """What a member's NAT does; a change makes its introductions due again, but for those that have met directly."""
        member = self._members.get(key)
        if member is None:
            return
        early = member.hasty
        news = member.classified(nat)
        if not member.settled:
            self._settle_known(member, now)
        elif news:
            self._want_all(member, now, sooner=early)

    def measured(self, key: bytes, round_trip: float, now: float) -> None:
        """One round trip of a member's control link, seconds."""
        member = self._members.get(key)
        if member is not None:
            member.link.sample(round_trip)
            if not member.settled:
                self._settle_known(member, now)

    def observed(self, observation: Observation) -> None:
        """The mediator's vantage saw a socket of some member's."""
        self._negotiations.observed(observation)

    def outcome(self, key: bytes, outcome: Outcome, now: float) -> None:
        """A member says what came of an introduction."""
        self._negotiations.outcome(key, outcome, now)

    def meet(self, key: bytes, other: bytes, now: float) -> bool:
        """A member asks to be introduced to another now; False when they share no network or the other is offline."""
        member, peer = self._members.get(key), self._members.get(other)
        if member is None or peer is None or member is peer or not member.shares(peer):
            return False
        if member.settled and peer.settled and not self._negotiations.busy(_in_order(member, peer), now):
            self._want(key, other, now, asked=True)
        return True

    def one_way(self, key: bytes) -> float | None:
        """The one-way delay of a member's control link, seconds; None before it is measured."""
        member = self._members.get(key)
        return None if member is None else member.link.one_way

    def vantages(self, vantages: EndpointList) -> None:
        """Where members ask from where they are seen; none: at the endpoint by which they reach the mediator."""
        self._negotiations.vantages = vantages

    # --- introductions -----------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When ``due`` has something to say next."""
        times = [self._queue.deadline(), self._negotiations.deadline()]
        if self._unsettled:
            times.append(self._members[next(iter(self._unsettled))].arrived + SETTLE_WAIT)
        return min((time for time in times if time is not None), default=None)

    def due(self, now: float) -> list[Introduction]:
        """The messages that leave now, both sides of each pair side by side."""
        self._settle_old(now)
        self._doubt_old(now)
        messages = self._negotiations.due(now)
        for pair in self._negotiations.again():
            self._queue.add(pair, False, now)

        def willing(pair: Pair, asked: bool) -> bool:
            return self._willing(pair, asked, now)

        while (taken := self._queue.take(willing, now)) is not None:
            pair, asked = taken
            self._queue.left(pair, now)
            begun, done = self._negotiations.begin((self._members[pair[0]], self._members[pair[1]]), now)
            messages += begun
            if not done:
                self._queue.add_later(pair, asked, now + CROWDED_WAIT)
        return messages + self._negotiations.due(now)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _willing(self, pair: Pair, asked: bool, now: float) -> bool:
        """Whether a pair still has a reason to be introduced: neither gone, nor met meanwhile where nobody asked again."""
        first, second = self._members.get(pair[0]), self._members.get(pair[1])
        if first is None or second is None or not first.shares(second) or (second.key in first.met and not asked):
            return False
        return not self._negotiations.busy((first, second), now)

    def _want(self, key: bytes, other: bytes, now: float, asked: bool = False, sooner: bool = False) -> None:
        if key != other and self._members[other].settled:
            self._queue.add(pair_of(key, other), asked, now, sooner)

    def _see(
        self,
        key: bytes,
        now: float,
        observed: Endpoint | None = None,
        colocated: bool | None = None,
        offered: tuple[Candidate, ...] | None = None,
        beside: tuple[Endpoint, ...] | None = None,
    ) -> None:
        member = self._members.get(key)
        if member is None:
            return
        before = member.sight
        moved = observed is not None and observed.host != before.observed.host
        member.sight = Sight(
            before.observed if observed is None else observed,
            before.offered if offered is None else offered,
            before.colocated if colocated is None else colocated,
            () if moved else before.beside if beside is None else beside,
        )
        if member.sight != before:
            self._unmeet(member)
            if member.settled:
                self._want_all(member, now)

    def _unmeet(self, member: Member) -> None:
        """What it had met by is not what it is now."""
        for key in member.met:
            other = self._members.get(key)
            if other is not None:
                other.met.discard(member.key)
        member.met.clear()

    def _settle_known(self, member: Member, now: float) -> None:
        if member.known:
            self._settle(member, now)

    def _settle_old(self, now: float) -> None:
        while self._unsettled:
            member = self._members[next(iter(self._unsettled))]
            if member.arrived + SETTLE_WAIT > now:
                return
            self._settle(member, now)

    def _doubt_old(self, now: float) -> None:
        """What was proved too long ago may be somebody else's by now."""
        while self._proven and next(iter(self._proven.values())) <= now:
            self.sighted(next(iter(self._proven)), (), now)

    def _settle(self, member: Member, now: float) -> None:
        self._unsettled.pop(member.key, None)
        member.settled = True
        self._want_all(member, now)

    def _want_all(self, member: Member, now: float, sooner: bool = False) -> None:
        for network in member.networks:
            for other in self._networks[network]:
                if other not in member.met:
                    self._want(member.key, other, now, sooner=sooner)

    def _forget(self, network: int, key: bytes) -> None:
        others = self._networks[network]
        others.pop(key, None)
        if not others:
            del self._networks[network]


def _in_order(member: Member, peer: Member) -> tuple[Member, Member]:
    return (member, peer) if member.key < peer.key else (peer, member)
