"""The same datagrams over TCP, where UDP is blocked.

::

    ┌────────┬──────────────┬────────┬──────────────┬ ─ ─     both ways
    │ length │ datagram     │ length │ datagram     │         length: 2 bytes, big-endian, 1 to 65,535
    └────────┴──────────────┴────────┴──────────────┴ ─ ─

A remote is ``Endpoint("tcp", host, port)``. Connections are accepted on the node's port and opened by the first burst
to such an endpoint; both are the same from then on. One that is accepted at a port with a number, or opened from a local port with a
number (``punching_tcp``), has it as its endpoint's ``via``. States of a connection::

    accepted ── first frame is owned by a core ──► open ── nothing for IDLE_TIMEOUT ──► closed
       └─ other first frame, or FIRST_FRAME_TIMEOUT ──► closed      either: a frame below LEAST_FRAME ──► closed
    open ── takes nothing for STALLED_TIMEOUT ──► closed
    connecting ──► open        connecting ── refused, timed out ──► backing off (doubling) ──► forgotten

There is TCP inside (and often this TCP is inside another's): nothing is retried here. What a connection does not take
at once waits up to ``QUEUE_BYTES``; the cores are told that it is full (``hold``) and that it has drained
(``release``), so that packets wait with them, by flow. What comes nevertheless is dropped and counted.

Speed: a frame may carry a whole super-packet of 64 KB, sealed once, where UDP needs 46 datagrams. It is handed to the
kernel by one ``sendmsg`` without a copy as long as nothing waits, and read ``READ_BYTES`` at a time.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet import tcp
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.internet.protocol import ClientFactory, ServerFactory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.frames import LENGTH, FrameReader
from userlan.driver.kernel_tcp import PathWatch, tune
from userlan.driver.punching_tcp import Punches
from userlan.driver.reactor import DelayedCall, Reactor
from userlan.driver.reasons import cannot_listen
from userlan.wire.endpoint import TCP, Endpoint, unmapped

Buffer = bytes | bytearray | memoryview

BACKLOG = 128
"""Connections that the system accepts ahead of us: Twisted's own default is 50."""
MAX_ACCEPTED = 1024
"""Accepted connections: each may hold QUEUE_BYTES and a socket; stops a flood from taking the process's descriptors."""
MAX_ACCEPTED_FROM_ADDRESS = 32
"""Accepted connections of one remote address:
the members behind one NAT, and no address takes all places for itself."""
MAX_OPENED = 256
"""Connections opened: endpoints are named by peers, who could name any number."""
MAX_BACKING_OFF = 1024
"""Endpoints whose last attempt failed and is remembered."""

FIRST_FRAME_TIMEOUT = 10.0
"""Seconds in which an accepted connection must bring its first whole frame:
the handshake's first message, which is one segment."""
IDLE_TIMEOUT = 300.0
"""Seconds without a frame in either direction:
above REJECT_AFTER_TIME (180 s, WireGuard white paper 6.1), so no live session is cut."""
STALLED_TIMEOUT = 20.0
"""Seconds for which a connection may take nothing: a middlebox forgot it, or the other end does not read. What would take it,
bulk beside UDP above all, goes elsewhere or by a new one."""
CONNECT_TIMEOUT = 10.0
"""Seconds for a connection to be established: three transmissions of a SYN (RFC 6298: 1 + 2 + 4 s) and some more."""
BACK_OFF_FIRST = 1.0
BACK_OFF_LAST = 30.0
"""Seconds between attempts to one endpoint, doubling from the first to the last."""

QUEUE_BYTES = 512 * 1024
"""Bytes that wait for a connection whose socket is full: what a core gives in one call (256 KB and a super-packet, 8 KB of frames and
seals), of which the first burst may have filled the socket, and as much again for what is sealed regardless (handshakes, echoes)."""
MAX_PARTS = 1024
"""Buffers of one ``sendmsg`` (Linux: UIO_MAXIOV)."""
LEAST_FRAME = 32
"""Bytes of the shortest message of any core (an empty transport message, WireGuard white paper 5.4.6). A stream of shorter
ones, which a datagram's headers would make dear to send, could only cost us the work for each."""
READ_BYTES = 256 * 1024
"""Bytes read at once: four whole super-packets, about a third of a millisecond of work."""
BURST_BYTES = 65507
"""Bytes of neighbouring frames of one size handed over as one burst, as UDP would deliver them."""


class Receiver(Protocol):
    """What the frames are handed to."""

    counters: Counter[str]

    def owns(self, data: Buffer) -> bool: ...
    def received(self, data: memoryview, segment: int, source: Endpoint, port: None) -> None: ...
    def pump(self) -> None: ...
    def hold(self, way: Endpoint | str) -> None: ...
    def release(self, way: Endpoint | str) -> None: ...
    def way_opened(self, endpoint: Endpoint) -> None: ...
    def way_lost(self, endpoint: Endpoint) -> None: ...
    def way_lossy(self, endpoint: Endpoint) -> None: ...
    def socket_opened(self, via: int, transport: str, port: int) -> None: ...


@implementer(IPushProducer)
class FramedConnection(TwistedProtocol):
    """One connection, accepted or opened; it tells the port of its beginning and end."""

    transport: Any

    def __init__(self, port: FramedPort, endpoint: Endpoint, trusted: bool) -> None:
        """``trusted``: opened by this side, so that its first frame need not prove anything."""
        self.endpoint = endpoint
        self.accepted = not trusted
        self._port = port
        self._trusted = trusted
        self._reader = FrameReader()
        self._queue: list[bytes] = []
        self._queue_bytes = 0
        self._full = True
        self._handle: socket.socket | None = None
        """The kernel's socket, where frames can be handed to it directly."""
        self._timer: DelayedCall | None = None
        self._last_use = 0.0
        self._full_since = 0.0
        self._watch = PathWatch()

    def connectionMade(self) -> None:
        self._full = False
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        tune(self.transport)
        if isinstance(self.transport, tcp.Connection) and hasattr(socket.socket, "sendmsg"):
            self._handle = self.transport.getHandle()
            self.transport.bufferSize = READ_BYTES
        # A pull producer of a Twisted socket is called exactly when its queue has run empty.
        self.transport.registerProducer(self, self._handle is None)
        reactor = self._port.reactor
        self._last_use = reactor.seconds()
        self._timer = reactor.callLater(STALLED_TIMEOUT if self._trusted else FIRST_FRAME_TIMEOUT, self._expire)
        self._port.opened(self)
        self._flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._handle = None
        self._queue.clear()
        self._queue_bytes = 0
        self._port.lost(self)

    def _expire(self) -> None:
        self._timer = None
        reactor = self._port.reactor
        now = reactor.seconds()
        left = self._last_use + IDLE_TIMEOUT - now
        if self._trusted and self._full and now - self._full_since >= STALLED_TIMEOUT:
            self._close("stalled")
        elif self._trusted and left > 0:
            self._timer = reactor.callLater(min(left, STALLED_TIMEOUT), self._expire)
        else:
            self._close("idle" if self._trusted else "silent")

    def _close(self, reason: str) -> None:
        self._port.counters[f"tcp-{reason}"] += 1
        self.transport.abortConnection()

    # -- receiving

    def dataReceived(self, data: bytes) -> None:
        """Hand over every whole frame, neighbours of one size together."""
        self._last_use = self._port.reactor.seconds()
        try:
            self._take(self._reader.feed(data))
        finally:
            self._port.receiver.pump()

    def _take(self, frames: list[memoryview]) -> None:
        run: list[memoryview] = []
        run_size = run_bytes = 0
        for frame in frames:
            size = len(frame)
            if size < LEAST_FRAME or not (self._trusted or self._prove(frame)):
                self._close("unowned" if size >= LEAST_FRAME else "short-frame")
                return
            if run and (size > run_size or len(run) * run_size > run_bytes or run_bytes + size > BURST_BYTES):
                self._deliver(run, run_size)
                run, run_bytes = [], 0
            if not run:
                run_size = size
            run.append(frame)
            run_bytes += size
        if run:
            self._deliver(run, run_size)

    def _prove(self, frame: memoryview) -> bool:
        """Whether the first frame is for one of the cores, so that the connection may stay."""
        self._trusted = self._port.receiver.owns(frame)
        if self._trusted and self._timer is not None:
            self._timer.reset(STALLED_TIMEOUT)
        return self._trusted

    def _deliver(self, run: list[memoryview], size: int) -> None:
        data = run[0] if len(run) == 1 else memoryview(b"".join(run))
        self._port.receiver.received(data, size, self.endpoint, None)

    # -- sending

    def send(self, data: Buffer, segment: int) -> None:
        """Send the datagrams of a burst as frames, or drop them when too much waits already; none: it is enough to say,
        now or once it is so, that there is a connection."""
        if not data:
            if self._timer is not None:
                self._port.receiver.way_opened(self.endpoint)
            return
        if self._queue_bytes + len(data) > QUEUE_BYTES:
            self._port.counters["tcp-send-full"] += 1
            return
        view = memoryview(data)
        step = segment if segment > 0 else len(view)
        parts: list[Buffer] = []
        for offset in range(0, len(view), step):
            part = view[offset : offset + step]
            parts += (len(part).to_bytes(LENGTH, "big"), part)
        if self._full:
            framed = b"".join(parts)
            self._queue.append(framed)
            self._queue_bytes += len(framed)
        else:
            self._write(parts)

    def _write(self, parts: list[Buffer]) -> None:
        """Hand frames to the kernel as far as it takes them, the rest to Twisted, which waits for the socket."""
        self._last_use = self._port.reactor.seconds()
        if self._handle is None:
            self.transport.write(b"".join(parts))
            return
        verdict = self._watch.look(self._handle, self._last_use)
        if verdict:
            self._port.counters[f"tcp-{verdict}"] += 1
            self._port.receiver.way_lossy(self.endpoint)
        size = sum(map(len, parts))
        try:
            taken = self._handle.sendmsg(parts[:MAX_PARTS])
        except BlockingIOError:
            taken = 0
        except OSError:
            taken = 0  # the connection is broken: the reactor finds out by itself, and then tells connectionLost
        if taken < size:
            self._set_full()
            self.transport.write(b"".join(parts)[taken:])

    def _flush(self) -> None:
        while self._queue and not self._full:
            framed = self._queue.pop(0)
            self._queue_bytes -= len(framed)
            self._write([framed])

    def _set_full(self) -> None:
        if not self._full:
            self._full = True
            self._full_since = self._port.reactor.seconds()
            self._port.receiver.hold(self.endpoint)

    def pauseProducing(self) -> None:
        """The transport is full."""
        self._set_full()

    def resumeProducing(self) -> None:
        """The transport has room again."""
        if not self._full:
            return
        self._full = False
        self._flush()
        if not self._full:
            self._port.receiver.release(self.endpoint)

    def stopProducing(self) -> None:
        """The transport ends; ``connectionLost`` follows."""
        self._full = True
        self._handle = None

    def close(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abortConnection()


class _Accepting(ServerFactory):
    noisy = False

    def __init__(self, port: FramedPort, via: int) -> None:
        self._port = port
        self._via = via

    def buildProtocol(self, addr: IAddress | None) -> FramedConnection | None:
        return self._port.accept(addr, self._via)


class _Opening(ClientFactory):
    noisy = False

    def __init__(self, port: FramedPort, connection: FramedConnection) -> None:
        self._port = port
        self._connection = connection

    def buildProtocol(self, addr: IAddress | None) -> FramedConnection:
        return self._connection

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._port.failed(self._connection)


class FramedPort:
    """All framed connections of the process."""

    def __init__(self, receiver: Receiver, reactor: Reactor, host: Callable[[int], str] | None = None) -> None:
        """``host`` gives the numeric address at which connections with a number are bound, by family (4 or 6); None: all addresses."""
        self.receiver = receiver
        self.reactor = reactor
        self.counters = receiver.counters
        self.punches = Punches(self, host or (lambda version: "::" if version == 6 else "0.0.0.0"))
        self._listening: list[Any] = []
        self._connections: dict[Endpoint, FramedConnection] = {}
        self._connectors: dict[Endpoint, Any] = {}
        self._accepted_from: Counter[str] = Counter()
        self._back_off: dict[Endpoint, tuple[float, float]] = {}
        """Endpoint -> (not before, seconds to wait after the next failure)."""

    def listen(self, host: str, port: int, via: int = 0) -> None:
        """Accept on a numeric host and port; raises CannotListenError."""
        if ":" in host:
            self._listening.append(self._listen_ipv6(host, port, via))
        else:
            self._listening.append(self.reactor.listenTCP(port, _Accepting(self, via), interface=host))

    def _listen_ipv6(self, host: str, port: int, via: int) -> Any:
        """Twisted's own port would take IPv4 too, and so collide with the one beside it (RFC 3493, 5.3)."""
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as listening:
            try:
                listening.setblocking(False)
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if os.name == "posix":
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind((host, port))
                listening.listen(BACKLOG)
            except OSError as error:
                raise cannot_listen(host, port, error) from error
            return self.reactor.adoptStreamPort(listening.fileno(), socket.AF_INET6, _Accepting(self, via))

    def stop(self) -> Deferred[None]:
        """Close all."""
        closing = [maybeDeferred(port.stopListening) for port in self._listening]
        self._listening.clear()
        self.punches.close()
        for connector in list(self._connectors.values()):
            connector.disconnect()
        for connection in list(self._connections.values()):
            connection.close()
        return gatherResults(closing).addBoth(lambda _: None)

    def send(self, data: Buffer, segment: int, endpoint: Endpoint) -> None:
        """Send a burst to ``endpoint``, opening a connection where there is none; from a port with a number only when asked to by an
        empty one: a path that is lost is not punched again by what was meant for it."""
        connection = self._connections.get(endpoint)
        if connection is None and not endpoint.via:
            connection = self._open(endpoint)
        if connection is not None:
            connection.send(data, segment)
        elif endpoint.via and not data:
            self.punches.punch(endpoint)
        elif endpoint.via:
            self.counters["tcp-not-connected"] += 1

    def punched(self, endpoint: Endpoint) -> FramedConnection:
        """The connection for a way that was punched open."""
        return FramedConnection(self, endpoint, trusted=True)

    def accept(self, addr: IAddress | None, via: int = 0) -> FramedConnection | None:
        """A connection for a new remote, or None when there are too many."""
        remote: Any = addr
        host = _numeric(str(remote.host))
        if (
            sum(self._accepted_from.values()) >= MAX_ACCEPTED
            or self._accepted_from[host] >= MAX_ACCEPTED_FROM_ADDRESS
        ):
            self.counters["tcp-too-many"] += 1
            return None
        self._accepted_from[host] += 1
        return FramedConnection(self, Endpoint(TCP, host, int(remote.port), via), trusted=False)

    def _open(self, endpoint: Endpoint) -> FramedConnection | None:
        not_before, _ = self._back_off.get(endpoint, (0.0, 0.0))
        if self.reactor.seconds() < not_before:
            self.counters["tcp-backing-off"] += 1
            return None
        if len(self._connectors) >= MAX_OPENED:
            self.counters["tcp-too-many-opened"] += 1
            return None
        connection = FramedConnection(self, endpoint, trusted=True)
        self._connections[endpoint] = connection
        self._connectors[endpoint] = None
        self._connectors[endpoint] = self.reactor.connectTCP(
            endpoint.host, endpoint.port, _Opening(self, connection), timeout=CONNECT_TIMEOUT
        )
        return connection

    def opened(self, connection: FramedConnection) -> None:
        """A connection is established. One that was accepted does not take the place of another to the same endpoint: it
        proved nothing yet, and comes perhaps from somebody else behind the same NAT."""
        endpoint = connection.endpoint
        if connection.accepted and self._connections.get(endpoint) is not None:
            self.counters["tcp-endpoint-taken"] += 1
            connection.close()
            return
        self._back_off.pop(endpoint, None)
        self._connections[endpoint] = connection
        self.receiver.way_opened(endpoint)

    def lost(self, connection: FramedConnection) -> None:
        """A connection has ended."""
        endpoint = connection.endpoint
        if connection.accepted:
            self._accepted_from[endpoint.host] -= 1
            if self._accepted_from[endpoint.host] <= 0:
                del self._accepted_from[endpoint.host]
        if self._connections.get(endpoint) is connection:
            del self._connections[endpoint]
            self.receiver.way_lost(endpoint)
        if not connection.accepted:
            self._connectors.pop(endpoint, None)
        if endpoint.via:
            self.punches.lost(connection)

    def failed(self, connection: FramedConnection) -> None:
        """A connection could not be established: wait before the next attempt."""
        self.counters["tcp-connect-failed"] += 1
        self.lost(connection)
        _, wait = self._back_off.get(connection.endpoint, (0.0, BACK_OFF_FIRST))
        if len(self._back_off) >= MAX_BACKING_OFF:
            self._back_off.clear()
        self._back_off[connection.endpoint] = (self.reactor.seconds() + wait, min(2 * wait, BACK_OFF_LAST))


def _numeric(host: str) -> str:
    """A remote address in the form that endpoints have; a zone stays, an IPv4-mapped address becomes IPv4."""
    with contextlib.suppress(ValueError):
        return host if "%" in host else unmapped(host)
    return host
