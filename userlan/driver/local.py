"""The local API: how the ``userlan`` command talks to the running node.

JSON lines on a stream socket in the state folder, one request a connection::

    → {"command": "ping", "arguments": {"peer": "nas"}}
    ← {"item": …}                     any number, as they happen (streaming commands)
    ← {"done": …} or {"error": "one line"}
    ← {"stream": true}                from here on raw octets both ways, each with its own end (``nc``)

``control.sock`` (0600, in a folder 0700) is a UNIX socket; a path longer than the system's 107 octets is bound
through the folder's descriptor. Where UNIX sockets are missing it is a port of 127.0.0.1, and ``control.json`` (0600)
holds the port and a token that must be the first line. A client that goes away cancels its command.

A client may send one open descriptor with its request (SCM_RIGHTS, unix(7)): what it may open and the node may not.

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
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IFileDescriptorReceiver, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.bridge import CommandError
from userlan.driver.commands import Commands, Reply
from userlan.driver.reasons import failure_of
from userlan.driver.state import write_atomically

MAX_CLIENTS = 256
"""Clients at once: a `userlan nc` is one for as long as it lasts; ssh with many sessions has dozens."""
MAX_REQUEST = 1 << 20
"""Octets of one request."""
BACKLOG = 128
"""Clients that wait to be accepted: commands come by the dozen, and accepting one takes microseconds."""
MAX_AHEAD = 64 * 1024
"""Octets that a client may send behind its request while that is carried out; then it is not read for a while."""
MAX_UNREAD = 4 * MAX_REQUEST
"""Octets of answers that wait for a client that does not read."""
REQUEST_TIMEOUT = 30.0
"""Seconds in which a request must have arrived."""
MAX_SOCKET_PATH = 100
"""Octets of a path that surely fits ``sun_path`` (108 on Linux, 104 on BSD, the zero included)."""

class SocketReply(Reply):
    """What a command answers with on its connection of the local socket."""

    def __init__(self, client: LocalClient) -> None:
        self._client = client

    def descriptor(self) -> int | None:
        return self._client.take_descriptor()

    def item(self, value: object) -> None:
        self._client.answer({"item": value})

    def done(self, value: object) -> None:
        self._client.finish({"done": value})

    def refuse(self, text: str) -> None:
        self._client.finish({"error": text})

    def on_cancel(self, action: Callable[[], object]) -> None:
        self._client.cancelled = action

    def upgrade(self, protocol: Any) -> None:
        """A client that has ended its half already is told to the protocol as such."""
        self._client.upgrade(protocol)


@implementer(IFileDescriptorReceiver, IHalfCloseableProtocol, IPushProducer)
class LocalClient(Protocol):
    """One connection of a command. It is the producer of its own answers, so as to know whether they are read."""

    _log = Logger()
    transport: Any

    def __init__(self, server: LocalServer) -> None:
        self.cancelled: Callable[[], object] | None = None
        self._server = server
        self._buffer = b""
        self._authentic = server.token is None
        self._busy = False
        self._read_ended = False
        self._write_ended = False
        self._unread = 0
        self._full = False
        self._upgraded: Any = None
        self._descriptor: int | None = None
        self._timer: Any = None

    # ------------------------------------------------------------------ Protocol

    def connectionMade(self) -> None:
        self._server.clients.add(self)
        self.transport.registerProducer(self, True)
        self._timer = self._server.reactor.callLater(REQUEST_TIMEOUT, self._timed_out)

    def dataReceived(self, data: bytes) -> None:
        if self._upgraded is not None:
            self._upgraded.dataReceived(data)
            return
        self._buffer += data
        if self._busy:
            if len(self._buffer) >= MAX_AHEAD:
                self.transport.pauseProducing()
            return
        line, separator, rest = self._buffer.partition(b"\n")
        if len(line) > MAX_REQUEST:
            self._refuse(f"the request is longer than {MAX_REQUEST} octets")
        elif separator:
            self._buffer = rest
            self._line(line)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """One comes with a request at the most; any other is closed."""
        if self._descriptor is None and not self._busy:
            self._descriptor = descriptor
        else:
            os.close(descriptor)

    def take_descriptor(self) -> int | None:
        """See ``Reply.descriptor``."""
        descriptor, self._descriptor = self._descriptor, None
        return descriptor

    def readConnectionLost(self) -> None:
        """The client has ended its half, or is gone: what was asked for is called off; a stream is told."""
        self._read_ended = True
        if self._upgraded is not None:
            if IHalfCloseableProtocol.providedBy(self._upgraded):
                self._upgraded.readConnectionLost()
            if self._write_ended or not IHalfCloseableProtocol.providedBy(self._upgraded):
                self._end()
        elif self.cancelled is not None or not self._busy:
            self._cancel()
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our half has ended; Twisted leaves it to the protocol to end the connection once both have."""
        self._write_ended = True
        if IHalfCloseableProtocol.providedBy(self._upgraded):
            self._upgraded.writeConnectionLost()
        if self._read_ended:
            self._end()

    def _end(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self._stop_timer()
        self._server.clients.discard(self)
        self.transport = None
        unwanted = self.take_descriptor()
        if unwanted is not None:
            os.close(unwanted)
        self._cancel()
        upgraded, self._upgraded = self._upgraded, None
        if upgraded is not None:
            upgraded.connectionLost(reason)

    # ------------------------------------------------------------------ IPushProducer

    def pauseProducing(self) -> None:
        """The client does not read."""
        self._full = True

    def resumeProducing(self) -> None:
        """The client has read everything."""
        self._full = False
        self._unread = 0

    def stopProducing(self) -> None:
        """The connection ends; ``connectionLost`` follows."""

    # ------------------------------------------------------------------ the request

    def _line(self, line: bytes) -> None:
        if not self._authentic:
            self._check_token(line)
            return
        self._stop_timer()
        self._busy = True
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
            command, arguments = request["command"], request.get("arguments") or {}
            if not isinstance(command, str) or not isinstance(arguments, dict):
                raise KeyError("command")
        except (msgspec.MsgspecError, KeyError, RecursionError):
            self._refuse('a request is one line {"command": …, "arguments": {…}}')
            return
        self._server.commands.serve(command, arguments, SocketReply(self))

    def _check_token(self, line: bytes) -> None:
        token = self._server.token
        if token is None or not hmac.compare_digest(line.strip(), token):
            self._refuse("the token is wrong")
            return
        self._authentic = True
        self.dataReceived(b"")

    def _cancel(self) -> None:
        action, self.cancelled = self.cancelled, None
        if action is None:
            return
        try:
            action()
        except Exception:
            self._log.failure("a command failed to be called off")

    # ------------------------------------------------------------------ the answer

    def answer(self, message: dict[str, object]) -> None:
        """One line to the client; one that does not read its answers is cut off."""
        if self.transport is None or self._upgraded is not None:
            return
        line = msgspec.json.encode(message) + b"\n"
        if self._full:
            self._unread += len(line)
            if self._unread > MAX_UNREAD:
                self.transport.abortConnection()
                return
        self.transport.write(line)

    def finish(self, message: dict[str, object]) -> None:
        """The last line."""
        self.answer(message)
        self.cancelled = None
        if self.transport is not None and self._upgraded is None:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def _refuse(self, text: str) -> None:
        self.finish({"error": text})

    def upgrade(self, protocol: Any) -> None:
        """See ``Reply.upgrade``."""
        self.answer({"stream": True})
        self.cancelled = None
        if self.transport is None:
            protocol.connectionLost(failure_of(ConnectionDone()))
            return
        self._upgraded = protocol
        self.transport.unregisterProducer()
        protocol.makeConnection(self.transport)
        rest, self._buffer = self._buffer, b""
        if rest:
            protocol.dataReceived(rest)
        if self._read_ended:
            self.readConnectionLost()
        elif len(rest) >= MAX_AHEAD:
            self.transport.resumeProducing()

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

    def __init__(self, reactor: Any, folder: Path, commands: Commands) -> None:
        self.reactor = reactor
        self.folder = folder
        self.commands = commands
        self.clients: set[LocalClient] = set()
        self.token: bytes | None = None
        self._port: Any = None
        self._descriptor: int | None = None
        """The folder's, through which a path that is too long is reached; open for as long as the socket."""

    @property
    def path(self) -> Path:
        """The socket."""
        return self.folder / "control.sock"

    def buildProtocol(self, addr: object) -> LocalClient | None:
        return LocalClient(self) if len(self.clients) < MAX_CLIENTS else None

    def start(self) -> Deferred[None]:
        """Listen; fails with CommandError. A socket that a killed node left is replaced (the folder's lock is ours)."""
        return maybeDeferred(self._listen_unix if hasattr(socket, "AF_UNIX") else self._listen_loopback)

    def _listen_unix(self) -> None:
        name = os.fsencode(self.path)
        try:
            self.folder.stat()
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
            if len(name) > MAX_SOCKET_PATH:
                self._descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
                name = f"/proc/self/fd/{self._descriptor}/{self.path.name}".encode()
            self._port = self.reactor.listenUNIX(name, self, BACKLOG, 0o600)
        except (OSError, CannotListenError) as problem:
            self._close_descriptor()
            cause: Any = getattr(problem, "socketError", problem)
            raise CommandError(f"the socket {self.path} cannot be made: {cause.strerror or cause}") from None

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
        ended: Deferred[Any] = maybeDeferred(port.stopListening) if port is not None else succeed(None)
        return ended.addErrback(_expect_os_error).addCallback(self._stopped)

    def _stopped(self, _: object) -> None:
        self._close_descriptor()
        for name in (self.path, self.folder / "control.json"):
            with contextlib.suppress(FileNotFoundError):
                name.unlink()

    def _close_descriptor(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _expect_os_error(failure: Any) -> None:
    """Somebody else has removed the socket's file, which Twisted does not expect."""
    failure.trap(OSError)
