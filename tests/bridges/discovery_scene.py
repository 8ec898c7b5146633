"""Two members on one computer, each with a discovery bridge, and local programs: plain sockets, on the loopback interface."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time
from typing import Any

import msgspec

from bridges.discovery import DiscoveryBridge
from bridges.discovery_local import Surroundings
from bridges.discovery_settings import CustomProfile, DiscoveryOptions
from tests.bridges.harness import WAIT, Loop, MemoryStore
from tests.bridges.stacked import StackedPair
from userlan.driver.interfaces import Interface

ME, NAS = "127.9.0.1", "127.9.0.2"
"""Under which local programs see the members."""

GROUP = "239.255.77.88"
EVERYBODY = "127.255.255.255"
"""The broadcast address of the only interface."""


def loopback_only() -> list[Interface]:
    return [Interface("lo", 1, (ipaddress.IPv4Interface("127.0.0.1/8"),))]


def free_port() -> int:
    """A number that is free for UDP and for TCP: a game may serve by both."""
    for _ in range(100):
        with udp() as probe, socket.socket() as other:
            port: int = probe.getsockname()[1]
            with contextlib.suppress(OSError):
                other.bind(("", port))
                return port
    raise AssertionError("no port was free for both")


def udp(address: str = "127.0.0.1", port: int = 0, group: str = "") -> socket.socket:
    """A local program's socket, as those are that share their port."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    made.bind((address, port))
    if group:
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton("127.0.0.1"))
    made.settimeout(WAIT)
    return made


def heard(program: socket.socket, source: str) -> tuple[bytes, tuple[str, int]]:
    """The next datagram from an address; others are passed over."""
    give_up = time.monotonic() + WAIT
    while time.monotonic() < give_up:
        datagram, sender = program.recvfrom(65536)
        if sender[0] == source:
            return datagram, sender
    raise AssertionError(f"nothing from {source}")


def nothing_from(program: socket.socket, source: str, seconds: float = 0.3) -> bool:
    give_up = time.monotonic() + seconds
    while (left := give_up - time.monotonic()) > 0:
        program.settimeout(left)
        try:
            if program.recvfrom(65536)[1][0] == source:
                return False
        except TimeoutError:
            break
    program.settimeout(WAIT)
    return True


class Scene:
    """Two members on one computer, each with its bridge."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.pair: StackedPair = loop.call(StackedPair, loop.reactor)
        self.bridges: dict[str, DiscoveryBridge] = {}
        self.stores: dict[str, MemoryStore] = {}
        self.interfaces = loopback_only

    def start(self, name: str, *custom: CustomProfile, **more: Any) -> DiscoveryBridge:
        options = DiscoveryOptions(custom=custom, **more)
        store: Any = self.stores.setdefault(name, MemoryStore())
        bridge = DiscoveryBridge(self.pair.lans[name], options, store, Surroundings(self.interfaces))
        self.bridges[name] = bridge
        self.loop.call(bridge.start)
        return bridge

    def both(self, custom: CustomProfile, **more: Any) -> None:
        """``me`` searches, ``nas`` answers."""
        self.start("me", msgspec.structs.replace(custom, search=True), **more)
        self.start("nas", custom)

    def listing(self, name: str) -> dict[str, Any]:
        listed: dict[str, Any] = self.loop.call(self.bridges[name].commands()["shares"], {})
        return listed

    def counters(self, name: str, profile: str) -> dict[str, int]:
        row = next(one for one in self.listing(name)["profiles"] if one["profile"] == profile)
        counters: dict[str, int] = row["counters"]
        return counters

    def command(self, name: str, command: str, **arguments: object) -> Any:
        return self.loop.call(self.bridges[name].commands()[command], arguments)

    def stop(self) -> None:
        for bridge in self.bridges.values():
            self.loop.call(bridge.stop)
        self.loop.call(self.pair.stop)
