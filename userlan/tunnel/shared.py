"""What the peers of one device share: its key, its entropy, the table of indices, the queues, the counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from userlan.tunnel import messages
from userlan.tunnel.constants import EVENTS_LIMIT
from userlan.tunnel.events import TimestampAdvanced, TunnelEvent
from userlan.tunnel.flows import SEED_BITS
from userlan.tunnel.handshake import Identity
from userlan.tunnel.outgoing import Outgoing
from userlan.tunnel.session import Session
from userlan.tunnel.tai64n import StampSource
from userlan.wire.endpoint import Endpoint

if TYPE_CHECKING:
    from userlan.tunnel.initiations import Outstanding
    from userlan.tunnel.peer import Peer


class IndexTable:
    """Receiver indices (4 bytes, random) to what they stand for. Bounded by the caps of one peer.

    sessions: keyed by the first 8 bytes of a transport message (type and index). initiations: keyed by the index.
    """

    __slots__ = ("_entropy", "initiations", "sessions")

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self.sessions: dict[bytes, tuple[Peer, Session]] = {}
        self.initiations: dict[bytes, tuple[Peer, Outstanding]] = {}

    def fresh(self) -> bytes:
        """An index that stands for nothing yet, in any suite."""
        index = self._entropy(4)
        while self.session(index) is not None or index in self.initiations:
            index = self._entropy(4)
        return index

    def session(self, index: bytes) -> tuple[Peer, Session] | None:
        """The session of an index, whatever its suite."""
        heads = (kind + index for kind in messages.TRANSPORT_TYPES)
        return next((self.sessions[head] for head in heads if head in self.sessions), None)


class Shared:
    """One for each device. aes: it takes AES-256-GCM, and prefers it."""

    __slots__ = ("aes", "counters", "entropy", "events", "flow_seed", "held", "identity", "indices", "mtu", "outgoing", "stamps", "waiting")

    def __init__(
        self, identity: Identity, entropy: Callable[[int], bytes], stamps: StampSource, mtu: int, aes: bool = False
    ) -> None:
        self.aes = aes
        self.identity = identity
        self.entropy = entropy
        self.stamps = stamps
        self.mtu = mtu
        self.counters: Counter[str] = Counter()
        self.indices = IndexTable(entropy)
        self.outgoing = Outgoing(self.counters)
        self.events: list[TunnelEvent] = []
        self.flow_seed = int.from_bytes(entropy(SEED_BITS // 8), "little") | 1
        """Which flows share a queue: nobody else knows."""
        self.waiting: dict[Peer, None] = {}
        """Peers with packets to seal; an ordered set."""
        self.held: dict[Endpoint | str, float] = {}
        """Ways out that are full, and since when (or since when they gave no room): framed TCP by endpoint, UDP as a whole."""

    def emit(self, event: TunnelEvent) -> None:
        """Tell the owner; dropped and counted when it has not asked for long."""
        if len(self.events) >= EVENTS_LIMIT:
            self.counters["events-overflow"] += 1
            return
        self.events.append(event)

    def stamp(self, now: float) -> bytes:
        """A timestamp later than every one before."""
        reserved = self.stamps.reserved
        stamp = self.stamps.next(now)
        if self.stamps.reserved != reserved:
            self.emit(TimestampAdvanced(self.stamps.reserved))
        return stamp
