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
    home = Nat(internet, "198.51.100.1")
    alice = home.inside.attach(node, "192.168.1.2")
    world.run_until(lambda: ..., seconds=10)

Each member has a link up and a link down, both with its ``profile``. ``Endpoint("tcp", …)`` is modelled as what framed
TCP gives: the same frames, in order, without loss, from a port of its own, inwards only where a listener is reachable. An
empty frame is a SYN or its answer: both ends hear that a connection is there (``way_opened``); ``reset`` ends it
(``way_lost``). What a segment has in ``blocked`` ("udp", "tcp") vanishes there without a word: a connection then takes
``KERNEL_ROOM`` and is full (``hold``), is told to be bad when more is sent after ``STALLED`` (``way_lossy``), and ends
after ``USER_TIMEOUT``.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from tests.sim.link import PERFECT, Link, LinkProfile
from tests.sim.world import Actor, World
from userlan.wire.endpoint import Endpoint

FIRST_TCP_PORT = 50_000
"""Where the ports of outgoing framed TCP connections start."""

KERNEL_ROOM = 256 * 1024
"""Octets that a kernel takes for a connection whose far end does not answer."""

STALLED = 0.5
"""Seconds without an acknowledgement, as in ``userlan.driver.framed``."""

USER_TIMEOUT = 10.0
"""Seconds after which it gives the connection up (``userlan.driver.kernel_tcp.USER_TIMEOUT``)."""


class Packet(NamedTuple):
    """One datagram (or one frame of a framed TCP connection) on its way."""

    transport: str
    source: tuple[str, int]
    destination: tuple[str, int]
    data: bytes


class Core(Protocol):
    """What the driver feeds. ``datagrams`` gives bursts; a device gives events from ``receive`` too."""

    def receive(self, data: bytes, segment: int, source: Endpoint, now: float, /) -> Any: ...
    def datagrams(self, now: float, /) -> Sequence[Any]: ...
    def deadline(self) -> float | None: ...
    def tick(self, now: float, /) -> None: ...
    def events(self) -> Sequence[Any]: ...
    def owns(self, data: bytes, /) -> bool: ...


class Member(Protocol):
    """Anything with an address on a segment."""

    up: Link
    down: Link

    def arrived(self, packet: Packet) -> None: ...


class Gateway(Protocol):
    """Where a segment sends what none of its members is addressed by."""

    outer: Segment

    def outbound(self, packet: Packet) -> None: ...
    def announce(self, address: str) -> None: ...


def canonical(address: str) -> str:
    return str(ipaddress.ip_address(address))


def carry(link: Link, packet: Packet, deliver: Callable[[Packet], None]) -> None:
    """Send over a link; frames of a TCP connection are retransmitted by it, so they meet its delay alone."""
    link.send(packet.data, partial(_rebuild, packet, deliver), packet.transport == "tcp")


def _rebuild(packet: Packet, deliver: Callable[[Packet], None], data: bytes) -> None:
    deliver(packet._replace(data=data))


class Segment:
    """A switch: members by address, and a gateway for all else."""

    def __init__(self, world: World, gateway: Gateway | None = None) -> None:
        self.world = world
        self.gateway = gateway
        self.counters: Counter[str] = Counter()
        self.members: dict[str, Member] = {}
        self.blocked: set[str] = set()
        """Transports that do not pass here."""

    def attach(self, core: Core, *addresses: str, port: int = 41414, profile: LinkProfile = PERFECT) -> Attachment:
        """Plug a core in under one IPv4 address, one IPv6 address, or both; one port for UDP and framed TCP."""
        attachment = Attachment(self.world, core, port, profile)
        attachment.plug(self, *addresses)
        self.world.add(attachment)
        return attachment

    def forward(self, packet: Packet) -> None:
        if packet.transport in self.blocked:
            self.counters[f"blocked-{packet.transport}"] += 1
            return
        member = self.members.get(packet.destination[0])
        if member is not None:
            carry(member.down, packet, member.arrived)
        elif self.gateway is not None:
            self.gateway.outbound(packet)
        else:
            self.counters["no-route"] += 1


Internet = Segment
"""The root segment: one without a gateway."""


class Attachment(Actor):
    """A process with one socket port: one core, or several that tell their datagrams apart by ``owns``."""

    def __init__(self, world: World, core: Core, port: int, profile: LinkProfile) -> None:
        super().__init__(world)
        self.cores = [core]
        self.port = port
        self.up = Link(world.clock, world.random, profile)
        self.down = Link(world.clock, world.random, profile)
        self.counters: Counter[str] = Counter()
        self.segment: Segment | None = None
        self.addresses: tuple[str, ...] = ()
        self._flows: dict[tuple[str, int], int] = {}
        self._opened = 0
        self._stuck: dict[tuple[str, int], tuple[int, float]] = {}
        self._inbox: list[Packet] = []

    @property
    def core(self) -> Any:
        return self.cores[0]

    def plug(self, segment: Segment, *addresses: str) -> None:
        """Join a segment (again: the computer has moved). What is under way to the old addresses is lost."""
        self.unplug()
        self.segment = segment
        self.addresses = tuple(canonical(address) for address in addresses)
        for address in self.addresses:
            segment.members[address] = self
            if ":" in address and segment.gateway is not None:
                segment.gateway.announce(address)

    def unplug(self) -> None:
        """The cable is pulled out; framed TCP connections are gone."""
        if self.segment is not None:
            for address in self.addresses:
                self.segment.members.pop(address, None)
        self.segment = None
        self._flows.clear()

    def endpoint(self, transport: str = "udp", index: int = 0) -> Endpoint:
        """Its own endpoint as its neighbours on the segment see it."""
        return Endpoint(transport, self.addresses[index], self.port)

    # the network's side

    def arrived(self, packet: Packet) -> None:
        if packet.destination[0] not in self.addresses:
            self.counters["moved-away"] += 1
            return
        if packet.transport == "tcp":
            known = packet.source in self._flows
            expected = self._flows.setdefault(packet.source, self.port)
            if packet.destination[1] != expected:
                self.counters["tcp-unknown"] += 1
                return
            if not packet.data:
                self._established(packet, answer=not known)
                return
        elif packet.destination[1] != self.port:
            self.counters["port-closed"] += 1
            return
        self._inbox.append(packet)
        self.world.touch(self)

    def _established(self, packet: Packet, answer: bool) -> None:
        if answer and self.segment is not None:
            back = Packet("tcp", packet.destination, packet.source, b"")
            carry(self.up, back, self.segment.forward)
        self._tell("way_opened", Endpoint("tcp", *packet.source))

    def reset(self, other: Attachment) -> int:
        """Every framed TCP connection with another member ends; how many there were."""
        ended = 0
        for one, two in ((self, other), (other, self)):
            for remote in [remote for remote in one._flows if remote[0] in two.addresses]:
                ended += 1
                one._lost(remote)
        return ended // 2

    def _lost(self, remote: tuple[str, int]) -> None:
        self._stuck.pop(remote, None)
        if self._flows.pop(remote, None) is not None:
            self._tell("way_lost", Endpoint("tcp", *remote))

    def _tell(self, word: str, *arguments: object) -> None:
        for core in self.cores:
            getattr(core, word, lambda *ignored: None)(*arguments)
        self.world.touch(self)

    def _vanishes(self, remote: tuple[str, int], size: int) -> bool:
        """Whether a frame goes where nothing answers; the kernel notices."""
        if self.segment is None or "tcp" not in self.segment.blocked:
            return False
        endpoint, now = Endpoint("tcp", *remote), self.world.now
        if remote not in self._stuck:
            self.world.clock.call_later(USER_TIMEOUT, partial(self._give_up, remote))
        before, since = self._stuck.get(remote, (0, now))
        self._stuck[remote] = (before + size, since)
        if now - since >= STALLED:
            self._tell("way_lossy", endpoint)
        if before < KERNEL_ROOM <= before + size:
            self._tell("hold", endpoint, now)
        return True

    def _give_up(self, remote: tuple[str, int]) -> None:
        if remote in self._stuck:
            self._lost(remote)

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
        for source, data, segment in _coalesced(inbox):
            owner = next((core for core in self.cores if len(self.cores) == 1 or core.owns(data[:segment])), None)
            if owner is None:
                self.counters["unowned"] += 1
                continue
            events.extend(owner.receive(data, segment, source, now) or ())
        for core in self.cores:
            while True:
                for burst in core.datagrams(now):
                    self._send(burst)
                if not getattr(core, "backlog", False):
                    break
            events.extend(core.events())
        return events

    def _send(self, burst: Any) -> None:
        remote = (canonical(burst.endpoint.host), burst.endpoint.port)
        local = next((address for address in self.addresses if (":" in address) == (":" in remote[0])), None)
        if local is None or self.segment is None:
            self.counters["unreachable"] += 1
            return
        port = self.port
        data = bytes(burst.data)
        if burst.endpoint.transport == "tcp":
            if remote not in self._flows:
                self._flows[remote] = FIRST_TCP_PORT + self._opened
                self._opened += 1
                carry(self.up, Packet("tcp", (local, self._flows[remote]), remote, b""), self.segment.forward)
            elif not data:
                self._tell("way_opened", burst.endpoint)
            port = self._flows[remote]
            if data and self._vanishes(remote, len(data)):
                self.counters["tcp-vanished"] += 1
                return
        for start in range(0, len(data), max(burst.segment, 1)):
            packet = Packet(burst.endpoint.transport, (local, port), remote, data[start : start + burst.segment])
            carry(self.up, packet, self.segment.forward)


def _coalesced(inbox: list[Packet]) -> list[tuple[Endpoint, bytes, int]]:
    """What GRO makes of datagrams that arrived together: runs of one size from one source, the last may be shorter."""
    runs: list[tuple[Endpoint, list[bytes]]] = []
    for packet in inbox:
        source = Endpoint(packet.transport, *packet.source)
        if runs and runs[-1][0] == source:
            run = runs[-1][1]
            size = len(run[0])
            if len(run[-1]) == size >= len(packet.data) and len(run) < 64 and size * (len(run) + 1) < 65536:
                run.append(packet.data)
                continue
        runs.append((source, [packet.data]))
    return [(source, b"".join(run), len(run[0])) for source, run in runs]
