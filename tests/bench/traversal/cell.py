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
from tests.node.lan import MEDIATOR_HOST, VirtualLan
from tests.sim.link import LinkProfile
from tests.sim.packet import SYN, Packet
from userlan.lan.secrets import NetworkSecret
from userlan.mediator.matchmaker import Matchmaker
from userlan.node.node import Node
from userlan.traversal.kinds import OBSERVE_REQUEST, PROBE, PROBE_ANSWER

ONE_WAY = 0.040
"""Seconds between the two members."""
HALF = LinkProfile(delay=ONE_WAY / 2, jitter=0.002)
"""Each member's line; some jitter, as lines have it."""
MEDIATOR_LINE = LinkProfile(delay=0.010, jitter=0.001)
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
            return told

        return listening


class Meter:
    """Counts what punching sends: everything that goes to the peer but the tunnel's data, and the measuring requests."""

    def __init__(self) -> None:
        self.packets = 0
        self.counting = False

    def saw(self, packet: Packet) -> None:
        if not self.counting:
            return
        kind = packet.data[:4]
        if (
            kind in (PROBE, PROBE_ANSWER, OBSERVE_REQUEST)
            or (packet.kind == SYN and packet.destination[0] != MEDIATOR_HOST)
            or (kind == INITIATION and packet.destination[0] != MEDIATOR_HOST)
        ):
            self.packets += 1


class Meeting:
    """The stage of one run."""

    def __init__(self, folder: Path, first: Kind, second: Kind, seed: int, tcp_only: bool) -> None:
        self.lan = VirtualLan(folder, seed, MEDIATOR_LINE)
        self.lan.internet.hops = HOPS
        if tcp_only:
            self.lan.internet.blocked.add("udp")
        self.meter = Meter()
        self.kinds = first, second

    def node(self, name: str, number: int) -> Node:
        """A member behind its box."""
        segment, host, profile = self.kinds[number].build(self.lan.internet, number, HALF)
        node = self.lan.node(name, segment, host, profile=profile)
        self.lan.attachments[name].tap = self.meter.saw
        return node

    def both_direct(self, anna: Node, ben: Node) -> bool:
        """Whether each shows the other as direct."""
        return all(
            peer.key in node.peers.links and node.peers.shown(peer.key)[0] == "direct" for node, peer in ((anna, ben), (ben, anna))
        )


def run(first: Kind, second: Kind, seed: int, tcp_only: bool = False) -> Result:
    """Both kinds in both roles, by the seed's parity: who was there first makes a difference in no theory, but perhaps in the code."""
    if seed % 2:
        first, second = second, first
    clocked = Clocked()
    with tempfile.TemporaryDirectory() as folder, clocked.watching():
        meeting = Meeting(Path(folder), first, second, seed, tcp_only)
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
    due = clocked.due(anna.key, ben.key, met)
    if not direct:
        return Result(False, packets=meeting.meter.packets, path=path)
    return Result(True, met - due, met - started, meeting.meter.packets, path)
