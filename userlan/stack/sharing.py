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
      ├─ echo       a request by IPv4: answered here, if at all ───────────────────▶ ours
      └─ everything else ─▶ ours where a socket is on the port, and a copy for the kernel where it wants to hear the group

Refused: a peer is no neighbour on the kernel's link and no router; such a message from a tunnel could only serve to turn
the computer's own routes or neighbours (RFC 6980 and RFC 4861 11.1 name the attacks; the hop limit of 255 does not help,
since a tunnel keeps it).

Ports: what is bound or listened on here comes first, as it was asked for by name. That the *ephemeral* ports of both
sides do not meet is seen to by a range of its own for ours, outside of the kernel's (``Ports.keep_to``). TCP connections
that were opened before stay what they are: all four fields of their name tell them apart.
"""

from __future__ import annotations

from enum import Enum

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


ECHO_REQUEST = b"\x08"
"""ICMP's type (RFC 792)."""


class Owner(Enum):
    """Who gets a packet."""

    STACK = "stack"
    KERNEL = "kernel"
    NOBODY = "nobody"


class Sharing:
    """Tells packets apart by what is open in a host."""

    def __init__(self, tcp: TcpDemux, udp: UdpTable, echoes: Icmp) -> None:
        self._tcp = tcp
        self._udp = udp
        self._echoes = echoes

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

    @staticmethod
    def answered_here(packet: SuperPacket) -> bool:
        """Whether a packet to a group is nothing for the kernel, whatever it wants: it asks what the stack answers."""
        if Groups.takes(packet):
            return True
        return packet.protocol == PROTOCOL_ICMP and bytes(packet.payload[:1]) == ECHO_REQUEST

    def _icmp(self, packet: SuperPacket) -> Owner:
        message = icmp.parse(packet) if packet.version == 4 else icmpv6.parse(packet)
        if isinstance(message, icmp.Echo | icmpv6.Echo):
            ours = message.request or self._echoes.expects(packet.source, message.identifier, message.sequence)
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
