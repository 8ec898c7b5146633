"""The ways out to one peer: its own endpoint, and beside it, for bulk, a connection of framed TCP.

::

    packet ──▶ session? ── no ──▶ staged ─────────────── a session is there ──┐
                  │ yes                                                        ▼
                  ├─ its flow is bulk, and there is a bulk way ──▶ bulk queues ──▶ cut for TCP (64 KB), seal ──▶ outgoing
                  └─ else ────────────────────────────────────▶ queues ───────▶ cut for the path, seal ───────▶ outgoing

Packets are sealed when they leave, not when they come: what waits, waits by flow, and what is interactive overtakes
what is not. A way that is full (``Device.hold``) keeps its own queues only.

Within a flow nothing overtakes here: a flow that takes another way takes along what it has waiting, and one that has
packets waiting for the bulk way stays there until they have left. When the bulk way ends, or has been full for
``BULK_STALL`` without any progress, its packets go where all else goes.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from userlan.tunnel import messages
from userlan.tunnel.constants import (
    BULK_STALL,
    BURST_BYTES,
    BURST_SEGMENTS,
    LARGE_INTERVAL,
    LARGE_PACKET,
    MAX_DATAGRAM,
    QUEUED_BYTES,
    QUEUED_SHARE,
)
from userlan.tunnel.events import BulkStalled, BulkTraffic, LargeSent
from userlan.tunnel.flows import BULK_RATE, BulkFlows, FlowQueues
from userlan.tunnel.outgoing import Staged
from userlan.tunnel.session import padding
from userlan.tunnel.shared import Shared
from userlan.wire.endpoint import RELAY, RELAY_HEADER, TCP, UDP, Endpoint
from userlan.wire.errors import WireError
from userlan.wire.superpacket import SuperPacket, cut

if TYPE_CHECKING:
    from userlan.tunnel.peer import Peer


class Ways:
    """One peer's. ``bulk``: the framed TCP connection that bulk flows take, None: they go where all else goes."""

    __slots__ = ("_bulk_flows", "_bulk_queues", "_bulk_told", "_large_told", "_peer", "_queues", "_shared", "_staged", "bulk", "mtu")

    def __init__(self, peer: Peer, shared: Shared) -> None:
        self.bulk: Endpoint | None = None
        self.mtu = 0
        """Octets of the largest inner packet that the datagram path is known to carry; 0: packets leave as they were made."""
        self._peer = peer
        self._shared = shared
        self._staged = Staged()
        self._queues = FlowQueues(shared.flow_seed)
        self._bulk_queues = FlowQueues(shared.flow_seed)
        self._bulk_flows = BulkFlows()
        self._bulk_told = 0.0
        self._large_told = -inf

    @property
    def staged(self) -> int:
        """Packets that wait for a session."""
        return len(self._staged)

    @property
    def queued(self) -> int:
        """Octets that wait for a way out."""
        return self._queues.octets + self._bulk_queues.octets

    # --- packets come

    def send(self, packet: SuperPacket, now: float, bucket: int = -1) -> int:
        """Queue a packet to be sealed by ``drain``, or stage it and see to a session. Returns the packet's bucket, which is the same for
        all peers of a device; -1: not known yet."""
        session = self._peer.keyring.current
        if session is None or not session.can_send(now, packet.wire_count):
            self._stage_all()
            self._stage(packet)
            self._peer.begin_handshake(now)
            return bucket
        if bucket < 0:
            bucket = self._queues.bucket_of(packet)
        queues = self._queues_for(packet, bucket, now)
        queues.add(packet, bucket, now)
        waiting = self._shared.waiting
        waiting[self._peer] = None
        if queues.octets > QUEUED_SHARE and sum(peer.ways.queued for peer in waiting) > QUEUED_BYTES:
            queues.make_room(QUEUED_SHARE)
        return bucket

    def _queues_for(self, packet: SuperPacket, bucket: int, now: float) -> FlowQueues:
        """Where a packet of the flow in ``bucket`` is to wait."""
        flows = self._bulk_flows
        bulk = flows.note(packet, bucket, now)
        if self.bulk is not None and not self._stalled(now):
            if bulk or self._bulk_queues.waits(bucket):
                self._queues.move(bucket, self._bulk_queues)
                return self._bulk_queues
        elif bulk and flows.rate >= BULK_RATE and flows.measured_at != self._bulk_told:
            self._bulk_told = flows.measured_at
            self._shared.emit(BulkTraffic(self._peer.public_key))
        return self._queues

    def _stalled(self, now: float) -> bool:
        """Whether the bulk way has taken nothing for so long that it is not used any more."""
        bulk = self.bulk
        if bulk is None or now - self._shared.held.get(bulk, now) < BULK_STALL:
            return False
        self.use_bulk(None)
        self._shared.counters["bulk-stalled"] += 1
        self._shared.emit(BulkStalled(self._peer.public_key, bulk))
        return True

    def _stage(self, packet: SuperPacket) -> None:
        dropped = self._staged.add(packet)
        if dropped:
            self._shared.counters["staged-overflow"] += dropped

    def _stage_all(self) -> None:
        """There is no session for what waits: it waits for the next one, before what comes later."""
        self._bulk_queues.move_all(self._queues)
        for packet in self._queues.take_all():
            self._stage(packet)

    def flush(self, now: float) -> None:
        """There is a session: what waited for it is to be sent, the first packet at once; if there is none, or no room
        for it, an empty message, which confirms the keys to the responder."""
        session = self._peer.keyring.current
        sealed = session.send_counter if session is not None else 0
        for packet in self._staged.take():
            self.send(packet, now)
        self.drain(1, now)
        if session is not None and session.send_counter == sealed:
            self._peer.keepalive(now)

    # --- packets leave

    def can_drain(self) -> bool:
        """Whether packets wait, and not all of them for a way out that is full."""
        held = self._shared.held
        if self._queues and not _held(self._peer.endpoint, held):
            return True
        return bool(self._bulk_queues) and not _held(self.bulk, held)

    def drain(self, budget: int, now: float) -> int:
        """Seal what waits, for ``budget`` octets and no more than a packet beyond it; returns the octets.

        What waits for a way out that is full stays where it is; what goes the peer's own way comes first.
        """
        held = self._shared.held
        drained = 0
        if self._bulk_queues:
            self._stalled(now)
        if not _held(self._peer.endpoint, held):
            drained = self._drain(self._queues, self._peer.endpoint, budget, now)
        if self._bulk_queues and drained < budget and not _held(self.bulk, held):
            drained += self._drain(self._bulk_queues, self.bulk, budget - drained, now)
        if not self._queues and not self._bulk_queues:
            self._shared.waiting.pop(self._peer, None)
        return drained

    def _drain(self, queues: FlowQueues, way: Endpoint | None, budget: int, now: float) -> int:
        drained = 0
        while drained < budget and (packet := queues.take(now)) is not None:
            drained += packet.length
            if not self._transmit(packet, way, now):
                self._stage(packet)
                self._stage_all()
                self._peer.begin_handshake(now)
        if queues.dropped or queues.marked:
            self._shared.counters["flows-dropped"] += queues.dropped
            self._shared.counters["flows-marked"] += queues.marked
            queues.dropped = queues.marked = 0
        return drained

    def _transmit(self, packet: SuperPacket, endpoint: Endpoint | None, now: float) -> bool:
        """Cut and seal a packet; False: there is no session for it any more."""
        shared, peer = self._shared, self._peer
        session = peer.keyring.current
        try:
            packets = cut(packet, peer.stock, self._limit(endpoint))
        except WireError as error:
            shared.counters[error.reason] += 1
            return True
        if session is None or not session.can_send(now, len(packets)):
            return False
        first = len(packets[0])
        segment = first + padding(first, shared.mtu) + messages.TRANSPORT_OVERHEAD
        if segment > MAX_DATAGRAM:
            shared.counters["oversized"] += 1
            return True
        header = RELAY_HEADER if endpoint is not None and endpoint.transport == RELAY else 0
        most = max(1, min(BURST_BYTES // (segment + header), BURST_SEGMENTS))
        for start in range(0, len(packets), most):
            sealed = session.seal(packets if len(packets) <= most else packets[start : start + most], shared.mtu)
            peer.put(sealed, segment, endpoint, now)
        peer.timers.data_sent(now)
        if endpoint is peer.endpoint:
            peer.timers.path_used(now)
        if first > LARGE_PACKET and now >= self._large_told and endpoint is not None and endpoint.transport != TCP:
            self._large_told = now + LARGE_INTERVAL
            shared.emit(LargeSent(peer.public_key))
        if session.renew_on_send(now):
            peer.begin_handshake(now)
        return True

    def _limit(self, endpoint: Endpoint | None) -> int:
        """Octets of the largest inner packet on the way to ``endpoint``; 0: as it was made. A stock peer's is its owner's to say."""
        if self._peer.stock:
            return self.mtu
        if endpoint is not None and endpoint.transport == TCP:
            return MAX_DATAGRAM - messages.TRANSPORT_OVERHEAD
        return self.mtu

    def probe(self, packet: SuperPacket, now: float) -> None:
        """Send a packet by itself in one datagram that nobody may fragment; dropped without a session, or by TCP."""
        session, endpoint = self._peer.keyring.current, self._peer.endpoint
        if session is None or endpoint is None or endpoint.transport == TCP or not session.can_send(now):
            return
        data = session.seal([cut(packet, False)[0]], self._shared.mtu)
        if len(data) + (RELAY_HEADER if endpoint.transport == RELAY else 0) <= BURST_BYTES:
            self._shared.outgoing.add(data, len(data), endpoint, True)
            self._peer.tx_bytes += len(data)

    def send_by(self, packet: SuperPacket, endpoint: Endpoint, now: float) -> None:
        """Send a small packet by a certain way, before all that waits; dropped without a session."""
        session = self._peer.keyring.current
        if session is not None and session.can_send(now):
            data = session.seal([cut(packet, False)[0]], self._shared.mtu)
            self._peer.put(data, len(data), endpoint, now)

    # --- ways come and go

    def use_bulk(self, endpoint: Endpoint | None) -> None:
        """Bulk flows take this framed TCP connection from now on; None: they go where all else goes."""
        if endpoint != self.bulk and self._bulk_queues:
            self._bulk_queues.move_all(self._queues)
        self.bulk = endpoint

    def drop_staged(self) -> int:
        """Give up what waits for a session; how many packets."""
        return len(self._staged.take())

    def clear(self) -> int:
        """Give up everything; how many packets."""
        self._shared.waiting.pop(self._peer, None)
        return self.drop_staged() + self._queues.clear() + self._bulk_queues.clear()


def _held(way: Endpoint | None, held: dict[Endpoint | str, float]) -> bool:
    """A relay's way is full where its endpoint is, or UDP as a whole."""
    return bool(held) and way is not None and (way in held or (way.transport != TCP and UDP in held))
