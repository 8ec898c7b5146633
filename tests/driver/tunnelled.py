"""A host behind a tunnel, as small as a core can be: for engines on real sockets."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from tests.driver.memory import Member, packed
from tests.driver.ways import DeviceWays
from userlan.driver.engine import Engine
from userlan.driver.lan import Lan
from userlan.driver.runner import CoreRunner
from userlan.lan.addresses import ipv6_of
from userlan.lan.names import UnknownName
from userlan.stack import Host
from userlan.tunnel.device import Device
from userlan.wire.endpoint import Endpoint
from userlan.wire.numbers import Buffer


class TunnelCore(DeviceWays):
    """One device, one host; every peer may use the addresses that it was added with."""

    def __init__(self, name: str, ipv4: str, now: float) -> None:
        self.device = Device(os.urandom(32), entropy=os.urandom, now=now, wall_offset=0.0)
        key = self.device.public_key
        self.own = Member(name, key, packed(ipv4), ipv6_of(key))
        self.host = Host(entropy=os.urandom)
        self.host.add_address(self.own.ipv4)
        self.host.add_address(self.own.ipv6)
        self.counters: Counter[str] = Counter()
        self.runner: CoreRunner
        self.resolver = self
        self._peers: dict[bytes, Member] = {}
        self._now = now

    def meet(self, other: TunnelCore, endpoint: Endpoint | None) -> None:
        """Know a peer, and where it is."""
        self.device.add_peer(other.own.key, endpoint=endpoint)
        self._peers[other.own.ipv4] = self._peers[other.own.ipv6] = other.own

    # --- Core

    def owns(self, data: Buffer) -> bool:
        return self.device.owns(data)

    def receive(self, data: Buffer, segment: int, source: Endpoint, now: float) -> None:
        for inbound in self.device.receive(data, segment, source, now):
            for packet in inbound.packets:
                self.host.receive(packet, now)

    def datagrams(self, now: float) -> list[Any]:
        for packet in self.host.packets(now):
            member = self._peers.get(packet.destination)
            if member is None:
                self.counters["no-route"] += 1
            else:
                self.device.send(member.key, packet, now)
        return self.device.datagrams(now)

    def deadline(self) -> float | None:
        times = [time for time in (self.host.deadline(), self.device.deadline()) if time is not None]
        return min(times, default=None)

    def tick(self, now: float) -> None:
        self.device.tick(now)
        self.host.tick(now)

    def events(self) -> list[Any]:
        return [*self.device.events(), *self.host.events()]

    # --- Member

    def resolve(self, name: str) -> bytes:
        for address, member in self._peers.items():
            if member.name == name:
                return address
        raise UnknownName(f"no member is named {name}")

    def peer_info(self, address: bytes) -> Member | None:
        return self._peers.get(address)

    def members(self) -> list[Member]:
        return list(self._peers.values())

    def own_info(self) -> Member:
        return self.own

    def is_lan_address(self, address: bytes) -> bool:
        return address in self._peers

    def is_lan_name(self, text: str) -> bool:
        return any(member.name == text for member in self._peers.values())


def run(engine: Engine, core: TunnelCore) -> Lan:
    """Let an engine feed a core; its LAN."""
    core.runner = engine.add(core, lambda event: None)
    return Lan(core.runner, core)
