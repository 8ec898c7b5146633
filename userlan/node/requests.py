"""Requests to mediators: create, join, leave, nick, lock, approve, deny, evict.

Each waits for its link, is numbered, and ends in done or refused.
A join takes one more step: ``Join → Challenge → Prove → Done``, or where the owner approves: ``… → Prove → Applied, Refused(waiting)``.
"""

from __future__ import annotations

import attrs

from userlan.control.messages import Approve, Create, Deny, Evict, Join, Leave, Lock, Message, Nick
from userlan.lan.secrets import NetworkSecret


class RefusalError(ValueError):
    """What was asked for cannot be done; ``str()`` is one line for people."""


PATIENCE = 20.0
"""Seconds in which a mediator must be reached and answer: two rounds of a link's attempts and their back-off."""
MAX_PENDING = 256
"""Requests under way: a person's and the rejoining of 64 networks after a mediator lost its directory."""

Asked = Create | Join | Leave | Nick | Lock | Approve | Deny | Evict


@attrs.define
class Pending:
    """One request under way. ``internal`` ones are the node's own: nobody waits for them."""

    message: Asked
    mediator: bytes
    give_up: float
    secret: NetworkSecret | None = None
    sent: bool = False
    internal: bool = False

    @property
    def network(self) -> str:
        """The network concerned; empty for a nickname."""
        return "" if isinstance(self.message, Nick) else self.message.network

    @property
    def kind(self) -> tuple[type[Asked], str]:
        """What it asks for, and of which network."""
        return type(self.message), self.network


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
            if pending.mediator == mediator and not pending.sent:
                pending.sent = True
                messages.append(pending.message)
        return messages

    def resend(self, mediator: bytes) -> None:
        """The link was lost: what was sent and not answered is sent again (each request may be repeated without harm)."""
        for pending in self._pending.values():
            if pending.mediator == mediator:
                pending.sent = False

    def of(self, mediator: bytes) -> list[int]:
        """Numbers of the requests to one mediator."""
        return [number for number, pending in self._pending.items() if pending.mediator == mediator]

    def expired(self, now: float) -> list[int]:
        """Numbers of the requests whose time is over."""
        return [number for number, pending in self._pending.items() if now >= pending.give_up]

    def deadline(self) -> float | None:
        """When the next one expires."""
        return min(pending.give_up for pending in self._pending.values()) if self._pending else None
