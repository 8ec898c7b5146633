"""A reactor of its own in a thread, a LAN made of loopback addresses, and plain servers to talk to.

The double of ``Lan`` gives each member the kernel's address 127.a.b.c for its virtual 25.a.b.c: its endpoints are
real sockets, only the tunnel is missing. Clients in the tests are blocking sockets and curl.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from twisted.internet.defer import fail
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.threads import blockingCallFromThread
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from bridges.listen import listen_udp
from userlan.driver.lan import PeerInfo
from userlan.lan.names import UnknownName

WAIT = 30.0
"""Seconds after which a blocking socket of a test gives up."""

OWN, NAS, LAPTOP = "25.9.0.1", "25.9.0.2", "25.9.0.3"
MEMBERS = {"me": OWN, "nas": NAS, "laptop": LAPTOP}
NETWORKS = {"home": {"me", "nas"}, "work": {"me", "laptop"}}
NAS_IPV6 = "fd75:6c61:6e00::2"


def real(address: str) -> str:
    """Where a virtual address is found in the kernel."""
    if address == NAS_IPV6:
        return "::1"
    return "127" + address.removeprefix("25") if address.startswith("25.") else address


def virtual(address: str) -> str:
    """The member's address behind a kernel's one."""
    return "25" + address.removeprefix("127") if address.startswith("127.9.") else address


def make_reactor() -> Any:
    """A reactor that is not the global one."""
    if hasattr(select, "epoll"):
        from twisted.internet.epollreactor import EPollReactor

        return EPollReactor()  # type: ignore[no-untyped-call]
    from twisted.internet.selectreactor import SelectReactor

    return SelectReactor()


class Loop:
    """A reactor that runs in a thread."""

    def __init__(self) -> None:
        self.reactor: Any = make_reactor()
        self.failures: list[LogEvent] = []
        self._observer = cast(Any, self._observe)
        globalLogPublisher.addObserver(self._observer)
        self._thread = threading.Thread(target=self.reactor.run, kwargs={"installSignalHandlers": False})
        self._thread.start()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run in the reactor's thread; waits for a Deferred and raises what it fails with."""
        return blockingCallFromThread(self.reactor, function, *arguments)

    def stop(self) -> None:
        self.call(lambda: None)
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join()
        globalLogPublisher.removeObserver(self._observer)

    def _observe(self, event: LogEvent) -> None:
        if event.get("log_level") in (LogLevel.critical, LogLevel.error):
            self.failures.append(event)


class FakeLan:
    """Stands for ``userlan.driver.lan.Lan``, seen from the member ``me``."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def is_lan(self, host: str) -> bool:
        labels = host.split(".")
        return (
            host.startswith(("25.", "fd75:")) or host in MEMBERS or labels[-1] == "internal" or (len(labels) == 2 and labels[1] in NETWORKS)
        )

    def is_group(self, host: str) -> bool:
        return host in ("255.255.255.255", "25.255.255.255") or host.startswith(("239.", "ff"))

    def resolve(self, host: str) -> str:
        if host.startswith(("25.", "fd75:")):
            return host
        name, _, network = host.removesuffix(".internal").partition(".")
        if name not in MEMBERS or (network and name not in NETWORKS.get(network, set())):
            raise UnknownName(f"no member is called {host!r}")
        return MEMBERS[name]

    def client_endpoint(self, host: str, port: int, timeout: float = 30) -> Any:
        try:
            address = real(self.resolve(host))
        except UnknownName as error:
            return _Failing(error)
        if ":" in address:
            return TCP6ClientEndpoint(self.reactor, address, port, timeout)  # type: ignore[no-untyped-call]
        return TCP4ClientEndpoint(self.reactor, address, port, timeout, (real(OWN), 0))

    def server_endpoint(self, port: int) -> Any:
        return TCP4ServerEndpoint(self.reactor, port, 50, real(OWN))  # type: ignore[no-untyped-call]

    def datagram_port(self, protocol: DatagramProtocol, port: int = 0) -> FakeDatagramPort:
        return FakeDatagramPort(self.reactor, protocol, port)

    def peer_at(self, address: str) -> PeerInfo | None:
        for name, ipv4 in MEMBERS.items():
            if virtual(address) == ipv4:
                networks = tuple(network for network, names in NETWORKS.items() if name in names)
                return PeerInfo(name, f"key-of-{name}", ipv4, NAS_IPV6 if name == "nas" else "", real(ipv4), networks)
        return None

    def members(self) -> list[PeerInfo]:
        return [peer for name in MEMBERS if MEMBERS[name] != OWN and (peer := self.peer_at(MEMBERS[name])) is not None]

    def observe(self, changed: Callable[[], None]) -> Callable[[], None]:
        return lambda: None

    def observe_reached(self, reached: Callable[[PeerInfo], None]) -> Callable[[], None]:
        return lambda: None

    def observe_lost(self, lost: Callable[[PeerInfo], None]) -> Callable[[], None]:
        return lambda: None

    def observe_news(self, told: Callable[[str, str, str, str], None], gone: Callable[[str], None]) -> Callable[[], None]:
        return lambda: None

    def own(self) -> PeerInfo:
        found = self.peer_at(OWN)
        assert found is not None
        return found


class _Failing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def connect(self, factory: IProtocolFactory) -> Any:
        return fail(self._error)


class FakeDatagramPort(DatagramProtocol):
    """A datagram port of ``me``."""

    def __init__(self, reactor: Any, protocol: DatagramProtocol, port: int) -> None:
        self._protocol = protocol
        self._port: Any = listen_udp(reactor, port, self, real(OWN))

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        self._port.write(data, (real(address[0]), address[1]))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._protocol.datagramReceived(datagram, (virtual(addr[0]), addr[1]))

    def getHost(self) -> Any:
        return self._port.getHost()

    def stopListening(self) -> Any:
        return self._port.stopListening()


class MemoryStore:
    """Stands for ``BridgeStore``."""

    def __init__(self, value: object = None) -> None:
        self.value = value

    def load(self) -> object:
        return self.value

    def save(self, value: object) -> None:
        self.value = value


# servers of members, in threads


class Site(BaseHTTPRequestHandler):
    """An HTTP/1.1 origin that tells what it got."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/big/"):
            self._big(int(self.path.removeprefix("/big/")))
        elif self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if self.command != "HEAD":
                for piece in (b"one ", b"two ", b"three"):
                    self.wfile.write(b"%x;x=y\r\n%b\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\nTrailer: dropped\r\n\r\n")
        elif self.path == "/close":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"until close")
        else:
            self._tell(b"")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._tell(body)

    do_PUT = do_POST

    def _tell(self, body: bytes) -> None:
        lines = [self.requestline, *(f"{name}: {value}" for name, value in self.headers.items()), f"BODY {len(body)}"]
        server: Any = self.server.server_address
        lines.append(f"SERVER {server[0]}:{server[1]}")
        lines.append(f"CLIENT {self.client_address[0]}:{self.client_address[1]}")
        text = "\n".join(lines).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _big(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        block = bytes(range(256)) * 256
        while size > 0:
            self.wfile.write(block[:size])
            size -= len(block)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def site(address: str) -> Iterator[int]:
    """An HTTP origin at a kernel address; gives its port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    members = {"address_family": family, "handle_error": lambda server, request, client: None}
    members = {**members, "request_queue_size": 1024}    # the default of 5 makes the kernel drop a crowd's SYNs for seconds
    kind = type("Server", (ThreadingHTTPServer,), members)
    server: ThreadingHTTPServer = kind((address, 0), Site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Listener:
    """A blocking TCP listener."""

    def __init__(self, address: str, receive_buffer: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.bind((address, 0))
        self.socket.listen(1024)
        self.socket.settimeout(WAIT)
        self.port: int = self.socket.getsockname()[1]

    def accept(self) -> socket.socket:
        accepted, _ = self.socket.accept()
        accepted.settimeout(WAIT)
        return accepted

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()


def dial(address: tuple[str, int], receive_buffer: int = 0) -> socket.socket:
    """A blocking TCP client."""
    client = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(WAIT)
    try:
        client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def fill(connection: socket.socket, limit: int, quiet: float = 0.4) -> int:
    """Send until nothing more is taken for ``quiet`` seconds, or ``limit`` bytes; gives how many were."""
    connection.settimeout(quiet)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < limit:
            sent += connection.send(bytes(min(1 << 18, limit - sent)))
    connection.settimeout(WAIT)
    return sent


def reset(connection: socket.socket) -> None:
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


def refused(connection: socket.socket) -> bool:
    """Whether reading shows a RST."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return False


def reset_at_once(address: tuple[str, int]) -> bool:
    """Whether a connection is reset, be it while it is still being made."""
    try:
        with dial(address) as connection:
            return refused(connection)
    except ConnectionResetError:
        return True


def read_all(connection: socket.socket) -> bytes:
    """Everything up to the FIN."""
    received = bytearray()
    while data := connection.recv(65536):
        received += data
    return bytes(received)


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """``size`` bytes; fewer at FIN."""
    received = bytearray()
    while len(received) < size and (data := connection.recv(size - len(received))):
        received += data
    return bytes(received)


def read_head(connection: socket.socket) -> bytes:
    """An HTTP head, byte by byte so that nothing behind it is taken."""
    received = bytearray()
    while not received.endswith(b"\r\n\r\n") and (data := connection.recv(1)):
        received += data
    return bytes(received)


def read_response(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of an HTTP response with Content-Length."""
    head = read_head(connection)
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return int(head.split(b" ")[1]) if head else 0, read_exactly(connection, length)
