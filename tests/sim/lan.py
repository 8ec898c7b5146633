"""Hosts on one IP network: a star of links around a router that forwards by destination address.

::

    Host A ── up ──▶ ┌────────┐ ── down ──▶ Host B        every arrow is a Link of its own; the links carry
           ◀─ down ─ │ router │ ◀── up ───                real IP packets (cut from super-packets, joined
                     └────────┘                           again on arrival, as GSO and GRO do)

What does not fit on the link down to a host (its MTU) is cut or refused by the router, as RFC 1191 and RFC 4443 say.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Any

from tests.sim.link import PERFECT, Link, LinkProfile
from tests.sim.world import Actor, World
from userlan.stack import Host
from userlan.wire import icmp, icmpv6, superpacket
from userlan.wire.fragment import fragment
from userlan.wire.superpacket import SuperPacket

ROUTER_IPV4, ROUTER_IPV6 = "198.18.0.1", "2001:db8:ffff::1"


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


class LanHost(Actor):
    """A :class:`userlan.stack.Host` with its two links."""

    def __init__(self, lan: Lan, core: Host, up: LinkProfile, down: LinkProfile) -> None:
        world = lan.world
        super().__init__(world)
        self.core = core
        self.lan = lan
        self.up = Link(world.clock, world.random, up)
        self.down = Link(world.clock, world.random, down)
        self.received: Counter[str] = Counter()
        self._inbox: list[bytes] = []

    def deadline(self) -> float | None:
        return self.core.deadline()

    def tick(self, now: float) -> None:
        self.core.tick(now)

    def arrived(self, packet: bytes) -> None:
        self._inbox.append(packet)
        self.world.touch(self)

    def exchange(self, now: float) -> list[object]:
        inbox, self._inbox = self._inbox, []
        for packet in superpacket.join(inbox, not self.lan.checksums, self.received):
            self.core.receive(packet, now)
        for packet in self.core.packets(now):
            for piece in superpacket.cut(packet, self.lan.checksums):
                self.up.send(piece, self.lan.forward)
        return list(self.core.events())


class Lan:
    """The router. ``checksums``: computed and verified end to end, or by nobody as inside a tunnel."""

    def __init__(self, world: World, checksums: bool = True) -> None:
        self.world = world
        self.checksums = checksums
        self.counters: Counter[str] = Counter()
        self.silent_about_size = False
        """A black hole (RFC 2923 2.1): packets that do not fit vanish without a word."""
        self._identification = 0
        self._routes: dict[bytes, LanHost] = {}

    def host(self, *addresses: str, up: LinkProfile = PERFECT, down: LinkProfile = PERFECT, **options: Any) -> LanHost:
        """A new host with its links towards the router and from it; ``options`` go to ``Host``."""
        actor = LanHost(self, Host(entropy=self.world.entropy(), **options), up, down)
        for address in addresses:
            actor.core.add_address(packed(address))
            self._routes[packed(address)] = actor
        self.world.add(actor)
        return actor

    def forward(self, packet: bytes) -> None:
        try:
            parsed = superpacket.parse(packet, not self.checksums)
        except ValueError:
            self.counters["malformed"] += 1
            return
        target = self._routes.get(parsed.destination)
        if target is None:
            self.counters["no-route"] += 1
            return
        mtu = target.down.profile.mtu
        if len(packet) > mtu:
            self.counters["too-big"] += 1
            self._too_big(parsed, packet, mtu)
            return
        target.down.send(packet, target.arrived)

    def _too_big(self, parsed: SuperPacket, packet: bytes, mtu: int) -> None:
        """IPv4 without "don't fragment" is cut here; for all else the sender is told."""
        if parsed.version == 4 and not parsed.header[6] & 0x40:
            self._identification += 1
            for piece in fragment(parsed, mtu, self._identification & 0xFFFF):
                self.forward(superpacket.cut(piece, self.checksums)[0])
        elif not self.silent_about_size:
            self.forward(superpacket.cut(packet_too_big(parsed, packet, mtu), True)[0])


def packet_too_big(parsed: SuperPacket, packet: bytes, mtu: int) -> SuperPacket:
    """What a router says of a packet that does not fit (RFC 1191 4, RFC 4443 3.2)."""
    if parsed.version == 4:
        needed = icmp.Unreachable(icmp.CODE_FRAGMENTATION_NEEDED, packet, mtu)
        return icmp.build(needed, packed(ROUTER_IPV4), parsed.source)
    return icmpv6.build(icmpv6.PacketTooBig(mtu, packet), packed(ROUTER_IPV6), parsed.source)


def pair(
    world: World, first: str, second: str, profile: LinkProfile = PERFECT, checksums: bool = True, **options: Any
) -> tuple[LanHost, LanHost]:
    """Two hosts; what goes from one to the other meets ``profile`` once each way."""
    lan = Lan(world, checksums)
    return lan.host(first, up=profile, **options), lan.host(second, up=profile, **options)
