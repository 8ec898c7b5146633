"""What is said, and where: messages, conversations, and the text that a message may have."""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec

PEER, NETWORK = "peer:", "network:"
"""What the id of a conversation begins with: a member's key, or a network's name, follows."""

MAX_TEXT = 8192
"""Characters of one message: four pages; what is longer is a file."""

MAX_PREVIEW = 200
"""Characters of a message on the desktop."""

_KEPT_CONTROLS = frozenset("\n\t")


class Message(msgspec.Struct, frozen=True):
    """One message as it is kept. ``seq``: this node's own count, by which messages are in order."""

    seq: int
    id: str
    conversation: str
    author: str
    """The key."""
    name: str
    """What the author was called then."""
    text: str
    time: float
    """When it was written, wall seconds by this computer's clock."""
    own: bool
    recipients: int
    delivered: int
    failed: int
    reason: str
    """Why the last delivery that failed did; empty where none has."""

    @property
    def state(self) -> str:
        """``received``; of own ones ``waiting`` until each recipient has it or cannot have it, then ``delivered`` where any has it, or
        ``failed``."""
        if not self.own:
            return "received"
        if self.delivered + self.failed < self.recipients:
            return "waiting"
        return "delivered" if self.delivered else "failed"

    def shown(self) -> dict[str, Any]:
        """JSON-able, as the commands give it."""
        return {
            "id": self.id,
            "seq": self.seq,
            "conversation": self.conversation,
            "from": self.author,
            "name": self.name,
            "text": self.text,
            "time": self.time,
            "own": self.own,
            "state": self.state,
            "delivered": self.delivered,
            "recipients": self.recipients,
            "reason": self.reason,
        }


class Conversation(msgspec.Struct, frozen=True):
    """All that is said with one peer, or in one network."""

    id: str
    title: str
    """The name that it had when it was last known."""
    unread: int
    muted: bool
    last: Message | None

    def shown(self, title: str, here: bool) -> dict[str, Any]:
        """JSON-able; ``title``: its name now, ``here``: whether it can be written in."""
        return {
            "id": self.id,
            "kind": kind_of(self.id),
            "title": title,
            "unread": self.unread,
            "last": None if self.last is None else self.last.shown(),
            "muted": self.muted,
            "here": here,
        }


def peer_of(conversation: str) -> str:
    """The key of the peer; empty for a network's conversation."""
    return conversation.removeprefix(PEER) if conversation.startswith(PEER) else ""


def network_of(conversation: str) -> str:
    """The network; empty for a peer's conversation."""
    return conversation.removeprefix(NETWORK) if conversation.startswith(NETWORK) else ""


def kind_of(conversation: str) -> str:
    """``peer`` or ``network``."""
    return "network" if conversation.startswith(NETWORK) else "peer"


def clean(text: str) -> str:
    """A text as it is kept: lines end with LF; no control characters (C0 and C1 of ISO/IEC 6429, U+007F) beside that and the tabulator,
    no lone surrogates; nothing empty around it. What turns the direction of writing stays: it is part of some languages' text, and
    to be shown apart from what is around it is the business of whoever shows it."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(one for one in lines if one in _KEPT_CONTROLS or unicodedata.category(one) not in ("Cc", "Cs"))
    return kept.strip("\n").rstrip()
