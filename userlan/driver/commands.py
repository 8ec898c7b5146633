"""The commands of one node, by name, and how they are answered: one registry, whoever asks.

::

    command line ── local socket ──┐
                                   ├─▶ Commands.serve(command, arguments, reply) ─▶ handler
    page ─────────── WebSocket ────┘                                            ◀─ item … item, done or refuse

A handler gives a value or a Deferred of one; a streaming handler is given the :class:`Reply` and answers when it likes. Neither knows
from where it was asked. Whoever asks implements ``Reply``: what becomes of the answers is its own affair, and so is what happens to
answers that nobody reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger

from userlan.driver.bridge import CommandError, CommandHandler


class Reply(ABC):
    """Where the answers to one request go. After ``done`` or ``refuse``, or when the client is gone, nothing more is sent."""

    @abstractmethod
    def item(self, value: object) -> None:
        """One item of the answer; JSON-able."""

    @abstractmethod
    def done(self, value: object) -> None:
        """The result, JSON-able; ends the request."""

    @abstractmethod
    def refuse(self, text: str) -> None:
        """It cannot be done, and why, in one line; ends the request."""

    @abstractmethod
    def on_cancel(self, action: Callable[[], object]) -> None:
        """``action`` runs when the client goes away, or calls it off, before the request has ended."""

    def descriptor(self) -> int | None:
        """The descriptor that came with the request; whoever takes it has to close it. None where there is none."""
        return None

    def upgrade(self, protocol: Any) -> None:
        """The connection becomes a raw stream: ``protocol`` gets its transport, then all that the client has sent behind its request
        and will send. CommandError where there is no such connection."""
        raise CommandError("this command needs a connection of its own: use the command line")


StreamingHandler = Callable[[dict[str, Any], Reply], object]
"""Takes the arguments and where to answer. May return a Deferred, whose failure ends the request; fails with CommandError."""


MAX_EARLY = 256
"""Requests for commands that are not there yet; as many as a local server's clients, and no more than a start lasts."""


class Commands:
    """All that one node can be asked.

    Who starts a node may ask sooner than its last part is there: between ``begin`` and ``complete`` a command that is not known waits."""

    _log = Logger()

    def __init__(self) -> None:
        self._plain: dict[str, CommandHandler] = {}
        self._streaming: dict[str, StreamingHandler] = {}
        self._early: list[tuple[str, dict[str, Any], Reply]] | None = None

    def begin(self) -> None:
        """There will be more of them."""
        self._early = []

    def complete(self, trouble: str = "") -> None:
        """All are there, or why they will not be: what has waited is answered. Idempotent."""
        early, self._early = self._early or [], None
        for command, arguments, reply in early:
            if trouble:
                reply.refuse(trouble)
            else:
                self.serve(command, arguments, reply)

    def register(self, name: str, handler: CommandHandler) -> None:
        """Offer a command: arguments in, a JSON-able value or a Deferred of one out."""
        self._plain[name] = handler

    def register_streaming(self, name: str, handler: StreamingHandler) -> None:
        """Offer a command that answers in items, or takes the connection over."""
        self._streaming[name] = handler

    def __contains__(self, name: object) -> bool:
        return name in self._plain or name in self._streaming

    def call(self, command: str, arguments: dict[str, Any]) -> Deferred[Any]:
        """Carry out a command that does not stream, for this process itself; CommandError as its handler fails."""
        return maybeDeferred(self._plain[command], arguments)

    def serve(self, command: str, arguments: dict[str, Any], reply: Reply) -> None:
        """Carry out one request."""
        streaming = self._streaming.get(command)
        handler = self._plain.get(command)
        if streaming is not None:
            maybeDeferred(streaming, arguments, reply).addErrback(self._failed, reply)
        elif handler is not None:
            answer = maybeDeferred(handler, arguments)
            reply.on_cancel(answer.cancel)
            answer.addCallback(reply.done).addErrback(self._failed, reply)
        elif self._early is not None and len(self._early) < MAX_EARLY:
            one = command, arguments, reply
            self._early.append(one)
            reply.on_cancel(lambda: self._forget(one))
        else:
            reply.refuse(f"the running node does not know the command {command!r}: is it an older version?")

    def _forget(self, one: tuple[str, dict[str, Any], Reply]) -> None:
        if self._early is not None and one in self._early:
            self._early.remove(one)

    def _failed(self, failure: Any, reply: Reply) -> None:
        if failure.check(CommandError):
            reply.refuse(failure.getErrorMessage())
        elif not failure.check(CancelledError):
            self._log.failure("a command failed", failure)
            reply.refuse(f"the node failed: {failure.getErrorMessage() or failure.type.__name__}")
