"""Endpoints of the LAN (IStreamClientEndpoint, IStreamServerEndpoint): any Twisted protocol runs over them unmodified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import CannotListenError, ConnectError, TimeoutError
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.logger import Logger
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.runner import CoreRunner, StreamOwner, own
from userlan.driver.transport import Address, LanTransport, address, failure_of
from userlan.stack.errors import StackError
from userlan.stack.events import TcpAccepted
from userlan.stack.tcp.connection import Connection
from userlan.stack.tcp.state import Events

BACKLOG = 1024
"""Connections of one port that wait for their handshake's end: a browser opens dozens, a load test a thousand."""


class Connecting(StreamOwner):
    """A connection on its way: becomes a transport, or a failure."""

    def __init__(self, runner: CoreRunner, connection: Connection, factory: Any, timeout: float) -> None:
        self.done: Deferred[Any] = Deferred(self._cancelled)
        self._runner = runner
        self._connection = connection
        self._factory = factory
        self._timer = runner.reactor.callLater(timeout, self._expired)
        own(connection, self)

    def stack_events(self, flags: int) -> None:
        if self._timer is None:
            return
        if flags & Events.CLOSED and not flags & Events.CONNECTED:
            self._failed(failure_of(self._connection.error or "refused", True))
        elif flags & Events.CONNECTED:
            self._connected(flags)

    def _connected(self, flags: int) -> None:
        self._stop_timer()
        protocol = self._factory.buildProtocol(address(self._connection.remote))
        if protocol is None:
            self._abort()
            self.done.errback(ConnectError(string="the factory made no protocol"))
            return
        transport = LanTransport(self._runner, self._connection)
        transport.attach(protocol)
        self.done.callback(protocol)
        rest = flags & ~Events.CONNECTED
        if rest:
            transport.stack_events(rest)

    def _expired(self) -> None:
        self._timer = None
        self._abort()
        self.done.errback(TimeoutError())

    def _cancelled(self, deferred: Deferred[Any]) -> None:
        self._stop_timer()
        self._abort()
        deferred.errback(CancelledError())

    def _failed(self, error: Exception) -> None:
        self._stop_timer()
        self.done.errback(error)

    def _abort(self) -> None:
        self._connection.abort(self._runner.now())
        self._runner.touch()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


@implementer(IStreamClientEndpoint)
class LanClientEndpoint:
    """Connects to a member's port. ``resolve`` turns the host into a packed address, at each connect."""

    def __init__(
        self, runner: CoreRunner, resolve: Callable[[str], bytes], host: str, port: int, timeout: float
    ) -> None:
        self._runner, self._resolve, self._host, self._port, self._timeout = runner, resolve, host, port, timeout

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """The protocol once it is connected; fails with UnknownName, ConnectionRefusedError, NoRouteError, TimeoutError."""
        try:
            remote = (self._resolve(self._host), self._port)
            connection = self._runner.host.tcp_connect(remote, self._runner.now())
        except ValueError as error:
            return fail(error)
        except StackError as error:
            return fail(ConnectError(string=str(error)))
        self._runner.touch()
        return Connecting(self._runner, connection, protocolFactory, self._timeout).done


@implementer(IListeningPort)
class LanPort:
    """A port that is listened on."""

    _log = Logger()

    def __init__(self, runner: CoreRunner, listener: Any, factory: Any) -> None:
        self._runner, self._listener, self._factory = runner, listener, factory
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
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> Address:
        return address(self._listener.local)

    def _accepted(self, event: TcpAccepted) -> None:
        protocol = None
        try:
            protocol = self._factory.buildProtocol(address(event.connection.remote))
        except Exception:
            self._log.failure("a factory failed to make a protocol")
        if protocol is None:
            event.connection.abort(self._runner.now())
            self._runner.touch()
            return
        LanTransport(self._runner, event.connection).attach(protocol)


@implementer(IStreamServerEndpoint)
class LanServerEndpoint:
    """Listens on a port of all own virtual addresses."""

    def __init__(self, runner: CoreRunner, port: int) -> None:
        self._runner, self._port = runner, port

    def listen(self, protocolFactory: Any) -> Deferred[Any]:
        """The LanPort; fails with CannotListenError where the port is taken."""
        try:
            listener = self._runner.host.tcp_listen(self._port, backlog=BACKLOG)
        except StackError as error:
            return fail(CannotListenError("", self._port, error))  # type: ignore[no-untyped-call]  # Twisted's errors have no types
        port = LanPort(self._runner, listener, protocolFactory)
        port.startListening()
        return succeed(port)
