"""One end of a stream that a bridge handles: a Twisted protocol with no opinion of its own.

A ``Leg`` hides how its transport (a kernel socket, or a connection of the LAN) is read, written, paused,
half-closed and aborted. What is to be done with the data is its owner's business, and the owner can be replaced:
first a negotiation (SOCKS, HTTP), then a splice.

A leg is born paused: nothing is read from it, and so nothing buffered for it, until its owner calls :meth:`Leg.resume`.

Writing to a kernel socket goes straight to the socket as long as nothing is queued: the reactor's own way costs two
``epoll_ctl`` calls, one more turn and a copy for each unit of 64 KB. What the socket does not take is left to
Twisted, and the owner is told once that the leg is congested and once when it has drained.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Protocol, TypeAlias

from twisted.internet import tcp
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

Buffer: TypeAlias = "bytes | bytearray | memoryview"

WIDE_READ = 128 * 1024
"""Bytes read at once between two kernel sockets: measured 1.4 times as fast a core as 64 KB, larger ones give
nothing more."""

UNITS_A_READ = 4
"""Super-segments read at once for the LAN (240 KB): a read of 64 KB would make one and a small rest of it, each with a
header, a seal and a system call of its own; more would make the other flows wait for too long."""


class LegOwner(Protocol):
    """Who decides what becomes of a leg's data. All calls come from the reactor's thread."""

    def leg_made(self, leg: Leg) -> None:
        """The leg is connected (and paused)."""

    def leg_data(self, leg: Leg, data: bytes) -> None:
        """Bytes arrived (any buffer, once an owner that can do with it has set ``takes_views``): at most 64 KB a call, more
        where :meth:`Leg.widen` was called."""

    def leg_ended(self, leg: Leg) -> None:
        """The far side will send no more (FIN); writing to it may go on."""

    def leg_lost(self, leg: Leg, reason: Failure) -> None:
        """The connection is gone, both ways. ``ConnectionDone`` is an orderly end, anything else is not."""

    def leg_congested(self, leg: Leg) -> None:
        """What was written to the leg is queued: write no more until :meth:`leg_drained`."""

    def leg_drained(self, leg: Leg) -> None:
        """The leg takes data again."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class Leg(TwistedProtocol):
    """One stream, with an exchangeable owner."""

    transport: Any = None

    def __init__(self, owner: LegOwner) -> None:
        self.owner = owner
        self.received = 0
        """Bytes read from the far side."""
        self.sent = 0
        """Bytes handed over for the far side."""
        self.ended = False
        """The far side has sent its FIN."""
        self.finished = False
        """Our FIN is queued or sent; nothing more can be written."""
        self.lost = False
        self.congested = False
        self.paused = True
        self.takes_views = False
        """The owner takes whatever buffer comes, and is spared a copy of it."""
        self.direct = False
        """Whether the far side is a kernel socket of Twisted's own, without TLS."""

    # what the owner calls

    def resume(self) -> None:
        """Read from the far side."""
        if self.paused:
            self.paused = False
            if not (self.ended or self.lost):
                self.transport.resumeProducing()

    def pause(self) -> None:
        """Stop reading; the far side is slowed down by its window."""
        if not self.paused:
            self.paused = True
            if not (self.ended or self.lost):
                self.transport.pauseProducing()

    def write(self, data: Buffer) -> None:
        """Hand ``data`` over for the far side. It is never refused; a caller that goes on while ``congested`` is
        buffered."""
        if self.lost or self.finished or not data:
            return
        size = len(data)
        self.sent += size
        if not self.direct or self.congested:
            self.transport.write(data if self.unit else bytes(data))
        else:
            taken = self.transport.writeSomeData(data)
            if taken == size:
                return
            if not isinstance(taken, int):
                taken = 0  # the socket is broken: the reactor finds out by itself, and then tells connectionLost
            self.congested = True
            self.transport.write(bytes(memoryview(data)[taken:]))
            self.owner.leg_congested(self)

    def finish(self) -> None:
        """Send what is queued, then FIN. The other direction lives on until the far side ends it."""
        if self.finished or self.lost:
            return
        self.finished = True
        self.transport.unregisterProducer()
        if self.ended:
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

    def close(self) -> None:
        """Send what is queued, then close both ways."""
        if self.lost:
            return
        if not self.finished:
            self.finished = True
            self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once with RST; what is queued is thrown away."""
        if self.lost or self.transport is None:
            return
        self.finished = True
        self.transport.abortConnection()

    def widen(self, other: Leg) -> None:
        """Read from a kernel socket in larger units than 64 KB: what suits the leg that they are written to."""
        if self.direct:
            self.transport.bufferSize = WIDE_READ if other.direct else UNITS_A_READ * other.unit or WIDE_READ

    @property
    def unit(self) -> int:
        """Octets of one super-segment of a connection of the LAN; 0 for other transports."""
        return getattr(self.transport, "unit", 0)

    def broken(self) -> bool:
        """Whether the kernel knows of an error (RST) on a socket that is not being watched because it is paused or
        half-closed."""
        if not self.direct or self.lost:
            return False
        handle: socket.socket = self.transport.getHandle()
        return bool(handle.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    # what the transport calls

    def connectionMade(self) -> None:
        transport = self.transport
        transport.pauseProducing()
        self.direct = isinstance(transport, tcp.Connection) and not transport.TLS
        if ITCPTransport.providedBy(transport):
            # Who writes in small pieces has its own Nagle's algorithm: a second one here would only add its delay.
            with contextlib.suppress(OSError):
                transport.setTcpNoDelay(True)
                transport.setTcpKeepAlive(True)
        # A pull producer of a Twisted socket is called exactly when its queue has run empty.
        transport.registerProducer(self, not self.direct)
        self.owner.leg_made(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        self.owner.leg_data(self, data)

    def readConnectionLost(self) -> None:
        self.ended = True
        if self.finished:
            self.transport.loseConnection()
        self.owner.leg_ended(self)

    def writeConnectionLost(self) -> None:
        """Our FIN has left; nothing waits for it."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        self.owner.leg_lost(self, reason)

    def pauseProducing(self) -> None:
        """The transport's queue is full (push transports only)."""
        self.congested = True
        self.owner.leg_congested(self)

    def resumeProducing(self) -> None:
        """The transport's queue has run empty."""
        if self.congested:
            self.congested = False
            self.owner.leg_drained(self)

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost says so too."""


class LegFactory(Factory):
    """Builds one leg for one outgoing connection."""

    noisy = False

    def __init__(self, owner: LegOwner) -> None:
        self._owner = owner

    def buildProtocol(self, addr: IAddress | None) -> Leg:
        return Leg(self._owner)
