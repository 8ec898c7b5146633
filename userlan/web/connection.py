"""One TCP connection of a browser: Twisted's HTTP/1.1 channel, and around it what keeps a client from holding or filling anything.

::

    transport ⇄ Connection ─▶ PageChannel (HTTPChannel) ─▶ PageRequest
                    │               ▲ upgraded
                    └─ FrameGuard ──┴─▶ Twisted's WebSocket ─▶ PageSocket

A request has to arrive within ``ARRIVAL_PATIENCE``, however slowly its octets drip in. One that is refused before its body is answered at
once, and the rest is thrown away for a while, so that the answer is not lost in a reset.

Why no pipelining (RFC 9112 section 9.3.2 lets a server end the connection, and clients ask again): Twisted's channel answers all requests
that came in one piece before anything else gets its turn, whether the answers are read or not. A piece holds a thousand of them: one client
of 100 lines would hold up the whole node for minutes, and fill its memory. Browsers ask one after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h11
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.web.http import HTTPChannel
from wsproto.utilities import ProtocolError

from userlan.web.frames import FrameGuard
from userlan.web.request import PageRequest

if TYPE_CHECKING:
    from userlan.web.server import Page

ARRIVAL_PATIENCE = 10.0
"""Seconds from a request's first octet (for the first: from the connection) to the end of its headers."""
IDLE_PATIENCE = 60.0
"""Seconds of a connection without any request, or of a body without any octet."""
MAX_HEADERS, MAX_HEAD_SIZE = 64, 16 * 1024
"""Header lines, and octets of a request's head: browsers send 20 lines and 1 KB."""
DRAIN_PATIENCE, MAX_DRAINED = 2.0, 4 << 20
"""Seconds, and octets, that are still read and thrown away after a request was refused before its end."""
MAX_MESSAGE, MAX_PIECES = 1 << 20, 1024
"""Octets, and frames, of one message of a WebSocket: browsers send a message in one frame, or in pieces of 64 KB and more."""


class PageChannel(HTTPChannel):
    """HTTP/1.1 as Twisted reads it; a request is judged when its headers are there, before any of its body."""

    maxHeaders = MAX_HEADERS
    totalHeadersSize = MAX_HEAD_SIZE
    requestFactory = PageRequest
    factory = None

    def __init__(self, connection: Connection) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # HTTPChannel is untyped
        self.connection = connection

    def lineReceived(self, line: bytes) -> None:
        """The first line of a request is remembered for :meth:`allHeadersReceived`."""
        before = len(self.requests)
        super().lineReceived(line)  # type: ignore[no-untyped-call]
        if len(self.requests) > before:
            self.requests[-1].line = line

    def allHeadersReceived(self) -> None:
        """One that has a body, and is refused, is answered now. Behind one that has none, nothing is looked at before its answer."""
        request = self.requests[-1]
        self.connection.arrived()
        request.judge(self.length)
        more = self.length == 0 and bool(self.clearLineBuffer().strip(b"\r\n"))  # type: ignore[no-untyped-call]
        if more:
            request.came_with_more()
        if self.length != 0 and request.refusal is not None:
            self.persistent = 0
            self.connection.drain()
            request.refuse()
        else:
            super().allHeadersReceived()  # type: ignore[no-untyped-call]
            self.persistent = self.persistent and not more

    def rawDataReceived(self, data: bytes) -> None:
        """Nothing of a body whose request was refused is taken in."""
        if not self.connection.draining:
            super().rawDataReceived(data)

    def loseConnection(self) -> None:
        """The end, after what was written; a connection that is drained ends later."""
        if not self.connection.draining:
            super().loseConnection()  # type: ignore[no-untyped-call]


class Connection(Protocol):
    """See the module."""

    _log = Logger()
    transport: Any

    def __init__(self, page: Page) -> None:
        self.page = page
        self.known = False
        """Whether it has shown a session: one that has not makes room for others."""
        self.draining = False
        channel: Any = PageChannel(self)
        self._channel = channel
        self._channel.timeOut = IDLE_PATIENCE
        self._channel.callLater = page.reactor.callLater
        self._guard: FrameGuard | None = None
        self._timer: Any = None
        self._drained = 0
        self._foreign: bool | None = None

    def connectionMade(self) -> None:
        self.page.connections[self] = None
        self._wait_for_request()
        self._channel.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        if self.draining:
            self._drained += len(data)
            if self._drained > MAX_DRAINED:
                self.abort()
            return
        if self._guard is not None:
            self._frames(data)
            return
        if self._timer is None and not self._channel.requests:
            self._wait_for_request()
        self._channel.dataReceived(data)

    def connectionLost(self, reason: Any = None) -> None:
        self._stop_timer()
        self.page.connections.pop(self, None)
        self._channel.connectionLost(reason)

    def is_foreign(self) -> bool:
        """Whether another user of this computer is at the other end; looked up once."""
        if self._foreign is None:
            client, server = self.transport.getPeer(), self.transport.getHost()
            self._foreign = self.page.foreign((client.host, client.port), (server.host, server.port))
        return self._foreign

    def arrived(self) -> None:
        """A request's headers are complete."""
        self._stop_timer()

    def pause(self, paused: bool) -> None:
        """Read nothing for a while, or go on."""
        if paused:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    def drain(self) -> None:
        """The request is refused: what else comes of it is thrown away; once the answer is written, :meth:`answered` is called."""
        self.draining = True

    def answered(self) -> None:
        """The refusal is written: nothing else follows, and the client has some time to see it."""
        if self.draining and self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()
            self.end_soon()

    def finish(self) -> None:
        """The page ends: what was asked for is answered, and nothing else taken in."""
        if self._guard is None and not self._channel.requests:
            self.abort()
            return
        if self._guard is None:
            self._channel.persistent = 0
            self.drain()
        self.end_soon()

    def end_soon(self) -> None:
        """All is said; the client has some time to read it."""
        self._stop_timer()
        self._timer = self.page.reactor.callLater(DRAIN_PATIENCE, self.abort)

    def upgraded(self) -> None:
        """From here on frames come."""
        self._guard = FrameGuard(MAX_MESSAGE, MAX_PIECES)

    def abort(self) -> None:
        """End it now."""
        if self.transport is not None:
            self.transport.abortConnection()

    def _frames(self, data: bytes) -> None:
        assert self._guard is not None
        if not self._guard.admits(data):
            self._log.info("the page sent a message that is too large")
            self.abort()
            return
        try:
            self._channel.dataReceived(data)
        except (ProtocolError, h11.ProtocolError):  # frames behind a close, or broken ones while we close
            self.abort()

    def _wait_for_request(self) -> None:
        self._stop_timer()
        self._timer = self.page.reactor.callLater(ARRIVAL_PATIENCE, self.abort)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
