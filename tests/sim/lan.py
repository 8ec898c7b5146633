"""Hosts on one IP network: a star of links around a router that forwards by destination address.

::

    Host A ── up ──▶ ┌────────┐ ── down ──▶ Host B        every arrow is a Link of its own; the links carry
           ◀─ down ─ │ router │ ◀── up ───                real IP packets (cut from super-packets, joined
                     └────────┘                           again on arrival, as GSO and GRO do)
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Any

from tests.sim.link import PERFECT, Link, LinkProfile
from tests.sim.world import Actor, World
from userlan.stack import Host
from userlan.wire import superpacket


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
            parsed = superpacket.parse(packet)
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
            return
        target.down.send(packet, target.arrived)


def pair(
    world: World, first: str, second: str, profile: LinkProfile = PERFECT, checksums: bool = True, **options: Any
) -> tuple[LanHost, LanHost]:
    """Two hosts; what goes from one to the other meets ``profile`` once each way."""
    lan = Lan(world, checksums)
    return lan.host(first, up=profile, **options), lan.host(second, up=profile, **options)
