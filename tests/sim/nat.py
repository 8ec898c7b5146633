"""A NAT box: which fields of the far end form the key of a mapping, and which the key of the filter (RFC 4787's terms).

A packet that comes to the outside address from inside turns round when ``hairpin`` is set. IPv6 is not translated: it
passes a stateful firewall with the same filter.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.sim.internet import Packet, Segment, carry
from tests.sim.link import PERFECT, Link, LinkProfile

ENDPOINT_INDEPENDENT = "endpoint-independent"
ADDRESS = "address-dependent"
ADDRESS_AND_PORT = "address-and-port-dependent"

FIRST_PORT = 20_000
"""Where ports are taken from when the inside port is not kept."""

Address = tuple[str, int]


@dataclass(frozen=True)
class NatBehaviour:
    """The default is what most homes have: endpoint-independent mapping, address-and-port-dependent filtering.

    ``timeout`` (s) runs from the last packet outwards; ``step`` is from one allocated port to the next;
    ``blocked`` names the transports that the box lets nobody use ("udp", "tcp").
    """

    mapping: str = ENDPOINT_INDEPENDENT
    filtering: str = ADDRESS_AND_PORT
    preserve_port: bool = True
    step: int = 1
    hairpin: bool = False
    timeout: float = 120.0
    blocked: frozenset[str] = frozenset()


HOME_ROUTER = NatBehaviour()


@dataclass
class Mapping:
    """One outside port: whose it is, and who may send to it until when."""

    inside: Address
    outside: Address
    permitted: dict[tuple[str | int, ...], float]
    expires: float


def _fields(mode: str, remote: Address) -> tuple[str | int, ...]:
    return {ENDPOINT_INDEPENDENT: (), ADDRESS: remote[:1], ADDRESS_AND_PORT: remote}[mode]


class Nat:
    """A member of ``outer`` under one address, the gateway of the segment ``inside``."""

    def __init__(
        self, outer: Segment, address: str, profile: LinkProfile = PERFECT, behaviour: NatBehaviour = HOME_ROUTER
    ) -> None:
        world = outer.world
        outer.members[address] = self
        self.outer = outer
        self.address = address
        self.behaviour = behaviour
        self.inside = Segment(world, self)
        self.up = Link(world.clock, world.random, profile)
        self.down = Link(world.clock, world.random, profile)
        self.counters: Counter[str] = Counter()
        self._clock = world.clock
        self._by_inside: dict[tuple[object, ...], Mapping] = {}
        self._by_outside: dict[tuple[str, Address], Mapping] = {}
        self._next_port = FIRST_PORT

    def announce(self, address: str) -> None:
        """An IPv6 address lives behind this box: make it known outwards."""
        self.outer.members[address] = self
        if self.outer.gateway is not None:
            self.outer.gateway.announce(address)

    def reboot(self) -> None:
        """Forget all mappings."""
        self._by_inside.clear()
        self._by_outside.clear()

    def outbound(self, packet: Packet) -> None:
        if packet.transport in self.behaviour.blocked:
            self.counters["blocked"] += 1
            return
        mapping = self._mapping(packet)
        now = self._clock.now
        mapping.expires = now + self.behaviour.timeout
        mapping.permitted[_fields(self.behaviour.filtering, packet.destination)] = mapping.expires
        translated = packet._replace(source=mapping.outside)
        if packet.destination[0] == self.address:
            if self.behaviour.hairpin:
                self.arrived(translated)
            else:
                self.counters["hairpin-refused"] += 1
            return
        carry(self.up, translated, self.outer.forward)

    def arrived(self, packet: Packet) -> None:
        mapping = self._by_outside.get((packet.transport, packet.destination))
        now = self._clock.now
        if packet.transport in self.behaviour.blocked:
            self.counters["blocked"] += 1
        elif mapping is None or mapping.expires <= now:
            self.counters["no-mapping"] += 1
        elif mapping.permitted.get(_fields(self.behaviour.filtering, packet.source), 0.0) <= now:
            self.counters["filtered"] += 1
        else:
            self.inside.forward(packet._replace(destination=mapping.inside))

    def _mapping(self, packet: Packet) -> Mapping:
        key = (packet.transport, packet.source, *_fields(self.behaviour.mapping, packet.destination))
        mapping = self._by_inside.get(key)
        if mapping is None or mapping.expires <= self._clock.now:
            if mapping is not None:
                self._by_outside.pop((packet.transport, mapping.outside), None)
            outside = packet.source if ":" in packet.source[0] else (self.address, self._port(packet))
            mapping = Mapping(packet.source, outside, {}, 0.0)
            self._by_inside[key] = self._by_outside[packet.transport, outside] = mapping
        return mapping

    def _port(self, packet: Packet) -> int:
        if self.behaviour.preserve_port and self._free(packet.transport, packet.source[1]):
            return packet.source[1]
        while not self._free(packet.transport, self._next_port):
            self._next_port += self.behaviour.step
        return self._next_port

    def _free(self, transport: str, port: int) -> bool:
        return (transport, (self.address, port)) not in self._by_outside
