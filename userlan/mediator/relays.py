"""The pool of relays: which there are, how far each node is from each, and what pairs are offered.

A relay is a session (``Hello.kind``) that has no account, no address and no network. Whoever reaches the mediator may serve, up to
``MAX_RELAYS``, unless the owner has named the keys that may. A relay sees ciphertext; what it could gain by joining is to drop it, which
the ends notice and change to another.

Where a relay is reached is what the mediator saw: the host of its session, with the ports that it names, and hosts beside that only
where the owner has named its key, or where it sits on the mediator's own computer. So nobody can make nodes send to a third party by
joining the pool with its address.

Nodes measure the delays (``RelayDelays``); a node that lies moves its own pairs to worse relays and nobody else's.

Offers: for each pair that was introduced the ranked relays with a grant each are remembered, so that both ends get the same, until a
grant has ``RENEW_BEFORE`` left, or the ranking changes by more than its hysteresis: then both are told anew, at a bounded rate.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection
from typing import NamedTuple

from userlan.control import grants
from userlan.control.meeting import (
    MAX_ENDPOINTS,
    MAX_OFFERS,
    MAX_RELAYS,
    RelayDelays,
    RelayInfo,
    RelayOffer,
    RelayOffers,
    RelayPool,
    Serve,
    ServerEndpoint,
)
from userlan.control.messages import Message
from userlan.mediator.limits import TokenBucket
from userlan.mediator.reach import is_colocated, scope
from userlan.mediator.relay_ranking import Known, ranked
from userlan.wire.endpoint import Endpoint, unmapped

MAX_PAIRS = 20_000
"""Pairs whose offers are remembered, about 1 KB each; of the one longest ago both ends keep what they have."""
MAX_DELAY = 10.0
"""Seconds: a longer round trip is as good as none."""
RENEW_BEFORE = 2 * 86_400.0
"""Seconds before a grant's end at which it is renewed: a long week-end without the mediator."""
SETTLE = 1.0
"""Seconds from a change of the pool to its telling: relays that start together are told of once."""
TELL_RATE, TELL_BURST = 200.0, 200.0
"""Pools told a second: 20,000 nodes hear of a change within two minutes, and the mediator has other things to do meanwhile."""
OFFER_RATE, OFFER_BURST = 50.0, 100.0
"""Pairs whose offers are made anew a second, of those that nobody asked for."""

Pair = tuple[bytes, bytes]
OfferList = tuple[RelayOffer, ...]


class _Relay:
    __slots__ = ("info", "seen", "serve")

    def __init__(self, info: RelayInfo, seen: Endpoint) -> None:
        self.info = info
        self.seen = seen
        self.serve: Serve | None = None


class _Offered(NamedTuple):
    """What a pair was offered: relays with their grants and the pair's delay; ``renew_at`` is monotonic."""

    relays: tuple[tuple[bytes, bytes, float], ...]
    renew_at: float


class Relays:
    """``secret``: 32 octets of the mediator's own. ``allowed``: keys that may serve, None or empty: any. Times are monotonic seconds."""

    def __init__(
        self, secret: bytes, allowed: Collection[bytes] | None, own_hosts: Collection[str], wall_offset: float, now: float
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._secret = secret
        self._allowed = frozenset(allowed) if allowed else None
        self._own_hosts = frozenset(own_hosts)
        self._wall_offset = wall_offset
        self._now = now
        self._relays: dict[bytes, _Relay] = {}
        self._delays: dict[bytes, dict[bytes, float]] = {}
        """By node that is online, then by relay."""
        self._pairs: OrderedDict[Pair, _Offered] = OrderedDict()
        """The one offered longest ago first."""
        self._of_node: dict[bytes, set[Pair]] = {}
        self._dirty: OrderedDict[Pair, None] = OrderedDict()
        self._untold: OrderedDict[bytes, None] = OrderedDict()
        self._change_at: float | None = None
        self._tell = TokenBucket(TELL_RATE, TELL_BURST, now)
        self._offer = TokenBucket(OFFER_RATE, OFFER_BURST, now)

    def __len__(self) -> int:
        return len(self._relays)

    def __contains__(self, key: bytes) -> bool:
        return key in self._relays

    # --- the pool ----------------------------------------------------------------------------------------------------

    def refusal(self, key: bytes) -> str:
        """Why a relay cannot be taken in, one line; empty where it can."""
        if self._allowed is not None and key not in self._allowed:
            return "this mediator takes only the relays that its owner has named: ask for --relay-key"
        if key not in self._relays and len(self._relays) >= MAX_RELAYS:
            return f"this mediator has {MAX_RELAYS} relays already"
        return ""

    def pool_key(self, relay: bytes) -> bytes:
        """The key that seals grants for one relay."""
        return grants.pool_key(self._secret, relay)

    def joined(self, key: bytes, name: str, seen: Endpoint, now: float) -> None:
        """A relay greeted (again). Nobody is told of it before it says by what ports it serves."""
        self._relays[key] = _Relay(RelayInfo(key, name, ()), seen)

    def serve(self, key: bytes, message: Serve, now: float) -> None:
        """What a relay says of itself."""
        relay = self._relays.get(key)
        if relay is None:
            return
        relay.serve = message
        self._describe(relay, now)

    def moved(self, key: bytes, seen: Endpoint, now: float) -> None:
        """A relay's datagrams come from elsewhere."""
        relay = self._relays.get(key)
        if relay is not None and relay.seen != seen:
            relay.seen = seen
            self._describe(relay, now)

    def left(self, key: bytes, now: float) -> None:
        """A relay's session ended: its pairs are offered others. Who uses it goes on while it is there."""
        relay = self._relays.pop(key, None)
        if relay is None:
            return
        for delays in self._delays.values():
            delays.pop(key, None)
        for pair, offered in self._pairs.items():
            if any(one == key for one, _, _ in offered.relays):
                self._dirty[pair] = None
        if relay.info.endpoints:
            self._changed(now)

    def reflectors(self) -> list[RelayInfo]:
        """The relays that nodes can reach and that are not at the mediator's own addresses: they answer as another host."""
        relays = self._relays.values()
        return [relay.info for relay in relays if relay.info.endpoints and not is_colocated(relay.seen, self._own_hosts)]

    # --- nodes -------------------------------------------------------------------------------------------------------

    def arrived(self, node: bytes) -> None:
        """A node greeted: it is told of the pool."""
        self._delays.setdefault(node, {})
        if any(relay.info.endpoints for relay in self._relays.values()):
            self._untold[node] = None

    def departed(self, node: bytes) -> None:
        """A node's session ended."""
        self._delays.pop(node, None)
        self._untold.pop(node, None)

    def measured(self, node: bytes, message: RelayDelays) -> None:
        """A node's round trips; in place of those before."""
        if node not in self._delays:
            return
        known = {key: delay for key, delay in message.delays.items() if key in self._relays and 0 <= delay <= MAX_DELAY}
        self._delays[node] = known
        for pair in self._of_node.get(node, ()):
            self._dirty[pair] = None

    def delays_of(self, node: bytes) -> dict[bytes, float]:
        """What a node has measured, seconds by relay."""
        return dict(self._delays.get(node, {}))

    # --- offers ------------------------------------------------------------------------------------------------------

    def offers_for(self, a: bytes, b: bytes, now: float) -> tuple[OfferList, OfferList]:
        """The ranked offers for a pair: those for ``a`` and those for ``b``. Both empty where there is no relay."""
        pair = (a, b) if a < b else (b, a)
        offered = self._pairs.get(pair)
        gone = offered is not None and any(key not in self._relays for key, _, _ in offered.relays)
        if offered is None or gone or pair in self._dirty or now >= offered.renew_at:
            self._dirty.pop(pair, None)
            offered = self._ranked(pair, offered, now)
        return self._for_end(offered, a, b), self._for_end(offered, b, a)

    def due(self, now: float) -> list[tuple[bytes, Message]]:
        """What nodes are told now: the pool, and offers that changed."""
        self._now = now
        told: list[tuple[bytes, Message]] = []
        if self._change_at is not None and now >= self._change_at:
            self._change_at = None
            self._untold.update(dict.fromkeys(self._delays))
        pool = self._pool() if self._untold else None
        while pool is not None and self._untold and self._tell.take(now):
            told.append((self._untold.popitem(last=False)[0], pool))
        while self._pairs and next(iter(self._pairs.values())).renew_at <= now:
            pair = next(iter(self._pairs))
            self._pairs.move_to_end(pair)
            if not self._online(pair):
                self._forget(pair)
                continue
            if not self._offer.take(now):
                self._pairs.move_to_end(pair, last=False)
                break
            self._dirty.pop(pair, None)
            told += self._renewed(pair, now, always=True)
        while self._dirty and self._offer.take(now):
            pair = self._dirty.popitem(last=False)[0]
            if pair in self._pairs and self._online(pair):
                told += self._renewed(pair, now, always=False)
        return told

    def deadline(self) -> float | None:
        """When ``due`` has something to say."""
        now = self._now
        times = [] if self._change_at is None else [self._change_at]
        if self._untold:
            times.append(self._tell.ready_at(now))
        if self._dirty:
            times.append(self._offer.ready_at(now))
        if self._pairs:
            times.append(max(next(iter(self._pairs.values())).renew_at, self._offer.ready_at(now)))
        return min(times, default=None)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _describe(self, relay: _Relay, now: float) -> None:
        if relay.serve is None:
            return
        serve, before = relay.serve, relay.info
        endpoints = self._endpoints(before.key, relay.seen, serve)
        relay.info = RelayInfo(before.key, before.name, endpoints, serve.region, serve.load)
        if (before.endpoints, before.region) != (relay.info.endpoints, relay.info.region):
            self._changed(now)

    def _endpoints(self, key: bytes, seen: Endpoint, serve: Serve) -> tuple[ServerEndpoint, ...]:
        """Where nodes are sent: the host that was seen, with the ports that the relay names; see the module."""
        trusted = self._allowed is not None or is_colocated(seen, self._own_hosts)
        chosen: dict[ServerEndpoint, None] = {}
        for one in serve.endpoints:
            named = scope(one.host)
            if trusted and named != "unusable" and (named != "loopback" or scope(seen.host) == "loopback"):
                chosen[ServerEndpoint(unmapped(one.host), one.port, one.transport)] = None
            elif named == "unusable" or (":" in one.host) == (":" in seen.host):
                chosen[ServerEndpoint(seen.host, one.port, one.transport)] = None
        return tuple(chosen)[:MAX_ENDPOINTS]

    def _changed(self, now: float) -> None:
        if self._change_at is None:
            self._change_at = now + SETTLE

    def _pool(self) -> RelayPool:
        return RelayPool(tuple(relay.info for relay in self._relays.values() if relay.info.endpoints))

    def _online(self, pair: Pair) -> bool:
        return all(node in self._delays for node in pair)

    def _ranked(self, pair: Pair, before: _Offered | None, now: float) -> _Offered:
        """Rank anew and remember; grants that have long to go are kept."""
        old = {key: grant for key, grant, _ in before.relays} if before is not None and now < before.renew_at else {}
        pool = [Known(key, one.info.region, one.info.load) for key, one in self._relays.items() if one.info.endpoints]
        current = before.relays[0][0] if before is not None and before.relays else None
        delays = [self._delays.get(node, {}) for node in pair]
        order = ranked(pool, delays[0], delays[1], pair[0] + pair[1], current)[:MAX_OFFERS]
        expiry = now + self._wall_offset + grants.LIFETIME
        chosen = tuple((key, old.get(key) or grants.seal(self.pool_key(key), *pair, expiry), cost) for key, cost in order)
        kept = before is not None and any(key in old for key, _, _ in chosen)
        renew_at = before.renew_at if before is not None and kept else now + grants.LIFETIME - RENEW_BEFORE
        offered = _Offered(chosen, renew_at)
        if chosen:
            self._remember(pair, offered, fresh=not kept)
        elif before is not None:
            self._forget(pair)
        return offered

    def _remember(self, pair: Pair, offered: _Offered, fresh: bool) -> None:
        self._pairs[pair] = offered
        if fresh:
            self._pairs.move_to_end(pair)
        for node in pair:
            self._of_node.setdefault(node, set()).add(pair)
        if len(self._pairs) > MAX_PAIRS:
            self._forget(next(iter(self._pairs)))

    def _forget(self, pair: Pair) -> None:
        self._pairs.pop(pair, None)
        self._dirty.pop(pair, None)
        for node in pair:
            pairs = self._of_node.get(node)
            if pairs is not None:
                pairs.discard(pair)
                if not pairs:
                    del self._of_node[node]

    def _renewed(self, pair: Pair, now: float, always: bool) -> list[tuple[bytes, Message]]:
        """Offers for both ends, where they differ from those before (or ``always``)."""
        before = self._pairs[pair]
        offered = self._ranked(pair, before, now)
        if not offered.relays or (not always and [one[:2] for one in offered.relays] == [one[:2] for one in before.relays]):
            return []
        self.counters["offers-renewed"] += 1
        a, b = pair
        return [(a, RelayOffers(b, self._for_end(offered, a, b))), (b, RelayOffers(a, self._for_end(offered, b, a)))]

    def _for_end(self, offered: _Offered, own: bytes, peer: bytes) -> OfferList:
        offers: list[RelayOffer] = []
        for key, grant, cost in offered.relays:
            told = grants.for_end(self.pool_key(key), grant, grants.role_of(own, peer))
            offers.append(RelayOffer(self._relays[key].info, told.grant, told.channel, told.secret, cost))
        return tuple(offers)
