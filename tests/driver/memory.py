"""Two members in memory and in virtual time: hosts joined by a wire with a delay, an engine each, no sockets."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.driver.ways import NothingKept
from userlan.driver.engine import Engine
from userlan.driver.lan import Lan
from userlan.driver.runner import Buffer, CoreRunner
from userlan.lan.addresses import ipv6_of, loopback_alias
from userlan.lan.names import UnknownName
from userlan.stack import Host
from userlan.wire.endpoint import Endpoint
from userlan.wire.superpacket import SuperPacket

ADDRESSES = {"me": "25.9.0.1", "nas": "25.9.0.2"}


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def entropy_of(seed: int) -> Callable[[int], bytes]:
    """Octets that differ from call to call and are the same in every run."""
    state = [seed]

    def entropy(size: int) -> bytes:
        state[0] += 1
        return (state[0] * 0x9E3779B97F4A7C15).to_bytes(24, "big")[-max(size, 8) :].ljust(size, b"\0")[-size:]

    return entropy


@attrs.frozen
class Member:
    """As the roster describes it."""

    name: str
    key: bytes
    ipv4: bytes
    ipv6: bytes
    networks: tuple[str, ...] = ("home",)
    blocked: bool = False
    given: str = ""


MEMBERS = [
    Member(name, bytes([number]) * 32, packed(address), ipv6_of(bytes([number]) * 32))
    for number, (name, address) in enumerate(ADDRESSES.items(), 1)
]


class WiredCore(NothingKept):
    """A host at the end of a wire, and what ``Lan`` asks of a node."""

    def __init__(self, clock: Clock, own: Member, delay: float) -> None:
        self.host = Host(entropy=entropy_of(own.key[0]))
        self.host.add_address(own.ipv4)
        self.host.add_address(own.ipv6)
        self.own = own
        self.other: WiredCore
        self.runner: CoreRunner
        self.delay = delay
        self.cut = False
        """What is sent gets lost."""
        self.pumps = 0
        self.resolver = self
        self._clock = clock

    # --- Core

    def owns(self, data: Buffer) -> bool:
        return False

    def receive(self, data: Buffer, segment: int, source: Endpoint, now: float) -> None:
        raise AssertionError("there are no sockets")

    def datagrams(self, now: float) -> list[Any]:
        self.pumps += 1
        for packet in self.host.packets(now):
            if not self.cut:
                self._clock.callLater(self.delay, self.other.arrived, packet)
        return []

    def arrived(self, packet: SuperPacket) -> None:
        self.host.receive(SuperPacket(packet.header, packet.payload, packet.segment_size, True), self._clock.seconds())
        self.runner.touch()

    def deadline(self) -> float | None:
        return self.host.deadline()

    def tick(self, now: float) -> None:
        self.host.tick(now)

    def events(self) -> list[Any]:
        return list(self.host.events())

    # --- Member

    def resolve(self, name: str) -> bytes:
        if name not in ADDRESSES:
            raise UnknownName(f"no member is named {name}")
        return packed(ADDRESSES[name])

    def peer_info(self, address: bytes) -> Member | None:
        return next((member for member in MEMBERS if address in (member.ipv4, member.ipv6)), None)

    def members(self) -> list[Member]:
        return [member for member in MEMBERS if member is not self.own]

    def own_info(self) -> Member:
        return self.own

    def is_lan_address(self, address: bytes) -> bool:
        return address[0] == 25 or address[:2] == b"\xfd\x75"

    def is_lan_name(self, text: str) -> bool:
        return text in ADDRESSES


class World:
    """Both members. ``lans`` are (me, nas); time passes in :meth:`run` only."""

    def __init__(self, delay: float = 0.001) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        reactor: Any = self.clock
        self.engines = [Engine(reactor) for _ in MEMBERS]
        self.observed: list[object] = []
        self.cores = [WiredCore(self.clock, member, delay) for member in MEMBERS]
        for core, other, engine in zip(self.cores, reversed(self.cores), self.engines, strict=True):
            core.other = other
            core.runner = engine.add(core, self.observed.append)
        self.lans = [Lan(core.runner, core) for core in self.cores]
        self.me, self.nas = self.lans

    def run(self, until: Callable[[], object] | float = 0.0) -> None:
        """Let time pass: for some seconds, or until a condition holds (AssertionError after 10 virtual minutes)."""
        end = self.clock.seconds() + (600.0 if callable(until) else until)
        while not (callable(until) and until()):
            calls: Any = self.clock.getDelayedCalls()
            following = min((call.getTime() for call in calls), default=end + 1)
            if following > end:
                assert not callable(until), "it did not happen in ten minutes"
                self.clock.advance(end - self.clock.seconds())
                return
            self.clock.advance(max(0.0, following - self.clock.seconds()))

    def result(self, deferred: Deferred[Any]) -> Any:
        """What a Deferred gives, once it does."""
        fired: list[tuple[bool, Any]] = []
        deferred.addCallbacks(lambda value: fired.append((True, value)), lambda failure: fired.append((False, failure)))
        self.run(lambda: fired)
        good, value = fired[0]
        if not good:
            raise value.value
        return value


LOOPBACK_ALIAS = loopback_alias(packed(ADDRESSES["nas"]))
