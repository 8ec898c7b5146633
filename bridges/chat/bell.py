"""When the desktop is told that somebody has written: a moment later, if it has not been read by then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from bridges.notices import Notices

DELAY = 2.0
"""Seconds after which what has arrived was not seen: whoever has the conversation before him reads it at once."""

Words = tuple[str, str, int]
"""Title, text, and how many messages are not read."""


class Bell:
    """``ring`` gives the words for a conversation, or None when there is nothing to tell (any more)."""

    _log = Logger()

    def __init__(self, notices: Notices, reactor: Any, ring: Callable[[str], Deferred[Words | None]]) -> None:
        self._notices, self._reactor, self._ring = notices, reactor, ring
        self._timers: dict[str, Any] = {}
        self._ringing: dict[str, object] = {}
        """Conversations whose words are being looked for, each with what tells this time from another: what is read meanwhile is not
        told, and what arrives meanwhile may not be among the words."""
        self._told: set[str] = set()
        """Conversations that the desktop shows, perhaps."""

    def arrived(self, conversation: str) -> None:
        """There is news."""
        if conversation not in self._timers:
            self._timers[conversation] = self._reactor.callLater(DELAY, self._due, conversation)

    def silence(self, conversation: str) -> None:
        """A person has seen it."""
        self._ringing.pop(conversation, None)
        timer = self._timers.pop(conversation, None)
        if timer is not None:
            timer.cancel()
        if conversation in self._told:
            self._told.discard(conversation)
            self._notices.withdraw(conversation)

    def stop(self) -> None:
        """Nothing is told any more."""
        for conversation in [*self._timers, *self._ringing, *self._told]:
            self.silence(conversation)

    def _due(self, conversation: str) -> None:
        del self._timers[conversation]
        this = self._ringing[conversation] = object()
        self._ring(conversation).addBoth(self._rung, conversation, this).addErrback(self._failed)

    def _rung(self, words: Any, conversation: str, this: object) -> Any:
        if self._ringing.get(conversation) is this:
            del self._ringing[conversation]
            if isinstance(words, Failure):
                return words
            self._tell(words, conversation)
        return None

    def _tell(self, words: Words | None, conversation: str) -> None:
        if words is not None:
            self._told.add(conversation)
            title, text, unread = words
            self._notices.tell("chat", title, text, conversation, unread)

    def _failed(self, failure: Any) -> None:
        self._log.warn("nobody was told of a message: {reason}", reason=failure.getErrorMessage())
