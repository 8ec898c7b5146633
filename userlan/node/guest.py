"""A guest: an ordinary WireGuard program at the end of whose tunnel is the kernel that has this node's addresses.

::

    phone ── stock WireGuard ──▶ Device ──▶ Intake ──▶ Guest.receive, flush ──▶ Attachment.send ──▶ members, resolver  (``attachment``)
    phone ◀── stock WireGuard ── Device ◀── Guest.send ◀── Host.unclaimed: what is nobody's here                   (``stack.sharing``)

The guest is one more peer of the node's device, so that it has the node's socket and port, its port mapping, roaming and cookies. It is
no member: no mediator and no roster knows its key, and it holds no network's secret. What it sends must come from the node's own
addresses, which are the guest's, and is carried like the packets of any attached kernel.

A stock program sends its datagrams one by one. What came while the sockets were read is therefore carried on together (``flush``), the
neighbours of a stream as one (``wire.coalesce``): sealed once, and most of what is done with a packet is done once.

**Sizes.** ``mtu`` is that of the guest's interface, as its configuration says. TCP is cut to it by the tunnel. Senders learn it as they
learn that of any path: their probes of more are not answered (``path_echoes``). What is larger nevertheless is cut here, or answered
"fragmentation needed" where IPv4's sender forbids it (RFC 1191 4).

Why IPv6 is cut, too, which routers must not do (RFC 8200 5): it comes out of this host's reassembly as often as it comes whole, and is then
sent on in parts as it came; an error would be answered with such parts, which would cause the next error.

**Away.** A guest that has not been heard for as long as a session lasts is told of as unreachable to whoever sends it something; that
begins a handshake nevertheless, where it was last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from math import inf
from typing import Protocol

import attrs

from userlan.lan.addresses import AddressRange, is_multicast
from userlan.lan.roster import Roster
from userlan.node.attachment import ERROR_BURST, ERRORS_A_SECOND, QUOTED
from userlan.node.intake import Intake
from userlan.node.path_echoes import PATH_IDENTIFIER, PROBE_IDENTIFIER
from userlan.node.peer_table import ECHO_IDENTIFIER, PeerTable
from userlan.stack.host import Host
from userlan.stack.icmp import is_error
from userlan.stack.limiter import TokenBucket
from userlan.stack.sharing import Distant
from userlan.tunnel.constants import REJECT_AFTER_TIME
from userlan.tunnel.device import Device
from userlan.wire import icmp, icmpv6
from userlan.wire.checksum import transport_ok
from userlan.wire.coalesce import coalesced
from userlan.wire.endpoint import Endpoint
from userlan.wire.errors import WireError
from userlan.wire.fragment import fragment
from userlan.wire.numbers import MAX_PACKET, PROTOCOL_ETHERIP, PROTOCOL_TCP
from userlan.wire.superpacket import SuperPacket, cut, parse

LEAST_MTU = 1_280
"""Octets: IPv6's minimum (RFC 8200 5), which with 80 of WireGuard and its outer headers passes every path that a phone has."""

KEEPALIVE = 25
"""Seconds between the guest's keepalives, as its configuration says: NATs keep UDP mappings for 30 s at the least."""

HEARD_WITHIN = 2.6 * KEEPALIVE
"""Seconds without a packet after which a guest does not count as online: two keepalives were lost."""

GRACE = 10.0
"""Seconds from the start in which a guest may answer before it counts as away: a handshake and its first repetition."""


MAX_ARRIVED = 1_024
"""Packets that are kept for ``flush``: a wakeup of a socket reads fewer, and beyond it they are carried on at once."""


class Hosting(Protocol):
    """What is needed of a node."""

    host: Host
    device: Device
    intake: Intake
    peers: PeerTable
    roster: Roster


@attrs.frozen
class GuestState:
    """For people. ``endpoint``: where it was heard last. ``handshake`` and ``heard``: seconds since, None: never."""

    online: bool
    endpoint: Endpoint | None
    handshake: float | None
    heard: float | None
    received: int
    sent: int


def distant(addresses: AddressRange) -> Distant:
    """How the kernel of a guest is treated. It is asked for its groups from the first address of the LAN's range, which nobody has."""
    own_echoes = frozenset((ECHO_IDENTIFIER, PATH_IDENTIFIER, PROBE_IDENTIFIER))
    return Distant(own_echoes, (addresses.first + 1).to_bytes(4, "big"))


class Guest:
    """Of one node. ``counters`` says what was dropped, by reason; ``carry`` is ``Attachment.send``."""

    def __init__(
        self,
        node: Hosting,
        public_key: bytes,
        preshared_key: bytes,
        mtu: int,
        carry: Callable[[Iterable[SuperPacket], float], None],
        now: float,
        endpoint: Endpoint | None = None,
    ) -> None:
        """``endpoint``: where it was last; it is called there. Raises ValueError for keys that cannot be, and for a member's."""
        if public_key in node.roster.peers:
            raise ValueError("a guest's key is not a member's")
        self.counters: Counter[str] = Counter()
        self.key = public_key
        self.mtu = max(mtu, LEAST_MTU)
        self._node = node
        self._host = node.host
        self._device = node.device
        self._carry = carry
        self._errors = TokenBucket(ERRORS_A_SECOND, ERROR_BURST)
        self._arrived: list[SuperPacket] = []
        self._identification = 0
        self._began = now
        peer = self._device.add_peer(public_key, preshared_keys=(preshared_key,), endpoint=endpoint, stock=True)
        peer.ways.mtu = self.mtu
        node.peers.echoes.largest = self.mtu
        node.intake.guest, node.intake.guest_receives = public_key, self.receive
        if endpoint is not None:
            self._device.initiate(public_key, (endpoint,), now)

    def close(self) -> None:
        """It is a guest no longer: its keys are forgotten."""
        self._device.remove_peer(self.key)
        self._node.intake.guest = None
        self._node.peers.echoes.largest = MAX_PACKET

    def state(self, now: float) -> GuestState:
        """What is known of it."""
        peer = self._device.peer(self.key)
        if peer is None:
            return GuestState(False, None, None, None, 0, 0)
        heard = None if peer.last_received is None else now - peer.last_received
        handshake = None if peer.last_handshake is None else now - peer.last_handshake
        online = peer.has_session(now) and heard is not None and heard <= HEARD_WITHIN
        return GuestState(online, peer.endpoint, handshake, heard, peer.rx_bytes, peer.tx_bytes)

    # ------------------------------------------------------------------ from the guest

    def receive(self, packet: SuperPacket, now: float) -> str:
        """A packet out of its tunnel; why it was dropped, if it was. What it was sent for is the attachment's to judge."""
        if not packet.verified and not packet.fragment and not transport_ok(packet):
            return self._drop("checksum")
        if packet.protocol == PROTOCOL_ETHERIP:
            return self._drop("not-ip")
        self._arrived.append(packet)
        if len(self._arrived) >= MAX_ARRIVED:
            self.flush(now)
        return ""

    def flush(self, now: float) -> None:
        """Carry on what came; to be called once the sockets have been read."""
        if self._arrived:
            arrived, self._arrived = self._arrived, []
            self._carry(coalesced(arrived), now)

    def _drop(self, reason: str) -> str:
        self.counters[reason] += 1
        return reason

    # ------------------------------------------------------------------ for the guest

    def send(self, packets: Iterable[SuperPacket], now: float) -> None:
        """Packets for its kernel."""
        away = self._away(now)
        for packet in packets:
            if packet.protocol == PROTOCOL_ETHERIP:
                self._drop("not-ip")
                continue
            if away:
                self._error(packet, _unreachable(packet), now)
            size = packet.segment_size + len(packet.header) if packet.segment_size else packet.length
            if size <= self.mtu or (packet.protocol == PROTOCOL_TCP and not packet.fragment):
                self._device.send(self.key, packet, now)
            else:
                self._send_larger(packet, now)

    def _away(self, now: float) -> bool:
        """Whether it is known not to be there."""
        peer = self._device.peer(self.key)
        if peer is None or peer.has_session(now):
            return peer is None
        return now - max(self._began + GRACE - REJECT_AFTER_TIME, peer.last_handshake or -inf) > REJECT_AFTER_TIME

    def _send_larger(self, packet: SuperPacket, now: float) -> None:
        """A packet, or several, none of them TCP, that the guest's interface does not take whole."""
        for one in cut(packet, True):
            whole = parse(one, True)
            whole.verified = False      # it has its checksum, which its parts are to add up to
            if whole.length <= self.mtu:
                self._device.send(self.key, whole, now)
            elif whole.version == 4 and whole.header[6] & 0x40:
                self._drop("too-big")
                self._error(whole, icmp.Unreachable(icmp.CODE_FRAGMENTATION_NEEDED, _quoted(whole), self.mtu), now)
            else:
                self._send_parts(whole, now)

    def _send_parts(self, whole: SuperPacket, now: float) -> None:
        self._identification = self._identification + 1 & 0xFFFF
        identification = (int.from_bytes(whole.header[4:6], "big") if whole.version == 4 else 0) or self._identification
        try:
            parts = fragment(whole, self.mtu, identification)
        except WireError as error:
            self._drop(error.reason)
            return
        for part in parts:
            self._device.send(self.key, part, now)

    def _error(self, packet: SuperPacket, message: icmp.Unreachable | icmpv6.Unreachable, now: float) -> None:
        """Tell a member what became of its packet, where that may be said (RFC 1122 3.2.2, RFC 4443 2.4(e)); as the host that it asked."""
        own = self._host.addresses
        if is_multicast(packet.destination) or packet.destination not in own or packet.source in own or is_error(packet):
            return
        if not self._errors.allow(now):
            self._drop("icmp-error-limited")
            return
        if isinstance(message, icmp.Unreachable):
            self._carry((icmp.build(message, packet.destination, packet.source),), now)
        else:
            self._carry((icmpv6.build(message, packet.destination, packet.source),), now)


def _unreachable(packet: SuperPacket) -> icmp.Unreachable | icmpv6.Unreachable:
    if packet.version == 4:
        return icmp.Unreachable(icmp.CODE_HOST_UNREACHABLE, _quoted(packet))
    return icmpv6.Unreachable(icmpv6.CODE_ADDRESS_UNREACHABLE, _quoted(packet))


def _quoted(packet: SuperPacket) -> bytes:
    return packet.header + bytes(packet.payload[:QUOTED])
