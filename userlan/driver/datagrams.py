"""A UDP port of the LAN, like Twisted's own (IUDPTransport) for a DatagramProtocol."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.reasons import cannot_listen, error
from userlan.driver.runner import CoreRunner
from userlan.lan.addresses import packed, text
from userlan.stack import errors
from userlan.stack.errors import StackError
from userlan.stack.events import UdpReadable
from userlan.stack.udp import UdpSocket

DATAGRAMS_A_ROUND = 256
"""Datagrams handed to one protocol in a row; then the others have their turn."""


@implementer(IListeningPort)
class LanDatagramPort:
    """One port of all own virtual addresses; the transport of a DatagramProtocol."""

    _log = Logger()

    def __init__(self, runner: CoreRunner, protocol: DatagramProtocol, port: int) -> None:
        self._runner = runner
        self._protocol: Any = protocol
        self._wanted = port
        self._socket: UdpSocket | None = None

    def startListening(self) -> None:
        """Bind; raises CannotListenError where the port is taken."""
        try:
            self._socket = self._runner.host.udp_bind(self._wanted)
        except StackError as refusal:
            raise cannot_listen("the LAN", self._wanted, refusal) from refusal
        self._wanted = self._socket.port
        self._runner.handle(self._socket, self._readable)
        self._protocol.makeConnection(self)

    def stopListening(self) -> Deferred[None]:
        """Free the port. Idempotent."""
        socket, self._socket = self._socket, None
        if socket is not None:
            self._runner.forget(socket)
            socket.close()
            self._protocol.doStop()
        return succeed(None)

    def loseConnection(self) -> None:
        """As :meth:`stopListening`."""
        self.stopListening()

    def connect(self, host: str, port: int) -> None:
        """Speak with one remote only; an ICMP error about it reaches ``connectionRefused``. Raises
        RuntimeError when it is connected already."""
        if self._socket is None:
            return
        if self._socket.remote is not None:
            raise RuntimeError("the port is connected already")
        self._socket.connect((_numeric(host), port))

    def write(self, data: bytes, addr: tuple[str, int] | None = None) -> None:
        """Send one datagram to a numeric host and port (None: the connected one). A full queue drops it, as UDP does.

        Raises InvalidAddressError for a name, MessageLengthError when too long, StackError when nothing leads there.
        """
        if self._socket is None:
            return
        remote = None if addr is None else (_numeric(addr[0]), addr[1])
        try:
            self._socket.send(data, remote, self._runner.now())
        except StackError as refusal:
            if refusal.reason == errors.TOO_LONG:
                raise error.MessageLengthError(str(refusal)) from refusal
            raise
        self._runner.touch()

    def writeSequence(self, data: Iterable[bytes], addr: tuple[str, int]) -> None:
        """Send the parts as one datagram."""
        self.write(b"".join(data), addr)

    def getHost(self) -> IPv4Address:
        """The port, at the unspecified address: it is every own one."""
        return IPv4Address("UDP", "0.0.0.0", self._wanted)

    def _readable(self, event: UdpReadable) -> None:
        """The queue was empty and is not any more: read it to the end, in bounded rounds."""
        self._read()

    def _read(self) -> None:
        for _ in range(DATAGRAMS_A_ROUND):
            socket = self._socket
            if socket is None:
                return
            received = socket.receive()
            if received is None:
                self._errors(socket)
                return
            source, port = received.source
            try:
                self._protocol.datagramReceived(bytes(received.payload), (text(source), port))
            except Exception:
                self._log.failure("a protocol failed in datagramReceived")
        self._runner.soon(self._read)

    def _errors(self, socket: UdpSocket) -> None:
        while socket.take_error() is not None:
            try:
                self._protocol.connectionRefused()
            except Exception:
                self._log.failure("a protocol failed in connectionRefused")


def _numeric(host: str) -> bytes:
    try:
        return packed(host)
    except ValueError:
        raise error.InvalidAddressError(host, "a datagram goes to a numeric address") from None
