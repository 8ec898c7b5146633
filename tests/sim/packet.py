"""What travels in the simulated Internet, and who takes part in carrying it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol

from tests.sim.link import Link
from userlan.wire.endpoint import Endpoint

Address = tuple[str, int]

DATA = ""
SYN = "syn"
SYN_ACK = "syn-ack"
ACK = "ack"
RST = "rst"
UNREACHABLE = "unreachable"
"""An ICMP error about a packet of the receiver's (RFC 792): its source is where that packet was to go."""

INITIAL_TTL = 64
"""RFC 1122 3.2.1.7 and what systems use."""


class Packet(NamedTuple):
    """One datagram, one frame of a framed TCP connection, or a segment that sets a connection up or ends it (``kind``)."""

    transport: str
    source: Address
    destination: Address
    data: bytes
    kind: str = DATA
    ttl: int = INITIAL_TTL


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

    @property
    def outer(self) -> Network: ...
    def outbound(self, packet: Packet) -> None: ...
    def announce(self, address: str) -> None: ...


class Network(Protocol):
    """What a member sees of its segment."""

    members: dict[str, Member]
    blocked: set[str]

    @property
    def gateway(self) -> Gateway | None: ...
    def forward(self, packet: Packet) -> None: ...


@lru_cache(4096)
def canonical(address: str) -> str:
    return str(ipaddress.ip_address(address))


RELIABLE = frozenset({DATA, ACK})
"""Of TCP: what the kernels retransmit beneath the model, so that it meets a link's delay alone."""


def carry(link: Link, packet: Packet, deliver: Callable[[Packet], None]) -> None:
    """Send over a link. Frames of a TCP connection are retransmitted by it; SYNs and RSTs are lost like datagrams."""
    link.send(packet.data, partial(_rebuild, packet, deliver), packet.transport == "tcp" and packet.kind in RELIABLE)


def _rebuild(packet: Packet, deliver: Callable[[Packet], None], data: bytes) -> None:
    deliver(packet if data is packet.data else packet._replace(data=data))


def answer(packet: Packet, kind: str) -> Packet:
    """What a host or a box says to a packet's sender."""
    return Packet(packet.transport, packet.destination, packet.source, b"", kind)
