"""A NAT box: which fields of the far end form the key of a mapping, and which the key of the filter (RFC 4787's terms).

A packet from inside is one hop further, gets its mapping (:mod:`tests.sim.nat_allocation` chooses the port) and refreshes it; one
from outside needs a mapping that lets its source in. A SYN outwards opens the filter as a datagram does, so that the other side's SYN
passes; a RST ends that, until the next SYN outwards. A packet that comes to an outside address from inside turns round when
``hairpin`` is set (RFC 4787 REQ-9: with its outside source). IPv6 is not translated: it passes a stateful firewall, where ``ipv6``
says so. All axes: :mod:`tests.sim.nat_behaviour`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tests.sim.internet import Segment
from tests.sim.link import PERFECT, Link, LinkProfile
from tests.sim.nat_allocation import Allocator
from tests.sim.nat_behaviour import (
    ADDRESS,
    ADDRESS_AND_PORT,
    ARBITRARY,
    DROP,
    ENDPOINT_INDEPENDENT,
    FIREWALL,
    HOME_ROUTER,
    MOVES,
    NONE,
    PAIRED,
    RESET,
    NatBehaviour,
)
from tests.sim.packet import ACK, DATA, RST, SYN, UNREACHABLE, Address, Packet, answer, carry

__all__ = ["ADDRESS", "ADDRESS_AND_PORT", "ENDPOINT_INDEPENDENT", "HOME_ROUTER", "Mapping", "Nat", "NatBehaviour"]

HELD = {"udp": 30.0, "tcp": 10.0}
"""Seconds for which a box that ``MOVES`` keeps the tuple of an early packet: Linux' timeouts of an unanswered UDP stream
(``nf_conntrack_udp_timeout``), and of a TCP connection that was reset (``nf_conntrack_tcp_timeout_close``)."""

Fields = tuple[str | int, ...]


@dataclass(slots=True, eq=False)
class Mapping:
    """One outside port: whose it is, and who may send to it until when. ``fixed``: opened by hand or by a protocol, for everybody."""

    inside: Address
    outside: Address
    permitted: dict[Fields, float] = field(default_factory=dict)
    expires: float = 0.0
    established: bool = False
    fixed: bool = False


def _fields(mode: str, remote: Address) -> Fields:
    if mode == ENDPOINT_INDEPENDENT:
        return ()
    return remote if mode == ADDRESS_AND_PORT else remote[:1]


class Nat:
    """A member of ``outer`` under one address or several (``pool``), the gateway of the segment ``inside``."""

    def __init__(
        self, outer: Segment, address: str, profile: LinkProfile = PERFECT, behaviour: NatBehaviour = HOME_ROUTER, pool: Sequence[str] = ()
    ) -> None:
        world = outer.world
        self.outer = outer
        self.behaviour = behaviour
        self.inside = Segment(world, self)
        self.up = Link(world.clock, world.random, profile)
        self.down = Link(world.clock, world.random, profile)
        self.counters: Counter[str] = Counter()
        self.addresses: tuple[str, ...] = ()
        self._clock = world.clock
        self._random = Random(f"{world.seed} {address}")
        self._move_to((address, *pool))
        self._forget()

    @property
    def address(self) -> str:
        """The outside address, the first one of a pool."""
        return self.addresses[0]

    def announce(self, address: str) -> None:
        """An IPv6 address lives behind this box: make it known outwards."""
        if ":" in address:
            self.outer.members[address] = self
            if self.outer.gateway is not None:
                self.outer.gateway.announce(address)

    def reboot(self, address: str = "", pool: Sequence[str] = ()) -> None:
        """Forget all mappings, and come back under another address if one is named."""
        if address:
            self._move_to((address, *pool))
        self._forget()

    def open_port(self, inside: Address, port: int, transport: str = "udp") -> Mapping:
        """A mapping for everybody, as somebody's hand, PCP or UPnP makes it."""
        mapping = Mapping(inside, (self.address, port), expires=float("inf"), fixed=True)
        self._fixed[transport, inside] = mapping
        self._by_outside[transport, mapping.outside] = [mapping]
        return mapping

    def outbound(self, packet: Packet) -> None:
        """A packet from inside."""
        if not self._passes(packet, packet.destination[1]):
            return
        behaviour = self.behaviour.of(packet.transport)
        packet = packet._replace(ttl=packet.ttl - 1)
        if ":" in packet.source[0] and self.behaviour.ipv6 != FIREWALL:
            carry(self.up, packet, self.outer.forward)
            return
        mapping = self._mapping(packet, behaviour)
        self._refresh(mapping, packet, packet.destination, behaviour)
        translated = packet._replace(source=mapping.outside)
        if packet.destination[0] not in self.addresses:
            carry(self.up, translated, self.outer.forward)
        elif behaviour.hairpin:
            self.arrived(translated)
        else:
            self.counters["hairpin-refused"] += 1

    def arrived(self, packet: Packet) -> None:
        """A packet from outside."""
        if not self._passes(packet, 0):
            return
        behaviour = self.behaviour.of(packet.transport)
        packet = packet._replace(ttl=packet.ttl - 1)
        if ":" in packet.destination[0] and self.behaviour.ipv6 != FIREWALL:
            self.inside.forward(packet)
            return
        mapping = self._admitting(packet, behaviour)
        if mapping is None:
            self._refuse(packet, behaviour)
            return
        if behaviour.refreshed_inbound or packet.kind == RST:
            self._refresh(mapping, packet, packet.source, behaviour)
        self.inside.forward(packet._replace(destination=mapping.inside))

    def _passes(self, packet: Packet, port: int) -> bool:
        """Whether the box forwards such packets at all; ``port``: where it is to go, 0: inwards."""
        behaviour, six = self.behaviour, ":" in packet.source[0]
        refused = packet.transport == "tcp" and port and behaviour.tcp_ports and port not in behaviour.tcp_ports
        if refused or packet.transport in behaviour.blocked or (six and behaviour.ipv6 == NONE):
            self.counters["blocked"] += 1
        elif packet.ttl <= 1:
            self.counters["ttl-expired"] += 1
            if packet.kind == SYN:
                (self.inside.forward if port else self._outwards)(answer(packet, UNREACHABLE))
        else:
            return True
        return False

    def _outwards(self, packet: Packet) -> None:
        carry(self.up, packet, self.outer.forward)

    # the filter

    def _admitting(self, packet: Packet, behaviour: NatBehaviour) -> Mapping | None:
        """The mapping that lets a packet in."""
        now = self._clock.now
        mappings = self._by_outside.get((packet.transport, packet.destination), ())
        six = ":" in packet.source[0]
        fields = _fields(ADDRESS_AND_PORT if six else behaviour.filtering, packet.source)
        for mapping in mappings:
            if mapping.expires > now and (mapping.fixed or mapping.permitted.get(fields, 0.0) > now):
                return mapping
        self.counters["filtered" if any(mapping.expires > now for mapping in mappings) else "no-mapping"] += 1
        return None

    def _refuse(self, packet: Packet, behaviour: NatBehaviour) -> None:
        if behaviour.early == MOVES and packet.kind in (DATA, SYN):
            self._held[packet.transport, packet.destination, packet.source] = self._clock.now + HELD[packet.transport]
        if packet.kind == SYN and behaviour.unsolicited != DROP:
            self.counters["refused"] += 1
            self._outwards(answer(packet, RST if behaviour.unsolicited == RESET else UNREACHABLE))

    def _refresh(self, mapping: Mapping, packet: Packet, remote: Address, behaviour: NatBehaviour) -> None:
        fields = _fields(ADDRESS_AND_PORT if ":" in remote[0] else behaviour.filtering, remote)
        if packet.kind == RST:
            if len(fields) == 2:
                mapping.permitted.pop(fields, None)     # conntrack: CLOSE, in which a SYN from outside is invalid
            return
        if packet.transport == "tcp" and packet.kind in (DATA, ACK):
            mapping.established = True
        until = self._clock.now + (behaviour.established if mapping.established else behaviour.timeout)
        mapping.permitted[fields] = until
        mapping.expires = max(mapping.expires, until) if mapping.fixed else until

    # mappings

    def _mapping(self, packet: Packet, behaviour: NatBehaviour) -> Mapping:
        """The mapping that a packet outwards has or gets."""
        transport, source, remote, now = packet.transport, packet.source, packet.destination, self._clock.now
        fixed = self._fixed.get((transport, source))
        if fixed is not None:
            return fixed
        moved = self._by_inside.get((transport, source, "moved", *remote)) if behaviour.early == MOVES else None
        if moved is not None and moved.expires > now:
            return moved
        six = ":" in source[0]
        key = (transport, source, *_fields(ENDPOINT_INDEPENDENT if six else behaviour.mapping, remote))
        mapping = self._by_inside.get(key)
        if mapping is None or mapping.expires <= now:
            if mapping is not None:
                self._remove(transport, mapping)
            outside = source if six else self._outside(transport, source, behaviour)
            mapping = self._add(transport, key, source, outside)
        if behaviour.early == MOVES and self._held_tuple(transport, mapping, remote):
            self.counters["moved"] += 1
            host = mapping.outside[0]
            port = self._allocator(transport, host, behaviour).choose(source, elsewhere=True)
            mapping = self._add(transport, (transport, source, "moved", *remote), source, (host, port))
        return mapping

    def _held_tuple(self, transport: str, mapping: Mapping, remote: Address) -> bool:
        """Whether the box itself has taken what would be this connection."""
        now = self._clock.now
        if mapping.permitted.get(remote, 0.0) > now:
            return False
        return self._held.get((transport, mapping.outside, remote), 0.0) > now

    def _add(self, transport: str, key: tuple[object, ...], inside: Address, outside: Address) -> Mapping:
        mapping = self._by_inside[key] = Mapping(inside, outside)
        self._by_outside.setdefault((transport, outside), []).insert(0, mapping)
        self.counters["mappings"] += 1
        return mapping

    def _remove(self, transport: str, mapping: Mapping) -> None:
        mappings = self._by_outside.get((transport, mapping.outside), [])
        if mapping in mappings:
            mappings.remove(mapping)

    def _outside(self, transport: str, inside: Address, behaviour: NatBehaviour) -> Address:
        host = self.address
        if self.behaviour.pooling == ARBITRARY:
            host = self._random.choice(self.addresses)
        elif self.behaviour.pooling == PAIRED:
            host = self._paired.setdefault(inside[0], self._random.choice(self.addresses))
        return host, self._allocator(transport, host, behaviour).choose(inside)

    def _allocator(self, transport: str, host: str, behaviour: NatBehaviour) -> Allocator:
        allocator = self._allocators.get((transport, host))
        if allocator is None:
            def taken(port: int) -> bool:
                return self._taken(transport, (host, port))

            allocator = self._allocators[transport, host] = Allocator(behaviour, self._random, self._clock, taken)
        return allocator

    def _taken(self, transport: str, outside: Address) -> bool:
        mappings = self._by_outside.get((transport, outside))
        if not mappings:
            return False
        now = self._clock.now
        alive = [mapping for mapping in mappings if mapping.expires > now]
        if not alive:
            del self._by_outside[transport, outside]
        return bool(alive)

    def _move_to(self, addresses: tuple[str, ...]) -> None:
        for address in self.addresses:
            self.outer.members.pop(address, None)
        self.addresses = addresses
        for address in addresses:
            self.outer.members[address] = self

    def _forget(self) -> None:
        self._by_inside: dict[tuple[object, ...], Mapping] = {}
        self._by_outside: dict[tuple[str, Address], list[Mapping]] = {}
        self._fixed: dict[tuple[str, Address], Mapping] = {}
        self._held: dict[tuple[str, Address, Address], float] = {}
        self._paired: dict[str, str] = {}
        self._allocators: dict[tuple[str, str], Allocator] = {}
