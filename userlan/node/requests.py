"""Requests to mediators: create, join, leave, nick, lock, approve, deny, evict.

Each waits for its link, is numbered, and ends in done or refused. What holds without the mediator's word (``HOLDING``) waits for it a
moment only; then it is done for whoever asked, and the node's own matter from there on.
A join takes one more step: ``Join → Challenge → Prove → Done``, or where the owner approves: ``… → Prove → Applied, Refused(waiting)``.
"""

from __future__ import annotations

from types import UnionType

import attrs

from userlan.control.messages import Approve, Create, CreateWithApproval, Deny, Evict, Join, Leave, Lock, Message, Nick
from userlan.lan.secrets import NetworkSecret


class RefusalError(ValueError):
    """What was asked for cannot be done; ``str()`` is one line for people."""


PATIENCE = 20.0
"""Seconds in which a mediator must be reached and answer: two rounds of a link's attempts and their back-off."""
SOON = 5.0
"""Seconds for a mediator's word on what holds without it: one that is there answers within a few round trips."""
DOUBTFUL = 4.0
"""Seconds for a mediator that did not answer lately and is tried once more because somebody asks: UDP, framed TCP from 1 s on, port 443
from 2 s on, and a slow line's round trips."""
NEVER = 1e12
"""A time that does not come (monotonic seconds)."""
AGAIN_FIRST, AGAIN_LAST = 30.0, 900.0
"""Seconds until the node's own join is tried again where a mediator that lost its directory does not know the network yet: its owner makes
it again, and may come back later. Doubled each time, since each counts there as a failure."""
MAX_PENDING = 256
"""Requests under way: a person's and the rejoining of 64 networks after a mediator lost its directory."""

Asked = Create | Join | Leave | Nick | Lock | Approve | Deny | Evict

HOLDING = (Evict, Leave, Nick)
"""What is in force as soon as it is asked for: members take it from each other, it is this node's alone, or the next greeting has it."""
_NEEDED_FOR: dict[type[Asked], str] = {
    Create: "making a network",
    CreateWithApproval: "making a network",
    Join: "joining a network",
    Lock: "locking or unlocking a network",
    Approve: "approving",
    Deny: "denying",
}


@attrs.define
class Pending:
    """One request under way. ``internal`` ones are the node's own: nobody waits for them. ``not_before``: when one that was put off is sent
    again (monotonic seconds, 0: it was not); ``pause``: for how long it is put off the next time."""

    message: Asked
    mediator: bytes
    give_up: float
    secret: NetworkSecret | None = None
    sent: bool = False
    told: bool = False
    """It was sent, in whichever session: the mediator may have done it."""
    internal: bool = False
    not_before: float = 0.0
    pause: float = AGAIN_FIRST
    reason: str = ""
    """Why its mediator was not reached when it was asked for; one line for people."""

    @property
    def network(self) -> str:
        """The network concerned; empty for a nickname."""
        return "" if isinstance(self.message, Nick) else self.message.network

    @property
    def kind(self) -> tuple[type[Asked], str]:
        """What it asks for, and of which network."""
        return type(self.message), self.network

    def unanswered(self, reason: str = "") -> str:
        """What people are told who waited in vain: what it is that needs the mediator, and why that has not answered."""
        why = reason or self.reason or "it did not answer in time: is it running?"
        return f"{_NEEDED_FOR.get(type(self.message), 'this')} needs the mediator: try again when it is back ({why})"


class Requests:
    """Numbers and holds what is under way."""

    def __init__(self) -> None:
        self._pending: dict[int, Pending] = {}
        self._number = 0

    def next_number(self) -> int:
        """The number of the next request (1 to 2³² − 1)."""
        self._number = self._number % (2**32 - 1) + 1
        return self._number

    def add(self, pending: Pending) -> None:
        """Hold a request; ValueError when too many are under way."""
        if len(self._pending) >= MAX_PENDING:
            raise ValueError("too many requests are under way: wait for some to end")
        self._pending[pending.message.request] = pending

    def get(self, number: int) -> Pending | None:
        """A request under way."""
        return self._pending.get(number)

    def pop(self, number: int) -> Pending | None:
        """A request ends."""
        return self._pending.pop(number, None)

    def unsent(self, mediator: bytes) -> list[Message]:
        """What a link that is ready now has to send; marked as sent."""
        messages: list[Message] = []
        for pending in self._pending.values():
            if pending.mediator == mediator and not pending.sent and not pending.not_before:
                pending.sent = pending.told = True
                messages.append(pending.message)
        return messages

    def resend(self, mediator: bytes) -> None:
        """The link was lost: what was sent and not answered is sent again (each request may be repeated without harm)."""
        for pending in self._pending.values():
            if pending.mediator == mediator:
                pending.sent = False

    def put_off(self, number: int, now: float) -> None:
        """A mediator cannot do it yet: it is asked again after a while."""
        pending = self._pending[number]
        pending.sent, pending.not_before, pending.pause = False, now + pending.pause, min(2 * pending.pause, AGAIN_LAST)

    def due(self, now: float) -> list[bytes]:
        """The mediators that are to be asked again for what was put off. Each is said once."""
        due = [pending for pending in self._pending.values() if pending.not_before and now >= pending.not_before]
        for pending in due:
            pending.not_before = 0.0
        return list(dict.fromkeys(pending.mediator for pending in due))

    def of(self, mediator: bytes) -> list[int]:
        """Numbers of the requests to one mediator."""
        return [number for number, pending in self._pending.items() if pending.mediator == mediator]

    def concerning(self, mediator: bytes, network: str, kind: type[Asked] | UnionType) -> list[int]:
        """Numbers of the requests of a kind that concern a mediator's network."""
        found = [(number, one) for number, one in self._pending.items() if (one.mediator, one.network) == (mediator, network)]
        return [number for number, one in found if isinstance(one.message, kind)]

    def supersede(self, newer: Pending) -> None:
        """The node's own requests of a kind are ended by a newer one."""
        for number, one in tuple(self._pending.items()):
            if one is not newer and one.internal and (one.mediator, one.kind) == (newer.mediator, newer.kind):
                del self._pending[number]

    def expired(self, now: float) -> list[int]:
        """Numbers of the requests whose time is over."""
        return [number for number, pending in self._pending.items() if now >= pending.give_up]

    def deadline(self) -> float | None:
        """When the next one expires, or is due again."""
        return min((pending.not_before or pending.give_up for pending in self._pending.values()), default=None)
