"""Whose a packet is, where a kernel has the host's addresses as well (a TAP is attached).

::

    packet to an own address, whole, its checksum right
      │
      ├─ TCP      of a connection of ours, or to a port that is listened on here ──▶ ours
      ├─ UDP      to a port that is bound here ────────────────────────────────────▶ ours
      ├─ echo     a request: answered here, whoever asked is served soonest; ──────▶ ours
      │           a reply to one of ours ──────────────────────────────────────────▶ ours
      ├─ ICMP     an error about a packet that can be ours ────────────────────────▶ ours
      ├─ ICMP     of neighbour discovery, redirects, routers ──────────────────────▶ refused
      └─ everything else ──────────────────────────────────────────────────────────▶ the kernel's

    packet to a group or broadcast
      │
      ├─ IGMP, MLD  queries, reports: the stack's reporter speaks for both ────────▶ ours
      ├─ ICMP       of neighbour discovery, redirects, routers ────────────────────▶ refused
      ├─ echo       a request to everybody: answered here ─────────────────────────▶ ours
      └─ everything else ─▶ ours where a socket is on the port, and a copy for the kernel where it wants to hear the group

Refused: a peer is no neighbour on the kernel's link and no router; such a message from a tunnel could only serve to turn
the computer's own routes or neighbours (RFC 6980 and RFC 4861 11.1 name the attacks; the hop limit of 255 does not help,
since a tunnel keeps it).

Kernel and stack are one host to the LAN, and so do not hear what the other one says to a group: its source is their own.

A kernel at the end of a tunnel (``Distant``: a guest's) answers echo requests itself, since whoever asks wants to know whether it is
there; but those by which nodes ask for each other are answered here.

Ports: what is bound or listened on here comes first, as it was asked for by name. That the *ephemeral* ports of both
sides do not meet is seen to by a range of its own for ours, outside of the kernel's (``Ports.keep_to``). TCP connections
that were opened before stay what they are: all four fields of their name tell them apart.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import NamedTuple

from userlan.stack.addresses import Addresses
from userlan.stack.demux import TcpDemux
from userlan.stack.groups import Groups
from userlan.stack.icmp import Icmp
from userlan.stack.quoted import report
from userlan.stack.udp import UdpTable
from userlan.wire import icmp, icmpv6, ndp
from userlan.wire.numbers import PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP
from userlan.wire.superpacket import SuperPacket

ROUTING_TYPES = frozenset((5, 9, 10))
"""ICMP: redirect (RFC 792), router advertisement and solicitation (RFC 1256)."""


MAX_UNCLAIMED = 4_096
"""Packets handed over at once: a buffer from the tunnel holds 128 at most, and whoever shares drains after each."""

ECHO_REQUESTS = frozenset(((PROTOCOL_ICMP, b"\x08"), (PROTOCOL_ICMPV6, b"\x80")))
"""Protocols and types (RFC 792, RFC 4443 4.1)."""


class Owner(Enum):
    """Who gets a packet."""

    STACK = "stack"
    KERNEL = "kernel"
    NOBODY = "nobody"


class Distant(NamedTuple):
    """How a kernel is treated that is not this computer's."""

    own_echoes: frozenset[int]
    """Identifiers of the echo requests that are answered here nevertheless."""
    querier: bytes
    """The packed IPv4 address from which it is asked for its groups."""


class Sharing:
    """Tells packets apart by what is open in a host."""

    def __init__(
        self, addresses: Addresses, groups: Groups, tcp: TcpDemux, udp: UdpTable, echoes: Icmp, counters: Counter[str]
    ) -> None:
        self.distant: Distant | None = None
        """Where the kernel is one of another computer."""
        self._addresses = addresses
        self._groups = groups
        self._tcp = tcp
        self._udp = udp
        self._echoes = echoes
        self._counters = counters

    def is_ours(self, packet: SuperPacket, unclaimed: list[SuperPacket]) -> bool:
        """Whether the stack takes a whole packet; else, and of what is to a group perhaps also, it is put to ``unclaimed`` for
        the kernel, or refused and counted. What the host says to itself stays in the stack. Raises WireError when it is
        malformed ICMP."""
        if packet.source in self._addresses:
            return True
        if packet.destination in self._addresses:
            owner = self.owner(packet)
            copied = owner is Owner.KERNEL
        else:
            copied = self._groups.kernel_hears(packet)
            owner = self.group_owner(packet, copied)
            copied = copied and owner is not Owner.NOBODY and not self.answered_here(packet)
        if copied and len(unclaimed) < MAX_UNCLAIMED:
            unclaimed.append(packet)
        elif copied:
            self._counters["unclaimed-full"] += 1
        elif owner is Owner.NOBODY:
            self._counters["neighbour-discovery-refused"] += 1
        return owner is Owner.STACK

    def owner(self, packet: SuperPacket) -> Owner:
        """Whose a whole packet to one of the host's own addresses is. Raises WireError when it is malformed ICMP."""
        protocol = packet.protocol
        if protocol == PROTOCOL_TCP:
            return Owner.STACK if self._tcp.expects(packet) else Owner.KERNEL
        if protocol == PROTOCOL_UDP:
            return Owner.STACK if self._udp.expects(packet) else Owner.KERNEL
        if protocol == (PROTOCOL_ICMP if packet.version == 4 else PROTOCOL_ICMPV6):
            return self._icmp(packet)
        return Owner.KERNEL

    def group_owner(self, packet: SuperPacket, kernel_hears: bool) -> Owner:
        """Who reads a whole packet to a group or broadcast: the kernel may get a copy of what is the stack's, and does of
        what is its own. ``kernel_hears``: it wants the group."""
        protocol = packet.protocol
        if Groups.takes(packet):
            return Owner.STACK
        if protocol == (PROTOCOL_ICMP if packet.version == 4 else PROTOCOL_ICMPV6):
            refused = ROUTING_TYPES if packet.version == 4 else ndp.TYPES
            return Owner.NOBODY if packet.payload and packet.payload[0] in refused else Owner.STACK
        if protocol == PROTOCOL_UDP and kernel_hears and not self._udp.is_bound(packet):
            return Owner.KERNEL
        return Owner.STACK if protocol == PROTOCOL_UDP or not kernel_hears else Owner.KERNEL

    def answered_here(self, packet: SuperPacket) -> bool:
        """Whether a packet to a group is nothing for the kernel, whatever it wants: it asks what the stack answers."""
        if Groups.takes(packet):
            return True
        asks = (packet.protocol, bytes(packet.payload[:1])) in ECHO_REQUESTS
        return asks and self._addresses.of_everybody(packet.destination)

    def _icmp(self, packet: SuperPacket) -> Owner:
        message = icmp.parse(packet) if packet.version == 4 else icmpv6.parse(packet)
        if isinstance(message, icmp.Echo | icmpv6.Echo):
            if message.request:
                ours = self.distant is None or message.identifier in self.distant.own_echoes
            else:
                ours = self._echoes.expects(packet.source, message.identifier, message.sequence)
            return Owner.STACK if ours else Owner.KERNEL
        if isinstance(message, icmp.Other | icmpv6.Other):
            if message.type in (ROUTING_TYPES if packet.version == 4 else ndp.TYPES):
                return Owner.NOBODY
            return Owner.KERNEL
        found = report(message, packet.source)
        if found is None:
            return Owner.KERNEL
        ours = self._tcp.sent(found.quote) or self._udp.may_have_sent(found) or self._echoes.is_outstanding(found.quote)
        return Owner.STACK if ours else Owner.KERNEL
