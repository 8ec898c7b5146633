"""UDP and ICMP packets on their way out: a bounded queue, and fragments where the path takes no packet so large.

TCP does not pass here: it knows its path MTU and its own bounds.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from hashlib import blake2s

from userlan.stack.pmtu import PathMtu
from userlan.wire.fragment import fragment
from userlan.wire.superpacket import SuperPacket


class Outgoing:
    """Packets in the order of their making; those that do not fit in ``limit`` octets are dropped and counted."""

    def __init__(self, limit: int, entropy: Callable[[int], bytes], counters: Counter[str]) -> None:
        self._limit = limit
        self._counters = counters
        self._queue: deque[SuperPacket] = deque()
        self._bytes = 0
        self._key = entropy(16)
        self._fragmented = 0

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, packet: SuperPacket) -> bool:
        """Queue a packet; False when the queue is full."""
        if self._bytes + packet.length > self._limit:
            self._counters["outgoing-full"] += 1
            return False
        self._queue.append(packet)
        self._bytes += packet.length
        return True

    def take(self, path_mtu: PathMtu, link: int) -> list[SuperPacket]:
        """Everything that is queued, cut to the MTU of its path."""
        packets: list[SuperPacket] = []
        for packet in self._queue:
            mtu = path_mtu.get(packet.destination, link)
            if packet.length > mtu and not packet.segment_size:
                packets += fragment(packet, mtu, self._identification(packet))
            else:
                packets.append(packet)
        self._queue.clear()
        self._bytes = 0
        return packets

    def _identification(self, packet: SuperPacket) -> int:
        """Counts up from a secret start for each pair of addresses, so that none comes twice soon and strangers guess
        none (RFC 7739 5.2)."""
        self._fragmented += 1
        flow = packet.source + packet.destination
        start = int.from_bytes(blake2s(flow, digest_size=4, key=self._key).digest(), "big")
        return (start + self._fragmented) & (0xFFFF if packet.version == 4 else 0xFFFFFFFF)
