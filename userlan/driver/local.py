"""The local API: how the ``userlan`` command talks to the running node.

JSON lines on a stream socket in the state folder, one request a connection::

    → {"command": "ping", "arguments": {"peer": "nas"}}
    ← {"item": …}                     any number, as they happen (streaming commands)
    ← {"done": …} or {"error": "one line"}
    ← {"stream": true}                from here on raw octets both ways, each with its own end (``nc``)

``control.sock`` (0600, in a folder 0700) is a UNIX socket; a path longer than the system's 107 octets is bound through the folder's
descriptor. Where UNIX sockets are missing it is a port of 127.0.0.1, and ``control.json`` (0600) holds the port and a token that must be the
first line. A client that goes away cancels its command.

Limits: 256 clients, requests of 1 MiB, 30 s for a request to arrive.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.bridge import CommandError, CommandHandler
from userlan.driver.state import write_atomically

MAX_CLIENTS = 256
"""Clients at once: a `userlan nc` is one for as long as it lasts; ssh with many sessions has dozens."""
MAX_REQUEST = 1 << 20
"""Octets of one request."""
REQUEST_TIMEOUT = 30.0
"""Seconds in which a request must have arrived."""
MAX_SOCKET_PATH = 100
"""Octets of a path that surely fits ``sun_path`` (108 on Linux, 104 on BSD, the zero included)."""

StreamingHandler = Callable[[dict[str, Any], "Reply"], object]


class Reply:
    """What a streaming command answers with."""

    def __init__(self, client: LocalClient) -> None:
        self._client = client

    def item(self, value: object) -> None:
        """One item of the answer."""
        self._client.answer({"item": value})

    def done(self, value: object) -> None:
        """The result; ends the request."""
        self._client.finish({"done": value})

    def on_cancel(self, action: Callable[[], None]) -> None:
        """``action`` runs when the client goes away before the request has ended."""
        self._client.cancelled = action

    def upgrade(self, protocol: Any) -> None:
        """The connection becomes a raw stream: ``protocol`` gets its transport, then all that the client sends from now on."""
        self._client.upgrade(protocol)


@implementer(IHalfCloseableProtocol)
class LocalClient(Protocol):
    """One connection of a command."""

    _log = Logger()

    def __init__(self, server: LocalServer) -> None:
        self.cancelled: Callable[[], None] | None = None
        self._server = server
        self._buffer = b""
        self._authentic = server.token is None
        self._busy = False
        self._upgraded: Any = None
        self._timer: Any = None

    def connectionMade(self) -> None:
        self._timer = self._server.reactor.callLater(REQUEST_TIMEOUT, self._timed_out)

    def dataReceived(self, data: bytes) -> None:
        if self._upgraded is not None:
            self._upgraded.dataReceived(data)
            return
        self._buffer += data
        if self._busy:
            if len(self._buffer) > MAX_REQUEST:
                self._refuse("too much was sent behind the request")
            return
        line, separator, rest = self._buffer.partition(b"\n")
        if not separator:
            if len(line) > MAX_REQUEST:
                self._refuse(f"the request is longer than {MAX_REQUEST} octets")
            return
        self._buffer = rest
        if not self._authentic:
            self._check_token(line)
            return
        self._stop_timer()
        self._busy = True
        self._serve(line)

    def _check_token(self, line: bytes) -> None:
        token = self._server.token
        if token is None or not hmac.compare_digest(line, token):
            self._refuse("the token is wrong")
            return
        self._authentic = True
        rest, self._buffer = self._buffer, b""
        if rest:
            self.dataReceived(rest)

    def _serve(self, line: bytes) -> None:
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
            command, arguments = request["command"], request.get("arguments") or {}
            if not isinstance(command, str) or not isinstance(arguments, dict):
                raise KeyError("command")
        except (msgspec.MsgspecError, KeyError, RecursionError):
            self._refuse('a request is one line {"command": …, "arguments": {…}}')
            return
        streaming = self._server.streaming.get(command)
        handler = self._server.commands.get(command)
        if streaming is not None:
            answer = maybeDeferred(streaming, arguments, Reply(self))
            answer.addErrback(self._failed)
        elif handler is not None:
            answer = maybeDeferred(handler, arguments)
            self.cancelled = answer.cancel
            answer.addCallbacks(lambda value: self.finish({"done": value}), self._failed)
        else:
            self._refuse(f"the running node does not know the command {command!r}: is it an older version?")

    def _failed(self, failure: Any) -> None:
        if failure.check(CommandError):
            self._refuse(failure.getErrorMessage())
            return
        self._log.failure("a command failed", failure)
        self._refuse(f"the node failed: {failure.getErrorMessage() or failure.type.__name__}")

    def answer(self, message: dict[str, object]) -> None:
        """One line to the client."""
        if self.transport is not None and self._upgraded is None:
            self.transport.write(msgspec.json.encode(message) + b"\n")

    def finish(self, message: dict[str, object]) -> None:
        """The last line."""
        self.cancelled = None
        self.answer(message)
        if self.transport is not None:
            self.transport.loseConnection()

    def _refuse(self, text: str) -> None:
        self.finish({"error": text})

    def upgrade(self, protocol: Any) -> None:
        """See ``Reply.upgrade``."""
        self.answer({"stream": True})
        self.cancelled = None
        self._upgraded = protocol
        protocol.makeConnection(self.transport)
        rest, self._buffer = self._buffer, b""
        if rest:
            protocol.dataReceived(rest)

    def readConnectionLost(self) -> None:
        """The client ended its half; a command goes on, a stream is told."""
        if self._upgraded is not None and IHalfCloseableProtocol.providedBy(self._upgraded):
            self._upgraded.readConnectionLost()
        elif self._upgraded is not None or not self._busy:
            if self.transport is not None:
                self.transport.loseConnection()
        elif self.cancelled is not None:
            action, self.cancelled = self.cancelled, None
            action()
            if self.transport is not None:
                self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our half has ended."""
        if self._upgraded is not None and IHalfCloseableProtocol.providedBy(self._upgraded):
            self._upgraded.writeConnectionLost()

    def connectionLost(self, reason: Any = None) -> None:
        self._stop_timer()
        self._server.clients.discard(self)
        action, self.cancelled = self.cancelled, None
        if self._upgraded is not None:
            self._upgraded.connectionLost(reason)
        elif action is not None:
            action()
        self.transport = None

    def _timed_out(self) -> None:
        self._timer = None
        self._refuse("no request came")

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


class LocalServer(Factory):
    """Serves the commands of one node in its state folder."""

    noisy = False

    def __init__(self, reactor: Any, folder: Path) -> None:
        self.reactor = reactor
        self.folder = folder
        self.commands: dict[str, CommandHandler] = {}
        self.streaming: dict[str, StreamingHandler] = {}
        self.clients: set[LocalClient] = set()
        self.token: bytes | None = None
        self._port: Any = None

    @property
    def path(self) -> Path:
        """The socket."""
        return self.folder / "control.sock"

    def register(self, name: str, handler: CommandHandler) -> None:
        """Offer a command: arguments in, a JSON-able value or a Deferred of one out."""
        self.commands[name] = handler

    def register_streaming(self, name: str, handler: StreamingHandler) -> None:
        """Offer a command that answers in items, or takes the connection over."""
        self.streaming[name] = handler

    def buildProtocol(self, addr: Any) -> LocalClient | None:
        if len(self.clients) >= MAX_CLIENTS:
            return None
        client = LocalClient(self)
        self.clients.add(client)
        return client

    @inlineCallbacks
    def start(self) -> Any:
        """Listen. A socket that a killed node left is replaced (the folder's lock is ours)."""
        yield None
        if not hasattr(socket, "AF_UNIX"):
            self._listen_loopback()
            return
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
            _bind(listening, self.path)
            os.chmod(self.path, 0o600)
            listening.setblocking(False)
            listening.listen(128)
            self._port = self.reactor.adoptStreamPort(listening.fileno(), socket.AF_UNIX, self)
        except OSError as error:
            raise CommandError(f"the socket {self.path} cannot be made: {error.strerror}") from None
        finally:
            listening.close()

    def _listen_loopback(self) -> None:
        self.token = secrets.token_hex(32).encode()
        self._port = self.reactor.listenTCP(0, self, interface="127.0.0.1")
        place = {"port": self._port.getHost().port, "token": self.token.decode()}
        write_atomically(self.folder / "control.json", msgspec.json.encode(place))

    def stop(self) -> Deferred[None]:
        """Serve no more; clients that wait are cut. Idempotent."""
        port, self._port = self._port, None
        for client in list(self.clients):
            if client.transport is not None:
                client.transport.loseConnection()
        ended: Deferred[None] = maybeDeferred(port.stopListening) if port is not None else maybeDeferred(lambda: None)
        return ended.addErrback(lambda failure: failure.trap(OSError)).addCallback(self._remove)

    def _remove(self, _: object) -> None:
        """Twisted removes the socket by the name that it was bound to, which may be one through a descriptor."""
        for name in (self.path, self.folder / "control.json"):
            with contextlib.suppress(FileNotFoundError):
                name.unlink()


def _bind(listening: socket.socket, path: Path) -> None:
    """Bind a UNIX socket; through the folder's descriptor where the path is too long for the system."""
    name = os.fsencode(path)
    if len(name) <= MAX_SOCKET_PATH:
        listening.bind(name)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        listening.bind(f"/proc/self/fd/{folder}/{path.name}".encode())
    finally:
        os.close(folder)
