"""Negotiations: how a pair comes to its two plans, and what came of them.

::

                       the address's lock           both sides' sockets were seen,
                       is taken                     or the time for it is over
    begin ──▶ WAITING ─────────▶ MEASURING ─────────────────▶ INTRODUCED ──▶ ENDED
      │                              ▲                          ▲     both outcomes, or one and REPORT_GRACE,
      ├──── a prediction, no wait ───┘                          │     or the plan's end without any
      └──── no prediction ──────────────────────────────────────┘

Both sides of a pair wait so that their first packets leave together::

    delay(x) = max(owd(a), owd(b)) - owd(x) + SLACK        that is at  now + max(owd) + SLACK

Where a port has to be predicted, that side opens fresh sockets and asks the mediator's vantage from where they are seen
(``Measure``); the sightings are at the mediator one way later, and the plans follow at once. Until the end of it the
pair has the lock of that side's public address (``site_locks``). Whoever has to wait is given its relays first, so that
the tunnel is there meanwhile.

Why a sighting counts only from the host of the member's own session: the request for it carries no proof of where it
comes from, and a member that forges the source would make us send its peers to a third party. So behind a NAT with
arbitrary pooling nothing is predicted; that would seldom work, since the next socket may come from elsewhere again. An
IPv6 subscriber's /64 counts as one host. Two members behind one address are not measured: their sightings could not be
told apart, and they meet on their LAN or by hairpin.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Protocol

from userlan.control.meeting import MAX_MEASURED, EndpointList, Introduce, Measure, OfferList, Outcome
from userlan.mediator.background import Background
from userlan.mediator.backoff import BY_IPV6, Backoff, Pair
from userlan.mediator.experience import Experience
from userlan.mediator.member import Member
from userlan.mediator.negotiation import (
    Introduction,
    Negotiation,
    State,
    circumstances,
    mappings,
    permitted,
    targets,
)
from userlan.mediator.pair_queue import PAIR_INTERVAL
from userlan.mediator.reach import named, site
from userlan.mediator.site_locks import MAX_HOLD, SiteLocks
from userlan.traversal import plans
from userlan.traversal.observation import tag_of
from userlan.traversal.plans import Side, Sighting, Verdict
from userlan.traversal.step import Plan
from userlan.traversal.vantage import Observation

#: Seconds for both ends to take a message out of its frame and prepare the packets.
SLACK = 0.005
#: Octets of an introduction's token.
TOKEN_SIZE = 16
#: Seconds, and round trips to the farther side, for which a measurement is waited; over TCP a connection comes first. What varies
#: of both links' delays comes on top: a busy computer is no silent one.
MEASURE_GRACE = 0.3
MEASURE_ROUND_TRIPS = 2.0
TCP_ROUND_TRIPS = 2.0
#: Seconds for which a measurement is waited at most: a member that is slow on purpose holds its NAT's lock meanwhile.
MEASURE_LONGEST = 1.5
#: Seconds between one side's outcome and the other's, and from a plan's end to the outcomes.
REPORT_GRACE = 1.0
#: Seconds after the common start in which a pair that predicts nothing opens its mappings: its second packets go the same ways.
SHARED_HOLD = 0.1
#: Seconds after the common start for which a pair holds its locks where either side did not answer the last time.
SILENT_HOLD = 1.0
#: Negotiations whose end is awaited: 200 a second for their longest of eight seconds, with room for bursts.
MAX_OPEN = 4096
#: The plan of a pair whose real one is still to come: nothing but the relays.
RELAYS_FIRST = Plan("relay", give_up=0.0)
#: Words of ``Outcome.path`` that say that there is no direct path.
NOT_DIRECT = frozenset(("", "none", "relay", "relayed"))

Offers = Callable[[bytes, bytes, float], tuple[OfferList, OfferList]]


class Planner(Protocol):
    """``userlan.traversal.plans.make_plans``."""

    def __call__(self, a: Side, b: Side, *, start: float = 0.0, experience: plans.Experience | None = None) -> Verdict:
        """Both sides' plans."""


class Negotiations:
    """All that are under way. Times are monotonic seconds, those of observations too."""

    def __init__(self, entropy: Callable[[int], bytes], planner: Planner, offers: Offers) -> None:
        self._entropy = entropy
        self._planner = planner
        self._offers = offers
        self._locks = SiteLocks()
        self._background = Background()
        self._backoff = Backoff()
        self.experience = Experience()
        #: Where members ask from where they are seen; empty: at the endpoint by which they reach the mediator.
        self.vantages: EndpointList = ()
        self._open: OrderedDict[bytes, Negotiation] = OrderedDict()  # by token
        self._pairs: dict[Pair, Negotiation] = {}
        self._tags: dict[bytes, Negotiation] = {}  # those that measure
        self._relayed: OrderedDict[bytes, None] = OrderedDict()  # tokens that named relays alone: nothing can come of those
        self._timers: list[tuple[float, int, Negotiation]] = []
        self._again: list[Pair] = []
        self._count = 0
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    # --- what the matchmaker asks ------------------------------------------------------------------------------------

    def busy(self, members: tuple[Member, Member], now: float) -> bool:
        """Whether a pair, smaller key first, is being introduced with both as they are now: an introduction is on its way,
        was just given, or is a costly one that goes on."""
        negotiation = self._pairs.get((members[0].key, members[1].key))
        if negotiation is None:
            return False
        if negotiation.state is not State.INTRODUCED:
            return True
        going_on = negotiation.costly or now < negotiation.introduced + PAIR_INTERVAL
        return going_on and negotiation.circumstances == circumstances(members)

    def departed(self, member: Member) -> None:
        """A member is gone: what is under way with it is over."""
        for other in tuple(member.talks):
            self._end(self._pairs[(member.key, other) if member.key < other else (other, member.key)])

    def begin(self, members: tuple[Member, Member], now: float) -> tuple[list[Introduction], bool]:
        """Starts a pair's negotiation, smaller key first; what is sent, and whether it went through.

        False: too many wait for the same address, and the pair has only been told of its relays.
        """
        before = self._pairs.get((members[0].key, members[1].key))
        if before is not None:
            self._supersede(before)
        negotiation = Negotiation(members, self._entropy(TOKEN_SIZE))
        if len(self._open) >= MAX_OPEN:
            self.counters["negotiations-crowded-out"] += 1
            self._end(next(iter(self._open.values())))
        self._open[negotiation.token] = negotiation
        self._pairs[negotiation.pair] = negotiation
        for member, other in zip(members, members[::-1], strict=True):
            member.talks.add(other.key)
        negotiation.experience = self.experience.of(negotiation.kinds, now)
        if self._backoff.technique(negotiation.pair, negotiation.circumstances) == BY_IPV6:
            negotiation.experience[BY_IPV6] = -1.0
        self._plan(negotiation, now)
        if negotiation.costly and self._backoff.waits(negotiation.pair, negotiation.circumstances, now):
            self.counters["introductions-cheap"] += 1
            negotiation.cheap = True
            negotiation.sockets = (0, 0)
        return self._prepare(negotiation, now)

    def observed(self, observation: Observation) -> None:
        """The vantage saw one of the sockets that a member was asked to open."""
        negotiation = self._tags.get(observation.tag)
        if negotiation is None:
            return
        assert negotiation.verdict is not None
        endpoint = observation.endpoint
        for number, member in enumerate(negotiation.members):
            seen = negotiation.seen[number]
            if not 0 <= observation.index < negotiation.sockets[number] or site(endpoint.host) != member.site:
                continue
            if endpoint.transport == negotiation.verdict.transport and observation.index not in seen:
                seen[observation.index] = Sighting(observation.index, endpoint.host, endpoint.port, observation.at)
                if negotiation.measured:
                    self._wake(negotiation, observation.at)
            return
        self.counters["observations-elsewhere"] += 1

    def outcome(self, key: bytes, outcome: Outcome, now: float) -> None:
        """A member says what came of an introduction."""
        negotiation = self._open.get(outcome.token)
        if outcome.token in self._relayed:
            return
        if negotiation is None or (key, outcome.peer) not in (negotiation.pair, negotiation.pair[::-1]):
            self.counters["outcomes-unknown"] += 1
            return
        number = negotiation.pair.index(key)
        if negotiation.state is not State.INTRODUCED or negotiation.directs[number] is not None:
            self.counters["outcomes-out-of-turn"] += 1
            return
        met = outcome.path not in NOT_DIRECT
        negotiation.members[number].silent = False
        negotiation.directs[number] = (outcome.technique or "candidates") if met else ""
        if None in negotiation.directs:
            self._wake(negotiation, min(negotiation.deadline, now + REPORT_GRACE))
        else:
            self._conclude(negotiation, now)

    def due(self, now: float) -> list[Introduction]:
        """What is to be sent now: measurements that came or did not come, locks that were given free."""
        messages: list[Introduction] = []
        while self._timers and self._timers[0][0] <= now:
            at, _, negotiation = heapq.heappop(self._timers)
            if at != negotiation.deadline:
                continue
            if negotiation.state is State.MEASURING:
                messages += self._measured(negotiation, now)
            elif negotiation.state is State.INTRODUCED:
                self._conclude(negotiation, now)
        while turned := self._locks.granted(now, now + MAX_HOLD):
            for owner in turned:
                assert isinstance(owner, Negotiation)
                messages += self._turn(owner, now)
        return messages

    def again(self) -> list[Pair]:
        """Pairs that did not meet by IPv6 and are to try by IPv4, or have a round left. Drained."""
        again, self._again = self._again, []
        return again

    def deadline(self) -> float | None:
        """When ``due`` has something to say next."""
        while self._timers and self._timers[0][0] != self._timers[0][2].deadline:
            heapq.heappop(self._timers)
        times = [self._timers[0][0] if self._timers else None, self._locks.deadline()]
        return min((time for time in times if time is not None), default=None)

    def status(self) -> dict[str, int]:
        """Figures for the mediator's owner."""
        states = Counter(negotiation.state.value for negotiation in self._open.values())
        return {
            **{state.value: states[state.value] for state in (State.WAITING, State.MEASURING, State.INTRODUCED)},
            "failed-pairs": len(self._backoff),
            "learned": len(self.experience),
        }

    def all_counters(self) -> Counter[str]:
        """Its own and its parts'."""
        return self.counters + self._locks.counters + self.experience.counters

    # --- inside ------------------------------------------------------------------------------------------------------

    def _prepare(self, negotiation: Negotiation, now: float) -> tuple[list[Introduction], bool]:
        needs = negotiation.needs
        taken = self._locks.take(negotiation, needs, now + MAX_HOLD) if needs else True
        if taken:
            told = negotiation.sockets == (0, 0) or self._backoff.rounds(negotiation.pair, negotiation.circumstances) > 0
            return self._go_on(negotiation, now, [] if told else self._relays_first(negotiation, now)), True
        relays = self._relays_first(negotiation, now)
        if taken is None:
            self._end(negotiation)
        return relays, taken is not None

    def _turn(self, negotiation: Negotiation, now: float) -> list[Introduction]:
        """Its locks are its own now; meanwhile either side may be gone, or be seen elsewhere."""
        first, second = negotiation.members
        if not first.shares(second):
            self._end(negotiation)
            return []
        if not negotiation.cheap:
            self._plan(negotiation, now)
        return self._go_on(negotiation, now, [])

    def _go_on(self, negotiation: Negotiation, now: float, before: list[Introduction]) -> list[Introduction]:
        """With what locks it needs; after ``before`` was sent."""
        if negotiation.sockets != (0, 0):
            return before + self._measure(negotiation, now)
        return before + self._introduce(negotiation, now)

    def _measure(self, negotiation: Negotiation, now: float) -> list[Introduction]:
        assert negotiation.verdict is not None
        self.counters["measurements"] += 1
        negotiation.state = State.MEASURING
        self._tags[tag_of(negotiation.token)] = negotiation
        farthest = max(negotiation.one_ways)
        transport = negotiation.verdict.transport
        trips = MEASURE_ROUND_TRIPS + (TCP_ROUND_TRIPS if transport == "tcp" else 0.0)
        busy = 2 * sum(member.link.jitter for member in negotiation.members)
        pause = negotiation.verdict.pause
        self._wake(negotiation, now + min(trips * 2 * farthest + MEASURE_GRACE + busy, MEASURE_LONGEST) + pause)
        return [
            Introduction(member.key, Measure(negotiation.token, sockets, self._vantages_for(member), transport, pause))
            for member, sockets in zip(negotiation.members, negotiation.sockets, strict=True)
            if sockets
        ]

    def _vantages_for(self, member: Member) -> EndpointList:
        """Those of the family of its NAT, if there are any: the other family says nothing of it."""
        six = ":" in member.sight.translated.host
        return tuple(one for one in self.vantages if (":" in one.host) == six) or self.vantages

    def _measured(self, negotiation: Negotiation, now: float) -> list[Introduction]:
        """The measurement is over: the plans are made with what it has shown."""
        del self._tags[tag_of(negotiation.token)]
        first, second = negotiation.members
        if not first.shares(second):
            self._end(negotiation)
            return []
        if not negotiation.measured:
            self.counters["measurements-missed"] += 1
        sockets = negotiation.sockets
        for number, member in enumerate(negotiation.members):
            member.silent |= bool(sockets[number] and not negotiation.seen[number])
            seen = [(sighting.port, sighting.at) for sighting in negotiation.sightings(number)]
            if negotiation.transport == member.sight.observed.transport:
                self._background.came(member.site, *member.began)
            self._background.measured(member.site, seen, negotiation.policy(number).step)
        self._plan(negotiation, now)
        negotiation.sockets = (sockets[0] if negotiation.seen[0] else 0, sockets[1] if negotiation.seen[1] else 0)
        return self._introduce(negotiation, now)

    def _plan(self, negotiation: Negotiation, now: float) -> None:
        """Asks the planner, with what was seen of both sides so far."""
        ways = negotiation.one_ways
        sides = []
        for number, member in enumerate(negotiation.members):
            reader = negotiation.members[1 - number]
            rate = self._background.rate(member.site)
            sides.append(member.side(reader, negotiation.sightings(number), ways[number], rate))
        verdict = self._planner(*sides, start=now + max(ways) + SLACK, experience=negotiation.experience)
        plans = tuple(permitted(plan, sides[1 - number].host) for number, plan in enumerate(verdict.plans))
        negotiation.verdict = verdict._replace(plans=(plans[0], plans[1]))
        unseen = [negotiation.together or not side.host for side in sides]
        wanted = [0 if blind else min(sockets, MAX_MEASURED) for blind, sockets in zip(unseen, verdict.measure, strict=True)]
        negotiation.sockets = (wanted[0], wanted[1])

    def _introduce(self, negotiation: Negotiation, now: float) -> list[Introduction]:
        self.counters["introductions"] += 1
        plans, ways = negotiation.plans, negotiation.one_ways
        latest = max(ways) + SLACK
        negotiation.state = State.INTRODUCED
        negotiation.introduced = now
        negotiation.circumstances = circumstances(negotiation.members)
        negotiation.sights = negotiation.sights_now
        end = now + latest + max(plan.give_up for plan in plans) + max(ways) + REPORT_GRACE
        self._wake(negotiation, end)
        if all(need.shared for need in negotiation.needs):
            end = now + latest + SHARED_HOLD
        elif any(member.silent for member in negotiation.members):
            end = now + latest + SILENT_HOLD
        self._locks.hold(negotiation, end)
        for member, plan in zip(negotiation.members, plans, strict=True):
            self._background.opened(member.site, mappings(plan) + 1)
        delays = (latest - ways[0], latest - ways[1])
        return self._tell(negotiation, negotiation.token, plans, delays, self._relays(negotiation, now))

    def _relays_first(self, negotiation: Negotiation, now: float) -> list[Introduction]:
        """Both sides are told of their relays, and of nothing else: their plans take a while."""
        offers = self._relays(negotiation, now)
        if offers == ((), ()):
            return []
        token = self._entropy(TOKEN_SIZE)
        self._relayed[token] = None
        if len(self._relayed) > MAX_OPEN:
            self._relayed.popitem(last=False)
        return self._tell(negotiation, token, (RELAYS_FIRST, RELAYS_FIRST), (0.0, 0.0), offers, bare=True)

    def _relays(self, negotiation: Negotiation, now: float) -> tuple[OfferList, OfferList]:
        return self._offers(*negotiation.pair, now)

    def _tell(
        self,
        negotiation: Negotiation,
        token: bytes,
        plans: tuple[Plan, Plan],
        delays: tuple[float, float],
        offers: tuple[OfferList, OfferList],
        bare: bool = False,
    ) -> list[Introduction]:
        messages = []
        for number, member in enumerate(negotiation.members):
            peer = negotiation.members[1 - number]
            candidates = () if bare else (*named(peer.sight, member.sight), *targets(plans[number]))
            first = number == 0
            message = Introduce(peer.key, candidates, delays[number], token, plans[number], offers[number], first)
            messages.append(Introduction(member.key, message))
        return messages

    def _conclude(self, negotiation: Negotiation, now: float) -> None:
        """Both have said how it ended, or the time for it is over."""
        said = [direct for direct in negotiation.directs if direct is not None]
        first, second = negotiation.members
        self.counters["met" if said and all(said) else "failed" if said else "outcomes-missing"] += 1
        current = self._pairs.get(negotiation.pair) is negotiation
        if not current:
            pass  # it has begun anew meanwhile, and that will say what holds now
        elif said and all(said):
            self._backoff.met(negotiation.pair)
            if negotiation.sights == negotiation.sights_now:
                first.met.add(second.key)
                second.met.add(first.key)
        else:
            first.met.discard(second.key)
            second.met.discard(first.key)
            if not negotiation.cheap:
                technique = negotiation.verdict.technique if negotiation.verdict is not None else ""
                wait = self._backoff.failed(negotiation.pair, negotiation.circumstances, now, technique)
                if said and (technique == BY_IPV6 or not wait):
                    self._again.append(negotiation.pair)
        for member, direct in zip(negotiation.members, negotiation.directs, strict=True):
            member.silent |= direct is None and current
        if len(said) == 2 and not negotiation.cheap and negotiation.verdict is not None and negotiation.verdict.possible:
            self._learn(negotiation, negotiation.verdict, said[0], said[1], now)
        self._end(negotiation)

    def _learn(self, negotiation: Negotiation, verdict: Verdict, one: str, other: str, now: float) -> None:
        """Both sides' words: they count where they agree."""
        if bool(one) != bool(other):
            self.counters["outcomes-contrary"] += 1
            return
        by_plan = not one or verdict.technique in (one, other)
        technique = verdict.technique if by_plan else "candidates"
        self.experience.record(negotiation.kinds, technique, bool(one), negotiation.sites, now)
        if not one:
            for number, member in enumerate(negotiation.members):
                if negotiation.sockets[number]:
                    member.doubt(negotiation.sites[1 - number])

    def _supersede(self, negotiation: Negotiation) -> None:
        """The pair begins anew; what comes of the earlier introduction may still be told."""
        self._locks.release(negotiation)
        self._forget_pair(negotiation)
        if negotiation.state is not State.INTRODUCED:
            self._end(negotiation)

    def _end(self, negotiation: Negotiation) -> None:
        negotiation.state = State.ENDED
        negotiation.deadline = float("inf")
        self._locks.release(negotiation)
        self._open.pop(negotiation.token, None)
        self._tags.pop(tag_of(negotiation.token), None)
        self._forget_pair(negotiation)

    def _forget_pair(self, negotiation: Negotiation) -> None:
        if self._pairs.get(negotiation.pair) is negotiation:
            del self._pairs[negotiation.pair]
            for member, other in zip(negotiation.members, negotiation.pair[::-1], strict=True):
                member.talks.discard(other)

    def _wake(self, negotiation: Negotiation, at: float) -> None:
        """``due`` comes back to it then, and not before."""
        negotiation.deadline = at
        self._count += 1
        heapq.heappush(self._timers, (at, self._count, negotiation))
