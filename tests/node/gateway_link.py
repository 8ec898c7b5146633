"""A kernel and the gateway of its link, both in memory and in virtual time."""

from __future__ import annotations

from typing import Any

from tests.driver.memory import entropy_of
from userlan.lan.addresses import is_lan_ipv6, packed
from userlan.node.gateway import Flow, Gateway, StreamAsked, StreamOpened
from userlan.stack import Host
from userlan.stack.tcp import Connection
from userlan.wire.superpacket import SuperPacket

OWN = {4: packed("25.1.2.3"), 6: packed("fd75:6c61:6e00::abcd")}
THERE = {4: packed("192.0.2.80"), 6: packed("2001:db8::80")}

def is_lan(address: bytes) -> bool:
    return is_lan_ipv6(address) or (len(address) == 4 and address[0] == 25)


class Link:
    """Both ends. ``told`` holds what the gateway had to say to its owner."""

    def __init__(self, internet: bool = True) -> None:
        self.gateway = Gateway(entropy=entropy_of(1), is_lan=is_lan, internet=internet, mtu=1420)
        self.kernel = Host(entropy=entropy_of(2))
        for address in OWN.values():
            self.kernel.add_address(address)
        self.now = 100.0
        self.told: list[Any] = []
        self.heard: list[Any] = []
        """The kernel's events."""
        self.crossed: list[SuperPacket] = []
        """What the gateway sent."""

    def run(self, seconds: float = 0.0) -> None:
        """Let packets cross, and time pass in steps."""
        until = self.now + seconds
        while True:
            for _ in range(20):
                out = self.kernel.packets(self.now)
                for packet in out:
                    self.gateway.receive(packet, self.now)
                self.told += self.gateway.events()
                back = self.gateway.packets(self.now)
                self.crossed += back
                for packet in back:
                    self.kernel.receive(packet, self.now)
                self.heard += self.kernel.events()
                if not out and not back:
                    break
            times = [time for time in (self.kernel.deadline(), self.gateway.deadline()) if time is not None]
            if self.now >= until:
                return
            self.now = min(until, max(self.now + 0.001, min(times, default=until)))
            self.kernel.tick(self.now)
            self.gateway.tick(self.now)

    def asked(self) -> list[Flow]:
        return [event.flow for event in self.told if isinstance(event, StreamAsked)]

    def connect(self, version: int = 4, port: int = 80, there: bytes = b"") -> Connection:
        connection = self.kernel.tcp_connect((there or THERE[version], port), self.now, OWN[version])
        self.run()
        return connection

    def opened(self) -> list[Connection]:
        return [event.connection for event in self.told if isinstance(event, StreamOpened)]

    def open(self, version: int = 4, port: int = 80, there: bytes = b"") -> tuple[Connection, Connection]:
        """A stream: the kernel's end, and the gateway's."""
        near = self.connect(version, port, there)
        self.gateway.open(self.asked()[-1], self.now)
        self.run()
        return near, self.opened()[-1]
