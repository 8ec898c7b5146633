"""Putting fragments together (RFC 791 3.2, RFC 8200 4.5) in bounded memory.

::

    fragments of one key ─▶ Partial: pieces in order, bytes held, when it gives up ─▶ the whole packet
                               │ an overlap (RFC 5722, for IPv4 likewise): the packet is refused, and the entry
                               ▼ stays without bytes until its time is over, so that later parts are refused as well
                            refused

An exact copy of a piece is ignored (RFC 8200 4.5 allows it; networks duplicate). The time runs from the first part that
arrived and nothing prolongs it. Where the first fragment is here when it is over, the host answers "time exceeded".
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, OrderedDict

from userlan.wire.errors import WireError
from userlan.wire.fragment import Fragment, parse_fragment, reassembled
from userlan.wire.superpacket import SuperPacket

TIMEOUT_IPV6 = 60.0
"""Seconds (RFC 8200 4.5)."""

TIMEOUT_IPV4 = 30.0
"""Seconds (Linux: ipfrag_time); RFC 1122 3.3.2 would have 60 to 120, which IPv4's 16-bit identification does not bear
(RFC 4963)."""

MAX_BYTES = 4_194_304
"""Octets held for everybody, with ``PIECE_OVERHEAD`` for each piece (Linux: ipfrag_high_thresh)."""

MAX_BYTES_A_SOURCE = 524_288
"""Octets held for one source: eight packets of the largest size; one peer cannot take the others' share."""

MAX_PACKETS_A_SOURCE = 64
"""Incomplete packets of one source; more are first fragments that never end."""

MAX_PIECES = 128
"""Of one packet: 65,535 octets in fragments of 552, which a 576-octet path makes, are 119."""

PIECE_OVERHEAD = 256
"""Octets that one piece costs beside its payload, so that tiny fragments count for what they are."""

ECN_NOT_CAPABLE = 0
ECN_CONGESTION = 3
"""The two bits of ECN (RFC 3168 5)."""

Key = tuple[bytes, bytes, int, int]


class Partial:
    """One packet in the making."""

    __slots__ = ("cost", "ecn", "expires", "first", "first_packet", "length", "pieces", "refused", "starts", "verified")

    def __init__(self, expires: float) -> None:
        self.expires = expires
        self.pieces: list[bytes] = []
        self.starts: list[int] = []
        self.length: int | None = None
        self.first: Fragment | None = None
        self.first_packet: SuperPacket | None = None
        self.cost = PIECE_OVERHEAD
        self.ecn = 0
        self.verified = True
        self.refused = False

    @property
    def held(self) -> int:
        """Octets of payload."""
        return sum(map(len, self.pieces))

    @property
    def complete(self) -> bool:
        return self.length is not None and self.held == self.length

    def add(self, fragment: Fragment, packet: SuperPacket) -> str | None:
        """Take a piece in, or say why not."""
        index = bisect_left(self.starts, fragment.offset)
        payload = bytes(fragment.payload)
        if index < len(self.starts) and self.starts[index] == fragment.offset and self.pieces[index] == payload:
            if fragment.more == (fragment.end != self.length):
                return "fragment-duplicate"
            return "fragment-overlap"
        previous_end = self.starts[index - 1] + len(self.pieces[index - 1]) if index else 0
        next_start = self.starts[index] if index < len(self.starts) else fragment.end
        if previous_end > fragment.offset or next_start < fragment.end:
            return "fragment-overlap"
        last_end = self.starts[-1] + len(self.pieces[-1]) if self.pieces else 0
        if self.length is not None and (not fragment.more or fragment.end > self.length):
            return "fragment-overlap"
        if not fragment.more:
            if last_end > fragment.end:
                return "fragment-overlap"
            self.length = fragment.end
        if len(self.pieces) >= MAX_PIECES:
            return "fragment-pieces"
        self.starts.insert(index, fragment.offset)
        self.pieces.insert(index, payload)
        if fragment.offset == 0:
            self.first = fragment._replace(payload=b"")
            self.first_packet = SuperPacket(packet.header, payload, 0, packet.verified)
        self.ecn |= 1 << (fragment.traffic_class & 3)
        self.verified = self.verified and fragment.verified
        return None

    def refuse(self) -> None:
        """Keep nothing but the memory that it was refused."""
        self.refused = True
        self.pieces, self.starts = [], []
        self.first = self.first_packet = None


class Reassembler:
    """Incomplete packets by key, the oldest first; counts into ``counters``."""

    def __init__(self, counters: Counter[str]) -> None:
        self.counters = counters
        self.bytes = 0
        """Octets held, overhead included: never above ``MAX_BYTES``."""
        self._partials: dict[int, OrderedDict[Key, Partial]] = {4: OrderedDict(), 16: OrderedDict()}
        """By length of address, since all of one version wait equally long: the front is due first."""
        self._sources: dict[bytes, OrderedDict[Key, None]] = {}
        self._source_bytes: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return sum(map(len, self._partials.values()))

    def add(self, packet: SuperPacket, now: float) -> SuperPacket | None:
        """A fragment has arrived; the whole packet when it was the last one missing. Raises WireError when
        malformed."""
        fragment = parse_fragment(packet)
        key = fragment.key
        partial = self._partials[len(key[0])].get(key)
        if partial is None:
            partial = self._open(key, now)
        if partial.refused:
            self.counters["fragment-refused"] += 1
            return None
        problem = partial.add(fragment, packet)
        if problem == "fragment-duplicate":
            self.counters[problem] += 1
            return None
        if problem is not None:
            self.counters[problem] += 1
            self._recost(key, partial, PIECE_OVERHEAD)
            partial.refuse()
            return None
        self._recost(key, partial, partial.cost + len(fragment.payload) + PIECE_OVERHEAD)
        if not partial.complete:
            self._make_room(fragment.source)
            return None
        self._close(key)
        return self._whole(partial)

    def deadline(self) -> float | None:
        """When the first incomplete packet is given up."""
        if not self.bytes:
            return None
        fronts = (next(iter(partials.values()), None) for partials in self._partials.values())
        return min((partial.expires for partial in fronts if partial is not None), default=None)

    def tick(self, now: float) -> list[SuperPacket]:
        """Give up what is too old; the first fragments of those that have one, to be answered with "time exceeded"."""
        firsts: list[SuperPacket] = []
        for partials in self._partials.values():
            while partials and next(iter(partials.values())).expires <= now:
                partial = self._close(next(iter(partials)))
                if not partial.refused:
                    self.counters["reassembly-timeout"] += 1
                if partial.first_packet is not None:
                    firsts.append(partial.first_packet)
        return firsts

    def _open(self, key: Key, now: float) -> Partial:
        timeout = TIMEOUT_IPV4 if len(key[0]) == 4 else TIMEOUT_IPV6
        partial = self._partials[len(key[0])][key] = Partial(now + timeout)
        self._sources.setdefault(key[0], OrderedDict())[key] = None
        self.bytes += partial.cost
        self._source_bytes[key[0]] += partial.cost
        return partial

    def _close(self, key: Key) -> Partial:
        partial = self._partials[len(key[0])].pop(key)
        source = key[0]
        self.bytes -= partial.cost
        self._source_bytes[source] -= partial.cost
        keys = self._sources[source]
        del keys[key]
        if not keys:
            del self._sources[source], self._source_bytes[source]
        return partial

    def _recost(self, key: Key, partial: Partial, cost: int) -> None:
        self.bytes += cost - partial.cost
        self._source_bytes[key[0]] += cost - partial.cost
        partial.cost = cost

    def _make_room(self, source: bytes) -> None:
        """The oldest packet of a source that has too much goes, then the oldest of the version that has more."""
        keys = self._sources.get(source, OrderedDict())
        while len(keys) > MAX_PACKETS_A_SOURCE or self._source_bytes[source] > MAX_BYTES_A_SOURCE:
            self._close(next(iter(keys)))
            self.counters["reassembly-source-full"] += 1
        while self.bytes > MAX_BYTES:
            fuller = 16 if len(self._partials[16]) > len(self._partials[4]) else 4
            self._close(next(iter(self._partials[fuller])))
            self.counters["reassembly-full"] += 1

    def _whole(self, partial: Partial) -> SuperPacket | None:
        """The packet; None when its parts disagree about congestion (RFC 3168 5.3) or it is malformed."""
        assert partial.first is not None
        congestion = bool(partial.ecn & 1 << ECN_CONGESTION)
        if congestion and partial.ecn & 1 << ECN_NOT_CAPABLE:
            self.counters["fragment-ecn"] += 1
            return None
        try:
            packet = reassembled(partial.first, b"".join(partial.pieces), partial.verified, congestion)
        except WireError as error:
            self.counters[error.reason] += 1
            return None
        self.counters["reassembled"] += 1
        return packet
