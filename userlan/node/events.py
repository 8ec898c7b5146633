"""What a node tells the program around it. Drained with the stack's events by ``Node.events``."""

from __future__ import annotations

from typing import NamedTuple


class RequestDone(NamedTuple):
    """A create, join, leave, nick or evict was carried out. ``name``: this node's name (in that network)."""

    number: int
    network: str
    name: str


class RequestRefused(NamedTuple):
    """It was not; ``text`` is one line for people, ``code`` the mediator's word (``unreachable`` when there was no answer)."""

    number: int
    code: str
    text: str


class Ready(NamedTuple):
    """A mediator welcomed this node: its name and packed IPv4 address are known."""

    name: str
    ipv4: bytes


class LinkChanged(NamedTuple):
    """A mediator's link came up (``reason`` empty) or failed (``reason``: one line for people)."""

    key: bytes
    ready: bool
    reason: str


class PeerChanged(NamedTuple):
    """A peer's state or path changed (words of ``status``)."""

    key: bytes
    name: str
    state: str
    path: str


class NetworkLost(NamedTuple):
    """This node is no member of a network any more though nobody here asked for it: evicted."""

    network: str
    reason: str


class RosterChanged(NamedTuple):
    """Who is in the LAN, or what a member is called, or its addresses, or an own address, may have changed."""


class MemoryChanged(NamedTuple):
    """What ``Node.memory`` gives is due to be saved."""


class TimestampReserved(NamedTuple):
    """The memory holds a new floor for handshake timestamps: to be saved at once, or a crash and a clock set back
    lock this node out."""


NodeEvent = (
    RequestDone | RequestRefused | Ready | LinkChanged | PeerChanged | NetworkLost | RosterChanged | MemoryChanged | TimestampReserved
)
