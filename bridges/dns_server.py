"""DNS by UDP and by TCP (RFC 1035 4.2, RFC 7766) for local programs and attached kernels.

::

    UDP datagram ──┐                            the zone's own ──▶ answer
                   ├─▶ Server.ask ─ Zone ───────┤
    TCP message ───┘                            outside ─────────▶ Upstream, where there is one; else REFUSED

Any local program may ask, so that what one can make us hold is bounded: queries on their way to an upstream, connections, what
one connection may ask at once, how long it may be idle. Whoever does not read their answers is not read from.

Why not the server of ``twisted.names``: it has none of these bounds, does not cut answers to what a client takes, and
answers a query that cannot be decoded by an exception.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.internet.protocol import DatagramProtocol, Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

from bridges.dns_zone import MAX_QUERY, SERVER_FAILURE, Zone, fit, recursive, respond

MAX_PENDING = 256
"""Queries on their way to an upstream: each is a socket for some seconds; a page of the web asks a few dozen at once."""

MAX_CLIENTS = 64
"""Connections by TCP, which is for the rare long answer."""

MAX_ASKED = 16
"""Queries of one connection that wait for an answer; then it is not read any more."""

IDLE = 10.0
"""Seconds without a query after which a connection is closed (RFC 7766 6.2.3: in the order of seconds)."""


class Forwarding(Protocol):
    """Somebody to ask what is outside."""

    def ask(self, query: bytes, stream: bool) -> Deferred[bytes]:
        """The answer as it came, for a query as it came; fails with any exception."""


class Server:
    """What both transports ask."""

    def __init__(self, zone: Zone, upstream: Forwarding | None) -> None:
        self.zone = zone
        self.upstream = upstream
        self.pending = 0
        self.counters: Counter[str] = zone.counters

    def ask(self, query: bytes, stream: bool, answered: Callable[[bytes], None]) -> bool:
        """``answered`` gets the answer, at once or later; False: there is none to give."""
        reply = self.zone.answer(query)
        question = reply.question
        if not reply.data:
            return False
        if question is None or not reply.outside or self.upstream is None:
            data = recursive(reply.data) if self.upstream is not None else reply.data
            answered(data if stream or question is None else fit(data, question))
            return True
        failure = respond(question, SERVER_FAILURE)
        if self.pending >= MAX_PENDING:
            self.counters["upstream-full"] += 1
            answered(failure)
            return True
        self.pending += 1

        def done(result: bytes | Failure) -> None:
            self.pending -= 1
            if isinstance(result, bytes):
                self.counters["forwarded"] += 1
                answered(result if stream else fit(result, question))
            else:
                self.counters["upstream-failed"] += 1
                answered(failure)

        self.upstream.ask(query, stream).addBoth(done)
        return True


class DnsDatagrams(DatagramProtocol):
    """The UDP port."""

    noisy = False
    transport: Any = None

    def __init__(self, server: Server) -> None:
        self._server = server

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._server.ask(datagram, False, lambda answer: self._send(answer, addr))

    def _send(self, answer: bytes, addr: Any) -> None:
        if self.transport is None:
            return
        try:
            self.transport.write(answer, addr)
        except (OSError, ValueError, MessageLengthError):
            self._server.counters["unsent"] += 1

    def stopProtocol(self) -> None:
        self.transport = None


class DnsStreams(Factory):
    """The TCP port."""

    noisy = False

    def __init__(self, reactor: Any, server: Server, idle: float = IDLE) -> None:
        self.reactor = reactor
        self.server = server
        self.idle = idle
        self.clients: set[DnsStream] = set()

    def buildProtocol(self, addr: IAddress | None) -> DnsStream | None:
        """A connection; none (it is closed at once) when there are too many."""
        if len(self.clients) >= MAX_CLIENTS:
            self.server.counters["clients-full"] += 1
            return None
        client = DnsStream(self)
        self.clients.add(client)
        return client

    def abort_all(self) -> None:
        """RST all."""
        for client in list(self.clients):
            client.transport.abortConnection()


@implementer(IPushProducer)
class DnsStream(TwistedProtocol):
    """One connection: messages with their length in front (RFC 1035 4.2.2), answered in any order (RFC 7766 6.2.1.1)."""

    transport: Any = None

    def __init__(self, factory: DnsStreams) -> None:
        self._streams = factory
        self._received = b""
        self._asked = 0
        self._full = False
        """What was answered is not being read."""
        self._reading = True
        self._taking = False
        self._timer: Any = None

    def connectionMade(self) -> None:
        self._timer = self._streams.reactor.callLater(self._streams.idle, self._expired)
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        self._take()

    def _take(self) -> None:
        """Ask what has arrived whole, as far as may be."""
        received, place = self._received, 0
        self._taking = True
        while self._asked < MAX_ASKED and not self._full and len(received) >= place + 2:
            size = int.from_bytes(received[place : place + 2], "big")
            if not 0 < size <= MAX_QUERY:
                self._streams.server.counters["query-length"] += 1
                self.transport.abortConnection()
                return
            if len(received) < place + 2 + size:
                break
            query = received[place + 2 : place + 2 + size]
            place += 2 + size
            self._asked += 1
            if not self._streams.server.ask(query, True, self._answer):
                self._asked -= 1
        self._taking = False
        self._received = received[place:]
        if place and self._timer.active():
            self._timer.reset(self._streams.idle)
        self._read_or_not()

    def _answer(self, answer: bytes) -> None:
        if self.transport is None:
            return
        self._asked -= 1
        self.transport.write(len(answer).to_bytes(2, "big") + answer)
        if not self._taking:
            self._take()

    def _read_or_not(self) -> None:
        reading = self._asked < MAX_ASKED and not self._full
        if self.transport is not None and reading != self._reading:
            self._reading = reading
            if reading:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _expired(self) -> None:
        self._streams.server.counters["idle"] += 1
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._streams.clients.discard(self)
        self.transport = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    # IPushProducer: what the transport says of our answers

    def pauseProducing(self) -> None:
        """They are not being read."""
        self._full = True
        self._read_or_not()

    def resumeProducing(self) -> None:
        """They are again."""
        self._full = False
        if not self._taking and self.transport is not None:
            self._take()

    def stopProducing(self) -> None:
        """connectionLost says so too."""
