"""One run of one cell: two nodes, their boxes, a mediator; whether and when they meet, and what it costs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.bench.traversal.kinds import Kind
from tests.node.lan import MEDIATOR_HOST, PORT
from tests.relay.lan import RelayedLan
from tests.sim.link import LinkProfile
from tests.sim.packet import SYN, Packet
from userlan.control.meeting import Measure, ServerEndpoint
from userlan.lan.secrets import NetworkSecret
from userlan.mediator.matchmaker import Matchmaker
from userlan.node.node import Node
from userlan.traversal.kinds import PROBE, PROBE_ANSWER
from userlan.wire.endpoint import TCP, UDP

JITTER = 0.002
"""Seconds that a packet takes longer at most on a member's line."""
SERVER_LINE = LinkProfile(delay=0.010, jitter=0.001)
"""Of the mediator and the relay."""
RELAY_HOST = "203.0.113.9"
SERVERS = frozenset((MEDIATOR_HOST, RELAY_HOST))
PORTS = {1: PORT + 1, 2: 443}
"""Further ports of the mediator, by the number of their sockets. It has one address; the relay is the other host that a node's filter is
tested with."""
HOPS = 8
"""Routers between two boxes; a packet that shall not reach the other box must die before."""
CLASSIFYING = 6.0
"""Seconds that Anna is online before Ben starts: her classification has ended."""
OLD_ENOUGH = 0.5
"""Seconds after which an unclassified member takes part (the mediator's rule)."""
PATIENCE = 12.0
"""Seconds from the moment when the pair is due; a plan gives up after a third of it."""
AFTERMATH = 1.0
"""Seconds after the success in which packets are counted still: what was under way or planned."""
INITIATION = b"\x01\0\0\0"
"""How a handshake's first message starts (WireGuard white paper, 5.4.2)."""


@dataclass(frozen=True)
class Setting:
    """What holds for all cells of a run of the program.

    ``one_way``: seconds between the two members; ``loss``: share of the packets that each of the lines between them loses.
    """

    tcp_only: bool = False
    one_way: float = 0.040
    loss: float = 0.0

    @property
    def line(self) -> LinkProfile:
        """Of each member: half of the way."""
        return LinkProfile(delay=self.one_way / 2, jitter=JITTER, loss=self.loss)


@dataclass(frozen=True)
class Result:
    """Of one run; times in seconds. ``since_due`` and ``since_start`` are 0 where it is not ``direct``."""

    direct: bool
    since_due: float = 0.0
    since_start: float = 0.0
    packets: int = 0
    path: str = ""
    technique: str = ""


class Clocked:
    """Hears at the mediator's matchmaker what makes a pair due."""

    def __init__(self) -> None:
        self.joined: dict[bytes, float] = {}
        self.classified: dict[bytes, float] = {}
        self.arrived: dict[bytes, float] = {}
        self.told: list[float] = []
        self.measured = 0
        """Requests from fresh sockets that the mediator asked for."""

    def due(self, first: bytes, second: bytes, otherwise: float) -> float:
        """Both online, in one network, and both classified or old enough; but no later than the mediator in fact began with them."""
        joined = self.joined.get(second, otherwise)
        ready = [
            min(self.classified.get(key, float("inf")), self.arrived.get(key, otherwise) + OLD_ENOUGH) for key in (first, second)
        ]
        began = next((time for time in self.told if time >= joined), otherwise)
        return min(max(joined, *ready), began)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Listen."""
        with ExitStack() as stack:
            for name in ("joined", "classified", "arrived"):
                if method := getattr(Matchmaker, name, None):
                    stack.enter_context(patch.object(Matchmaker, name, self._first(method, getattr(self, name))))
            stack.enter_context(patch.object(Matchmaker, "due", self._telling(Matchmaker.due)))
            yield

    @staticmethod
    def _first(method: Callable[..., Any], times: dict[bytes, float]) -> Callable[..., Any]:
        def listening(matchmaker: Matchmaker, key: bytes, *arguments: Any) -> Any:
            times.setdefault(key, arguments[-1])
            return method(matchmaker, key, *arguments)

        return listening

    def _telling(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def listening(matchmaker: Matchmaker, now: float) -> Any:
            told = list(method(matchmaker, now))
            if told:
                self.told.append(now)
                self.measured += sum(one.message.sockets for one in told if isinstance(one.message, Measure))
            return told

        return listening


class Meter:
    """Counts what punching sends: probes and their answers, SYNs and handshakes to the peer."""

    def __init__(self) -> None:
        self.packets = 0
        self.counting = False

    def saw(self, packet: Packet) -> None:
        if not self.counting:
            return
        kind = packet.data[:4]
        if (
            kind in (PROBE, PROBE_ANSWER)
            or (packet.kind == SYN and packet.destination[0] not in SERVERS)
            or (kind == INITIATION and packet.destination[0] not in SERVERS)
        ):
            self.packets += 1


class Meeting:
    """The stage of one run: a mediator at one address with several ports, one relay, two members."""

    def __init__(self, folder: Path, first: Kind, second: Kind, seed: int, setting: Setting) -> None:
        self.setting = setting
        self.lan = lan = RelayedLan(folder, seed)
        lan.internet.hops = HOPS
        if setting.tcp_only:
            lan.internet.blocked.add("udp")
        self.meter = Meter()
        self.kinds = first, second
        lan.mediator.listening(0, MEDIATOR_HOST, PORT)
        for via, port in PORTS.items():
            lan.mediator_attachment.listen(port, via)
            lan.mediator.listening(via, MEDIATOR_HOST, port)
        relay = lan.relay("relay", RELAY_HOST)
        lan.relays["relay"][1].listen(443, 1)
        by_tcp = [ServerEndpoint(RELAY_HOST, port, TCP) for port in (PORT, 443)]
        relay.set_endpoints([ServerEndpoint(RELAY_HOST, PORT, UDP), *by_tcp], lan.world.now)
        for attachment in (lan.mediator_attachment, lan.relays["relay"][1]):
            attachment.up.profile = attachment.down.profile = SERVER_LINE
        lan.world.run(2.0)

    def node(self, name: str, number: int) -> Node:
        """A member behind its box."""
        segment, host, profile = self.kinds[number].build(self.lan.internet, number, self.setting.line)
        node = self.lan.node(name, segment, host, profile=profile)
        self.lan.attachments[name].tap = self.meter.saw
        return node

    def both_direct(self, anna: Node, ben: Node) -> bool:
        """Whether each shows the other as direct."""
        return all(
            peer.key in node.peers.links and node.peers.shown(peer.key)[0] == "direct" for node, peer in ((anna, ben), (ben, anna))
        )


def run(first: Kind, second: Kind, seed: int, setting: Setting = Setting()) -> Result:
    """Both kinds in both roles, by the seed's parity: who was there first makes a difference in no theory, but perhaps in the code."""
    if seed % 2:
        first, second = second, first
    clocked = Clocked()
    with tempfile.TemporaryDirectory() as folder, clocked.watching():
        meeting = Meeting(Path(folder), first, second, seed, setting)
        try:
            return _run(meeting, clocked)
        finally:
            meeting.lan.directory.close()


def _run(meeting: Meeting, clocked: Clocked) -> Result:
    lan, world = meeting.lan, meeting.lan.world
    anna = meeting.node("anna", 0)
    if not world.reaches(lambda: bool(anna.roster.own_ipv4), 15):
        return Result(False, path="not welcome")
    secret: NetworkSecret = lan.network(anna)
    world.run(CLASSIFYING)
    meeting.meter.counting = True
    started = world.now
    ben = meeting.node("ben", 1)
    if not world.reaches(lambda: bool(ben.roster.own_ipv4), 15):
        return Result(False, path="not welcome")
    ben.join("home", lan.mediator.public_key, secret, world.now)
    direct = world.reaches(lambda: meeting.both_direct(anna, ben), PATIENCE)
    met = world.now
    path = anna.peers.shown(ben.key)[1] if ben.key in anna.peers.links else ""
    world.run(AFTERMATH)
    packets = meeting.meter.packets + clocked.measured
    if not direct:
        return Result(False, packets=packets, path=path)
    return Result(True, met - clocked.due(anna.key, ben.key, met), met - started, packets, path)
