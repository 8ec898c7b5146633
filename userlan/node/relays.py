"""The relays of a node: the pools that its mediators tell it of, how far they are, and the pairs' bindings (``userlan.relay.client``).

A mediator is not trusted with targets: of the endpoints that it names for a relay only those are used that the client's own rules allow
(``traversal.candidates``), as with peers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from userlan.control.meeting import MAX_RELAYS, Introduce, RelayInfo, RelayOffer, RelayOffers, RelayPool
from userlan.control.meeting import RelayDelays as RelayDelaysMessage
from userlan.lan.addresses import key_bytes, key_text
from userlan.node.memory import Memory
from userlan.node.relay_delays import RelayDelays
from userlan.relay.client import ClientEvent, RelayClient, Unwrapped
from userlan.traversal.candidates import is_loopback, usable
from userlan.traversal.kinds import RELAY_BOUND, RELAY_DATA
from userlan.tunnel.endpoint import Buffer, Burst
from userlan.wire.endpoint import RELAY, Endpoint

KINDS = (RELAY_DATA, RELAY_BOUND)


class Relays:
    """``client``: the bindings; ``measuring``: how far each relay is; ``delays``: seconds to each, by its key; ``pool``: all relays of
    all mediators."""

    def __init__(self, key: bytes, entropy: Callable[[int], bytes], wall_offset: float) -> None:
        self.client = RelayClient(key, wall_offset)
        self.measuring = RelayDelays(entropy)
        self._pools: dict[bytes, RelayPool] = {}
        self._hosts: dict[bytes, tuple[str | None, str | None]] = {}
        """By mediator: the own host as it sees it, and its own host."""

    @property
    def delays(self) -> dict[bytes, float]:
        """Round trips in seconds of the last measurement, by relay's key; one that did not answer is not in it."""
        return self.measuring.delays

    @property
    def pool(self) -> tuple[RelayInfo, ...]:
        """The relays that mediators have told of."""
        return tuple(info for pool in self._pools.values() for info in pool.relays)

    # --- what mediators say ------------------------------------------------------------------------------------------

    def met(self, mediator: bytes, observed: str | None, host: str | None) -> None:
        """Where a mediator sees this node, and where it is itself: the rules for targets need both."""
        self._hosts[mediator] = (observed, host)

    def said(self, mediator: bytes, message: RelayPool | RelayOffers | Introduce, now: float) -> None:
        """A mediator's word, of a peer that it may speak of."""
        if isinstance(message, RelayPool):
            self._pools[mediator] = message
            self._know(now)
        elif isinstance(message, RelayOffers) or message.relays:
            self.client.offer(message.peer, self._permitted(mediator, message.relays), now)

    def forget(self, mediator: bytes, now: float) -> None:
        """A mediator is not used any more."""
        self._pools.pop(mediator, None)
        self._hosts.pop(mediator, None)
        self._know(now)

    def report(self, mediator: bytes) -> RelayDelaysMessage | None:
        """What one mediator is told of the delays: those of its own relays."""
        pool = self._pools.get(mediator)
        own = {info.key: self.delays[info.key] for info in pool.relays if info.key in self.delays} if pool is not None else {}
        return RelayDelaysMessage(own) if own else None

    def measured(self) -> bool:
        """Whether the delays are new since the last call."""
        return self.measuring.measured()

    # --- datagrams ---------------------------------------------------------------------------------------------------

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram comes from a relay."""
        return self.client.owns(data) if bytes(data[:4]) in KINDS else self.measuring.owns(data)

    def receive(self, data: Buffer, segment: int, source: Endpoint, now: float) -> list[Unwrapped] | None:
        """The tunnel's datagrams in a relay's; None where they are none of a relay's."""
        if bytes(data[:4]) in KINDS:
            return self.client.unwrap(data, segment, source, now)
        if not self.measuring.owns(data[:segment] if segment else data):
            return None
        step = segment or len(data)
        for start in range(0, len(data), step):
            self.measuring.receive(data[start : start + step], now)
        return []

    def outward(self, bursts: list[Burst], now: float) -> list[Burst]:
        """The tunnel's bursts as they leave: those for a relayed path behind its header."""
        for burst in bursts:
            if burst.endpoint.transport == RELAY:
                break
        else:
            return bursts
        leaving: list[Burst] = []
        for burst in bursts:
            if burst.endpoint.transport == RELAY:
                leaving += self.client.wrap(burst, now)
            else:
                leaving.append(burst)
        return leaving

    def datagrams(self, now: float) -> list[Burst]:
        """The own ones that are due. Drained."""
        binds, asked = self.client.datagrams(now), self.measuring.datagrams()
        return binds + asked if asked else binds

    # --- the rest ----------------------------------------------------------------------------------------------------

    def network_changed(self, now: float) -> None:
        """This computer's addresses changed."""
        self.client.network_changed(now)
        self.measuring.again(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self.client.tick(now)
        self.measuring.tick(now)

    def events(self) -> list[ClientEvent]:
        """Drained."""
        return self.client.events()

    def save(self, memory: Memory) -> None:
        """Keep the offers for the next start."""
        memory.relays = {key_text(peer): list(offers) for peer, offers in self.client.save().items()}

    def restore(self, memory: Memory) -> None:
        """Offers of the last run; ``client.want`` binds them."""
        saved: dict[bytes, list[RelayOffer]] = {}
        for text, offers in memory.relays.items():
            try:
                saved[key_bytes(text)] = offers
            except ValueError:
                continue
        self.client.restore(saved)

    def start(self, peers: Iterable[bytes], now: float) -> None:
        """Bind for peers that were reached by relays, without waiting for a mediator."""
        for peer in peers:
            self.client.want(peer, now)

    def _know(self, now: float) -> None:
        found: dict[bytes, tuple[RelayInfo, tuple[Endpoint, ...]]] = {}
        for mediator, pool in self._pools.items():
            for info in pool.relays:
                if len(found) < MAX_RELAYS:
                    found.setdefault(info.key, (info, self._usable(mediator, info)))
        self.measuring.known(found.values(), now)

    def _permitted(self, mediator: bytes, offers: Iterable[RelayOffer]) -> list[RelayOffer]:
        """The offers with those endpoints alone that may be sent to."""
        permitted: list[RelayOffer] = []
        for offer in offers:
            allowed = {endpoint[:3] for endpoint in self._usable(mediator, offer.relay)}
            endpoints = tuple(one for one in offer.relay.endpoints if (one.transport, one.host, one.port) in allowed)
            if endpoints:
                permitted.append(msgspec.structs.replace(offer, relay=msgspec.structs.replace(offer.relay, endpoints=endpoints)))
        return permitted

    def _usable(self, mediator: bytes, info: RelayInfo) -> tuple[Endpoint, ...]:
        observed, host = self._hosts.get(mediator, (None, None))
        named = [Endpoint(one.transport, one.host, one.port) for one in info.endpoints]
        here = host is not None and is_loopback(host)       # only who is on this computer knows of it
        return tuple(
            one for one in named if usable(one, observed, same_network=one.host == host) and (here or not is_loopback(one.host))
        )
