"""A UDP port of the LAN, like Twisted's own (IUDPTransport, IMulticastTransport) for a DatagramProtocol.

The LAN is the port's one interface. So the "interface" of Twisted's multicast calls is an own virtual address: to speak to
groups from, where it is given to ``setOutgoingInterface``; membership is the whole node's, whatever is given to
``joinGroup``; a port joins as many groups as it likes, of both families.

A datagram to a group or broadcast of the LAN leaves by ``write`` as any other: it reaches the members that hear it. A protocol that has a
method ``groupDatagramReceived(datagram, addr, group)`` gets by it what came to a group or a broadcast (``group``: which one, as text), and
by ``datagramReceived`` what came to this node alone; any other protocol gets all by ``datagramReceived``. So may a responder tell a
question to everybody from one to itself (RFC 6762 5.5, 6.7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IListeningPort, IMulticastTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.reasons import cannot_listen, error
from userlan.driver.runner import CoreRunner
from userlan.lan.addresses import packed, text
from userlan.stack import errors
from userlan.stack.errors import StackError
from userlan.stack.events import UdpReadable
from userlan.stack.udp import Received, UdpSocket

DATAGRAMS_A_ROUND = 256
"""Datagrams handed to one protocol in a row; then the others have their turn."""


MAX_HOPS = 255
"""The hop limit field has 8 bits (RFC 791 3.1, RFC 8200 3)."""

UNSPECIFIED = ("0.0.0.0", "::")
"""No address in particular, of either family."""


@implementer(IListeningPort, IMulticastTransport)
class LanDatagramPort:
    """One port of all own virtual addresses; the transport of a DatagramProtocol."""

    _log = Logger()

    def __init__(self, runner: CoreRunner, protocol: DatagramProtocol, port: int, weak: bool = False) -> None:
        """``weak``: see ``UdpTable.bind``."""
        self._runner = runner
        self._protocol: Any = protocol
        self._wanted = port
        self._weak = weak
        self._socket: UdpSocket | None = None

    def startListening(self) -> None:
        """Bind; raises CannotListenError where the port is taken."""
        try:
            self._socket = self._runner.host.udp_bind(self._wanted, weak=self._weak)
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

    def setBroadcastAllowed(self, enabled: bool) -> None:
        """Broadcasts are always allowed: they reach the LAN's members only."""

    def getBroadcastAllowed(self) -> bool:
        return True

    # -- groups (IMulticastTransport)

    def joinGroup(
        self, addr: str, interface: str = "", sources: Iterable[str] | None = None, exclude: Iterable[str] = ()
    ) -> Deferred[None]:
        """Hear a group (numeric): ``sources`` alone, or (None) all but ``exclude``; again: in place of what was wanted.

        The Deferred fails with MulticastJoinError.
        """

        def join(socket: UdpSocket) -> None:
            wanted = None if sources is None else [_numeric(source) for source in sources]
            socket.join(_numeric(addr), wanted, [_numeric(source) for source in exclude])

        return self._membership(join)

    def leaveGroup(self, addr: str, interface: str = "") -> Deferred[None]:
        """Hear a group no more. The Deferred fails with MulticastJoinError when it was not joined."""
        return self._membership(lambda socket: socket.leave(_numeric(addr)))

    def setTTL(self, ttl: int) -> None:
        """The hop limit towards groups, 0 (none but this node) to 255; ValueError beyond."""
        if not 0 <= ttl <= MAX_HOPS:
            raise ValueError(f"a time to live is between 0 and {MAX_HOPS}, not {ttl}")
        self._bound().multicast_hops = ttl

    def getTTL(self) -> int:
        return self._bound().multicast_hops

    def setLoopbackMode(self, mode: bool) -> None:
        """Whether members in this node get what this port sends to their group."""
        self._bound().multicast_loop = bool(mode)

    def getLoopbackMode(self) -> bool:
        return self._bound().multicast_loop

    def setOutgoingInterface(self, addr: str | int) -> Deferred[int]:
        """Speak to groups from this own address ("0.0.0.0", "::", "" or 0: the one that fits); 1 where it is one, else 0."""
        if addr in ("", 0, *UNSPECIFIED):
            self._bound().multicast_source = None
            return succeed(1)
        try:
            source = packed(str(addr))
        except ValueError:
            return succeed(0)
        if source not in self._runner.host.addresses:
            return succeed(0)
        self._bound().multicast_source = source
        return succeed(1)

    def getOutgoingInterface(self) -> str:
        """What :meth:`setOutgoingInterface` was given, "0.0.0.0" if nothing."""
        source = self._bound().multicast_source
        return UNSPECIFIED[0] if source is None else text(source)

    def _membership(self, change: Callable[[UdpSocket], None]) -> Deferred[None]:
        try:
            change(self._bound())
        except (StackError, error.InvalidAddressError) as refusal:
            return fail(error.MulticastJoinError(str(refusal)))
        self._runner.touch()
        return succeed(None)

    def _bound(self) -> UdpSocket:
        """The socket; StackError when the port does not listen."""
        if self._socket is None:
            raise StackError(errors.CLOSED, "the UDP port does not listen")
        return self._socket

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
            try:
                self._hand_over(received)
            except Exception:
                self._log.failure("a protocol failed in datagramReceived")
        self._runner.soon(self._read)

    def _hand_over(self, received: Received) -> None:
        source, port = received.source
        destination = received.destination[0]
        to_group = getattr(self._protocol, "groupDatagramReceived", None)
        if to_group is not None and self._runner.host.addresses.of_many(destination):
            to_group(bytes(received.payload), (text(source), port), text(destination))
        else:
            self._protocol.datagramReceived(bytes(received.payload), (text(source), port))

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
