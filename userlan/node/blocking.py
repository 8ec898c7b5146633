"""Members with whom this node wants nothing to do: a matter of this node alone, which nobody is told.

::

    block(key)   ──▶ PeerTable: a BlockedLink in the place of the peer's link; its tunnel is removed
                 ──▶ what else is held of it is forgotten: bulk way, relays' bindings, punches, groups
    from then on     own packets to it: "unreachable", as to one that is away; broadcasts pass it by (its link is never up)
                     what it sends: no tunnel opens it, whichever way it comes (a relay's, too)
                     introductions to it, offers of relays for it, sightings on the own link: not taken
    unblock(key) ──▶ a fresh link, with the places where the peer was reached before, which are tried at once

Everything of the LAN goes through tunnels (services, chat, files, discovery, evictions that members hand on), so that one without a tunnel
is heard nowhere. It stays a member, whom only the owner can evict, and sees this node as one that is away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from userlan.lan.addresses import key_bytes, key_text
from userlan.node.events import MemoryChanged
from userlan.node.peers import PeerEffect, PeerLink
from userlan.wire.endpoint import Endpoint

if TYPE_CHECKING:
    from userlan.node.node import Node

MAX_BLOCKED = 1024
"""Members that are blocked: as many as one network has. People do it by hand."""


class BlockedError(ValueError):
    """It cannot be blocked or unblocked; ``str()`` is one line for people."""


class Blocked:
    """The keys, with the names that they had when they were blocked: they may leave the roster and come back."""

    def __init__(self, saved: Mapping[str, str] | None = None) -> None:
        self._names: dict[bytes, str] = {}
        for text, name in list((saved or {}).items())[:MAX_BLOCKED]:
            try:
                self._names[key_bytes(text)] = name
            except ValueError:
                continue

    def __contains__(self, key: bytes) -> bool:
        return key in self._names

    def __iter__(self) -> Iterator[bytes]:
        return iter(tuple(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def find(self, written: str) -> bytes | None:
        """The blocked member of this name, or this key (43 characters)."""
        named = [key for key, name in self._names.items() if name == written.lower() or key_text(key) == written]
        return named[0] if len(named) == 1 else None

    def add(self, key: bytes, name: str) -> None:
        """BlockedError when there are too many."""
        if key not in self._names and len(self._names) >= MAX_BLOCKED:
            raise BlockedError(f"{MAX_BLOCKED} are blocked already: unblock one first")
        self._names[key] = name

    def discard(self, key: bytes) -> bool:
        """Whether it was blocked."""
        return self._names.pop(key, None) is not None

    def save(self) -> dict[str, str]:
        """For the node's memory."""
        return {key_text(key): name for key, name in self._names.items()}


class BlockedLink(PeerLink):
    """The link of a blocked peer: it is offline, whatever is said of it, and never asks for anything.

    Where it was reached is kept for the day on which it is unblocked (``cached``).
    """

    __slots__ = ()

    blocked = True

    def presence(self, online: bool, now: float) -> None:
        """Nobody asks."""

    def introduce(self, endpoints: Sequence[Endpoint], delay: float, now: float, first: bool = True, punched: bool = False) -> None:
        """Not taken."""

    def nearby(self, endpoints: Sequence[Endpoint], now: float) -> None:
        """Not taken."""

    def relay_bound(self, endpoint: Endpoint, has_session: bool, now: float) -> None:
        """Not taken."""

    def try_cached(self, now: float) -> None:
        """Not tried."""

    def wanted(self, now: float) -> None:
        """Not sought."""

    def session_established(self, now: float, endpoint: Endpoint | None = None) -> None:
        """There is none."""

    def heard(self, endpoint: Endpoint | None, now: float) -> bool:
        """Nobody listens."""
        return False

    def network_changed(self, now: float) -> None:
        """It is not reached from anywhere."""

    def deadline(self) -> float | None:
        """Nothing is ever due."""
        return None

    def tick(self, has_session: bool, now: float, beside: bool = False) -> list[PeerEffect]:
        """Nothing is ever due."""
        return []


class Blocking:
    """What people ask for, of one node."""

    def __init__(self, node: Node, blocked: Blocked) -> None:
        self._node = node
        self.blocked = blocked

    def block(self, key: bytes, now: float) -> None:
        """Have nothing to do with a member from now on. Idempotent; BlockedError for what is none, or too many."""
        node, peer = self._node, self._node.roster.peers.get(key)
        if peer is None:
            raise BlockedError("only a member of one of your networks can be blocked")
        self.blocked.add(key, peer.name)
        node.peers.blocking_changed(key, now)
        node.punching.stop(key, now)
        for part in (node.bulk, node.introducer, node.flooding, node.relays.client):
            part.forget(key)
        self._changed(now)

    def unblock(self, key: bytes, now: float) -> None:
        """Take a member back; BlockedError where it is not blocked."""
        if not self.blocked.discard(key):
            raise BlockedError("it is not blocked")
        self._node.peers.blocking_changed(key, now)
        self._changed(now)

    def _changed(self, now: float) -> None:
        self._node.stir()
        self._node.pending.append(MemoryChanged())
        self._node.carry_on(now)
