"""A kernel that is attached to the LAN, its link and its outside, over real sockets.

The kernel is a stack in the same engine; the outside is loopback, which no kernel could reach through this: the doubles stand
for the routes alone.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol

from bridges.internet import Internet
from bridges.leg import Leg, LegFactory
from tests.bridges.harness import Loop
from userlan.driver.datagrams import LanDatagramPort
from userlan.driver.endpoints import LanClientEndpoint
from userlan.driver.engine import Engine
from userlan.driver.lan import Lan
from userlan.driver.uplink import GatewayCore, Uplink
from userlan.lan.addresses import is_lan_ipv6, packed
from userlan.node.gateway import Gateway
from userlan.node.memory import Memory
from userlan.node.node import Node

PORTS = (61_000, 65_535)
OWN = "25.1.2.3"
THERE = {4: "192.0.2.80", 6: "2001:db8::80"}
ROUTES = {"192.0.2.80": "127.0.0.1", "2001:db8::80": "::1"}


class Routed:
    """The reactor, from where the outside is found on loopback."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.problem: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(self, host: str, *rest: Any) -> Any:
        return self._reactor.connectTCP(ROUTES[host], *rest)


class KernelCore(GatewayCore):
    """A host in place of the kernel: what it sends goes into the link."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway, self.sent)
        self.link: Any = None

    def sent(self, packets: Any) -> None:
        self.link.send(packets)


class Kernel:
    """An attached kernel and its link. Everything in the reactor's thread."""

    def __init__(self, loop: Loop, internet: bool = True, timeout: float = 5.0) -> None:
        self.loop = loop
        self.reactor = Routed(loop.reactor)
        node = Node(bytes(range(32)), Memory(), name="anna", entropy=os.urandom, now=loop.reactor.seconds(), wall_offset=1e9)
        node.roster.set_own("anna", packed(OWN))
        node.host.add_address(packed(OWN))
        engine: Any = Engine(loop.reactor)
        self.engine = engine
        self.lan = Lan(engine.add(node, lambda event: None), node.lookup)
        self.lan.reactor = self.reactor
        self.internet = Internet(self.lan, internet, timeout)
        self.uplink = Uplink(self.internet, internet)
        # The kernel's own stack: a second gateway, of which the host alone is used.
        self.own = Gateway(entropy=os.urandom, is_lan=is_lan_ipv6, internet=False, mtu=1420)
        for address in list(self.own.host.addresses):
            self.own.host.remove_address(address)
        for address in (packed(OWN), node.ipv6):
            self.own.host.add_address(address)
        core = KernelCore(self.own)
        self.runner = engine.add(core, lambda event: None, inner=True)
        self.link = self.lan.attach_link(self, PORTS, self.uplink)
        core.link = self.link

    def deliver(self, packets: Any) -> None:
        now = self.runner.now()
        for packet in packets:
            self.own.host.receive(packet, now)
        self.runner.touch()

    def connect(self, owner: Any, version: int, port: int, timeout: float = 10.0) -> Deferred[Any]:
        return LanClientEndpoint(self.runner, packed, THERE[version], port, timeout).connect(LegFactory(owner))

    def bind(self, protocol: DatagramProtocol, port: int = 0) -> LanDatagramPort:
        made = LanDatagramPort(self.runner, protocol, port)
        made.startListening()
        return made

    def stop(self) -> Any:
        self.link.detach()
        self.link.detach()
        self.runner.leave()
        return self.engine.stop(0.0)


class Program:
    """A leg's owner that keeps what it reads."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = self.lost = False
        self.reason: Any = None
        self.congested = False

    def leg_made(self, leg: Leg) -> None:
        leg.resume()

    def leg_data(self, leg: Leg, data: bytes) -> None:
        self.data += data

    def leg_ended(self, leg: Leg) -> None:
        self.ended = True

    def leg_lost(self, leg: Leg, reason: Any) -> None:
        self.lost, self.reason = True, reason

    def leg_congested(self, leg: Leg) -> None:
        self.congested = True

    def leg_drained(self, leg: Leg) -> None:
        self.congested = False


class Socket(DatagramProtocol):
    """A program's UDP socket."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self.refusals = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append((datagram, addr))

    def connectionRefused(self) -> None:
        self.refusals += 1


def loopback(version: int) -> str:
    """Where somebody outside is found."""
    return ROUTES[THERE[version]]
