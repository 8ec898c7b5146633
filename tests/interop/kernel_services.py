"""What our host offers to the kernel's programs, and what it asks of the kernel's services: small state machines."""

from __future__ import annotations

import hashlib
import selectors
import socket
from random import Random
from typing import Any, Protocol

from userlan.stack import Host, TcpAccepted, TcpEvent, UdpReadable
from userlan.stack.tcp import Connection, Events

HTTP_PORT = 80
DIGEST_PORT = 7
UDP_ECHO_PORT = 7
SSH_PORT = 2222
IPERF_PORTS = (5201, 5202, 5203, 5204)
"""Four servers, since each takes one test at a time."""

_BLOCK = Random(77).randbytes((1 << 20) + 13)


def content(size: int) -> bytes:
    """Octets that repeat at no buffer's size."""
    return (_BLOCK * (size // len(_BLOCK) + 1))[:size]


class Service(Protocol):
    """One connection's owner."""

    def event(self, flags: int, now: float) -> None: ...


class Writer:
    """Sends everything as room allows, then a FIN if asked for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._left = memoryview(b"")
        self._close = False

    def write(self, data: bytes, close: bool, now: float) -> None:
        self._left, self._close = memoryview(data), close
        self.go_on(now)

    def go_on(self, now: float) -> None:
        while self._left:
            taken = self._connection.send(self._left[: self._connection.burst], now)
            if not taken:
                return
            self._left = self._left[taken:]
        if self._close:
            self._close = False
            self._connection.shutdown(now)


class HttpServer:
    """``GET /SIZE`` gives that many octets, ``GET /reset`` a RST in mid-answer, ``PUT`` the SHA-256 of what was put."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._writer = Writer(connection)
        self._head = b""
        self._hash: Any = None
        self._missing = 0

    def event(self, flags: int, now: float) -> None:
        while data := self._connection.receive():
            self._take(bytes(data), now)
        self._writer.go_on(now)

    def _take(self, data: bytes, now: float) -> None:
        if self._hash is None:
            self._head += data
            if b"\r\n\r\n" not in self._head:
                return
            head, _, data = self._head.partition(b"\r\n\r\n")
            method, path = head.split(b" ")[:2]
            if method == b"GET":
                self._get(path.decode()[1:], now)
                return
            self._hash = hashlib.sha256()
            fields = [line.partition(b":") for line in head.lower().split(b"\r\n")]
            self._missing = next(int(value) for name, _, value in fields if name == b"content-length")
            if any(name == b"expect" for name, _, _ in fields):
                self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n", now)
        self._hash.update(data)
        self._missing -= len(data)
        if self._missing == 0:
            self._answer(self._hash.hexdigest().encode(), now)

    def _get(self, path: str, now: float) -> None:
        if path == "reset":
            self._connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nx", now)
            self._connection.abort(now)
        else:
            self._answer(content(int(path)), now)

    def _answer(self, body: bytes, now: float) -> None:
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._writer.write(head + body, True, now)


class DigestServer:
    """Reads to the end of the stream, then answers with the SHA-256: the client must have closed one half only."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._hash = hashlib.sha256()

    def event(self, flags: int, now: float) -> None:
        while data := self._connection.receive():
            self._hash.update(data)
        if flags & Events.EOF:
            self._connection.send(self._hash.hexdigest().encode(), now)
            self._connection.shutdown(now)


class Splice:
    """Our connection joined with one of the kernel's, with back-pressure both ways and half-close."""

    def __init__(self, connection: Connection, selector: selectors.BaseSelector, kernels: socket.socket) -> None:
        self._connection = connection
        self._selector = selector
        self._socket = kernels
        self._socket.setblocking(False)
        self._to_socket: memoryview = memoryview(b"")
        self._to_connection: memoryview = memoryview(b"")
        self._reading = True
        self._open = True
        self._shut = False
        selector.register(self._socket, selectors.EVENT_READ, self)

    def event(self, flags: int, now: float) -> None:
        if flags & Events.CLOSED and self._connection.error:
            self._end()
        self.go_on(now)

    def go_on(self, now: float) -> None:
        """Carry whatever can be carried either way."""
        if not self._open:
            return
        try:
            self._from_connection()
            self._from_socket(now)
        except OSError:     # also ENOTCONN: a half is ended of what was reset
            self._connection.abort(now)
            self._end()
            return
        if self._shut and not self._reading and not self._to_connection:
            self._end()
            return
        events = selectors.EVENT_WRITE if self._to_socket else 0
        events |= selectors.EVENT_READ if self._reading and not self._to_connection else 0
        self._selector.modify(self._socket, events or selectors.EVENT_WRITE, self)

    def _from_connection(self) -> None:
        while not self._shut:
            if not self._to_socket:
                self._to_socket = memoryview(self._connection.receive(262_144))
            if not self._to_socket:
                if self._connection.eof:
                    self._shut = True
                    self._socket.shutdown(socket.SHUT_WR)
                return
            try:
                self._to_socket = self._to_socket[self._socket.send(self._to_socket) :]
            except BlockingIOError:
                return

    def _from_socket(self, now: float) -> None:
        while self._reading or self._to_connection:
            if not self._to_connection:
                try:
                    data = self._socket.recv(262_144)
                except BlockingIOError:
                    return
                if not data:
                    self._reading = False
                    self._connection.shutdown(now)
                    return
                self._to_connection = memoryview(data)
            taken = self._connection.send(self._to_connection, now)
            if not taken:
                return
            self._to_connection = self._to_connection[taken:]

    def _end(self) -> None:
        if self._open:
            self._open = False
            self._selector.unregister(self._socket)
            self._socket.close()


class Closed:
    """Nobody serves there at present: who has connected is sent away."""

    def __init__(self, connection: Connection, now: float) -> None:
        connection.abort(now)

    def event(self, flags: int, now: float) -> None:
        """Nothing."""


class Client:
    """Connects to a service of the kernel, sends a request, reads to the end; ``outcome`` then says what came."""

    def __init__(self, connection: Connection, request: bytes, half_close: bool) -> None:
        self.outcome: dict[str, object] | None = None
        self._connection = connection
        self._writer = Writer(connection)
        self._request = request
        self._half_close = half_close
        self._received = bytearray()

    def event(self, flags: int, now: float) -> None:
        if flags & Events.CONNECTED:
            self._writer.write(self._request, self._half_close, now)
        while data := self._connection.receive():
            self._received += data
        self._writer.go_on(now)
        if self.outcome is None and (self._connection.eof or flags & Events.CLOSED):
            body = bytes(self._received).partition(b"\r\n\r\n")[2] or bytes(self._received)
            self.outcome = {
                "error": self._connection.error,
                "length": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
                "start": body[:64].decode("latin-1"),
            }
            self._connection.shutdown(now)


class Gate:
    """A port of the kernel's loopback: who connects there speaks, as our host, with a service of the kernel's."""

    def __init__(self, port: int, remote: tuple[bytes, int]) -> None:
        self.remote = remote
        self.listener = socket.create_server(("127.0.0.1", port))


class Services:
    """The listeners, and who owns which connection."""

    def __init__(self, host: Host, selector: selectors.BaseSelector) -> None:
        self.host = host
        self._selector = selector
        self._ports = {host.tcp_listen(port): port for port in (HTTP_PORT, DIGEST_PORT, SSH_PORT, *IPERF_PORTS)}
        self.failures: list[str] = []
        """Why connections ended, those that did not end well."""
        host.udp_bind(UDP_ECHO_PORT)
        self._owners: dict[Connection, Service] = {}
        self.clients: list[Client] = []

    def connect(self, address: bytes, port: int, request: bytes, half_close: bool, now: float) -> None:
        connection = self.host.tcp_connect((address, port), now)
        client = Client(connection, request, half_close)
        self.clients.append(client)
        self._owners[connection] = client

    def open_gates(self, gates: list[Gate]) -> None:
        for gate in gates:
            self._selector.register(gate.listener, selectors.EVENT_READ, gate)

    def enter(self, gate: Gate, now: float) -> None:
        """Somebody connected to a gate: carry it on."""
        kernels, _ = gate.listener.accept()
        connection = self.host.tcp_connect(gate.remote, now)
        self._owners[connection] = Splice(connection, self._selector, kernels)

    def handle(self, event: object, now: float) -> None:
        if isinstance(event, TcpAccepted):
            try:
                service = self._service(self._ports[event.listener], event.connection)
            except ConnectionRefusedError:      # iperf3's server is between two tests
                service = Closed(event.connection, now)
            self._owners[event.connection] = service
            service.event(0, now)
        elif isinstance(event, TcpEvent):
            self._owners[event.connection].event(event.flags, now)
            if event.flags & Events.CLOSED:
                if event.connection.error is not None:
                    self.failures.append(f"{event.connection.local} {event.connection.remote}: {event.connection.error}")
                del self._owners[event.connection]
        elif isinstance(event, UdpReadable):
            while (received := event.socket.receive()) is not None:
                event.socket.send(received.payload, received.source, now, received.destination[0])

    def _service(self, port: int, connection: Connection) -> Service:
        if port == HTTP_PORT:
            return HttpServer(connection)
        if port == DIGEST_PORT:
            return DigestServer(connection)
        return Splice(connection, self._selector, socket.create_connection(("127.0.0.1", port)))
