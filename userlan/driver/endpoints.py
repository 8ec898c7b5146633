"""Endpoints of the LAN (IStreamClientEndpoint, IStreamServerEndpoint): any Twisted protocol runs over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.logger import Logger
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.reasons import Address, address_of, cannot_listen, connect_error, error, failure_of
from userlan.driver.runner import CoreRunner, StreamOwner, own
from userlan.driver.transport import LanTransport
from userlan.stack.errors import StackError
from userlan.stack.events import TcpAccepted
from userlan.stack.host import TOO_FAST
from userlan.stack.tcp.connection import Connection
from userlan.stack.tcp.listener import Listener
from userlan.stack.tcp.state import Events

BACKLOG = 1024
"""Connections of one port that wait for their handshake's end: a browser opens dozens, a load test a thousand."""


class Connecting(StreamOwner):
    """A connection on its way. ``done`` fires once, with the protocol or with why there is none."""

    def __init__(self, runner: CoreRunner, connection: Connection, factory: Any, timeout: float) -> None:
        self.done: Deferred[Any] = Deferred(self._cancelled)
        self._runner = runner
        self._connection = connection
        self._factory = factory
        self._timer: Any = runner.reactor.callLater(timeout, self._expired)
        own(connection, self)
        runner.streams.add(self)

    def stack_events(self, flags: int) -> None:
        """The handshake is complete, or the connection is over."""
        if self._timer is None:
            return
        if flags & Events.CONNECTED:
            self._connected(flags & ~Events.CONNECTED)
        elif flags & Events.CLOSED:
            self._end()
            self._failed(connect_error(self._connection.error))

    def finish(self) -> None:
        """The process ends: give up."""
        self._give_up(connect_error("aborted"))

    def _connected(self, flags: int) -> None:
        self._end()
        factory = self._factory
        transport: LanTransport | None = None
        try:
            protocol = factory.buildProtocol(address_of(self._connection.remote))
            if protocol is None:
                raise error.NoProtocol
            transport = LanTransport(self._runner, self._connection, factory.doStop)
            transport.attach(protocol)
        except Exception:
            failure = failure_of()
            if transport is None:
                self._abort()
                factory.doStop()
            self.done.errback(failure)
            return
        self.done.callback(protocol)
        transport.start(flags)

    def _expired(self) -> None:
        self._give_up(error.TimeoutError(string="no answer"))

    def _cancelled(self, deferred: Deferred[Any]) -> None:
        self._give_up(error.ConnectingCancelledError(address_of(self._connection.remote)))

    def _give_up(self, reason: Exception) -> None:
        self._end()
        self._abort()
        self._failed(reason)

    def _failed(self, reason: Exception) -> None:
        self._factory.doStop()
        self.done.errback(reason)

    def _abort(self) -> None:
        self._connection.context = None
        self._connection.abort(self._runner.now())
        self._runner.touch()

    def _end(self) -> None:
        self._runner.streams.discard(self)
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


@implementer(IStreamClientEndpoint)
class LanClientEndpoint:
    """Connects to a member's port. ``resolve`` turns the host into a packed address, at each ``connect``."""

    def __init__(
        self, runner: CoreRunner, resolve: Callable[[str], bytes], host: str, port: int, timeout: float
    ) -> None:
        self._runner = runner
        self._resolve = resolve
        self._host = host
        self._port = port
        self._timeout = timeout

    def connect(self, factory: Any) -> Deferred[Any]:
        """The connected protocol.

        Fails with UnknownName, or Twisted's ConnectionRefusedError, NoRouteError, TimeoutError, NoProtocol,
        ConnectingCancelledError, ConnectError.
        """
        try:
            remote = (self._resolve(self._host), self._port)
            connection = self._runner.host.tcp_connect(remote, self._runner.now())
        except ValueError as unknown:
            return fail(unknown)
        except StackError as refusal:
            return fail(error.ConnectError(refusal))
        factory.doStart()
        self._runner.touch()
        return Connecting(self._runner, connection, factory, self._timeout).done


@implementer(IListeningPort)
class LanPort:
    """A port that is listened on."""

    _log = Logger()

    def __init__(self, runner: CoreRunner, listener: Listener, factory: Any) -> None:
        self._runner = runner
        self._listener = listener
        self._factory = factory
        self._open = False

    def startListening(self) -> None:
        """Begin to accept."""
        if not self._open:
            self._open = True
            self._factory.doStart()
            self._runner.handle(self._listener, self._accepted)

    def stopListening(self) -> Deferred[None]:
        """End; what is connected stays. Idempotent."""
        if self._open:
            self._open = False
            self._runner.forget(self._listener)
            self._runner.host.tcp_unlisten(self._listener, self._runner.now())
            self._runner.touch()
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> Address:
        """The port, at the unspecified address: it is every own one."""
        address, port = self._listener.local
        return IPv4Address("TCP", "0.0.0.0", port) if address is None else address_of((address, port))

    def _accepted(self, event: TcpAccepted) -> None:
        protocol = None
        if not self._runner.arrivals.admit(event.connection.remote[0], self._runner.now()):
            self._runner.host.counters[TOO_FAST] += 1
        else:
            try:
                protocol = self._factory.buildProtocol(address_of(event.connection.remote))
            except Exception:
                self._log.failure("a factory failed to make a protocol; its connection is reset")
        if protocol is None:
            event.connection.abort(self._runner.now())
            self._runner.touch()
            return
        transport = LanTransport(self._runner, event.connection)
        try:
            transport.attach(protocol)
        except Exception:
            self._log.failure("a protocol failed in connectionMade; its connection is reset")
            return
        transport.start()


@implementer(IStreamServerEndpoint)
class LanServerEndpoint:
    """Listens on a port (0: a free one) of all own virtual addresses."""

    def __init__(self, runner: CoreRunner, port: int) -> None:
        self._runner = runner
        self._port = port

    def listen(self, factory: Any) -> Deferred[Any]:
        """The LanPort; fails with CannotListenError where the port is taken."""
        try:
            listener = self._runner.host.tcp_listen(self._port, backlog=BACKLOG)
        except StackError as refusal:
            return fail(cannot_listen("the LAN", self._port, refusal))
        port = LanPort(self._runner, listener, factory)
        port.startListening()
        return succeed(port)

