"""The node's side of relays: which bindings each peer has, and the header on the datagrams that go by them. Sans-IO.

::

    offers of the mediator ──offer──▶ best, second, third        bound: the best and the second; the third when the peer is not heard
    tunnel's Burst to a RELAY endpoint ──wrap──▶ Bursts to the relay, each datagram behind the channel's header
    datagrams from a relay ──unwrap──▶ the tunnel's datagrams, from the RELAY endpoint of that channel

A path by a relay is ``Endpoint(RELAY, host, port, number)``, whether the relay itself is reached by UDP or by framed TCP and wherever that
moves: the tunnel sees one endpoint that stays. Which of a peer's paths is used is decided by whoever measures them; ``endpoints`` gives
them in the order of what is known here: where the other end is, then the mediator's rank.

Two ends meet though each decides alone: both bind at the first two of the same list, so whatever one of them sends by, the other has.
Who sends and does not hear the peer by any relay binds at all of them.

Nothing that arrives makes a method raise. Peers and bindings are capped: offers come from mediators, which are not trusted with memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from userlan.control.grants import GRANT_SIZE, role_of
from userlan.control.meeting import MAX_OFFERS, RelayOffer
from userlan.relay import datagrams
from userlan.relay.binding import PROBE_AFTER, Binding, BindingState
from userlan.relay.datagrams import HEADER_SIZE, runs, same_headers
from userlan.traversal.candidates import TargetBudget
from userlan.traversal.kinds import RELAY_BOUND, RELAY_DATA
from userlan.tunnel.constants import BURST_BYTES, BURST_SEGMENTS
from userlan.tunnel.endpoint import Buffer, Burst
from userlan.wire.endpoint import RELAY, TCP, UDP, Endpoint

MAX_PEERS = 4_096
"""Peers with offers: four networks of 1,000."""
KEPT = 2
"""Bindings of a peer that are kept up: the best, and one to change to at once."""
UNHEARD = 1.0
"""Seconds of sending to a peer by relays without hearing it by any, after which it is looked for at all of them."""
BIND_RATE, BIND_BURST = 20.0, 60.0
"""BINDs a second, and at once, to one host: hundreds of pairs bind at one relay when a node starts. What is refused is sent again."""
TOTAL_BIND_RATE, TOTAL_BIND_BURST = 400.0, 1200.0
"""The same to all hosts together: mediators name the relays, and may name ever others."""
REST_AFTER = 60.0
"""Seconds after ``rest`` for which all bindings are kept: a path that has just become direct may yet fail. Then the best one stays."""
MAX_RESTING = 64
"""Peers at rest with a binding all the same, which is at hand when their path fails: five keepalives in two seconds. Of more peers, those
at rest for longest have none, and bind again in one round trip."""


class RelayBound(NamedTuple):
    """A peer can be sent to by this endpoint."""

    peer: bytes
    endpoint: Endpoint


class RelayLost(NamedTuple):
    """It cannot any more. ``reason``: for people."""

    peer: bytes
    endpoint: Endpoint
    reason: str


ClientEvent = RelayBound | RelayLost


class Unwrapped(NamedTuple):
    """A tunnel's datagrams of ``segment`` octets back to back, and the path by which they came."""

    data: bytes
    segment: int
    source: Endpoint


class _Peer:
    """One peer's bindings in the mediator's order."""

    __slots__ = ("bindings", "heard", "rest_at", "sending")

    def __init__(self) -> None:
        self.bindings: list[Binding] = []
        self.heard = float("-inf")
        self.sending: float | None = None
        """Since when datagrams leave without any coming back."""
        self.rest_at: float | None = None


class RelayClient:
    """All relays of one node. ``key``: the node's own public key; ``wall_offset``: wall = now + it."""

    def __init__(self, key: bytes, wall_offset: float) -> None:
        self.counters: Counter[str] = Counter()
        self._key = key
        self._wall_offset = wall_offset
        self._peers: dict[bytes, _Peer] = {}
        self._numbers: dict[int, Binding] = {}
        self._headers: dict[bytes, Binding] = {}
        self._next_number = 1
        self._budget = TargetBudget(BIND_RATE, BIND_BURST)
        self._total = TargetBudget(TOTAL_BIND_RATE, TOTAL_BIND_BURST)
        self._events: list[ClientEvent] = []
        self._held: dict[Endpoint | str, list[Endpoint]] = {}
        """By ways that are full; as many as the driver has connections."""
        self._resting: dict[bytes, None] = {}
        """Peers at rest that still have a binding, the longest there first."""
        self._outgoing: list[Burst] = []
        """Shared by all bindings, so that it costs nothing to see that there is none."""
        self._udp_works: bool | None = None
        self._deadline: float | None = None
        self._stale = True

    # --- what the node tells it --------------------------------------------------------------------------------------

    def offer(self, peer: bytes, offers: Iterable[RelayOffer], now: float) -> None:
        """The mediator's ranked list for a peer, in place of the one before; the best two are bound at once, or the best of one at rest."""
        self._take(peer, offers)
        held = self._peers.get(peer)
        if held is not None and peer in self._resting:
            self._keep(held, now, 1)
        else:
            self.want(peer, now)

    def restore(self, saved: Mapping[bytes, Iterable[RelayOffer]]) -> None:
        """Offers of an earlier run. They are bound when ``want`` says so."""
        for peer, offers in saved.items():
            self._take(peer, offers)

    def save(self) -> dict[bytes, tuple[RelayOffer, ...]]:
        """The offers by peer, to be restored."""
        return {key: tuple(binding.offer for binding in peer.bindings) for key, peer in self._peers.items() if peer.bindings}

    def want(self, peer: bytes, now: float) -> None:
        """A peer is to be reached: bind at its best relays."""
        held = self._peers.get(peer)
        if held is not None:
            held.rest_at = None
            self._resting.pop(peer, None)
            self._stale = True
            self._keep(held, now)

    def check(self, peer: bytes, now: float) -> None:
        """A peer is not heard any more: say again to its relays where this computer is, and bind where it rested."""
        rested = peer in self._resting
        self.want(peer, now)
        if rested:
            self.rest(peer, now)
        held = self._peers.get(peer)
        for binding in held.bindings if held is not None else ():
            binding.check(now)
        self._stale = True

    def rest(self, peer: bytes, now: float) -> None:
        """A peer has a better path: its bindings end in a while but for the best one, and that where many are at rest. Offers stay."""
        held = self._peers.get(peer)
        if held is None or peer in self._resting:
            return
        held.rest_at, held.sending = now + REST_AFTER, None
        self._resting[peer] = None
        self._stale = True
        if len(self._resting) > MAX_RESTING:
            oldest = next(iter(self._resting))
            del self._resting[oldest]
            self._rest(self._peers[oldest].bindings)

    def forget(self, peer: bytes) -> None:
        """No member any more."""
        self._resting.pop(peer, None)
        for binding in self._peers.pop(peer, _Peer()).bindings:
            self._drop(binding)

    def network_changed(self, now: float) -> None:
        """This computer is elsewhere: the relays hear of it at once, and the peers' datagrams follow."""
        self._udp_works = None
        self._stale = True
        for binding in self._numbers.values():
            binding.network_changed(now)

    def way_lost(self, endpoint: Endpoint, now: float) -> None:
        """A framed TCP connection ended."""
        self._stale = True
        for binding in self._numbers.values():
            binding.way_lost(endpoint, now)

    def held(self, way: Endpoint | str) -> list[Endpoint]:
        """A way out of the driver's is full ("udp", or an endpoint of framed TCP): the relayed endpoints that go by it."""
        found = [
            binding.endpoint
            for binding in self._numbers.values()
            if binding.address is not None and way == (UDP if binding.address.transport == UDP else binding.address)
        ]
        if found:
            self._held[way] = list(dict.fromkeys((*self._held.get(way, ()), *found)))
        return found

    def released(self, way: Endpoint | str) -> list[Endpoint]:
        """It has room, or is no more: those that went by it when it was full, wherever they go now."""
        return self._held.pop(way, [])

    # --- datagrams ---------------------------------------------------------------------------------------------------

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram is a relay's to this node."""
        kind = bytes(data[:4])
        if kind == RELAY_DATA:
            return bytes(data[:HEADER_SIZE]) in self._headers
        return kind == RELAY_BOUND and data_header_of(data) in self._headers

    def unwrap(self, data: Buffer, segment: int, source: Endpoint, now: float) -> list[Unwrapped]:
        """What a buffer of a relay's datagrams holds, a run of one channel each; what comes from elsewhere than the relay is dropped."""
        whole = bytes(data)
        size = len(whole)
        if not 0 < segment < size:
            segment = size
        if segment == size or same_headers(whole, segment):
            return self._unwrap_run(whole, segment, source, now)
        found: list[Unwrapped] = []
        for start, end in runs(whole, segment):
            found += self._unwrap_run(whole[start:end], segment, source, now)
        return found

    def _unwrap_run(self, run: bytes, segment: int, source: Endpoint, now: float) -> list[Unwrapped]:
        size = len(run)
        if not run.startswith(RELAY_DATA):
            for start in range(0, size, segment):
                self._answer(run[start : start + segment], source, now)
            return []
        binding = self._headers.get(run[:HEADER_SIZE])
        if binding is None or segment <= HEADER_SIZE or not binding.received(source, now):
            self.counters["relay-data-misplaced"] += 1
            return []
        peer = self._peers[binding.peer]
        peer.heard, peer.sending = now, None
        data = b"".join([run[at + HEADER_SIZE : at + segment] for at in range(0, size, segment)])
        return [Unwrapped(data, min(segment, size) - HEADER_SIZE, binding.endpoint)]

    def wrap(self, burst: Burst, now: float) -> tuple[Burst, ...]:
        """A burst for one of the relayed endpoints, as bursts for the relay: two where the headers make it longer than a burst may be."""
        binding = self._numbers.get(burst.endpoint.via)
        if binding is None or not binding.usable or binding.address is None or not burst.data:
            self.counters["relay-unbound"] += 1
            return ()
        binding.sent(now)
        peer = self._peers[binding.peer]
        if peer.sending is None and binding.peer not in self._resting:     # at rest, answers come by another path
            peer.sending = now
        if self._deadline is None or self._deadline > now + PROBE_AFTER:
            self._stale = True
        size, header, address = len(burst.data), binding.header, binding.address
        segment = burst.segment if 0 < burst.segment < size else size
        if segment == size:
            return (Burst(header + burst.data, size + HEADER_SIZE, address, burst.whole and address.transport == UDP),)
        most = max(1, min(BURST_BYTES // (segment + HEADER_SIZE), BURST_SEGMENTS)) * segment
        data = memoryview(burst.data)
        return tuple(
            Burst(
                b"".join([part for at in range(start, min(start + most, size), segment) for part in (header, data[at : at + segment])]),
                segment + HEADER_SIZE,
                address,
            )
            for start in range(0, size, most)
        )

    def datagrams(self, now: float) -> list[Burst]:
        """BINDs that are due. Drained."""
        if not self._outgoing:
            return []
        allowed = [burst for burst in self._outgoing if self._budget.allow(burst.endpoint.host, now) and self._total.allow("", now)]
        self.counters["binds-over-budget"] += len(self._outgoing) - len(allowed)
        self._outgoing.clear()
        return allowed

    # --- what it knows -----------------------------------------------------------------------------------------------

    def endpoints(self, peer: bytes) -> tuple[Endpoint, ...]:
        """A peer's bound paths, the best first: where the other end is known to be, then by the mediator's rank."""
        held = self._peers.get(peer)
        bound = [binding for binding in held.bindings if binding.state is BindingState.BOUND] if held is not None else []
        return tuple(binding.endpoint for binding in sorted(bound, key=lambda binding: not binding.present))

    def reachable(self, peer: bytes) -> tuple[Endpoint, ...]:
        """As ``endpoints``, and those of which the answer is still awaited: a datagram may follow the BIND at once."""
        held = self._peers.get(peer)
        under_way = [binding.endpoint for binding in held.bindings if binding.usable] if held is not None else []
        return tuple(dict.fromkeys((*self.endpoints(peer), *under_way)))

    def name_of(self, endpoint: Endpoint) -> str:
        """The name of the relay of a relayed endpoint, for people; empty where there is none."""
        binding = self._numbers.get(endpoint.via) if endpoint.transport == RELAY else None
        return binding.offer.relay.name if binding is not None else ""

    def rtt(self, endpoint: Endpoint) -> float | None:
        """Seconds to the relay of a relayed endpoint and back, as its BINDs measure it."""
        binding = self._numbers.get(endpoint.via) if endpoint.transport == RELAY else None
        return binding.rtt if binding is not None else None

    def events(self) -> list[ClientEvent]:
        """Drained."""
        events, self._events = self._events, []
        return events

    # --- time --------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        if self._stale:
            self._stale = False
            times = [binding.deadline() for binding in self._numbers.values() if binding.state is not BindingState.RESTING]
            for peer in self._peers.values():
                times += (peer.rest_at,) if peer.rest_at is not None else ()
                times += (peer.sending + UNHEARD,) if peer.sending is not None and self._looks_further(peer) else ()
            nearest = min(times, default=float("inf"))
            self._deadline = nearest if nearest < float("inf") else None
        return self._deadline

    def tick(self, now: float) -> None:
        """Do what is due."""
        due = self.deadline()
        if due is None or now < due:
            return          # a node's turns are many, and its bindings hundreds
        self._stale = True
        for binding in list(self._numbers.values()):
            if binding.state is not BindingState.RESTING and now >= binding.deadline() and binding.tick(now):
                self._lost(binding, now)
        for peer in self._peers.values():
            if peer.rest_at is not None and now >= peer.rest_at:
                peer.rest_at = None
                bound = [binding for binding in peer.bindings if binding.state is BindingState.BOUND]
                self._rest([binding for binding in peer.bindings if binding not in bound[:1]])
            elif peer.sending is not None and now >= peer.sending + UNHEARD and self._looks_further(peer):
                for binding in peer.bindings:
                    binding.want(now)

    # --- inside ------------------------------------------------------------------------------------------------------

    @staticmethod
    def _looks_further(peer: _Peer) -> bool:
        return any(binding.state is BindingState.RESTING for binding in peer.bindings)

    def _take(self, key: bytes, offers: Iterable[RelayOffer]) -> None:
        """Bindings for a new list; those at relays that stay on it stay as they are."""
        if key == self._key or (key not in self._peers and len(self._peers) >= MAX_PEERS):
            self.counters["offers-refused"] += 1
            return
        peer = self._peers.setdefault(key, _Peer())
        before = {binding.offer.relay.key: binding for binding in peer.bindings}
        bindings: list[Binding] = []
        for offer in list(offers)[:MAX_OFFERS]:
            if len(offer.grant) != GRANT_SIZE or not offer.relay.endpoints:
                self.counters["offers-refused"] += 1
                continue
            binding = before.pop(offer.relay.key, None)
            if binding is not None:
                self._headers.pop(binding.header, None)
                binding.renewed(offer)
            else:
                binding = self._make(key, offer)
            self._headers[binding.header] = binding
            bindings.append(binding)
        for binding in before.values():
            self._drop(binding)
        peer.bindings = bindings
        self._stale = True

    def _make(self, peer: bytes, offer: RelayOffer) -> Binding:
        number, self._next_number = self._next_number, self._next_number + 1
        role = role_of(self._key, peer)
        binding = Binding(peer, number, role, offer, self._wall_offset, lambda: self._udp_works is False, self._outgoing)
        self._numbers[number] = binding
        return binding

    def _drop(self, binding: Binding) -> None:
        self._stale = True
        self._numbers.pop(binding.number, None)
        if self._headers.get(binding.header) is binding:
            del self._headers[binding.header]
        if binding.state is BindingState.BOUND:
            self._events.append(RelayLost(binding.peer, binding.endpoint, "it is not offered any more"))

    def _keep(self, peer: _Peer, now: float, count: int = KEPT) -> None:
        """Bind until ``count`` are bound or under way, in the order of the list."""
        alive = sum(binding.state in (BindingState.BOUND, BindingState.BINDING) for binding in peer.bindings)
        for binding in peer.bindings:
            if alive >= count:
                return
            if binding.state is BindingState.RESTING:
                binding.want(now)
                alive += 1

    def _rest(self, bindings: Iterable[Binding]) -> None:
        for binding in bindings:
            if binding.state is BindingState.BOUND:
                self._events.append(RelayLost(binding.peer, binding.endpoint, "it rests"))
            binding.rest()

    def _lost(self, binding: Binding, now: float) -> None:
        self.counters["relays-lost"] += 1
        self._events.append(RelayLost(binding.peer, binding.endpoint, binding.failed))
        self._keep(self._peers[binding.peer], now, 1 if binding.peer in self._resting else KEPT)

    def _answer(self, datagram: bytes, source: Endpoint, now: float) -> None:
        bound = datagrams.decode_bound(datagram)
        binding = self._headers.get(datagrams.data_header(bound.channel)) if bound is not None else None
        if bound is None or binding is None or not datagrams.authentic(binding.offer.secret, datagram):
            self.counters["relay-unknown"] += 1
            return
        self._stale = True
        before = binding.state
        came = binding.answered(bound, source, now)
        if came is True:
            if source.transport == UDP:
                self._udp_works = True
            elif source.transport == TCP and self._udp_works is not True and before is BindingState.BINDING:
                self._udp_works = False
            self._events.append(RelayBound(binding.peer, binding.endpoint))
        elif came is False:
            self._lost(binding, now)


def data_header_of(bound: Buffer) -> bytes:
    """The header of the channel that a BOUND is about."""
    return RELAY_DATA + bytes(bound[4:HEADER_SIZE])
