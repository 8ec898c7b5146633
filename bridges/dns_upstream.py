"""Asks other resolvers what is outside of the LAN: queries go on as they came, but for their number.

A query has a socket and a number of its own, both by chance, and takes an answer from the server that was asked alone,
with that number and that question (RFC 5452 4.5, 9.1). Servers are asked in order; one that refuses, fails or is silent is followed by
the next. A query that came by TCP goes on by TCP: an answer was too long for UDP.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

from bridges.listen import parse_address
from userlan.lan.hostport import check_port, cut_host_port

PATIENCE = 3.0
"""Seconds for one server: clients ask again after five (resolv.conf(5))."""

MAX_SERVERS = 3
"""Servers that are asked for one query (resolv.conf(5): MAXNS)."""

PORT = 53

SYSTEM = Path("/etc/resolv.conf")

MAX_ANSWER = 65_535

_FAILURES = frozenset((2, 5))
"""SERVFAIL, REFUSED: the next server may know better."""

Server = tuple[str, int]


class NoAnswerError(Exception):
    """No server has answered."""


def parse_server(written: str) -> Server:
    """``ADDRESS[:PORT]``. ValueError, one line."""
    if written.count(":") > 1 and not written.startswith("["):
        return parse_address(written), PORT
    host, port = cut_host_port(written)
    return parse_address(host), PORT if port is None else check_port(port)


class SystemServers:
    """This computer's resolvers, as the file says at that moment; those for which ``own`` is true are left out: they would ask us."""

    def __init__(self, own: Callable[[str], bool], path: Path = SYSTEM) -> None:
        self._own = own
        self._path = path
        self._read_at: tuple[int, int] | None = None
        self._servers: tuple[Server, ...] = ()

    def __call__(self) -> Sequence[Server]:
        try:
            status = self._path.stat()
            stamp = status.st_mtime_ns, status.st_ino
            if stamp != self._read_at:
                self._servers = tuple(self._parsed(self._path.read_text("ascii", "replace")))
                self._read_at = stamp
        except OSError:
            self._servers, self._read_at = (), None
        return self._servers

    def _parsed(self, text: str) -> list[Server]:
        servers = []
        for line in text.splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver" and not self._own(words[1].partition("%")[0]):
                servers.append((words[1], PORT))
        return servers[:MAX_SERVERS]


class Upstream:
    """Asks the servers that ``servers()`` names at that moment."""

    def __init__(self, reactor: Any, servers: Callable[[], Sequence[Server]], patience: float = PATIENCE) -> None:
        self._reactor = reactor
        self._servers = servers
        self._patience = patience

    def ask(self, query: bytes, stream: bool) -> Deferred[bytes]:
        """The answer, numbered as ``query``; fails with NoAnswerError."""
        done: Deferred[bytes] = Deferred()
        waiting = list(self._servers())[:MAX_SERVERS]
        best: bytes = b""

        def next_server(answer: bytes = b"") -> None:
            nonlocal best
            if answer:
                best = query[:2] + answer[2:]
                if answer[3] & 0x0F not in _FAILURES:
                    done.callback(best)
                    return
            if waiting:
                asking = _Stream if stream else _Datagram
                asking(self._reactor, query, waiting.pop(0), self._patience, next_server).start()
            elif best:
                done.callback(best)
            else:
                done.errback(NoAnswerError("no resolver answers"))

        next_server()
        return done


class _Asking:
    """One query to one server; ``told`` gets the answer, or nothing, once and never within ``start``."""

    def __init__(
        self, reactor: Any, query: bytes, server: Server, patience: float, told: Callable[[bytes], None]
    ) -> None:
        self.reactor = reactor
        self.query = os.urandom(2) + query[2:]
        self.server = server
        self._told: Callable[[bytes], None] | None = told
        self.timer: Any = reactor.callLater(patience, self.end)

    def fits(self, answer: bytes) -> bool:
        """Whether it is an answer to this query: number, and the question octet by octet but for its case."""
        end = self.query.index(b"\0", 12) + 5
        return answer[:2] == self.query[:2] and len(answer) >= 12 and bool(answer[2] & 0x80) and (
            answer[12:end].lower() == self.query[12:end].lower() or answer[4:6] == b"\0\0"
        )

    def end(self, answer: bytes = b"") -> None:
        """Tell, and close."""
        told, self._told = self._told, None
        if told is None:
            return
        if self.timer.active():
            self.timer.cancel()
        self.close()
        told(answer)

    def later(self) -> None:
        """There is no way to that server."""
        self.reactor.callLater(0, self.end)

    def close(self) -> None:
        """Let go of the socket."""


class _Datagram(_Asking, DatagramProtocol):
    noisy = False
    transport: Any = None

    def start(self) -> None:
        host, port = self.server
        try:
            self.reactor.listenUDP(0, self, "::" if ":" in host else "", MAX_ANSWER)
            self.transport.connect(host, port)
            self.transport.write(self.query)
        except (OSError, ValueError, CannotListenError):        # the last: too many open files
            self.later()

    def close(self) -> None:
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.stopListening()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if self.fits(datagram):
            self.end(datagram)

    def connectionRefused(self) -> None:
        self.end()

    def stopProtocol(self) -> None:
        """The epoll reactor closes a connected UDP socket at an ICMP error."""
        self.transport = None
        self.end()


class _Stream(_Asking, ClientFactory):
    noisy = False
    connection: Any = None

    def start(self) -> None:
        self.connection = self.reactor.connectTCP(*self.server, self)

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.disconnect()

    def buildProtocol(self, addr: Any) -> Protocol:
        return _Answer(self)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.end()


class _Answer(Protocol):
    """Sends the query and takes one answer."""

    transport: Any = None

    def __init__(self, asking: _Stream) -> None:
        self._asking = asking
        self._received = b""

    def connectionMade(self) -> None:
        query = self._asking.query
        self.transport.write(len(query).to_bytes(2, "big") + query)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        size = int.from_bytes(self._received[:2], "big")
        if len(self._received) >= 2 + size >= 3:
            answer = self._received[2 : 2 + size]
            self._asking.end(answer if self._asking.fits(answer) else b"")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._asking.end()
