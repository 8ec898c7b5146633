"""A process on the simulated Internet: its cores, their sockets, its kernel's TCP, and the links to its segment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from zlib import crc32

from tests.sim.link import Link, LinkProfile
from tests.sim.packet import INITIAL_TTL, Core, Network, Packet, canonical, carry
from tests.sim.sockets import Socket, Sockets
from tests.sim.tcp import Kernel
from tests.sim.world import Actor, World
from userlan.wire.endpoint import TCP, Endpoint

MAX_RUN = 64
"""Datagrams that GRO joins."""


class Attachment(Actor):
    """A process with one socket port, and more where its cores ask for them or ``listen`` is called.

    One core, or several that tell their datagrams apart by ``owns``.
    """

    def __init__(self, world: World, core: Core, port: int, profile: LinkProfile) -> None:
        super().__init__(world)
        self.cores = [core]
        self.port = port
        self.up = Link(world.clock, world.random, profile)
        self.down = Link(world.clock, world.random, profile)
        self.counters: Counter[str] = Counter()
        self.segment: Network | None = None
        self.tap: Callable[[Packet], None] | None = None
        """Sees every packet that leaves."""
        self.addresses: tuple[str, ...] = ()
        self.sockets = Sockets(port, crc32(b"%d %d" % (world.seed, len(world.actors))))
        self.kernel = Kernel(world.clock, self, self.sockets.random)
        self._inbox: list[tuple[Packet, Socket | None, int]] = []

    @property
    def core(self) -> Any:
        return self.cores[0]

    def plug(self, segment: Network, *addresses: str) -> None:
        """Join a segment (again: the computer has moved). What is under way to the old addresses is lost."""
        self.unplug()
        self.segment = segment
        self.addresses = tuple(canonical(address) for address in addresses)
        for address in self.addresses:
            segment.members[address] = self
            if segment.gateway is not None:
                segment.gateway.announce(address)

    def unplug(self) -> None:
        """The cable is pulled out; framed TCP connections are gone."""
        if self.segment is not None:
            for address in self.addresses:
                self.segment.members.pop(address, None)
        self.segment = None
        self.kernel.clear()

    def listen(self, port: int, via: int, address: str = "") -> None:
        """One more port of a server, UDP and TCP, under the number ``via``; on one of its addresses, or on all."""
        for transport in ("udp", "tcp"):
            self.sockets.add(Socket(transport, via, canonical(address) if address else "", port, listens=True))

    def endpoint(self, transport: str = "udp", index: int = 0) -> Endpoint:
        """Its own endpoint as its neighbours on the segment see it."""
        return Endpoint(transport, self.addresses[index], self.port)

    def reset(self, other: Attachment) -> int:
        """Every framed TCP connection with another member ends; how many there were."""
        return (self.kernel.lost(other.addresses) + other.kernel.lost(self.addresses)) // 2

    # the network's side

    def arrived(self, packet: Packet) -> None:
        if packet.destination[0] not in self.addresses:
            self.counters["moved-away"] += 1
        elif packet.transport == TCP:
            if not self.kernel.arrived(packet, self.sockets.listening):
                self.counters["tcp-unknown"] += 1
        else:
            socket = self.sockets.at("udp", packet.destination)
            if socket is None:
                self.counters["port-closed"] += 1
            else:
                self._inbox.append((packet, socket, socket.via))
                self.world.touch(self)

    # the kernel's side

    def deliver(self, packet: Packet, via: int) -> None:
        self._inbox.append((packet, self.sockets.at(TCP, packet.destination), via))
        self.world.touch(self)

    def transmit(self, packet: Packet) -> None:
        if self.tap is not None:
            self.tap(packet)
        if self.segment is not None:
            carry(self.up, packet, self.segment.forward)

    def tell(self, word: str, *arguments: object) -> None:
        for core in self.cores:
            getattr(core, word, lambda *ignored: None)(*arguments)
        self.world.touch(self)

    def tcp_blocked(self) -> bool:
        if self.segment is not None and "tcp" in self.segment.blocked:
            self.counters["tcp-vanished"] += 1
            return True
        return False

    # the runner's side

    def deadline(self) -> float | None:
        return min((time for core in self.cores if (time := core.deadline()) is not None), default=None)

    def tick(self, now: float) -> None:
        for core in self.cores:
            deadline = core.deadline()
            if deadline is not None and deadline <= now:
                core.tick(now)

    def exchange(self, now: float) -> list[object]:
        inbox, self._inbox = self._inbox, []
        events: list[object] = []
        for source, data, segment, owner in _coalesced(inbox):
            core = owner or next((core for core in self.cores if len(self.cores) == 1 or core.owns(data[:segment])), None)
            if core is None:
                self.counters["unowned"] += 1
                continue
            events.extend(core.receive(data, segment, source, now) or ())
        for core in self.cores:
            while True:
                for burst in core.datagrams(now):
                    self._send(burst, core)
                if not getattr(core, "backlog", False):
                    break
            if (dismissed := getattr(core, "dismissed", None)) is not None:
                self._close(dismissed(), core)
            events.extend(core.events())
        return events

    def _close(self, numbers: list[int], core: Any) -> None:
        for via in numbers:
            for socket in self.sockets.close(via, core):
                if socket.transport == TCP:
                    self.kernel.close_group(via)

    def _socket(self, transport: str, via: int, core: Any) -> Socket | None:
        socket = self.sockets.get(transport, via, core)
        if socket is None:
            socket = self.sockets.open(transport, via, core)
            if socket is None:
                self.counters["sockets-refused"] += 1
            else:
                core.socket_opened(via, transport, socket.port)
        return socket

    def _send(self, burst: Any, core: Any) -> None:
        endpoint: Endpoint = burst.endpoint
        host = canonical(endpoint.host)
        socket = self._socket(endpoint.transport, endpoint.via, core)
        local = next((address for address in self.addresses if (":" in address) == (":" in host)), None)
        if socket is None or local is None or self.segment is None:
            self.counters["unreachable"] += 1
            return
        local = socket.address or local
        data = bytes(burst.data)
        ttl = getattr(burst, "ttl", 0)
        size = max(burst.segment, 1)
        pieces = [data] if len(data) == size else [data[start : start + size] for start in range(0, len(data), size)]
        if endpoint.transport == TCP:
            self.kernel.send(endpoint._replace(host=host), pieces, (local, 0 if socket.listens else socket.port), ttl)
            return
        for piece in pieces:
            self.transmit(Packet(endpoint.transport, (local, socket.port), (host, endpoint.port), piece, "", ttl or INITIAL_TTL))


def _coalesced(inbox: list[tuple[Packet, Socket | None, int]]) -> list[tuple[Endpoint, bytes, int, Any]]:
    """What GRO makes of datagrams that arrived together: runs of one size from one source, the last may be shorter."""
    runs: list[tuple[Endpoint, list[bytes], Any]] = []
    for packet, socket, via in inbox:
        source = Endpoint(packet.transport, packet.source[0], packet.source[1], via)
        if runs and runs[-1][0] == source:
            run = runs[-1][1]
            size = len(run[0])
            if len(run[-1]) == size >= len(packet.data) and len(run) < MAX_RUN and size * (len(run) + 1) < 65536:
                run.append(packet.data)
                continue
        runs.append((source, [packet.data], socket.core if socket else None))
    return [(source, b"".join(run), len(run[0]), owner) for source, run, owner in runs]
