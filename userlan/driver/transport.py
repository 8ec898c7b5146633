"""A stream of the LAN as Twisted's own transport: what a protocol expects of TCP, over a connection of the stack.

::

    protocol ── write ──> [queue] ── send ──> Connection          queue: only what the connection has no room for
    protocol <─ dataReceived ── receive ──── Connection           not while paused: then its window closes

Back-pressure: a registered push producer is paused while the queue holds anything and resumed when the connection has taken it; a
paused transport does not read. Closing: ``loseConnection`` flushes, sends FIN and lets the connection end on its own
(``CoreRunner.lingering``); ``abortConnection`` resets. An end of the peer's stream goes to ``readConnectionLost`` of a protocol that can
be half closed, and ends the connection of any other, as Twisted's TCP does.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    NoRouteError,
    TimeoutError,
)
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.runner import CoreRunner, StreamOwner, own
from userlan.stack.tcp.connection import Connection
from userlan.stack.tcp.state import Events

UNIT = 65536
"""Octets of one ``dataReceived`` at most: the stack's super-segment, and Twisted's own read size."""

READS_A_TURN = 16
"""Units delivered to one protocol in a row; then the other streams of this process have their turn."""

Address = IPv4Address | IPv6Address


def address(end: tuple[bytes, int]) -> Address:
    """A packed address and a port as Twisted's address."""
    host = str(ipaddress.ip_address(end[0]))
    return IPv4Address("TCP", host, end[1]) if len(end[0]) == 4 else IPv6Address("TCP", host, end[1])


def failure_of(error: str | None, connecting: bool) -> Exception:
    """The stack's word for why a connection ended as Twisted's exception."""
    if error == "refused" or (error == "reset" and connecting):
        return ConnectionRefusedError()
    if error == "timeout":
        return TimeoutError() if connecting else ConnectionLost("the peer does not answer any more")
    if error == "unreachable":
        return NoRouteError() if connecting else ConnectionLost("the peer cannot be reached")
    if error == "aborted":
        return ConnectionAborted()
    return ConnectionDone() if error is None else ConnectionLost(f"connection {error}")


@implementer(ITCPTransport, IConsumer, IPushProducer)
class LanTransport(StreamOwner):
    """See the module. ``attach`` gives it its protocol."""

    _log = Logger()
    disconnecting = False

    def __init__(self, runner: CoreRunner, connection: Connection) -> None:
        self._runner = runner
        self._connection = connection
        self._protocol: Any = None
        self._queue: deque[Any] = deque()
        self._producer: Any = None
        self._streaming = False
        self._producer_paused = False
        self._paused = False
        self._reading = False
        self._read_ended = False
        self._write_ending = False
        self._write_ended = False
        self._closed: str | None | bool = False
        self.connected = True
        own(connection, self)
        runner.streams.add(self)

    def attach(self, protocol: Any) -> None:
        """Give the protocol its transport, then what has arrived already."""
        self._protocol = protocol
        protocol.makeConnection(self)
        self._deliver()

    # --- the connection's events -------------------------------------------------------------------------------------

    def stack_events(self, flags: int) -> None:
        if flags & Events.CLOSED:
            self._closed = self._connection.error
            self._runner.lingering.discard(self)
        if not self.connected or self._protocol is None:
            return
        if flags & Events.WRITABLE:
            self._flush()
        if flags & (Events.READABLE | Events.EOF | Events.CLOSED):
            self._deliver()

    def _deliver(self) -> None:
        """Hand over what is readable, then the end of the stream, then the end of the connection."""
        if self._reading or self._protocol is None:
            return
        self._reading = True
        try:
            for _ in range(READS_A_TURN):
                if self._paused or not self.connected or not self._connection.readable:
                    break
                data = self._connection.receive(UNIT)
                self._runner.touch()
                self._protocol.dataReceived(data if type(data) is bytes else bytes(data))
            else:
                if self._connection.readable:
                    self._runner.soon(self._deliver)
                    return
        except Exception:
            self._log.failure("a protocol failed in dataReceived")
            self._connection.abort(self._runner.now())
            self._runner.touch()
            self._lost(ConnectionLost("the protocol failed"))
            return
        finally:
            self._reading = False
        if self.connected and not (self._paused and self._connection.readable):
            self._deliver_ends()

    def _deliver_ends(self) -> None:
        if self._connection.eof and not self._read_ended:
            self._read_ended = True
            if IHalfCloseableProtocol.providedBy(self._protocol):
                self._protocol.readConnectionLost()
            else:
                self.loseConnection()
        if self.connected and self._closed is not False:
            self._lost(failure_of(self._closed if isinstance(self._closed, str) else None, False))

    # --- ITransport --------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send; what the connection does not take waits in the queue."""
        if not data or self.disconnecting or self._write_ending or not self.connected:
            return
        if not self._queue:
            taken = self._connection.send(data, self._runner.now())
            self._runner.touch()
            if taken == len(data):
                return
            data = memoryview(data)[taken:]  # type: ignore[assignment]  # a view: the rest is not copied
        self._queue.append(data)
        self._pause_producer()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        if self.disconnecting or not self.connected:
            return
        self.disconnecting = True
        self._runner.soon(self._flush)

    def loseWriteConnection(self) -> None:
        """End our half of the stream after what is queued."""
        if not self._write_ending and self.connected:
            self._write_ending = True
            self._runner.soon(self._flush)

    def abortConnection(self) -> None:
        if self.connected:
            self._connection.abort(self._runner.now())
            self._runner.touch()
            self.disconnecting = True
            self._runner.soon(lambda: self._lost(ConnectionAborted()))

    def getPeer(self) -> Address:
        return address(self._connection.remote)

    def getHost(self) -> Address:
        return address(self._connection.local)

    def getTcpNoDelay(self) -> bool:
        return bool(self._connection.no_delay)

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._connection.no_delay = bool(enabled)

    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """The tunnel's own liveness watches the peer; nothing is done."""

    # --- IConsumer ---------------------------------------------------------------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError(f"a producer is registered already: {self._producer!r}")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False
        if not streaming:
            self._runner.soon(self._flush)
        elif self._queue:
            self._pause_producer()

    def unregisterProducer(self) -> None:
        self._producer = None
        if self.connected and (self.disconnecting or self._write_ending):
            self._runner.soon(self._flush)

    # --- IPushProducer -----------------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        if self._paused:
            self._paused = False
            self._runner.soon(self._deliver)

    def stopProducing(self) -> None:
        self.loseConnection()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _pause_producer(self) -> None:
        if self._producer is not None and self._streaming and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def _flush(self) -> None:
        """Hand the queue to the connection; then more is asked of the producer, or the stream ends."""
        if not self.connected:
            return
        queue, now = self._queue, self._runner.now()
        while queue:
            data = queue[0]
            taken = self._connection.send(data, now)
            self._runner.touch()
            if taken < len(data):
                queue[0] = memoryview(data)[taken:]
                return
            queue.popleft()
        if self._producer is not None and (self._producer_paused or not self._streaming):
            self._producer_paused = False
            self._producer.resumeProducing()
            if not self._streaming and not self._queue:
                self._runner.soon(self._flush)      # a pull producer is asked again, until it has nothing left
            return
        if self._producer is not None:
            return
        if self.disconnecting:
            self._close()
        elif self._write_ending and not self._write_ended:
            self._write_ended = True
            self._connection.shutdown(now)
            self._runner.touch()
            if IHalfCloseableProtocol.providedBy(self._protocol):
                self._protocol.writeConnectionLost()

    def _close(self) -> None:
        """Everything was handed to the connection: it ends by itself, the protocol is done."""
        self._connection.close(self._runner.now())
        self._runner.touch()
        if self._closed is False:
            self._runner.lingering.add(self)
        self._lost(ConnectionDone())

    def _lost(self, reason: Exception) -> None:
        if not self.connected:
            return
        self.connected = False
        self.disconnecting = True
        self._queue.clear()
        self._runner.streams.discard(self)
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connectionLost(Failure(reason))  # type: ignore[no-untyped-call]  # Twisted's Failure has no types
