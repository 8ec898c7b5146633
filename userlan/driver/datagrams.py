"""A UDP port of the LAN, like Twisted's own (IUDPTransport) for a DatagramProtocol."""

from __future__ import annotations

import ipaddress
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from userlan.driver.runner import CoreRunner
from userlan.stack import errors
from userlan.stack.errors import StackError
from userlan.stack.events import UdpReadable

DATAGRAMS_A_TURN = 256
"""Datagrams handed to one protocol in a row; then the others have their turn."""


class LanDatagramPort:
    """Bound to one port of all own virtual addresses."""

    _log = Logger()

    def __init__(self, runner: CoreRunner, protocol: DatagramProtocol, port: int) -> None:
        self._runner = runner
        self._protocol: Any = protocol
        self._wanted = port
        self._socket: Any = None

    def startListening(self) -> None:
        """Bind; raises CannotListenError where the port is taken."""
        try:
            self._socket = self._runner.host.udp_bind(self._wanted)
        except StackError as error:
            raise CannotListenError("", self._wanted, error) from error  # type: ignore[no-untyped-call]  # Twisted's errors have no types
        self._runner.handle(self._socket, self._readable)
        self._protocol.makeConnection(self)

    def stopListening(self) -> Deferred[None]:
        """Free the port. Idempotent."""
        if self._socket is not None:
            self._runner.forget(self._socket)
            self._socket.close()
            self._socket = None
            self._protocol.doStop()
        return succeed(None)

    loseConnection = stopListening

    def write(self, data: bytes, addr: tuple[str, int] | None = None) -> None:
        """Send one datagram to a numeric host and port; a full queue drops it, as UDP does. MessageLengthError when too long."""
        if self._socket is None:
            return
        remote = None if addr is None else (ipaddress.ip_address(addr[0]).packed, addr[1])
        try:
            self._socket.send(data, remote, self._runner.now())
        except StackError as error:
            if error.reason == errors.TOO_LONG:
                raise MessageLengthError(str(error)) from error
            raise
        self._runner.touch()

    def writeSequence(self, seq: Any, addr: tuple[str, int]) -> None:
        """Send the parts as one datagram."""
        self.write(b"".join(seq), addr)

    def getHost(self) -> IPv4Address | IPv6Address:
        """The port; the address is the unspecified one."""
        return IPv4Address("UDP", "0.0.0.0", self._socket.port if self._socket is not None else self._wanted)

    def _readable(self, event: UdpReadable) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            if self._socket is None:
                return
            received = self._socket.receive()
            if received is None:
                return
            host = str(ipaddress.ip_address(received.source[0]))
            try:
                self._protocol.datagramReceived(bytes(received.payload), (host, received.source[1]))
            except Exception:
                self._log.failure("a protocol failed in datagramReceived")
        self._runner.soon(lambda: self._readable(event))
