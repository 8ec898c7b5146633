"""Two members whose LAN is the real one: engine, sockets, stack and endpoints; only the tunnel is left out.

::

    proxy, forward ── Lan ── Engine ── UDP on loopback (super-packets, GSO) ── Engine ── Lan ── expose
                       me                                                       nas
"""

from __future__ import annotations

import ipaddress
import os
from collections import Counter
from typing import Any, NamedTuple

from twisted.internet.defer import DeferredList

from tests.driver.ways import NothingKept
from userlan.driver.engine import Engine
from userlan.driver.lan import Lan
from userlan.lan.names import UnknownName
from userlan.stack.host import Host
from userlan.wire.endpoint import UDP, Endpoint
from userlan.wire.superpacket import cut, join


class Burst(NamedTuple):
    data: bytes
    segment: int
    endpoint: Endpoint
    whole: bool = False
    ttl: int = 0


class Wire(NothingKept):
    """A core that is a host and a wire: packets travel in the clear, one a datagram."""

    def __init__(self, addresses: list[bytes]) -> None:
        self.host = Host(entropy=os.urandom)
        self.host.add_broadcast(bytes((25, 255, 255, 255)))
        for address in addresses:
            self.host.add_address(address)
        self.other: Endpoint | None = None
        self.counters: Counter[str] = Counter()

    def owns(self, data: Any) -> bool:
        return True

    def receive(self, data: Any, segment: int, source: Endpoint, now: float) -> None:
        size = segment or len(data)
        packets = [bytes(data[place : place + size]) for place in range(0, len(data), size)]
        for packet in join(packets, True, self.counters):
            self.host.receive(packet, now)

    def datagrams(self, now: float) -> list[Burst]:
        assert self.other is not None
        bursts = []
        for packet in self.host.packets(now):
            parts = cut(packet, False)
            for begin in range(0, len(parts), 40):
                group = parts[begin : begin + 40]
                bursts.append(Burst(b"".join(group), len(group[0]), self.other))
        return bursts

    def deadline(self) -> float | None:
        return self.host.deadline()

    def tick(self, now: float) -> None:
        self.host.tick(now)

    def events(self) -> list[Any]:
        return list(self.host.events())


class Description(NamedTuple):
    name: str
    key: bytes
    ipv4: bytes
    ipv6: bytes
    networks: tuple[str, ...] = ("home",)
    blocked: bool = False
    given: str = ""


def description(name: str, number: int) -> Description:
    ipv4 = bytes((25, 9, 0, number))
    return Description(name, bytes([number]) * 32, ipv4, bytes.fromhex("fd756c616e00") + bytes(9) + bytes([number]))


MEMBERS = {one.name: one for one in (description("me", 1), description("nas", 2))}


class Member:
    """The node as ``Lan`` needs it."""

    def __init__(self, own: str) -> None:
        self.own = MEMBERS[own]

    @property
    def resolver(self) -> Member:
        return self

    def resolve(self, name: str) -> bytes:
        if name not in MEMBERS:
            raise UnknownName(f"no member is called {name!r}")
        return MEMBERS[name].ipv4

    def peer_info(self, address: bytes) -> Description | None:
        return next((one for one in MEMBERS.values() if address in (one.ipv4, one.ipv6)), None)

    def members(self) -> list[Description]:
        return [one for one in MEMBERS.values() if one.name != self.own.name]

    def own_info(self) -> Description:
        return self.own

    def is_lan_address(self, address: bytes) -> bool:
        return address[:1] == b"\x19" or address[:2] == b"\xfd\x75"

    def is_lan_name(self, text: str) -> bool:
        return text in MEMBERS or text.endswith(".internal")


class StackedPair:
    """Engines and LANs of both members, in one reactor. All calls in the reactor's thread."""

    def __init__(self, reactor: Any) -> None:
        self._engines: list[Engine] = []
        self.lans: dict[str, Lan] = {}
        self.members: dict[str, Member] = {}
        self.wires: dict[str, Wire] = {}
        wires: list[Wire] = []
        for name, one in MEMBERS.items():
            engine = Engine(reactor)
            wire = Wire([one.ipv4, one.ipv6])
            port = engine.listen("127.0.0.1", 0)
            if wires:
                wires[0].other = Endpoint(UDP, "127.0.0.1", port)
                wire.other = Endpoint(UDP, "127.0.0.1", self._engines[0].datagram_ports[0].port)
            else:
                wire.other = Endpoint(UDP, "127.0.0.1", 9)
            member: Any = Member(name)
            self.members[name] = member
            self.lans[name] = Lan(engine.add(wire, lambda event: None), member)
            wires.append(wire)
            self.wires[name] = wire
            self._engines.append(engine)

    def stop(self) -> Any:
        return DeferredList([engine.stop() for engine in self._engines])

    @staticmethod
    def ipv6(name: str) -> str:
        return str(ipaddress.ip_address(MEMBERS[name].ipv6))
