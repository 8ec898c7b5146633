"""What the command line and the page ask of the chat."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, TypeVar

import msgspec
from twisted.internet.defer import inlineCallbacks

from bridges.chat.records import MAX_TEXT, Message, clean
from bridges.chat.service import Service
from bridges.chat.store import Store
from userlan.driver.bridge import CommandError
from userlan.driver.commands import Reply

MAX_PAGE = 1000
"""Messages of one answer."""

MAX_PAGE_TEXT = 256 * 1024
"""Characters of their texts: a hundred ordinary messages have 5,000; a hundred of the longest would keep a page busy for seconds."""


class _To(msgspec.Struct):
    to: str
    text: str
    wait: float = 0.0


class _Of(msgspec.Struct):
    conversation: str


Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
"""A message's ``seq``."""


class _History(msgspec.Struct):
    conversation: str
    before: Number | None = None
    after: Number | None = None
    limit: int = 100


class _Mute(msgspec.Struct):
    conversation: str
    muted: bool = True


class _Search(msgspec.Struct):
    text: str
    conversation: str | None = None
    before: Number | None = None
    limit: int = 100


Given = TypeVar("Given")


class Commands:
    """By name; see the package for what each takes and gives."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.plain = {
            "chat-send": self.send,
            "chat-conversations": self.conversations,
            "chat-history": self.history,
            "chat-read": self.read,
            "chat-mute": self.mute,
            "chat-clear": self.clear,
            "chat-search": self.search,
        }
        self.streaming = {"chat-watch": self.watch}

    @inlineCallbacks
    def send(self, arguments: dict[str, object]) -> Any:
        """``to``, ``text``, ``wait`` (seconds for the delivery, none by default) → ``message``."""
        given = _given(arguments, _To)
        text = clean(given.text)
        if not text:
            raise CommandError("the message is empty")
        if len(text) > MAX_TEXT:
            raise CommandError(f"the message has {len(text)} characters, {MAX_TEXT} at most: `userlan send` sends a file")
        message = yield self._service.send(self._service.roll.target(given.to), text, given.wait)
        return {"message": message.shown()}

    @inlineCallbacks
    def conversations(self, arguments: dict[str, object]) -> Any:
        """All that have messages, the one with the latest first."""
        found = yield self._service.run(lambda store: store.conversations())
        return [self._service.shown(one) for one in found]

    @inlineCallbacks
    def history(self, arguments: dict[str, object]) -> Any:
        """``conversation``, ``before`` or ``after`` (a ``seq``), ``limit`` → ``messages``, the oldest first, and whether there are
        ``more``: older ones, or newer ones behind ``after``."""
        given = _given(arguments, _History)
        if given.before is not None and given.after is not None:
            raise CommandError("before or after, not both")
        conversation = yield self._conversation(given.conversation)
        limit = min(max(given.limit, 1), MAX_PAGE)
        after = given.after
        if after is None:
            messages, more = yield self._service.run(lambda store: store.history(conversation, given.before, limit))
            fitting = _fitting(messages)
        else:
            messages, more = yield self._service.run(partial(Store.newer, conversation=conversation, after=after, limit=limit))
            fitting = _fitting(messages[::-1])[::-1]
        return {"messages": _shown(fitting), "more": more or len(fitting) < len(messages), "conversation": conversation}

    @inlineCallbacks
    def read(self, arguments: dict[str, object]) -> Any:
        """``conversation``: all of it has been seen."""
        conversation = yield self._conversation(_given(arguments, _Of).conversation)
        yield self._service.read(conversation)
        return {"conversation": conversation}

    @inlineCallbacks
    def mute(self, arguments: dict[str, object]) -> Any:
        """``conversation``, ``muted``: whether the desktop is not told of it."""
        given = _given(arguments, _Mute)
        conversation = yield self._conversation(given.conversation)
        yield self._service.run(lambda store: store.mute(conversation, given.muted))
        yield self._service.tell_conversation(conversation)
        return {"conversation": conversation, "muted": given.muted}

    @inlineCallbacks
    def clear(self, arguments: dict[str, object]) -> Any:
        """``conversation``: remove all of it here, what waits to be delivered too."""
        conversation = yield self._conversation(_given(arguments, _Of).conversation)
        removed = yield self._service.run(lambda store: store.clear(conversation))
        self._service.cleared(conversation)
        return {"conversation": conversation, "removed": removed}

    @inlineCallbacks
    def search(self, arguments: dict[str, object]) -> Any:
        """``text``, ``conversation`` (all of them by default), ``before`` (a ``seq``), ``limit`` → the last ``messages`` that hold it, the
        oldest first, and ``before``: what to ask with for older ones, None when all have been looked at. An answer may be empty and have
        that: one request looks at so much and no more."""
        given = _given(arguments, _Search)
        text = given.text.strip()
        if not text:
            raise CommandError("search for what?")
        conversation = None
        if given.conversation is not None:
            conversation = yield self._conversation(given.conversation)
        limit = min(max(given.limit, 1), MAX_PAGE)
        messages, before = yield self._service.run(lambda store: store.search(text, conversation, given.before, limit))
        fitting = _fitting(messages)
        return {"messages": _shown(fitting), "before": fitting[0].seq if len(fitting) < len(messages) else before}

    def watch(self, arguments: dict[str, Any], reply: Reply) -> None:
        """What happens from now on."""
        self._service.check()
        self._service.watchers.add(reply)

    @inlineCallbacks
    def _conversation(self, written: str) -> Any:
        """As the roll has it; else one that was known under that name."""
        try:
            return self._service.roll.conversation(written)
        except CommandError:
            titled = yield self._service.run(lambda store: store.titled(written.lower()))
            if len(titled) != 1:
                raise
            return titled[0]


def _fitting(messages: list[Message]) -> list[Message]:
    """Of messages in order the last ones that fit an answer; one in any case."""
    room = MAX_PAGE_TEXT
    for place in range(len(messages) - 1, -1, -1):
        room -= len(messages[place].text)
        if room < 0:
            return messages[place + 1 :] or messages[-1:]
    return messages


def _shown(messages: list[Message]) -> list[dict[str, Any]]:
    return [message.shown() for message in messages]


def _given(arguments: dict[str, object], kind: type[Given]) -> Given:
    try:
        return msgspec.convert(arguments, kind)
    except msgspec.ValidationError as error:
        raise CommandError(f"wrong arguments: {error}") from None
