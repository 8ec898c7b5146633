"""What a node tells the program around it. Drained with the stack's events by ``Node.events``."""

from __future__ import annotations

from typing import NamedTuple


class RequestDone(NamedTuple):
    """What was asked of a mediator was carried out. ``name``: this node's name (in that network). ``waiting``: a join now waits for the
    word of the network's owner, whose name this is. ``later``: it holds, and the mediator, which is not reached, hears of it when it is."""

    number: int
    network: str
    name: str
    waiting: bool = False
    later: bool = False


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


class ApplicantCame(NamedTuple):
    """Somebody wants to join a network that this node owns, and waits for its word."""

    network: str
    key: bytes
    name: str


class ApplicantGone(NamedTuple):
    """Somebody does not wait for that any more: it was taken in, denied, or has thought better of it."""

    network: str
    key: bytes


class Admitted(NamedTuple):
    """The owner of a network for which this node waited has taken it in."""

    network: str


class ApplicationRefused(NamedTuple):
    """This node waits for a network's owner no more, and is no member: ``reason`` is one line for people."""

    network: str
    reason: str


class MemberUnapproved(NamedTuple):
    """A mediator lists somebody as a member whom the network's owner has not approved: it is not let in. Said once."""

    network: str
    key: bytes
    name: str


class RosterChanged(NamedTuple):
    """Who is in the LAN, or what a member is called, or its addresses, or an own address, may have changed."""


class MemoryChanged(NamedTuple):
    """What ``Node.memory`` gives is due to be saved."""


class TimestampReserved(NamedTuple):
    """The memory holds a new floor for handshake timestamps: to be saved at once, or a crash and a clock set back
    lock this node out."""


NodeEvent = (
    RequestDone
    | RequestRefused
    | Ready
    | LinkChanged
    | PeerChanged
    | NetworkLost
    | ApplicantCame
    | ApplicantGone
    | Admitted
    | ApplicationRefused
    | MemberUnapproved
    | RosterChanged
    | MemoryChanged
    | TimestampReserved
)
