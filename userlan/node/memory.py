"""What a node remembers across restarts, so that it reaches its peers again with every server down.

One JSON document in the state folder (keys and secrets in it, hence 0600), written whole. Unknown fields are ignored and missing ones
have defaults, so that an older and a newer program read each other's.
"""

from __future__ import annotations

from typing import Any

import msgspec

from userlan.control.meeting import RelayOffer
from userlan.wire.endpoint import Endpoint

VERSION = 1


class SavedMediator(msgspec.Struct):
    """A mediator that this node uses: its link (``userlan://HOST:PORT/KEY``)."""

    url: str
    embedded: bool = False


class SavedNetwork(msgspec.Struct):
    """A network that this node joined: its mediator's key, and its secrets, newest first (older ones open tunnels to who was away:
    ``veterans`` has the members at the moment when each was replaced). ``approved``: whom its owner has approved, null where no signed
    document says so."""

    mediator: bytes
    secrets: list[bytes]
    eviction: bytes = b""
    veterans: list[list[bytes]] = []
    proven: list[bytes] = []
    approved: list[bytes] | None = None


class SavedApplication(msgspec.Struct):
    """A network that this node asked to join, and waits for its owner: the mediator's key, the secret, since when (wall-clock seconds),
    and whose word it is."""

    mediator: bytes
    secret: bytes
    since: float = 0.0
    owner: str = ""


class SavedDeparture(msgspec.Struct):
    """A network that this node has left, of which its mediator (by key) has yet to hear."""

    mediator: bytes
    network: str


class Memory(msgspec.Struct):
    """The whole document. By a peer's key (text): ``endpoints`` is where it was reached, latest first, ``ciphers`` what it said that its
    tunnel takes beside ChaCha20-Poly1305, ``relays`` the relays that the mediator has ranked for the pair, with its grants, ``blocked`` the
    names of those that this node wants nothing to do with."""

    version: int = VERSION
    name: str = ""
    ipv4: bytes = b""
    mediators: list[SavedMediator] = []
    networks: dict[str, SavedNetwork] = {}
    applications: dict[str, SavedApplication] = {}
    departures: list[SavedDeparture] = []
    blocked: dict[str, str] = {}
    endpoints: dict[str, list[tuple[str, str, int]]] = {}
    ciphers: dict[str, list[str]] = {}
    relays: dict[str, list[RelayOffer]] = {}
    roster: dict[str, Any] = {}
    timestamp: bytes = b""

    @classmethod
    def load(cls, document: object) -> Memory:
        """From what the state folder gave; ValueError when it is none (one line)."""
        if document is None:
            return cls()
        try:
            memory = msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"the node's memory does not read: {error}") from None
        if memory.version > VERSION:
            raise ValueError(f"the node's memory is of version {memory.version}, this program knows {VERSION}: use a newer userlan")
        return memory

    def dump(self) -> object:
        """JSON-able."""
        return msgspec.to_builtins(self)

    def endpoints_of(self, key: str) -> list[Endpoint]:
        """Where a peer was reached, latest first."""
        return [Endpoint(*parts) for parts in self.endpoints.get(key, ())]
