"""What is seen, as blocks of pcapng: an interface for each peer, one for what went to nobody. Sans-IO.

::

    Seen ──▶ filter ──▶ its interface, its path where that is another than before ──▶ each packet that it stands for, cut to ``snaplen``

The first interface is this node itself: what its programs sent and no peer was to get. A peer has its interface from the start; one
that comes later, or takes another name, has a new one from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from bridges.capture_filter import Predicate
from userlan.driver import pcapng
from userlan.driver.lan import PeerInfo
from userlan.driver.watch import Seen
from userlan.lan.addresses import key_bytes, packed

SNAPLEN = 65_535
"""Octets of a packet that are recorded by default: all."""

MAX_INTERFACES = 20_000
"""Twice as many as a roster may have members: whoever takes a new name all the time gets no more than that."""

MEDIATOR = "mediator"
"""The name of a peer that is no member."""

SECOND = 1_000_000_000
"""Nanoseconds."""


@attrs.define
class _Interface:
    number: int
    name: str
    received: int = 0
    accepted: int = 0
    lost: int = 0
    unsaid: int = 0
    """Of the lost ones, those that no packet has told of yet."""
    path: str = ""

    @property
    def counts(self) -> pcapng.Counts:
        return pcapng.Counts(self.received, self.accepted, self.lost)


class Recording:
    """One capture. ``members`` gives those that there are; ``offset``: nanoseconds from the node's clock to 1970."""

    def __init__(
        self,
        own: PeerInfo,
        members: Callable[[], Sequence[PeerInfo]],
        offset: int,
        chooses: Predicate | None = None,
        snaplen: int = SNAPLEN,
        count: int | None = None,
    ) -> None:
        self._own = own
        self._members = members
        self._offset = offset
        self._chooses = chooses
        self._snaplen = snaplen
        self._left = count
        self._interfaces: list[_Interface] = []
        self._by_key: dict[bytes, _Interface] = {}
        self._new: list[bytes] = []
        """Blocks to be written before the next packet."""

    @property
    def complete(self) -> bool:
        """Whether as many packets are recorded as were wanted."""
        return self._left is not None and self._left <= 0

    def begin(self, application: str, filter_text: str = "") -> bytes:
        """The blocks before all packets."""
        comment = f"filter: {filter_text}" if filter_text else ""
        self._add(b"", self._own.called, "this node: what no peer was to get", _addresses(self._own))
        for member in self._members():
            self._describe(member)
        self._name([self._own, *self._members()])
        return pcapng.section_header(application, comment) + self._drained()

    def members_changed(self) -> None:
        """Members may have come, or have other names or addresses."""
        fresh = []
        for member in self._members():
            known = self._by_key.get(key_bytes(member.key))
            if known is None or known.name != member.name:
                self._describe(member)
                fresh.append(member)
        if fresh:
            self._name(fresh)

    def take(self, seen: Seen, room: bool = True) -> bytes:
        """The blocks of what was seen; none where it is not chosen, or (and that is counted) there is no room for it."""
        interface = self._by_key.get(seen.key) or self._stranger(seen.key)
        count = seen.packet.wire_count
        interface.received += count
        if self.complete or (self._chooses is not None and not self._chooses(seen)):
            return b""
        if not room:
            interface.accepted += count
            interface.lost += count
            interface.unsaid += count
            return b""
        packets = seen.wire()
        if self._left is not None:
            packets = packets[: self._left]
            self._left -= len(packets)
        interface.accepted += len(packets)
        return self._drained() + self._blocks(interface, seen, packets)

    def end(self, now: float) -> bytes:
        """The blocks behind all packets; ``now`` in seconds of the node's clock."""
        time = self._time(now)
        return self._drained() + b"".join(pcapng.statistics(one.number, time, one.counts) for one in self._interfaces)

    # ------------------------------------------------------------------ inside

    def _blocks(self, interface: _Interface, seen: Seen, packets: list[bytes]) -> bytes:
        time, snaplen = self._time(seen.now), self._snaplen
        cast, direction = seen.cast, seen.direction
        reasons = [f"dropped: {seen.reason}"] if seen.reason is not None else []
        path, first = seen.path, list(reasons)
        if path and path != interface.path:
            interface.path = path
            first.append(f"path: {path}")
        options = pcapng.packet_options(direction, cast, first, interface.unsaid)
        interface.unsaid = 0
        parts = []
        for octets in packets:
            parts.append(pcapng.packet(interface.number, time, octets[:snaplen], len(octets), options))
            if len(parts) == 1:
                options = pcapng.packet_options(direction, cast, reasons)
        return b"".join(parts)

    def _time(self, now: float) -> int:
        return int(now * SECOND) + self._offset

    def _stranger(self, key: bytes) -> _Interface:
        """A peer that has no interface yet: a member that has just come, else a mediator."""
        member = next((one for one in self._members() if key_bytes(one.key) == key), None)
        if member is None:
            return self._add(key, MEDIATOR, "a mediator of this node", ())
        self._name([member])
        return self._describe(member)

    def _describe(self, member: PeerInfo) -> _Interface:
        return self._add(key_bytes(member.key), member.name, "a member of " + ", ".join(member.networks), _addresses(member))

    def _add(self, key: bytes, name: str, description: str, addresses: Sequence[bytes]) -> _Interface:
        if len(self._interfaces) >= MAX_INTERFACES:
            return self._by_key.setdefault(key, self._interfaces[0])
        interface = self._by_key[key] = _Interface(len(self._interfaces), name)
        self._interfaces.append(interface)
        self._new.append(pcapng.interface(name, description, addresses, self._snaplen))
        return interface

    def _name(self, members: Sequence[PeerInfo]) -> None:
        self._new.append(pcapng.names((address, member.called) for member in members for address in _addresses(member)))

    def _drained(self) -> bytes:
        new, self._new = self._new, []
        return b"".join(new)


def _addresses(member: PeerInfo) -> list[bytes]:
    return [packed(address) for address in (member.ipv4, member.ipv6) if address]
