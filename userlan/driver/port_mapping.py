"""The I/O of port mapping: a UDP socket towards the gateway, one for its announcements, HTTP by Twisted's own client.

::

    look() ──▶ default gateway, own address ──▶ PortMapper.network
    socket ──▶ received ─┐                        ┌─▶ datagrams: sendto
    Agent  ──▶ answered ─┼─▶ PortMapper ──────────┤
    timer  ──▶ tick     ─┘                        └─▶ HTTP: GET or POST, HTTP_TIMEOUT, MAX_BODY
                              └── changed ──▶ observer(Mapped)

A router that lies or is broken costs this and nothing else: what is read is bounded, what raises is counted.
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver import gateway as system
from userlan.driver.reactor import DelayedCall
from userlan.driver.threads import in_thread
from userlan.traversal.port_mapping.mapper import Mapped, PortMapper
from userlan.traversal.port_mapping.methods import Datagram, HttpRequest
from userlan.traversal.port_mapping.pcp import ANNOUNCE_PORT
from userlan.traversal.port_mapping.upnp import MAX_XML

CONNECT_TIMEOUT = 3.0
HTTP_TIMEOUT = 6.0
"""Seconds for a connection to the router, and for a whole exchange: it is one hop away, though its processor may be slow."""
FAREWELL = 1.5
"""Seconds that the end waits for the router to take mappings back by HTTP."""
MAX_BODY = MAX_XML
MAX_DATAGRAM = 4096
READS_A_WAKEUP = 32
"""Octets of a datagram, and datagrams that are read in one go: some answers, however many come."""
SOMEWHERE_IPV6 = "2000::1"
"""An address of the Internet's (RFC 4291 2.5.4), to which nothing is sent: which own address would it be?"""
ALL_HOSTS = "224.0.0.1"
"""Where gateways announce that they have restarted (RFC 6886 3.2.1, RFC 6887 14.1.3)."""


class PortMapping:
    """Asks the router for ``port`` from :meth:`start` on; ``observer`` hears of each change."""

    _log = Logger()

    def __init__(
        self, reactor: Any, entropy: Callable[[int], bytes], port: int, observer: Callable[[Mapped], None], version: int = 4
    ) -> None:
        """``version``: of IP, 4 or 6; over 6 a firewall is opened where the other translates."""
        self.counters: Counter[str] = Counter()
        self.mapper = PortMapper(entropy)
        self._reactor = reactor
        self._port = port
        self._version = version
        self._observer = observer
        self._socket: _Socket | None = None
        self._announcements: _Socket | None = None
        self._own_host = ""
        self._hosts: frozenset[str] = frozenset()
        self._timer: DelayedCall | None = None
        self._asking: dict[int, Deferred[Any]] = {}
        self._looking = False
        self._stopped = False
        self._farewell: Deferred[None] | None = None

    def look(self, hosts: Collection[str]) -> None:
        """Look for the gateway, at the start and whenever the network may have changed. ``hosts``: the addresses that are listened at."""
        if self._stopped or self._looking:
            return
        self._hosts = frozenset(hosts)
        if system.quick():
            self._found(_surroundings(self._version))
            return
        self._looking = True
        in_thread(self._reactor, _surroundings, self._version).addCallback(self._found).addErrback(self._lost)

    def stop(self) -> Deferred[None]:
        """Give mappings back and close everything. Idempotent."""
        if self._stopped:
            return succeed(None)
        self._stopped = True
        for asked in list(self._asking.values()):
            asked.cancel()
        self.mapper.stop(self._reactor.seconds())
        self._carry_out()
        if not self._asking:
            self._close()
            return succeed(None)
        self._farewell = Deferred()
        self._timer = self._reactor.callLater(FAREWELL, self._close)
        return self._farewell

    # -- inside

    def _lost(self, failure: Failure) -> None:
        self._looking = False
        self.counters["gateway-unknown"] += 1

    def _found(self, found: tuple[str | None, str]) -> None:
        self._looking = False
        if self._stopped:
            return
        gateway, own_host = found
        if own_host != self._own_host:
            self._own_host = own_host
            self._open(own_host)
        if self._socket is None or own_host not in self._hosts:
            gateway = None
        self.mapper.network(gateway, own_host, self._port, self._reactor.seconds())
        self._carry_out()

    def _open(self, own_host: str) -> None:
        for old in (self._socket, self._announcements):
            if old is not None:
                old.close()
        self._socket = self._announcements = None
        if not own_host:
            return
        try:
            self._socket = _Socket(self._reactor, _bound(own_host, 0), self._received)
        except OSError as error:
            self.counters["socket-failed"] += 1
            self._log.debug("no port mapping from {host}: {error}", host=own_host, error=str(error))
            return
        if self._version == 6:
            return
        with contextlib.suppress(OSError):      # another program's, perhaps: it is only quicker with it
            self._announcements = _Socket(self._reactor, _listening(own_host), self._received)

    def _received(self, data: bytes, host: str, port: int) -> None:
        if self._stopped:
            return      # all that is still waited for comes by HTTP, and not for longer than the timer says
        self.mapper.received(data, host, port, self._reactor.seconds())
        self._carry_out()

    def _tick(self) -> None:
        self._timer = None
        self.mapper.tick(self._reactor.seconds())
        self._carry_out()

    def _carry_out(self) -> None:
        """Send what the mapper has to say, set the timer, tell what changed."""
        for one in self.mapper.outgoing():
            if isinstance(one, Datagram):
                self._send(one)
            else:
                self._ask(one)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        deadline = self.mapper.deadline()
        if deadline is not None and not self._stopped:
            self._timer = self._reactor.callLater(max(0.0, deadline - self._reactor.seconds()), self._tick)
        if self.mapper.changed() and not self._stopped:
            self._observer(self.mapper.mapped)

    def _send(self, datagram: Datagram) -> None:
        if self._socket is not None and not self._socket.send(datagram):
            self.counters["send-failed"] += 1

    # -- HTTP

    def _ask(self, request: HttpRequest) -> None:
        from twisted.web.client import Agent
        from twisted.web.http_headers import Headers

        make: Any = Agent       # untyped in Twisted
        agent = make(self._reactor, connectTimeout=CONNECT_TIMEOUT, bindAddress=(self._own_host, 0))
        headers = Headers({b"User-Agent": [b"userlan"]})
        for name, value in request.headers.items():
            headers.addRawHeader(name.encode(), value.encode())
        body = _Body(request.body) if request.body is not None else None
        try:
            asked = agent.request(b"GET" if body is None else b"POST", request.url.encode("ascii"), headers, body)
        except Exception:
            self.counters["http-refused"] += 1
            self._reactor.callLater(0, self._answered, (0, b""), request.number)
            return
        asked.addCallback(_read)
        asked.addTimeout(HTTP_TIMEOUT, self._reactor)
        asked.addErrback(self._unanswered)
        self._asking[request.number] = asked
        asked.addCallback(self._answered, request.number)

    def _unanswered(self, failure: Failure) -> tuple[int, bytes]:
        self.counters["http-failed"] += 1
        return 0, b""

    def _answered(self, answer: tuple[int, bytes], number: int) -> None:
        self._asking.pop(number, None)
        if self._stopped:
            if self._farewell is not None and not self._asking:
                self._close()
            return
        self.mapper.answered(number, *answer, self._reactor.seconds())
        self._carry_out()

    def _close(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        for one in (self._socket, self._announcements):
            if one is not None:
                one.close()
        self._socket = self._announcements = None
        farewell, self._farewell = self._farewell, None
        for asked in list(self._asking.values()):
            asked.cancel()
        if farewell is not None:
            farewell.callback(None)


def _surroundings(version: int) -> tuple[str | None, str]:
    """The gateway and the own address towards it (IPv6: towards the Internet, since the gateway's is link-local); None and empty where
    there is none."""
    gateway = system.default_gateway(version)
    own_host = system.own_address(gateway if version == 4 else SOMEWHERE_IPV6) if gateway is not None else None
    return (gateway, own_host) if own_host is not None else (None, "")


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        if family == socket.AF_INET:
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def _listening(own_host: str) -> socket.socket:
    """A socket that hears announcements on the interface of an own address, beside those of other programs."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("", ANNOUNCE_PORT))
        made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(ALL_HOSTS) + socket.inet_aton(own_host))
    except OSError:
        made.close()
        raise
    return made


def _host(source: Any) -> str:
    """A sender's address, with its zone by name, as the table of routes has it (RFC 4007 11)."""
    host = str(source[0])
    if len(source) == 4 and source[3] and "%" not in host:
        with contextlib.suppress(OSError):
            return f"{host}%{socket.if_indextoname(source[3])}"
    return host


@implementer(IReadDescriptor)
class _Socket:
    """A UDP socket in the reactor."""

    def __init__(self, reactor: Any, made: socket.socket, received: Callable[[bytes, str, int], None]) -> None:
        self._reactor = reactor
        self._socket = made
        self._received = received
        reactor.addReader(self)

    def send(self, datagram: Datagram) -> bool:
        try:
            self._socket.sendto(datagram.data, (datagram.host, datagram.port))
        except OSError:
            return False
        return True

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "port mapping"

    def doRead(self) -> None:
        for _ in range(READS_A_WAKEUP):
            try:
                data, source = self._socket.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                continue        # what an earlier datagram met
            self._received(data, _host(source), int(source[1]))
            if self._socket.fileno() < 0:
                return

    def connectionLost(self, reason: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()


class _Body:
    """What is posted (IBodyProducer)."""

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._body = body

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """It is written at once."""

    resumeProducing = stopProducing = pauseProducing


class _Collecting(Protocol):
    """Takes a body of at most MAX_BODY octets."""

    def __init__(self, status: int, done: Deferred[tuple[int, bytes]]) -> None:
        self._status = status
        self._done: Deferred[tuple[int, bytes]] | None = done
        self._parts: list[bytes] = []
        self._length = 0

    def dataReceived(self, data: bytes) -> None:
        self._length += len(data)
        if self._length <= MAX_BODY:
            self._parts.append(data)
        else:
            self._parts.clear()
            self.abort()

    def abort(self) -> None:
        """Read no more."""
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body is complete; a body without a length ends with its connection."""
        done, self._done = self._done, None
        if done is not None:
            done.callback((self._status if self._length <= MAX_BODY else 0, b"".join(self._parts)))


def _read(response: Any) -> Deferred[tuple[int, bytes]]:
    collecting: list[_Collecting] = []
    done: Deferred[tuple[int, bytes]] = Deferred(lambda _: collecting[0].abort())
    collecting.append(_Collecting(int(response.code), done))
    response.deliverBody(collecting[0])
    return done
