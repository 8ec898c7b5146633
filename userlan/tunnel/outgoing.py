"""Datagrams on their way to the driver, and packets that wait for a session."""

from __future__ import annotations

from collections import Counter

from userlan.tunnel.constants import (
    BURST_BYTES,
    BURST_SEGMENTS,
    OUTGOING_BURSTS,
    OUTGOING_BYTES,
    STAGED_BYTES,
    STAGED_PACKETS,
)
from userlan.tunnel.endpoint import Burst
from userlan.wire.endpoint import RELAY, RELAY_HEADER, Endpoint
from userlan.wire.superpacket import SuperPacket


class Outgoing:
    """The queue of sealed bursts. Neighbours for one endpoint with datagrams of one size leave as one."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._queue: list[Burst] = []
        self._bytes = 0

    def add(self, data: bytes, segment: int, endpoint: Endpoint, whole: bool = False) -> None:
        """Queue one or more datagrams; dropped and counted when the driver has not drained for long."""
        self._bytes += len(data)
        if self._bytes > OUTGOING_BYTES or len(self._queue) >= OUTGOING_BURSTS:
            self._bytes -= len(data)
            self._counters["outgoing-overflow"] += 1
            return
        self._queue.append(Burst(data, segment, endpoint, whole))

    def drain(self) -> list[Burst]:
        """Everything queued."""
        queue, self._queue, self._bytes = self._queue, [], 0
        if len(queue) < 2:
            return queue
        merged: list[Burst] = []
        group: list[Burst] = [queue[0]]
        length = len(queue[0].data)
        for burst in queue[1:]:
            first = group[0]
            size = len(burst.data)
            if (
                not (burst.whole or first.whole)
                and length % first.segment == 0
                and length + size <= (BURST_BYTES if burst.endpoint.transport != RELAY else BURST_BYTES - BURST_SEGMENTS * RELAY_HEADER)
                and burst.endpoint == first.endpoint
                and (burst.segment == first.segment or size <= first.segment)
                and length // first.segment + -(-size // first.segment) <= BURST_SEGMENTS
            ):
                group.append(burst)
                length += size
                continue
            merged.append(_joined(group))
            group, length = [burst], size
        merged.append(_joined(group))
        return merged


def _joined(group: list[Burst]) -> Burst:
    if len(group) == 1:
        return group[0]
    return Burst(b"".join([burst.data for burst in group]), group[0].segment, group[0].endpoint)


class Staged:
    """Super-packets of one peer that wait for a session, the oldest dropped first when there are too many."""

    __slots__ = ("_bytes", "_queue")

    def __init__(self) -> None:
        self._queue: list[SuperPacket] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, packet: SuperPacket) -> int:
        """Queue a packet; how many older ones had to go."""
        queue = self._queue
        queue.append(packet)
        self._bytes += packet.length
        dropped = 0
        while len(queue) > STAGED_PACKETS or (self._bytes > STAGED_BYTES and len(queue) > 1):
            self._bytes -= queue.pop(0).length
            dropped += 1
        return dropped

    def take(self) -> list[SuperPacket]:
        """Everything queued, in order."""
        packets, self._queue, self._bytes = self._queue, [], 0
        return packets
