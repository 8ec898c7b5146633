"""Datagram networks for cores that speak in bursts and endpoints: a device, a node, a mediator.

A tree of segments. The root is the public Internet; a :class:`tests.sim.nat.Nat` is a member of one segment and the
gateway of another, so NATs nest. Members of one segment reach each other directly (a switch)::

    Internet ─┬─ attach(mediator, "192.0.2.1")
              ├─ Nat("198.51.100.1") ─┬─ inside.attach(alice, "192.168.1.2")
              │                       └─ inside.attach(carol, "192.168.1.3")       alice ⇄ carol: through the switch
              └─ Nat("203.0.113.1") ──── inside.attach(bob, "192.168.1.2")

::

    world = World(seed=1)
    internet = Internet(world)
    server = internet.attach(mediator, "192.0.2.1", profile=LinkProfile(delay=0.01))
    server.listen(3479, via=1)                            # servers listen on more ports, and addresses
    home = Nat(internet, "198.51.100.1")
    alice = home.inside.attach(node, "192.168.1.2")
    world.run_until(lambda: ..., seconds=10)

Each member has a link up and a link down, both with its ``profile``. UDP sockets beside the main one are opened by their use
(:mod:`tests.sim.sockets`). ``Endpoint("tcp", …)`` is a framed TCP connection: its SYNs meet NATs and losses like any packet
(:mod:`tests.sim.tcp`), its frames arrive in order and without loss; both ends hear of it by ``way_opened`` and ``way_lost``.
What a segment has in ``blocked`` ("udp", "tcp") vanishes there without a word. Each NAT is a hop of a packet's TTL, and a
segment may stand for more (``hops``: routers between its members).
"""

from __future__ import annotations

from collections import Counter

from tests.sim.attachment import Attachment
from tests.sim.link import PERFECT, LinkProfile
from tests.sim.packet import SYN, UNREACHABLE, Core, Gateway, Member, Packet, answer, canonical, carry
from tests.sim.tcp import FIRST_TCP_PORT, KERNEL_ROOM, STALLED, USER_TIMEOUT
from tests.sim.world import World

__all__ = [
    "FIRST_TCP_PORT",
    "KERNEL_ROOM",
    "STALLED",
    "USER_TIMEOUT",
    "Attachment",
    "Core",
    "Gateway",
    "Internet",
    "Member",
    "Packet",
    "Segment",
    "canonical",
    "carry",
]


class Segment:
    """A switch: members by address, and a gateway for all else."""

    def __init__(self, world: World, gateway: Gateway | None = None) -> None:
        self.world = world
        self.gateway = gateway
        self.counters: Counter[str] = Counter()
        self.members: dict[str, Member] = {}
        self.blocked: set[str] = set()
        """Transports that do not pass here."""
        self.severed: set[frozenset[str]] = set()
        """Pairs of addresses between which nothing passes."""
        self.hops = 0
        """Routers between two members."""

    def attach(self, core: Core, *addresses: str, port: int = 41414, profile: LinkProfile = PERFECT) -> Attachment:
        """Plug a core in under its addresses; one port for UDP and framed TCP. It sends from the first of a family."""
        attachment = Attachment(self.world, core, port, profile)
        attachment.plug(self, *addresses)
        self.world.add(attachment)
        return attachment

    def forward(self, packet: Packet) -> None:
        if packet.transport in self.blocked:
            self.counters[f"blocked-{packet.transport}"] += 1
            return
        if self.severed and frozenset((packet.source[0], packet.destination[0])) in self.severed:
            self.counters["severed"] += 1
            return
        member = self.members.get(packet.destination[0])
        if member is not None:
            if self.hops:
                if packet.ttl <= self.hops:
                    self.expired(packet)
                    return
                packet = packet._replace(ttl=packet.ttl - self.hops)
            carry(member.down, packet, member.arrived)
        elif self.gateway is not None:
            self.gateway.outbound(packet)
        else:
            self.counters["no-route"] += 1

    def expired(self, packet: Packet) -> None:
        """Its TTL has run out (RFC 792): ends an attempt to connect; nobody hears of a datagram's."""
        self.counters["ttl-expired"] += 1
        if packet.kind == SYN:
            self.forward(answer(packet, UNREACHABLE))


Internet = Segment
"""The root segment: one without a gateway."""
