"""What a mediator tells its owner, for the log. Nothing has to be done about any of it."""

from __future__ import annotations

from typing import NamedTuple

from userlan.wire.endpoint import Endpoint


class NodeOnline(NamedTuple):
    """A node greeted. ``ipv4`` is packed; ``networks`` is how many it is in."""

    key: bytes
    name: str
    ipv4: bytes
    endpoint: Endpoint
    networks: int


class NodeOffline(NamedTuple):
    """A node's session ended. ``reason``: one line for people."""

    key: bytes
    name: str
    reason: str


class StoreFailed(NamedTuple):
    """The directory could not be read or written; whoever asked was refused. ``text``: one line for people."""

    text: str


class RelayJoined(NamedTuple):
    """A relay came into the pool, seen at ``endpoint``."""

    key: bytes
    name: str
    endpoint: Endpoint


class RelayGone(NamedTuple):
    """A relay's session ended. ``reason``: one line for people."""

    key: bytes
    reason: str


MediatorEvent = NodeOnline | NodeOffline | RelayJoined | RelayGone | StoreFailed
