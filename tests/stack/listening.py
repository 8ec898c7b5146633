"""One host and the router that asks it: both protocols of group membership through the same eyes."""

from __future__ import annotations

from random import Random
from types import ModuleType
from typing import Any, NamedTuple

from tests.stack.packets import NOW, OURS4, OURS6, on_the_wire, packed
from userlan.stack import Host, HostConfig, UdpSocket
from userlan.wire import igmp, mld
from userlan.wire.membership import Message, Query, Record, RecordType, Report
from userlan.wire.superpacket import SuperPacket

LINK_LOCAL = "fe80::1"
PORT = 5000


class Family(NamedTuple):
    """One protocol, and addresses to speak of; groups and sources packed."""

    wire: ModuleType
    router: bytes
    groups: tuple[bytes, ...]
    sources: tuple[bytes, ...]

    @property
    def newest(self) -> int:
        return int(self.wire.NEWEST_VERSION)

    @property
    def everything(self) -> bytes:
        """As a query's group: all."""
        return bytes(len(self.router))


IPV4 = Family(
    igmp,
    packed("10.0.0.254"),
    tuple(packed(f"239.1.1.{number}") for number in range(1, 10)),
    tuple(packed(f"10.0.1.{number}") for number in range(1, 10)),
)
IPV6 = Family(
    mld,
    packed("fe80::254"),
    tuple(packed(f"ff05::{number}") for number in range(1, 10)),
    tuple(packed(f"fd00::1:{number}") for number in range(1, 10)),
)
FAMILIES = (IPV4, IPV6)


class Link:
    """A host whose time a test moves, and everything that it told its router, with the instant."""

    def __init__(self, family: Family, seed: int = 1, **options: Any) -> None:
        self.family = family
        self.now = NOW
        self.host = Host(entropy=Random(seed).randbytes, config=HostConfig(**options))
        for address in (OURS4, OURS6, LINK_LOCAL):
            self.host.add_address(packed(address))
        self.socket = self.host.udp_bind(PORT)
        self.said: list[tuple[float, Message]] = []
        self.packets: list[SuperPacket] = []

    def bind(self, port: int) -> UdpSocket:
        return self.host.udp_bind(port)

    def drain(self) -> list[Message]:
        """What the host has to say now."""
        said: list[Message] = []
        for packet in self.host.packets(self.now):
            self.packets.append(packet)
            said.append(self.family.wire.parse(on_the_wire(packet)))
        self.said += ((self.now, message) for message in said)
        return said

    def run(self, seconds: float) -> list[tuple[float, Message]]:
        """Let time pass; what was said meanwhile, each with the seconds since the start of the run."""
        start, end, already = self.now, self.now + seconds, len(self.said)
        self.drain()
        while (deadline := self.host.deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.host.tick(self.now)
            self.drain()
        self.now = end
        return [(at - start, message) for at, message in self.said[already:]]

    def records(self, seconds: float = 0.0) -> list[Record]:
        """The records of all reports in a span of time."""
        reports = [message for _, message in self.run(seconds)]
        return [record for report in reports if isinstance(report, Report) for record in report.records]

    def settled(self) -> Link:
        """Everything is told, as often as it has to be."""
        self.run(60.0)
        assert self.host.deadline() is None
        return self

    def hear(self, message: Message, source: bytes | None = None) -> None:
        """A message of the router or of another member."""
        self.host.receive(on_the_wire(self.family.wire.build(message, source or self.family.router)), self.now)

    def ask(
        self,
        group: bytes | None = None,
        *sources: bytes,
        within: int = 10_000,
        version: int = 0,
        robustness: int = 0,
        interval: int = 0,
    ) -> None:
        """A query (``within`` in milliseconds), general without a group."""
        name = self.family.everything if group is None else group
        self.hear(Query(version or self.family.newest, name, within, False, robustness, interval, sources))


def record(kind: RecordType, group: bytes, *sources: bytes) -> Record:
    return Record(kind, group, tuple(sorted(sources)))
