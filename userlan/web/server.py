"""The page: where it listens, who is connected, who is let in."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.web.websocket import WebSocketResource

from userlan.driver.bridge import BridgeStore, CommandError
from userlan.driver.commands import Commands
from userlan.driver.reasons import listen_error
from userlan.lan.hostport import join_host_port
from userlan.web.assets import Assets
from userlan.web.caller import is_foreign
from userlan.web.checks import Refusal, authorities, cookies
from userlan.web.connection import Connection
from userlan.web.scans import Scans
from userlan.web.sessions import SESSION_LIFE, Sessions, Tokens
from userlan.web.socket import GOING_AWAY, PageSocket
from userlan.web.uploads import Uploads

MAX_CONNECTIONS = 256
"""TCP connections at once. A browser has six and one for each WebSocket; at the limit, the oldest that has shown no session makes room."""
MAX_SOCKETS = 64
"""WebSockets at once: open pages."""
BACKLOG = 64
"""Connections that wait to be accepted."""
NEXT_PORTS = 64
"""Ports that are tried after the default one; then any."""


class Page(Factory):
    """The server of one node's page.

    ``commands``: all that the node can be asked; ``folder``: the state folder; ``metrics``: the text for Prometheus, where it is offered.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        commands: Commands,
        folder: Path,
        metrics: Callable[[], bytes] | None = None,
        foreign: Callable[[tuple[str, int], tuple[str, int]], bool] = is_foreign,
    ) -> None:
        """``foreign``: whether another user is at the client's end of a connection, of which both ends are given."""
        self.foreign = foreign
        self.reactor = reactor
        self.commands = commands
        self.metrics = metrics
        self.assets = Assets()
        self.uploads = Uploads(reactor, folder / "uploads", commands)
        self.scans = Scans(reactor)
        self.sockets: Any = WebSocketResource(self._sockets())
        self.connections: dict[Connection, None] = {}
        """The oldest first."""
        self.authorities: frozenset[bytes] = frozenset()
        self.host = ""
        self.port = 0
        self._open: set[PageSocket] = set()
        self._tokens = Tokens()
        self._sessions = Sessions(BridgeStore(folder / "page.json"), self._warn)
        self._listening: Any = None

    # ------------------------------------------------------------------ start and stop

    def start(self, host: str, port: int, others: bool) -> None:
        """Listen; CommandError where that cannot be. ``others``: the next free port will do, and best the one that it was the last time."""
        candidates = [port]
        if others:
            remembered = [self._sessions.port] if port <= self._sessions.port <= port + NEXT_PORTS else []
            candidates = [*remembered, *range(port, port + NEXT_PORTS + 1), 0]
        reason = ""
        for number in candidates:
            try:
                self._listening = self.reactor.listenTCP(number, self, BACKLOG, host)
                break
            except CannotListenError as error:
                reason = reason or listen_error(error)
        else:
            raise CommandError(f"the page: {reason}; set page.listen to another address, or to none")
        self.host, self.port = host, self._listening.getHost().port
        self.authorities = authorities(host, self.port)
        self._sessions.moved(self.port)
        self.uploads.sweep()

    def stop(self) -> Deferred[Any]:
        """Serve no more, and let everybody go. Idempotent."""
        listening, self._listening = self._listening, None
        for socket in list(self._open):
            socket.close(GOING_AWAY)
        for connection in list(self.connections):
            connection.finish()
        closed = maybeDeferred(listening.stopListening) if listening is not None else succeed(None)
        return gatherResults([closed, self.uploads.stop()])

    # ------------------------------------------------------------------ who comes

    def buildProtocol(self, addr: object) -> Connection | None:
        if len(self.connections) >= MAX_CONNECTIONS:
            unknown = next((connection for connection in self.connections if not connection.known), None)
            if unknown is None:
                return None
            del self.connections[unknown]  # it ends in the reactor's next turn, and others may come in this one
            unknown.abort()
        return Connection(self)

    def is_full(self) -> bool:
        """Whether no further WebSocket is taken."""
        return len(self._open) >= MAX_SOCKETS

    def opened(self, socket: PageSocket) -> None:
        """A page is there."""
        self._open.add(socket)

    def closed(self, socket: PageSocket) -> None:
        """It has gone."""
        self._open.discard(socket)

    # ------------------------------------------------------------------ who is let in

    @property
    def listen(self) -> str:
        """Where it listens, as ADDRESS:PORT."""
        return join_host_port(self.host, self.port)

    @property
    def address(self) -> str:
        """For a browser, without a token."""
        return f"http://{self.listen}/"

    def url(self) -> str:
        """With a fresh one: for the owner of the node, whose socket was asked for it."""
        return f"{self.address}?token={self._tokens.issue(self.reactor.seconds())}"

    def has_session(self, request: Any) -> bool:
        """Whether a request brings the cookie of a session."""
        return self._sessions.find(cookies(request.requestHeaders, self._cookie_name()), time.time())

    def redeem(self, request: Any, token: bytes) -> str | Refusal:
        """A token's session: its secret, empty where the browser has one already; or why not."""
        now = self.reactor.seconds()
        known = self.has_session(request)
        if self._tokens.limited(now):
            return "" if known else Refusal(429, "Too many wrong links were tried: wait a minute.")
        if known:
            self._tokens.withdraw(token)
            return ""
        if not self._tokens.redeem(token, now):
            return Refusal(403, "This link was used already, or is older than five minutes.")
        return self._sessions.open(time.time())

    def cookie(self, secret: str) -> bytes:
        """The header that keeps a session in the browser. Its name carries the port, as browsers do not separate cookies by it."""
        name, life = self._cookie_name().decode(), int(SESSION_LIFE)
        return f"{name}={secret}; Path=/; Max-Age={life}; HttpOnly; SameSite=Strict".encode()

    def _cookie_name(self) -> bytes:
        return f"userlan-{self.port}".encode()

    def _sockets(self) -> Any:
        page = self

        class Sockets:
            def buildProtocol(self, request: Any) -> PageSocket:
                return PageSocket(page, request)

        return Sockets()

    def _warn(self, text: str) -> None:
        self._log.warn("{text}", text=text)
