"""A kernel attached to the LAN beside the stack: where its packets go, and what it is told when they go nowhere.

::

    from the kernel
      │ to routers: IGMP, MLD?            yes → Host.kernel_reports: what it wants to hear of groups
      │ source: an own address?            no → "source-foreign"
      │ to a group or broadcast?          yes → Node.flood, in fragments if need be
      │ destination: beyond the members?  yes → Beyond: the resolver, and whatever is outside (``userlan.node.gateway``)
      │ destination: a member's?           no → dropped (the switch counts why), and an ICMP error
      │ the member can be reached?         no → ICMP: host unreachable, address unreachable
      │ it fits the path to the member?    no → fragments, or ICMP: fragmentation needed, packet too big
      ▼
    Device.send

Groups: ``stack.wishes`` knows what the kernel wants to hear. A frame that is not IP comes as EtherIP, from the own IPv6 address
to a member's or to ``ETHERIP_GROUP``, and alone of IPv6 it is cut here: the kernel made a frame of its interface's MTU, and knows
of no header around it.

What comes for the kernel does not pass here: it is in ``Host.unclaimed``, and so are these ICMP errors. They come from
the address that could not be reached: from an own one, the kernel would take them for forged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from userlan.lan.addresses import IPV6_PREFIX, is_lan_ipv6, is_multicast
from userlan.lan.roster import Roster
from userlan.lan.switch import Switch
from userlan.node.intake import Intake
from userlan.node.peer_table import PeerTable
from userlan.stack.groups import Groups
from userlan.stack.host import Host
from userlan.stack.icmp import is_error
from userlan.stack.limiter import TokenBucket
from userlan.tunnel.device import Device
from userlan.wire import icmp, icmpv6, ndp
from userlan.wire.endpoint import TCP
from userlan.wire.errors import WireError
from userlan.wire.fragment import fragment
from userlan.wire.numbers import MAX_PACKET, PROTOCOL_ETHERIP, PROTOCOL_ICMPV6, PROTOCOL_TCP
from userlan.wire.superpacket import SuperPacket

ERRORS_A_SECOND, ERROR_BURST = 100.0, 50
"""ICMP errors to the kernel (RFC 4443 2.4(f), RFC 1812 4.3.2.8): it is one computer, which may send without end."""

QUOTED = 1_280
"""Octets of a packet that are at hand for an error to quote; ``icmp`` and ``icmpv6`` cut them to size."""

ENDINGS_INTERVAL = 1.0
"""Seconds between two looks at all members for a hardware address that was not found: a stray frame costs no more."""


class Attaching(Protocol):
    """What is needed of a node."""

    host: Host
    switch: Switch
    peers: PeerTable
    device: Device
    roster: Roster
    intake: Intake

    def flood(self, packet: SuperPacket, now: float) -> None:
        """A packet to a group or broadcast, to all who hear it."""


class Beyond(Protocol):
    """What a kernel finds on its link beside the members. What it has to say goes to the kernel by itself."""

    def takes(self, destination: bytes) -> bool:
        """Whether a packed address is there."""

    def receive(self, packet: SuperPacket, now: float) -> None:
        """A packet of the kernel to such an address."""


class Attachment:
    """The kernel's side of one node. ``counters`` says what of its packets was dropped, by reason."""

    def __init__(self, node: Attaching) -> None:
        self.counters: Counter[str] = Counter()
        self._flood = node.flood
        self._dropped = node.intake.dropped
        self._host = node.host
        self._switch = node.switch
        self._peers = node.peers
        self._device = node.device
        self._roster = node.roster
        self._errors = TokenBucket(ERRORS_A_SECOND, ERROR_BURST)
        self._identification = 0
        self._endings: dict[bytes, bytes] = {}
        self._endings_until = 0.0
        self.beyond: Beyond | None = None

    @property
    def addresses(self) -> tuple[tuple[bytes, int], ...]:
        """The own addresses, packed, each with the length of the LAN's prefix."""
        lan = self._roster.address_range
        lengths = {4: lan.mask.bit_count(), 16: 8 * len(IPV6_PREFIX)}
        return tuple((address, lengths[len(address)]) for address in self._roster.own_addresses)

    def knows(self, address: bytes) -> bool:
        """Whether a packed address is another member's, or beyond the members."""
        if self.beyond is not None and self.beyond.takes(address):
            return True
        key = self._roster.key_at(address)
        return key is not None and key != self._roster.own_key

    @property
    def broadcast(self) -> bytes:
        """The packed broadcast address of the LAN's range."""
        return self._roster.address_range.broadcast

    def member_ending(self, ending: bytes, now: float) -> bytes | None:
        """The packed IPv6 address of the member whose address ends with these four octets, as a hardware address does."""
        known, found = self._roster.key_at, self._endings.get(ending)
        if (found is None or known(found) is None) and now >= self._endings_until:
            self._endings_until = now + ENDINGS_INTERVAL
            self._endings = {peer.ipv6[-len(ending) :]: peer.ipv6 for peer in self._roster.peers.values()}
            found = self._endings.get(ending)
        return found if found is not None and known(found) is not None else None

    def is_lan(self, address: bytes) -> bool:
        """Whether a packed address lies in the LAN's ranges, whether or not a member has it."""
        return is_lan_ipv6(address) or self._roster.address_range.contains(address)

    def send(self, packets: Iterable[SuperPacket], now: float) -> None:
        """Packets of the kernel."""
        own, beyond, is_group = self._host.addresses, self.beyond, self._switch.is_group
        for packet in packets:
            destination = packet.destination
            if is_group(destination):
                self._to_group(packet, now)
                continue
            if packet.source not in own:
                self._drop(packet, "source-foreign", now)
                continue
            if beyond is not None and beyond.takes(destination):
                beyond.receive(packet, now)
                continue
            key = self._switch.route(destination)
            if key is None or not self._peers.wanted(key, now):
                self._drop(packet, "unreachable", now, key or b"")
                self._unreachable(packet, now)
                continue
            if packet.protocol != PROTOCOL_TCP:
                limit = self._limit(key, destination)
                if (packet.segment_size + len(packet.header) if packet.segment_size else packet.length) > limit:
                    self._send_larger(key, packet, limit, now)
                    continue
            self._device.send(key, packet, now)

    def _to_group(self, packet: SuperPacket, now: float) -> None:
        """A packet to many, of which nobody hears back. It is cut to the LAN's MTU, as the interface's is meant to be: the paths
        to many have no MTU of their own."""
        if Groups.takes(packet):
            self._host.kernel_reports(packet, now)
        elif packet.source not in self._host.addresses:
            self._drop(packet, "source-foreign", now)
        elif _is_discovery(packet):
            self._drop(packet, "neighbour-discovery", now)
        elif (packet.segment_size or len(packet.payload)) + len(packet.header) <= self._host.mtu:
            self._flood(packet, now)
        elif self._may_be_cut(packet):
            for part in self._parts(packet, self._host.mtu):
                self._flood(part, now)
        else:
            self._drop(packet, "too-big", now)

    def _limit(self, key: bytes, destination: bytes) -> int:
        """Octets of the largest packet that the path to a member carries; TCP's are cut to it by the tunnel.

        What the host knows is the LAN's MTU or less, once measured; the peer's may be more than the LAN's."""
        peer = self._device.peer(key)
        if peer is None or (peer.endpoint is not None and peer.endpoint.transport == TCP):
            return MAX_PACKET
        return max(peer.ways.mtu, self._host.path_mtu(destination))

    def _send_larger(self, key: bytes, packet: SuperPacket, limit: int, now: float) -> None:
        """A packet that the path does not carry whole (RFC 1191 4, RFC 8200 5)."""
        if not self._may_be_cut(packet):
            self._drop(packet, "too-big", now, key)
            self._too_big(packet, limit, now)
            return
        for part in self._parts(packet, limit):
            self._device.send(key, part, now)

    @staticmethod
    def _may_be_cut(packet: SuperPacket) -> bool:
        """Of IPv6 what was made here: a frame of another protocol, whose sender knows of no path."""
        if packet.version == 6:
            return packet.protocol == PROTOCOL_ETHERIP
        return not packet.header[6] & 0x40 and not packet.segment_size

    def _parts(self, packet: SuperPacket, limit: int) -> list[SuperPacket]:
        self._identification = self._identification + 1 & 0xFFFF
        identification = (int.from_bytes(packet.header[4:6], "big") if packet.version == 4 else 0) or self._identification
        try:
            return fragment(packet, limit, identification)
        except WireError as error:
            self.counters[error.reason] += 1
            return []

    def _drop(self, packet: SuperPacket, reason: str, now: float, key: bytes = b"") -> None:
        self.counters[reason] += 1
        self._dropped(packet, reason, now, key)

    # ------------------------------------------------------------------ errors

    def _unreachable(self, packet: SuperPacket, now: float) -> None:
        quoted = _quoted(packet)
        if packet.version == 4:
            self._answer(packet, icmp.Unreachable(icmp.CODE_HOST_UNREACHABLE, quoted), now)
        else:
            self._answer(packet, icmpv6.Unreachable(icmpv6.CODE_ADDRESS_UNREACHABLE, quoted), now)

    def _too_big(self, packet: SuperPacket, limit: int, now: float) -> None:
        quoted = _quoted(packet)
        if packet.version == 4:
            self._answer(packet, icmp.Unreachable(icmp.CODE_FRAGMENTATION_NEEDED, quoted, limit), now)
        else:
            self._answer(packet, icmpv6.PacketTooBig(limit, quoted), now)

    def _answer(self, packet: SuperPacket, message: icmp.Message | icmpv6.Message, now: float) -> None:
        """An error about a packet, where one may be sent (RFC 1122 3.2.2, RFC 4443 2.4(e))."""
        waiting = self._host.unclaimed
        if waiting is None or is_multicast(packet.destination) or is_error(packet):
            return
        if not self._errors.allow(now):
            self.counters["icmp-error-limited"] += 1
            return
        source, destination = packet.destination, packet.source
        if isinstance(message, icmp.Unreachable):
            waiting.append(icmp.build(message, source, destination))
        elif isinstance(message, icmpv6.Unreachable | icmpv6.PacketTooBig):
            waiting.append(icmpv6.build(message, source, destination))


def _is_discovery(packet: SuperPacket) -> bool:
    """Whether a packet asks who is a neighbour: answered on the kernel's link."""
    return packet.protocol == PROTOCOL_ICMPV6 and bool(packet.payload) and packet.payload[0] in ndp.TYPES


def _quoted(packet: SuperPacket) -> bytes:
    return packet.header + bytes(packet.payload[:QUOTED])
