"""The switch: which peer gets a packet to one host, and whose packets are believed.

A table maps each inner address to the one peer that may use it, in both directions::

    outgoing   destination ─ table ─> peer's key         (route)
    incoming   source ─ table ─> must be the sender's key (permitted)

Only what ``learn`` put there is in the table: the addresses of members that share a network, and of the mediator.
An entry lives until its peer is forgotten: presence, silence or roaming do not change it, so a packet for a peer that
is offline finds its tunnel, which wakes it up. Nothing is learnt from traffic.

Broadcasts (255.255.255.255, the range's own) and multicasts are told apart here (``is_group``); who gets them is in ``listeners``, how
many of them in ``storm``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from userlan.lan.addresses import DEFAULT_RANGE, AddressRange, is_multicast
from userlan.lan.roster import Changes, Roster

#: The limited broadcast (RFC 919).
LIMITED_BROADCAST = b"\xff\xff\xff\xff"
#: Addresses of one peer: IPv4 and IPv6, and one more of each while it is renumbered. Bounds the table.
MAX_ADDRESSES = 4


class Switch:
    """The table. ``counters``: ``no-route``, ``source-forged``, ``address-taken``."""

    def __init__(self, address_range: AddressRange | None = None) -> None:
        chosen = AddressRange.parse(DEFAULT_RANGE) if address_range is None else address_range
        self.counters: Counter[str] = Counter()
        self._broadcasts = frozenset({LIMITED_BROADCAST, chosen.broadcast})
        self._table: dict[bytes, bytes] = {}
        self._peers: dict[bytes, tuple[bytes, ...]] = {}

    def learn(self, peer_key: bytes, addresses: Iterable[bytes]) -> None:
        """A peer's packed addresses; replaces those that it had. One that another peer has is refused and counted."""
        self.forget(peer_key)
        mine: list[bytes] = []
        for address in addresses:
            if address in self._table or len(mine) >= MAX_ADDRESSES:
                self.counters["address-taken"] += 1
                continue
            self._table[address] = peer_key
            mine.append(address)
        self._peers[peer_key] = tuple(mine)

    def forget(self, peer_key: bytes) -> None:
        """A peer shares no network any more: nothing goes to it, nothing from it is believed."""
        for address in self._peers.pop(peer_key, ()):
            del self._table[address]

    def follow(self, roster: Roster, changes: Changes) -> None:
        """Brings the table in line with what changed in the roster: first who went, then who came or moved."""
        for key in changes.removed | changes.changed:
            self.forget(key)
        for key in changes.added | changes.changed:
            peer = roster.peer(key)
            if peer is not None:
                self.learn(key, peer.addresses)

    def route(self, destination: bytes) -> bytes | None:
        """The key of the peer that has a packed address; None when nobody has (counted), and for groups."""
        peer_key = self._table.get(destination)
        if peer_key is None and not self.is_group(destination):
            self.counters["no-route"] += 1
        return peer_key

    def is_broadcast(self, destination: bytes) -> bool:
        """Whether a packed address is the limited broadcast or the range's own."""
        return destination in self._broadcasts

    def is_group(self, destination: bytes) -> bool:
        """Whether a packed address is everybody's, or of those who listen: no single host's."""
        return is_multicast(destination) or destination in self._broadcasts

    def permitted(self, peer_key: bytes, source: bytes) -> bool:
        """Whether a packet with this packed source may come from this peer; a forged one is counted."""
        if self._table.get(source) == peer_key:
            return True
        self.counters["source-forged"] += 1
        return False

    def addresses(self, peer_key: bytes) -> tuple[bytes, ...]:
        """The addresses in the table for a peer."""
        return self._peers.get(peer_key, ())
