"""The matchmaker: observations in, introductions out; both ends of a pair are told so that they start at one moment.

For each member it knows where it is seen, what it offers, and how long a message takes to it: half of its control
link's round trip (the mediator's Ping and the member's Pong), the least of the last samples, smoothed when it rises. Of
a pair (a, b) both are told at once, and each waits::

    delay(x) = max(owd(a), owd(b)) - owd(x) + SLACK        so both first packets leave at  now + max(owd) + SLACK

A pair is due when both are online, measured (or ``MEASURE_WAIT`` old) and share a network; again when either's
endpoints changed, and when a member asks (``meet``). What members ask for goes first (three of four where both kinds
wait); all together leave at most ``RATE`` a second, one pair at most once in ``PAIR_INTERVAL``. At most ``MAX_WAITING``
pairs wait: beyond it, pairs that nobody asked for are left until somebody does (in a network of 1,000 there are half a
million pairs, and nearly all of them never talk).
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from userlan.control.meeting import Introduce
from userlan.control.messages import Candidate
from userlan.mediator.limits import TokenBucket
from userlan.mediator.reach import Sight, named
from userlan.wire.endpoint import Endpoint

#: Introductions (pairs) a second in all: 400 messages, and as many members that start sending, a second.
RATE = 200.0
#: Introductions that may leave at once: a member that comes into a network of 40 meets all of them in one go.
BURST = 40.0
#: Seconds between two introductions of one pair: the punch of the one before has had its first second.
PAIR_INTERVAL = 2.0
#: Seconds that a new member's first measurement is waited for before its pairs are introduced without it.
MEASURE_WAIT = 0.5
#: Pairs that wait to be introduced, about 300 bytes each.
MAX_WAITING = 20_000
#: Samples of a link's round trip of which the least counts: a minute of them.
SAMPLES = 6
#: Greatest one-way delay believed, seconds: a member that holds back its Pong must not delay the others' punching.
MAX_ONE_WAY = 1.0
#: Weight of a new, greater minimum (a smaller one counts at once), as RFC 6298's smoothing but quicker.
RISE_GAIN = 0.25
#: Seconds for both ends to take a message out of its frame and prepare the packets.
SLACK = 0.005
#: Of so many introductions one is left to the pairs that nobody asked for, so that askers cannot hold them up for good.
OTHERS_SHARE = 4
#: Octets of an introduction's token.
TOKEN_SIZE = 16

Pair = tuple[bytes, bytes]


class Introduction(NamedTuple):
    """One message and the key of the member that it goes to."""

    key: bytes
    message: Introduce


class LinkDelay:
    """One-way delay of one control link, from round trips."""

    __slots__ = ("_samples", "one_way")

    def __init__(self) -> None:
        self._samples: tuple[float, ...] = ()
        #: Seconds; None before the first sample.
        self.one_way: float | None = None

    def sample(self, round_trip: float) -> None:
        """Takes one round trip in seconds."""
        self._samples = (*self._samples[1 - SAMPLES :], max(0.0, round_trip))
        least = min(min(self._samples) / 2, MAX_ONE_WAY)
        if self.one_way is None or least < self.one_way:
            self.one_way = least
        else:
            self.one_way += RISE_GAIN * (least - self.one_way)


class _Member:
    __slots__ = ("arrived", "link", "networks", "settled", "sight")

    def __init__(self, sight: Sight, networks: set[int], now: float) -> None:
        self.sight = sight
        self.networks = networks
        self.link = LinkDelay()
        self.arrived = now
        self.settled = False


class Matchmaker:
    """Decides who is introduced to whom, when, and with which endpoints and delays. Times are monotonic seconds."""

    def __init__(self, *, entropy: Callable[[int], bytes], now: float) -> None:
        self._entropy = entropy
        self._members: dict[bytes, _Member] = {}
        self._networks: dict[int, dict[bytes, None]] = {}
        self._unsettled: OrderedDict[bytes, None] = OrderedDict()  # by arrival
        # A pair that waits is in exactly one of the three: ready and asked for, ready, or to be ready later.
        self._asked: OrderedDict[Pair, None] = OrderedDict()
        self._others: OrderedDict[Pair, None] = OrderedDict()
        self._later: dict[Pair, bool] = {}  # whether it was asked for
        self._later_heap: list[tuple[float, Pair]] = []
        self._introduced: OrderedDict[Pair, float] = OrderedDict()  # when; only those of the last PAIR_INTERVAL
        self._turn = 0
        self._bucket = TokenBucket(RATE, BURST, now)
        self.counters: Counter[str] = Counter()

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
        member = self._members[key] = _Member(Sight(observed, offered, colocated), set(networks), now)
        self._unsettled[key] = None
        for network in member.networks:
            self._networks.setdefault(network, {})[key] = None

    def departed(self, key: bytes) -> None:
        """A member is gone; its pairs are dropped when their turn comes."""
        member = self._members.pop(key, None)
        if member is None:
            return
        self._unsettled.pop(key, None)
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
        """Where a member's datagrams come from; a change makes all its introductions due again."""
        self._see(key, now, observed=observed, colocated=colocated)

    def offers(self, key: bytes, offered: tuple[Candidate, ...], now: float) -> None:
        """A member's own endpoints; a change makes all its introductions due again."""
        self._see(key, now, offered=offered)

    def measured(self, key: bytes, round_trip: float, now: float) -> None:
        """One round trip of a member's control link, seconds."""
        member = self._members.get(key)
        if member is not None:
            member.link.sample(round_trip)
            if not member.settled:
                self._settle(key, member, now)

    def meet(self, key: bytes, other: bytes, now: float) -> bool:
        """A member asks to be introduced to another now; False when they share no network or the other is offline."""
        if key == other or not self._share(key, other):
            return False
        member, peer = self._members[key], self._members[other]
        if member.settled and peer.settled:
            self._want(key, other, now, asked=True)
        return True

    def one_way(self, key: bytes) -> float | None:
        """The one-way delay of a member's control link, seconds; None before it is measured."""
        member = self._members.get(key)
        return None if member is None else member.link.one_way

    # --- introductions -----------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When ``due`` has something to say next."""
        times: list[float] = []
        if self._asked or self._others:
            times.append(self._bucket.ready_at(self._bucket.updated))
        if self._later_heap:
            times.append(self._later_heap[0][0])
        if self._unsettled:
            times.append(self._members[next(iter(self._unsettled))].arrived + MEASURE_WAIT)
        return min(times, default=None)

    def due(self, now: float) -> list[Introduction]:
        """The introductions that leave now, both sides of each pair side by side."""
        self._settle_old(now)
        while self._later_heap and self._later_heap[0][0] <= now:
            _, pair = heapq.heappop(self._later_heap)
            (self._asked if self._later.pop(pair) else self._others)[pair] = None
        introductions: list[Introduction] = []
        while (self._asked or self._others) and self._bucket.take(now):
            chosen = self._next()
            if chosen is not None:
                introductions += self._introduce(chosen, now)
        return introductions

    # --- inside ------------------------------------------------------------------------------------------------------

    def _next(self) -> Pair | None:
        """Takes the next pair; those that lost their reason meanwhile are dropped at no cost."""
        while self._asked or self._others:
            self._turn = (self._turn + 1) % OTHERS_SHARE
            asked = bool(self._asked) and not (self._turn == 0 and self._others)
            pair, _ = (self._asked if asked else self._others).popitem(last=False)
            if self._share(*pair):
                return pair
        return None

    def _introduce(self, pair: Pair, now: float) -> tuple[Introduction, Introduction]:
        self._introduced[pair] = now
        self._introduced.move_to_end(pair)
        while self._introduced[next(iter(self._introduced))] + PAIR_INTERVAL <= now:
            self._introduced.popitem(last=False)
        first, second = (self._members[key] for key in pair)
        known = [member.link.one_way for member in (first, second) if member.link.one_way is not None]
        usual = max(known, default=0.0)
        ways = [usual if member.link.one_way is None else member.link.one_way for member in (first, second)]
        latest = max(ways) + SLACK
        token = self._entropy(TOKEN_SIZE)
        self.counters["introductions"] += 1
        return (
            Introduction(pair[0], Introduce(pair[1], named(second.sight, first.sight), latest - ways[0], token)),
            Introduction(pair[1], Introduce(pair[0], named(first.sight, second.sight), latest - ways[1], token)),
        )

    def _want(self, key: bytes, other: bytes, now: float, asked: bool = False) -> None:
        if key == other or not self._members[other].settled:
            return
        pair = (key, other) if key < other else (other, key)
        if pair in self._asked:
            return
        if pair in self._others:
            if asked:
                del self._others[pair]
                self._asked[pair] = None
            return
        if pair in self._later:
            self._later[pair] |= asked
            return
        if len(self._asked) + len(self._others) + len(self._later) >= MAX_WAITING * (1 + asked):
            self.counters["meetings-not-queued" if asked else "pairs-not-queued"] += 1
            return
        again = self._introduced.get(pair, now - PAIR_INTERVAL) + PAIR_INTERVAL
        if again > now:
            self._later[pair] = asked
            heapq.heappush(self._later_heap, (again, pair))
        else:
            (self._asked if asked else self._others)[pair] = None

    def _see(
        self,
        key: bytes,
        now: float,
        observed: Endpoint | None = None,
        colocated: bool | None = None,
        offered: tuple[Candidate, ...] | None = None,
    ) -> None:
        member = self._members.get(key)
        if member is None:
            return
        before = member.sight
        member.sight = Sight(
            before.observed if observed is None else observed,
            before.offered if offered is None else offered,
            before.colocated if colocated is None else colocated,
        )
        if member.sight != before and member.settled:
            self._want_all(key, member, now)

    def _settle_old(self, now: float) -> None:
        while self._unsettled:
            key = next(iter(self._unsettled))
            member = self._members[key]
            if member.arrived + MEASURE_WAIT > now:
                return
            self._settle(key, member, now)

    def _settle(self, key: bytes, member: _Member, now: float) -> None:
        self._unsettled.pop(key, None)
        member.settled = True
        self._want_all(key, member, now)

    def _want_all(self, key: bytes, member: _Member, now: float) -> None:
        for network in member.networks:
            for other in self._networks[network]:
                self._want(key, other, now)

    def _share(self, key: bytes, other: bytes) -> bool:
        member, peer = self._members.get(key), self._members.get(other)
        return member is not None and peer is not None and not member.networks.isdisjoint(peer.networks)

    def _forget(self, network: int, key: bytes) -> None:
        others = self._networks[network]
        others.pop(key, None)
        if not others:
            del self._networks[network]
