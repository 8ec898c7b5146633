"""A stream of the LAN as Twisted's own transport: what a protocol expects of TCP, over a connection of the stack.

::

    protocol ── write ──▶ [queue] ── send ──▶ Connection        queue: only what the connection has no room for
    protocol ◀─ dataReceived ─── receive ──── Connection        not while paused: then its window closes

Back-pressure: a push producer is paused as soon as the queue holds anything and resumed once the connection has taken
it; a pull producer is asked while the connection has room. A paused transport does not read; what arrives waits in the
connection, whose receive window closes.

Closing, as Twisted's TCP does it:

- ``loseConnection``: nothing is read any more; what was written is handed over, then a FIN follows it and the protocol
  is told ConnectionDone. The connection then ends by itself (``CoreRunner.lingering``).
- ``abortConnection``: RST; the protocol is told ConnectionAborted, later in the turn.
- the peer's FIN: ``readConnectionLost`` of an IHalfCloseableProtocol, whose connection goes on; the end
  (ConnectionDone) for any other protocol, after which what it has written still leaves.
- RST, silence: ConnectionLost, at once even while paused.

A protocol with a true attribute ``takes_views`` gets what arrived as it is, which may be a memoryview or a bytearray, and is spared a copy
of every unit; all others get bytes, as Twisted promises.

Nothing is called inside a call of the application: ``resumeProducing`` and ``loseConnection`` take effect in the
engine's next round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.logger import Logger
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.reasons import Address, address_of, connection_error, failure_of
from userlan.driver.runner import Buffer, CoreRunner, StreamOwner, own
from userlan.stack.tcp.connection import Connection
from userlan.stack.tcp.state import Events, State

UNIT = 65536
"""Octets of one ``dataReceived`` at most: the stack's super-segment, and Twisted's own read size."""

READS_A_ROUND = 16
"""Units delivered to one protocol in a row, and pulls from one pull producer;
then the other streams have their turn."""

KEEPALIVE_IDLE = 7200.0
"""Seconds of silence before the first probe once ``setTcpKeepAlive`` asks for them where the stack's configuration does not say (RFC 9293
3.8.4: two hours)."""

_UNACKNOWLEDGED_FIN = frozenset({State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK})


@implementer(ITCPTransport, IConsumer, IPushProducer)
class LanTransport(StreamOwner):
    """See the module. :meth:`attach` gives it its protocol, :meth:`start` lets it deliver."""

    __slots__ = (
        "_connection",
        "_delivering",
        "_ended",
        "_keepalive",
        "_over",
        "_paused",
        "_producer",
        "_producer_paused",
        "_protocol",
        "_queue",
        "_read_ended",
        "_runner",
        "_streaming",
        "_write_ended",
        "_write_ending",
        "connected",
        "disconnecting",
    )
    _log = Logger()

    def __init__(
        self, runner: CoreRunner, connection: Connection, ended: Callable[[], None] | None = None
    ) -> None:
        """``ended`` is called once, after the protocol was told of the end."""
        self.connected = True
        self.disconnecting = False
        self._runner = runner
        self._connection = connection
        self._protocol: Any = None
        self._queue: list[Buffer] = []
        self._producer: Any = None
        self._streaming = False
        self._producer_paused = False
        self._paused = False
        self._delivering = False
        self._read_ended = False
        self._write_ending = False
        self._write_ended = False
        self._keepalive = False
        self._over = False
        self._ended = ended
        own(connection, self)
        runner.streams.add(self)

    def attach(self, protocol: Any) -> None:
        """Give the protocol its transport; what its ``connectionMade`` raises ends the connection and is raised."""
        self._protocol = protocol
        try:
            protocol.makeConnection(self)
        except Exception:
            self._protocol = None
            self._reset()
            self._lost(ConnectionAborted())
            raise

    def start(self, flags: int = 0) -> None:
        """Deliver what has arrived already; ``flags`` as those of an event."""
        self.stack_events(flags | Events.READABLE)

    @property
    def flushed(self) -> bool:
        """Whether everything that was written, and the end, was acknowledged by the peer (or the connection is
        over)."""
        connection = self._connection
        return self._over or not (self._queue or connection.unsent or connection.state in _UNACKNOWLEDGED_FIN)

    @property
    def unit(self) -> int:
        """Octets of one super-segment: a multiple of it is the best to ``write`` at once."""
        return self._connection.burst

    def finish(self) -> None:
        """The process ends: what was written leaves, if there is time."""
        self.loseConnection()

    # ------------------------------------------------------------------ the connection's events

    def stack_events(self, flags: int) -> None:
        """Something happened to the connection; flags as ``Connection.take_events``."""
        if flags & Events.CLOSED:
            self._over = True
            self._runner.lingering.discard(self)
        if not self.connected:
            self._flush_rest()
            return
        if flags & Events.WRITABLE:
            self._flush()
        if flags & (Events.READABLE | Events.EOF | Events.CLOSED):
            self._deliver()

    def _deliver(self) -> None:
        """Hand over what is readable, then the end of the stream, then the end of the connection."""
        if self._delivering or not self.connected or self._protocol is None:
            return
        self._delivering = True
        try:
            if self._deliver_data():
                self._deliver_end()
            else:
                self._runner.soon(self._deliver)
        except Exception as error:
            self._log.failure("a protocol failed; its connection is reset")
            self._reset()
            self._lost(error)
        finally:
            self._delivering = False

    def _deliver_data(self) -> bool:
        """Whether nothing more can be handed over now; False: more is there, but it is the others' turn."""
        connection = self._connection
        for _ in range(READS_A_ROUND):
            if self._paused or self.disconnecting or not self.connected or not connection.readable:
                return True
            data = connection.receive(UNIT)
            self._runner.touch()
            as_is = type(data) is bytes or getattr(self._protocol, "takes_views", False)
            self._protocol.dataReceived(data if as_is else bytes(data))
        return not connection.readable

    def _deliver_end(self) -> None:
        connection = self._connection
        if self._over and connection.error is not None:
            self._lost(connection_error(connection.error))
            return
        if self._paused or self.disconnecting or not self.connected or connection.readable:
            return
        if connection.eof and not self._read_ended:
            self._read_ended = True
            if not IHalfCloseableProtocol.providedBy(self._protocol):
                self._hang_up()
                return
            self._protocol.readConnectionLost()
        if self._over and self.connected:
            self._lost(ConnectionDone())

    # ------------------------------------------------------------------ ITransport, ITCPTransport

    def write(self, data: bytes) -> None:
        """Send; what the connection has no room for waits in the queue. Nothing is copied: it must not change."""
        if not isinstance(data, bytes | memoryview | bytearray):
            raise TypeError(f"data to send must be bytes, not {type(data).__name__}")
        if not data or self._write_ended or not self.connected:
            return
        rest: Buffer = bytes(data) if isinstance(data, bytearray) else data
        if not self._queue:
            taken = self._connection.send(rest, self._runner.now())
            self._runner.touch()
            if taken == len(rest):
                if self.disconnecting or self._write_ending:
                    self._runner.soon(self._flush)
                return
            rest = memoryview(rest)[taken:]
        self._queue.append(rest)
        self._pause_producer()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send the parts in order."""
        for part in data:
            self.write(part)

    def loseConnection(self) -> None:
        """Send what was written and a FIN; nothing is read any more."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self._runner.soon(self._flush)

    def loseWriteConnection(self) -> None:
        """End our half of the stream after what was written; reading goes on."""
        if self.connected and not self._write_ending:
            self._write_ending = True
            self._runner.soon(self._flush)

    def abortConnection(self) -> None:
        """Reset the connection; what was not sent is dropped."""
        if self.connected:
            self.disconnecting = True
            self._reset()
            self._runner.soon(lambda: self._lost(ConnectionAborted()))

    def getPeer(self) -> Address:
        """The member's virtual address and port."""
        return address_of(self._connection.remote)

    def getHost(self) -> Address:
        """The own virtual address and port."""
        return address_of(self._connection.local)

    def getTcpNoDelay(self) -> bool:
        """Whether short segments leave at once."""
        return self._connection.no_delay

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Let short segments leave at once (Nagle's algorithm off)."""
        self._connection.no_delay = bool(enabled)
        self._runner.touch()

    def getTcpKeepAlive(self) -> bool:
        """Whether a silent peer is probed."""
        return self._keepalive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Probe a silent peer."""
        self._keepalive = bool(enabled)
        configured = self._connection.config.keepalive_idle
        self._connection.keep_alive((configured or KEEPALIVE_IDLE) if enabled else None, self._runner.now())
        self._runner.touch()

    # ------------------------------------------------------------------ IConsumer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let ``producer`` (push: streaming; else pull) fill the connection as fast as the peer reads."""
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
        """The producer has no more."""
        self._producer = None
        if self.connected and (self.disconnecting or self._write_ending):
            self._runner.soon(self._flush)

    # ------------------------------------------------------------------ IPushProducer

    def pauseProducing(self) -> None:
        """Read no more until :meth:`resumeProducing`: the receive window closes."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            self._runner.soon(self._deliver)

    def stopProducing(self) -> None:
        """The consumer of what is read is gone."""
        self.loseConnection()

    # ------------------------------------------------------------------ inside: sending

    def _pause_producer(self) -> None:
        if self._producer is not None and self._streaming and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def _drain(self) -> bool:
        """Hand the queue to the connection; whether nothing is left."""
        queue, now = self._queue, self._runner.now()
        while queue:
            data = queue[0]
            taken = self._connection.send(data, now)
            self._runner.touch()
            if taken < len(data):
                queue[0] = memoryview(data)[taken:]
                return False
            del queue[0]
        return True

    def _flush(self) -> None:
        """Hand over the queue; once it is empty, ask the producer for more, or end the stream."""
        for _ in range(READS_A_ROUND):
            if not self.connected or not self._drain():
                return
            if self._producer is None or (self._streaming and not self._producer_paused):
                break
            self._producer_paused = False
            self._producer.resumeProducing()
            if self._streaming and self._producer is not None:
                return
        else:
            self._runner.soon(self._flush)
            return
        if self.disconnecting:
            self._hang_up()
        elif self._write_ending and not self._write_ended:
            self._write_ended = True
            self._connection.shutdown(self._runner.now())
            self._runner.touch()
            if IHalfCloseableProtocol.providedBy(self._protocol):
                self._protocol.writeConnectionLost()

    def _flush_rest(self) -> None:
        """The protocol is gone: hand over what it has written, then end."""
        if self._over:
            self._queue.clear()
        elif self._queue and self._drain():
            self._connection.close(self._runner.now())
            self._runner.touch()

    # ------------------------------------------------------------------ inside: the end

    def _hang_up(self) -> None:
        """Nothing is read or written any more; the connection ends by itself once what was written has left."""
        if not self._over:
            self._runner.lingering.add(self)
            if self._drain():
                self._connection.close(self._runner.now())
                self._runner.touch()
        self._lost(ConnectionDone())

    def _reset(self) -> None:
        self._queue.clear()
        self._connection.abort(self._runner.now())
        self._runner.touch()

    def _lost(self, reason: Exception) -> None:
        """Tell the producer and the protocol, once."""
        if not self.connected:
            return
        self.connected = False
        self.disconnecting = True
        self._runner.streams.discard(self)
        producer, self._producer = self._producer, None
        protocol, self._protocol = self._protocol, None
        ended, self._ended = self._ended, None
        try:
            if producer is not None:
                producer.stopProducing()
        except Exception:
            self._log.failure("a producer failed in stopProducing")
        try:
            if protocol is not None:
                protocol.connectionLost(failure_of(reason))
        except Exception:
            self._log.failure("a protocol failed in connectionLost")
        if ended is not None:
            ended()
