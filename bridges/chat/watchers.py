"""Who is told of what happens in the chat: the clients of ``chat-watch``, and those who wait for a delivery."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from bridges.chat.records import Message
from userlan.driver.bridge import CommandError
from userlan.driver.commands import Reply

MAX_WATCHERS = 64
"""Clients that watch: pages and terminals of one person."""

MAX_WAIT = 60.0
"""Seconds that ``chat-send`` waits for a delivery at the most."""


class Watchers:
    """Everything in the reactor's thread."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._replies: dict[Reply, None] = {}
        self._waiting: dict[int, list[Deferred[Message]]] = {}

    def __len__(self) -> int:
        return len(self._replies)

    def add(self, reply: Reply) -> None:
        """Until its client goes away. Its first item, ``{"watching": true}``, says that nothing that happens from now on is missed."""
        if len(self._replies) >= MAX_WATCHERS:
            raise CommandError(f"{MAX_WATCHERS} clients watch the chat already")
        self._replies[reply] = None
        reply.on_cancel(lambda: self._replies.pop(reply, None))
        reply.item({"watching": True})

    def tell(self, item: dict[str, Any]) -> None:
        """Something has happened."""
        for reply in list(self._replies):
            reply.item(item)

    def told(self, message: Message) -> None:
        """A message of ours is with one more recipient, or cannot be."""
        self.tell({"delivery": message.shown()})
        if message.state != "waiting":
            for waiting in self._waiting.pop(message.seq, []):
                waiting.callback(message)

    def wait(self, message: Message, seconds: float) -> Deferred[Message]:
        """The message once it waits for nobody any more, or as it was given after ``seconds``."""
        settled: Deferred[Message] = Deferred()
        self._waiting.setdefault(message.seq, []).append(settled)

        def give_up() -> None:
            self._forget(message.seq, settled)
            settled.callback(message)

        timer = self._reactor.callLater(min(max(seconds, 0.0), MAX_WAIT), give_up)

        def ended(result: Any) -> Any:
            self._forget(message.seq, settled)
            if timer.active():
                timer.cancel()
            return result

        return settled.addBoth(ended)

    def stop(self) -> None:
        """Nobody is told anything any more."""
        for replies in list(self._waiting.values()):
            for waiting in list(replies):
                waiting.cancel()
        for reply in list(self._replies):
            reply.done(None)
        self._replies.clear()

    def _forget(self, seq: int, settled: Deferred[Message]) -> None:
        waiting = self._waiting.get(seq, [])
        if settled in waiting:
            waiting.remove(settled)
        if not waiting:
            self._waiting.pop(seq, None)
