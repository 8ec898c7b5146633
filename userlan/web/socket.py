"""The page's WebSocket: the commands that it may ask for, many at once over one connection.

::

    → {"id": 7, "command": "ping", "arguments": {"peer": "nas"}}
    ← {"id": 7, "item": …}            any number, as they happen (streaming commands)
    ← {"id": 7, "done": …} or {"id": 7, "error": "one line"}
    → {"id": 7, "cancel": true}       nothing more comes for it

``id`` is the page's own number for a request, free again after its end. A page that goes away cancels all that it has asked for. One that
does not read is not read either, and is cut off when too much waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from wsproto.utilities import LocalProtocolError
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.commands import Reply
from userlan.web.allowed import ALLOWED

if TYPE_CHECKING:
    from userlan.web.server import Page

MAX_IN_FLIGHT = 64
"""Requests of one socket that are not answered yet: a page has a dozen subscriptions."""
MAX_UNREAD = 8 << 20
"""Octets that wait for a page that does not read: thirty whole snapshots of 500 members."""
MAX_COMMAND = 64
"""Characters of a command's name."""
NORMAL, GOING_AWAY, UNSUPPORTED, POLICY = 1000, 1001, 1003, 1008
"""Close codes (RFC 6455 section 7.4.1)."""


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """One message of the page."""

    id: Annotated[int, Meta(ge=0, lt=1 << 53)]
    command: Annotated[str, Meta(max_length=MAX_COMMAND)] = ""
    arguments: dict[str, Any] = {}
    cancel: bool = False


class SocketAnswer(Reply):
    """Where the answers to one request of a page go."""

    def __init__(self, socket: PageSocket, number: int) -> None:
        self._socket, self._number = socket, number
        self._cancelled: Callable[[], object] | None = None
        self._ended = False

    def item(self, value: object) -> None:
        if not self._ended:
            self._socket.send({"id": self._number, "item": value})

    def done(self, value: object) -> None:
        self._finish({"id": self._number, "done": value})

    def refuse(self, text: str) -> None:
        self._finish({"id": self._number, "error": text})

    def on_cancel(self, action: Callable[[], object]) -> None:
        if self._ended:
            return
        self._cancelled = action

    def cancel(self) -> None:
        """Nobody waits for it any more. Idempotent."""
        action, self._cancelled = self._cancelled, None
        self._ended = True
        if action is not None:
            action()

    def _finish(self, message: dict[str, object]) -> None:
        if self._ended:
            return
        self._socket.send(message)  # where it is no JSON, the request is still there to be refused
        self._ended = True
        self._cancelled = None
        self._socket.ended(self._number)


@implementer(IPushProducer)
class PageSocket:
    """One WebSocket: the protocol of Twisted's. It is the producer of its own answers, so as to know whether they are read."""

    _log = Logger()

    def __init__(self, page: Page, request: Any) -> None:
        self._page = page
        self._channel = request.channel
        self._transport: Any = None
        self._asked: dict[int, SocketAnswer] = {}
        self._full = False
        self._unread = 0
        self._open = False

    # ------------------------------------------------------------------ Twisted's WebSocketProtocol

    def negotiationStarted(self, transport: Any) -> None:
        self._transport = transport

    def negotiationFinished(self) -> None:
        self._open = True
        self._page.opened(self)
        self._channel.registerProducer(self, True)

    def textMessageReceived(self, message: str) -> None:
        if not self._open:
            return
        try:
            asked = msgspec.json.decode(message, type=Asked)
        except (msgspec.MsgspecError, RecursionError):
            self.close(POLICY)
            return
        before = self._asked.get(asked.id)
        if asked.cancel:
            if before is not None:
                del self._asked[asked.id]
                self._cancel(before)
        elif before is not None:
            self.close(POLICY)
        else:
            self._ask(asked)

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:
        self.close(UNSUPPORTED)

    def pongReceived(self, payload: bytes) -> None:
        """Nobody asked for it."""

    def connectionLost(self, reason: Any) -> None:
        self._open = False
        self._page.closed(self)
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            self._cancel(answer)

    # ------------------------------------------------------------------ IPushProducer

    def pauseProducing(self) -> None:
        """The page does not read: then it is not read either."""
        self._full = True
        self._channel.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """It has read everything."""
        self._full, self._unread = False, 0
        if self._open:
            self._channel.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The connection ends; ``connectionLost`` follows."""

    # ------------------------------------------------------------------ answers

    def send(self, message: dict[str, object]) -> None:
        """One message to the page."""
        data = msgspec.json.encode(message)
        if not self._open:
            return
        if self._full:
            self._unread += len(data)
            if self._unread > MAX_UNREAD:
                self._open = False
                self._channel.connection.abort()
                return
        try:
            self._transport.sendTextMessage(data.decode())
        except LocalProtocolError:      # the page has said goodbye: ``connectionLost`` follows
            self._open = False

    def ended(self, number: int) -> None:
        """A request has its answer."""
        self._asked.pop(number, None)

    def close(self, code: int) -> None:
        """End it in order. Idempotent."""
        if self._open:
            self._open = False
            self._channel.transport.unregisterProducer()
            self._transport.loseConnection(code)
            self._channel.connection.end_soon()

    def _ask(self, asked: Asked) -> None:
        answer = SocketAnswer(self, asked.id)
        if len(self._asked) >= MAX_IN_FLIGHT:
            answer.refuse(f"{MAX_IN_FLIGHT} requests are not answered yet")
        elif asked.command not in ALLOWED:
            answer.refuse(f"the page cannot ask for {asked.command!r}: the command line can")
        else:
            self._asked[asked.id] = answer
            self._page.commands.serve(asked.command, asked.arguments, answer)

    def _cancel(self, answer: SocketAnswer) -> None:
        try:
            answer.cancel()
        except Exception:
            self._log.failure("a command failed to be called off")
