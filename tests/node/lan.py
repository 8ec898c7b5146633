"""A whole LAN in virtual time: a mediator and nodes behind whatever boxes a test wants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from tests.sim.internet import Attachment, Internet, Segment
from tests.sim.link import PERFECT, LinkProfile
from tests.sim.world import World
from userlan.lan.invite import Invite
from userlan.lan.secrets import NetworkSecret
from userlan.mediator.directory import Directory
from userlan.mediator.service import Mediator
from userlan.node.events import RequestDone, RequestRefused
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.stack.events import EchoReply, TcpAccepted, TcpEvent
from userlan.stack.tcp.connection import Connection
from userlan.wire.endpoint import TCP, UDP, Endpoint

WALL = 1_700_000_000.0
MEDIATOR_HOST = "192.0.2.1"
PORT = 41414


class VirtualLan:
    """The Internet with one mediator on it, and the nodes that a test adds."""

    own_hosts: tuple[str, ...] = (MEDIATOR_HOST,)
    """The mediator's own addresses."""

    def __init__(self, folder: Path, seed: int = 1, mediator_profile: LinkProfile = PERFECT) -> None:
        self.world = World(seed)
        self.internet = Internet(self.world)
        self.folder = folder
        self.mediator_key = self.world.entropy()(32)
        self.mediator_profile = mediator_profile
        self.attachments: dict[str, Attachment] = {}
        self.start_mediator()
        self.url = Invite(((MEDIATOR_HOST, PORT),), self.mediator.public_key)

    def start_mediator(self) -> None:
        """Start it (again, with the same directory)."""
        self.directory = Directory(self.folder / "directory.sqlite")
        self.mediator = Mediator(
            self.mediator_key, self.directory, entropy=self.world.entropy(), now=self.world.now, wall_offset=WALL,
            own_hosts=self.own_hosts,
        )
        self.mediator_attachment = self.internet.attach(self.mediator, MEDIATOR_HOST, port=PORT, profile=self.mediator_profile)

    def kill_mediator(self) -> None:
        """kill -9."""
        self.mediator_attachment.unplug()
        self.world.remove(self.mediator_attachment)
        self.directory.close()

    def node(
        self, name: str, segment: Segment, host: str, *, memory: Memory | None = None, key: bytes | None = None,
        profile: LinkProfile = PERFECT, mediator: bool = True, aes: bool = False,
    ) -> Node:
        """A node in a segment, told of the mediator."""
        now = self.world.now
        node = Node(
            key or self.world.entropy()(32), memory or Memory(), name=name, entropy=self.world.entropy(), now=now, wall_offset=WALL,
            aes=aes,
        )
        if mediator:
            link = node.links[node.mediators.add(self.url, now)]
            link.resolved(MEDIATOR_HOST, (MEDIATOR_HOST,), now)
        self.attachments[name] = segment.attach(node, host, port=PORT, profile=profile)
        node.set_local_endpoints([Endpoint(UDP, host, PORT), Endpoint(TCP, host, PORT)], now)
        node.start(now)
        return node

    def kill(self, name: str) -> None:
        """A node's process dies without a word."""
        attachment = self.attachments.pop(name)
        attachment.unplug()
        self.world.remove(attachment)

    def events(self, node: Node) -> list[object]:
        """The events of a node so far."""
        return next(a.events for a in self.attachments.values() if a.core is node)

    def ready(self, *nodes: Node, seconds: float = 10) -> None:
        """Until the mediator welcomed them."""
        self.world.run_until(lambda: all(node.roster.own_ipv4 for node in nodes), seconds)

    def finish(self, node: Node, number: int, seconds: float = 30) -> RequestDone | RequestRefused:
        """Until a request ended."""

        def answers() -> Iterator[RequestDone | RequestRefused]:
            for event in self.events(node):
                if isinstance(event, RequestDone | RequestRefused) and event.number == number:
                    yield event

        self.world.run_until(lambda: any(True for _ in answers()), seconds)
        return next(answers())

    def network(self, owner: Node, *members: Node, name: str = "home") -> NetworkSecret:
        """A network of these nodes; all must be admitted."""
        secret = NetworkSecret.generate(self.world.entropy())
        made = owner.create(name, self.mediator.public_key, secret, self.world.now)
        assert isinstance(self.finish(owner, made), RequestDone)
        for member in members:
            joined = self.finish(member, member.join(name, self.mediator.public_key, secret, self.world.now))
            assert isinstance(joined, RequestDone), joined
        return secret

    def until_state(self, node: Node, peer: Node, state: str, seconds: float = 20) -> None:
        """Until ``node`` sees ``peer`` in this state."""
        self.world.run_until(lambda: peer.key in node.peers.links and node.peers.shown(peer.key)[0] == state, seconds)

    def direct(self, *nodes: Node, seconds: float = 20) -> None:
        """Until all see each other directly."""
        for node in nodes:
            for peer in nodes:
                if node is not peer:
                    self.until_state(node, peer, "direct", seconds)

    def ping(self, node: Node, address: bytes, seconds: float = 5) -> float:
        """One echo request's round trip in seconds."""
        node.host.ping(address, 7, 1, b"x" * 56, self.world.now)

        def replies() -> list[EchoReply]:
            return [event for event in self.events(node) if isinstance(event, EchoReply) and event.identifier == 7]

        self.world.run_until(lambda: bool(replies()), seconds)
        reply = replies()[0]
        self.events(node).remove(reply)
        return reply.rtt


class Sink:
    """Accepts one connection on a node's port and keeps what arrives."""

    def __init__(self, lan: VirtualLan, node: Node, port: int) -> None:
        self.lan = lan
        self.listener = node.host.tcp_listen(port)
        self.connection: Connection | None = None
        self.data = bytearray()
        self.done = False
        attachment = next(a for a in lan.attachments.values() if a.core is node)
        attachment.handler = self.event
        self.kept = attachment.events

    def event(self, event: object) -> None:
        """One event of the node."""
        if isinstance(event, TcpAccepted) and event.listener is self.listener:
            self.connection = event.connection
        if isinstance(event, (TcpAccepted, TcpEvent)) and event.connection is self.connection:
            self._read(event.connection)
        else:
            self.kept.append(event)

    def _read(self, connection: Connection) -> None:
        while part := connection.receive():
            self.data += part
        if connection.eof:
            self.done = True
            connection.shutdown(self.lan.world.now)


class Source:
    """Connects to a peer's port and sends."""

    def __init__(self, lan: VirtualLan, node: Node, address: bytes, port: int, data: bytes) -> None:
        self.lan = lan
        self.rest = memoryview(data)
        self.connection = node.host.tcp_connect((address, port), lan.world.now)
        self.connection.context = self
        self.error: str | None = None
        attachment = next(a for a in lan.attachments.values() if a.core is node)
        attachment.handler = self.event
        self.kept = attachment.events

    def event(self, event: object) -> None:
        """One event of the node."""
        if isinstance(event, TcpEvent) and event.connection is self.connection:
            self.error = self.connection.error
            self.push()
        else:
            self.kept.append(event)

    def push(self) -> None:
        """Send what the connection takes."""
        while self.rest:
            taken = self.connection.send(self.rest[:65536], self.lan.world.now)
            if not taken:
                return
            self.rest = self.rest[taken:]
        self.connection.shutdown(self.lan.world.now)


def counters(core: Any) -> dict[str, int]:
    """A core's counters as a plain dict."""
    return cast(dict[str, int], dict(core.counters))
