"""The packets that wait for one peer: a queue for each flow, served fairly (FQ-CoDel, RFC 8290, RFC 8289).

A keystroke must not wait behind a bulk transfer. Packets are put into the queue of their flow (addresses and ports),
which are served by deficit round robin; a flow that had nothing to send comes before those that always have::

    add ──▶ flow A [......]──┐   new flows first, each for one quantum
            flow B [.]───────┼──────────▶ take ──▶ seal ──▶ socket, until that is full
            flow C [...]─────┘   then the others in turn

Queues build up only while the way out is full (``Device.hold``), or within one call that makes more than one budget's
worth of datagrams. CoDel keeps a standing queue short: what has waited for more than the target for an interval is
marked, where it is ECN-capable (RFC 3168), or dropped.

A flow is *bulk* once it sends super-packets of ``BULK_PACKET`` octets or more, and until it has paused: bulk flows
take the peer's bulk way where there is one, their small packets too, so that a transfer does not overtake itself.

Why super-packets and not wire packets: one is dropped or marked as a whole. Its segments would have left in one burst
and met the same queue; and the loss of a burst is one loss episode for any TCP with SACK.
"""

from __future__ import annotations

from collections import deque
from math import inf, sqrt
from operator import itemgetter

from userlan.wire import ipv4
from userlan.wire.superpacket import SuperPacket

TARGET = 0.005
INTERVAL = 0.100
"""Seconds: CoDel's, for round trips up to the interval (RFC 8289 4.2, 4.3)."""

QUEUES = 1024
"""Flows are hashed into so many queues (RFC 8290 5.2)."""

QUANTUM = 16_384
"""Octets a turn. RFC 8290 5.1 has one MTU, for packets of an MTU; here the unit is up to 64 KB, and a quarter of it
lets sparse flows through without many empty rounds for the others."""

LIMIT_BYTES = 8 << 20
LIMIT_PACKETS = 4096
"""What waits for one peer: 8 ms at 8 Gbit/s, and a bound for floods of small packets."""

DROP_BATCH = 64
"""Packets dropped in one go where there are too many (Linux, sch_fq_codel: drop_batch_size), half of a queue at most: a flood of small ones
must not cost a search among all flows for each."""

SEED_BITS = 288
"""Bits of the number by which flows are hashed: as many as addresses and ports of IPv6 have, so that all of them count."""

BULK_PACKET = 16_384
"""Octets: a sender that has so much at once is a transfer, whatever its port says."""

BULK_PAUSE = 0.1
"""Seconds without a packet after which a flow's next one may take another way: by then the last one has arrived on
any path on which the bulk way is used."""

BULK_RATE = 16e6
BULK_TIME = 0.1
"""Octets a second over so many seconds (128 Mbit/s): from there on the cost of each datagram counts."""

BULK_SILENCE = 1.0
"""Seconds without a bulk packet after which another one is the occasion to forget the flows that were bulk."""

_LARGEST = 65_535
_SIXTY_BITS = (1 << 60) - 1


class BulkFlows:
    """Which flows of a peer are bulk, and how much they moved (``rate``, octets a second) when it was measured last."""

    __slots__ = ("_octets", "_until", "measured_at", "rate")

    def __init__(self) -> None:
        self.rate = 0.0
        self._until: dict[int, float] = {}
        self._octets = 0
        self.measured_at = 0.0

    def note(self, packet: SuperPacket, bucket: int, now: float) -> bool:
        """A packet is to be sent: whether its flow is bulk."""
        if packet.length >= BULK_PACKET:
            self._measure(packet.length, now)
        elif self._until.get(bucket, -inf) <= now:
            if self._until and now - self.measured_at >= BULK_SILENCE:
                self._measure(0, now)
            return False
        self._until[bucket] = now + BULK_PAUSE
        return True

    def _measure(self, length: int, now: float) -> None:
        self._octets += length
        elapsed = now - self.measured_at
        if elapsed >= BULK_TIME:
            self.rate = self._octets / elapsed
            self._octets = 0
            self.measured_at = now
            self._until = {bucket: until for bucket, until in self._until.items() if until > now}


class _Flow:
    """One queue, with CoDel's state (RFC 8289 5.3 to 5.5)."""

    __slots__ = ("above_since", "count", "deficit", "drop_next", "dropping", "last_count", "listed", "octets", "queue")

    def __init__(self) -> None:
        self.queue: deque[tuple[float, SuperPacket]] = deque()
        self.octets = 0
        self.deficit = QUANTUM
        self.listed = False
        self.above_since: float | None = None
        self.dropping = False
        self.drop_next = 0.0
        self.count = 0
        self.last_count = 0

    def stands(self, waited: float, now: float) -> bool:
        """Whether the queue has stood above the target for an interval (RFC 8289 5.6: dodequeue)."""
        if waited < TARGET or self.octets <= _LARGEST:
            self.above_since = None
            return False
        if self.above_since is None:
            self.above_since = now + INTERVAL
            return False
        return now >= self.above_since

    def condemned(self, waited: float, now: float) -> bool:
        """Whether the packet just taken is to be dropped or marked (RFC 8289 5.5)."""
        standing = self.stands(waited, now)
        if not self.dropping:
            if not standing:
                return False
            self.dropping = True
            recent = now - self.drop_next < 16 * INTERVAL
            self.count = self.count - self.last_count if recent and self.count - self.last_count > 1 else 1
            self.last_count = self.count
            self.drop_next = now + INTERVAL / sqrt(self.count)
            return True
        if not standing:
            self.dropping = False
            return False
        if now < self.drop_next:
            return False
        self.count += 1
        self.drop_next += INTERVAL / sqrt(self.count)
        return True


class FlowQueues:
    """The queues of one way to a peer. ``octets`` and ``packets`` are what waits; ``dropped`` and ``marked`` count."""

    __slots__ = ("_flows", "_new", "_old", "_seed", "dropped", "marked", "octets", "packets")

    def __init__(self, seed: int) -> None:
        """``seed``: an odd number of ``SEED_BITS`` that nobody else knows."""
        self.octets = 0
        self.packets = 0
        self._seed = seed
        self.dropped = 0
        self.marked = 0
        self._flows: dict[int, _Flow] = {}
        self._new: list[_Flow] = []
        self._old: list[_Flow] = []
        """Lists, since there are few entries mostly, and an idle peer should not cost what empty deques do (760 octets each)."""

    def __bool__(self) -> bool:
        return self.packets > 0

    def bucket_of(self, packet: SuperPacket) -> int:
        """The queue of a packet's flow: addresses and ports, hashed by multiplication with the seed (Dietzfelbinger et al. 1997), so
        that nobody outside can aim at another flow's queue; and squared, or neighbouring ports would often fall together."""
        header = packet.header
        flow = header[12:24] if packet.version == 4 else header[8:44]
        mixed = int.from_bytes(flow, "big") * self._seed >> SEED_BITS - 60 & _SIXTY_BITS
        return (mixed * mixed >> 70) % QUEUES

    def add(self, packet: SuperPacket, bucket: int, now: float) -> None:
        """Queue a packet of the flow in ``bucket``; when there are too many, the longest queue loses its oldest."""
        flow = self._flow(bucket)
        length = packet.length
        flow.queue.append((now, packet))
        flow.octets += length
        self.octets += length
        self.packets += 1
        if self.octets > LIMIT_BYTES or self.packets > LIMIT_PACKETS:
            self.make_room(LIMIT_BYTES)

    def take(self, now: float) -> SuperPacket | None:
        """The next packet; None: nothing waits."""
        while self.packets:
            flows = self._new or self._old
            flow = flows[0]
            if flow.deficit <= 0:
                flow.deficit += QUANTUM
                del flows[0]
                self._old.append(flow)
                continue
            if not flow.queue:
                del flows[0]
                if flows is self._new:
                    self._old.append(flow)
                else:
                    flow.listed = False
                continue
            added, packet = flow.queue.popleft()
            length = packet.length
            flow.octets -= length
            self.octets -= length
            self.packets -= 1
            if flow.condemned(now - added, now):
                marked = _congestion_experienced(packet)
                if marked is None:
                    self.dropped += 1
                    continue
                self.marked += 1
                packet = marked
            flow.deficit -= length
            return packet
        self._forget()
        return None

    def waits(self, bucket: int) -> bool:
        """Whether packets of the flow in ``bucket`` wait here."""
        flow = self._flows.get(bucket)
        return flow is not None and bool(flow.queue)

    def move(self, bucket: int, other: FlowQueues) -> None:
        """The flow in ``bucket`` takes another way: what waits here waits there, in its order and for as long as it has."""
        flow = self._flows.get(bucket)
        if flow is not None and flow.queue:
            self.octets -= flow.octets
            self.packets -= len(flow.queue)
            other._take_over(bucket, flow)

    def move_all(self, other: FlowQueues) -> None:
        """Every flow takes another way."""
        for bucket in list(self._flows):
            self.move(bucket, other)
        self._forget()

    def take_all(self) -> list[SuperPacket]:
        """Everything that waits, in the order in which it came."""
        waiting = sorted((entry for flow in self._flows.values() for entry in flow.queue), key=itemgetter(0))
        self.clear()
        return [packet for _, packet in waiting]

    def clear(self) -> int:
        """Forget everything; how many packets waited."""
        waited = self.packets
        self._forget()
        self.octets = self.packets = 0
        return waited

    def make_room(self, limit: int) -> None:
        """Down to ``limit`` octets: the queue with most of them loses its oldest packets (RFC 8290 4.1.3)."""
        while self.octets > limit or self.packets > LIMIT_PACKETS:
            flow = max(self._flows.values(), key=lambda one: one.octets)
            many = min(DROP_BATCH, len(flow.queue) // 2) if self.packets > LIMIT_PACKETS else 1
            for _ in range(max(many, 1)):
                _, packet = flow.queue.popleft()
                flow.octets -= packet.length
                self.octets -= packet.length
                self.packets -= 1
                self.dropped += 1

    def _flow(self, bucket: int) -> _Flow:
        """The queue of a bucket, which something is about to be put into."""
        flow = self._flows.get(bucket)
        if flow is None:
            flow = self._flows[bucket] = _Flow()
        if not flow.listed:
            flow.listed = True
            flow.deficit = QUANTUM
            self._new.append(flow)
        return flow

    def _take_over(self, bucket: int, moved: _Flow) -> None:
        flow = self._flow(bucket)
        flow.queue = deque(sorted((*flow.queue, *moved.queue), key=itemgetter(0)))
        flow.octets += moved.octets
        self.octets += moved.octets
        self.packets += len(moved.queue)
        moved.queue.clear()
        moved.octets = 0
        self.make_room(LIMIT_BYTES)

    def _forget(self) -> None:
        """Nothing waits: an idle peer's flows cost nothing."""
        if self._flows:
            self._flows.clear()
            self._new.clear()
            self._old.clear()


def _congestion_experienced(packet: SuperPacket) -> SuperPacket | None:
    """The packet marked CE where its transport understands that, else None (RFC 3168 5)."""
    field = packet.traffic_class & 3
    if field == 0:
        return None
    if field == 3:
        return packet
    header = bytearray(packet.header)
    if packet.version == 4:
        header[1] |= 3
        offset = packet.transport_offset
        header[:offset] = ipv4.with_checksum(bytes(header[:offset]))
    else:
        header[1] |= 0x30
    return SuperPacket(bytes(header), packet.payload, packet.segment_size, packet.verified)
