"""The chat of one node: the store, the ways to the members, the notices, and whoever watches, put together."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.logger import Logger

from bridges.chat.records import Conversation, Message
from bridges.chat.schema import StoreError
from bridges.chat.store import Store
from bridges.chat.watchers import Watchers
from bridges.chat.who import Roll, Target
from bridges.chat.worker import Worker
from userlan.driver.bridge import CommandError
from userlan.driver.lan import Lan
from userlan.lan.addresses import base64url_text

ID_SIZE = 16
"""Octets of a message's id: chosen at random, so that no two of one author are the same."""

Result = TypeVar("Result")


class Service:
    """Everything in the reactor's thread."""

    _log = Logger()

    def __init__(self, lan: Lan, path: Path, history: int, size: int, wall: Callable[[], float] = time.time) -> None:
        self.lan = lan
        self.roll = Roll(lan)
        self.watchers = Watchers(lan.reactor)
        self.problem = "chat is off: the node has not started it"
        """Why nothing can be said or read; empty where it can."""
        self._wall = wall
        self._worker = Worker(lan.reactor, lambda: Store(path, history, size, self._report))

    def start(self) -> Deferred[None]:
        """Open the store and serve; what is wrong with it is told by the commands and the log, and keeps nothing else from starting."""
        return self._worker.start().addCallbacks(self._opened, self._not_opened)

    def stop(self) -> Deferred[None]:
        """Serve no more; what was asked of the store is done. Idempotent."""
        if self.problem:
            return succeed(None)
        self.problem = "chat is off: the node stops"
        self.watchers.stop()
        return self._worker.stop()

    def check(self) -> None:
        """CommandError where there is no chat."""
        if self.problem:
            raise CommandError(self.problem)

    def run(self, job: Callable[[Store], Result]) -> Deferred[Result]:
        """Something to do with the store; fails with CommandError."""
        if self.problem:
            return fail(CommandError(self.problem))
        return self._worker.run(job).addErrback(_as_command_error)

    # --- what people do ----------------------------------------------------------------------------------------------

    @inlineCallbacks
    def send(self, target: Target, text: str, wait: float = 0.0) -> Any:
        """The message, kept; waits ``wait`` seconds for its delivery."""
        own, now = self.lan.own(), self._wall()
        identifier = base64url_text(secrets.token_bytes(ID_SIZE))
        message: Message = yield self.run(
            lambda store: store.add_own(
                identifier, target.conversation, target.title, own.key, own.name, text, now, target.recipients
            )
        )
        self.watchers.tell({"message": message.shown()})
        if wait > 0:
            message = yield self.watchers.wait(message, wait)
        return message

    @inlineCallbacks
    def read(self, conversation: str) -> Any:
        """A person has seen all of it."""
        news = yield self.run(lambda store: store.read(conversation))
        if news:
            self.watchers.tell({"read": {"conversation": conversation}})

    def cleared(self, conversation: str) -> None:
        """It is gone, with what waited."""
        self.watchers.tell({"cleared": {"conversation": conversation}})

    @inlineCallbacks
    def tell_conversation(self, conversation: str) -> Any:
        """Those who watch learn what it is like now."""
        found = yield self.run(lambda store: store.conversations(conversation))
        for one in found:
            self.watchers.tell({"conversation": self.shown(one)})

    def shown(self, one: Conversation) -> dict[str, Any]:
        """A conversation as the commands give it."""
        return one.shown(self.roll.title(one.id, one.title), self.roll.is_here(one.id))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _opened(self, _: None) -> None:
        self.problem = ""

    def _not_opened(self, failure: Any) -> None:
        failure.trap(StoreError)
        self.problem = failure.getErrorMessage()
        self._log.warn("{problem}", problem=self.problem)

    def _report(self, text: str) -> None:
        """Called in the store's thread."""
        self.lan.reactor.callFromThread(self._log.warn, "{text}", text=text)


def _as_command_error(failure: Any) -> Any:
    failure.trap(StoreError)
    raise CommandError(failure.getErrorMessage())
