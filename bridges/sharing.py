"""With whom something is shared: what discovery and mDNS carry, for each profile and type.

Entries are written as people name members: ``bob``, ``bob.home``, a key, ``*.home`` for a whole network. Names are looked up each
time: ``bob.home`` is whoever the network home calls bob. A key is the strictest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

import msgspec

from userlan.driver.lan import Lan, PeerInfo
from userlan.lan.names import UnknownName

MAX_ENTRIES = 256
"""Peers or networks of one policy: more than anybody keeps track of."""

_ENTRY = re.compile(r"(?:\*\.)?[A-Za-z0-9._-]{1,253}")
_NETWORK = re.compile(r"[A-Za-z0-9._-]{1,253}")

Entries = Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_ENTRIES)]


def check_entry(entry: str) -> str:
    """A peer or ``*.NETWORK`` as it is written. ValueError, one line."""
    if not _ENTRY.fullmatch(entry):
        raise ValueError(f"{entry!r} is neither a peer (bob, bob.home, its key) nor a network (*.home)")
    return entry


def check_network(network: str) -> str:
    """A network's name as it is written. ValueError, one line."""
    if not _NETWORK.fullmatch(network):
        raise ValueError(f"{network!r} is not the name of a network")
    return network


def means(lan: Lan, entry: str, peer: PeerInfo) -> bool:
    """Whether an entry means this member."""
    if entry == peer.key:
        return True
    if entry.startswith("*."):
        return _in_network(entry.removeprefix("*."), peer)
    try:
        found = lan.peer_at(lan.resolve(entry))
    except UnknownName:
        return False
    return found is not None and found.key == peer.key


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """With whom: with everybody unless networks or peers are named, never with whom ``deny`` names."""

    enabled: bool = True
    networks: Entries = ()
    """Names of networks; their members are let in."""
    peers: Entries = ()
    """Peers that are let in beside those of the networks."""
    deny: Entries = ()
    """Peers and networks (``*.home``) that are not."""

    def __post_init__(self) -> None:
        written = (("networks", self.networks, check_network), ("peers", self.peers, check_entry), ("deny", self.deny, check_entry))
        for key, values, check in written:
            for value in values:
                try:
                    check(value)
                except ValueError as error:
                    raise ValueError(f"{key}: {error}") from None

    def admits(self, lan: Lan, peer: PeerInfo) -> bool:
        """Whether it is shared with a member."""
        if not self.enabled or _any(lan, self.deny, peer):
            return False
        if not self.networks and not self.peers:
            return True
        return any(_in_network(network, peer) for network in self.networks) or _any(lan, self.peers, peer)

    def describe(self) -> str:
        """For people."""
        if not self.enabled:
            return "nobody"
        named = [*(f"*.{network}" for network in self.networks), *self.peers]
        text = ", ".join(named) if named else "everybody"
        return f"{text} but {', '.join(self.deny)}" if self.deny else text


def _in_network(network: str, peer: PeerInfo) -> bool:
    wanted = network.lower().removesuffix(".internal")
    return any(wanted == name.lower() for name in peer.networks)


def _any(lan: Lan, entries: Iterable[str], peer: PeerInfo) -> bool:
    return any(means(lan, entry, peer) for entry in entries)
