"""Framed TCP between two ends behind NATs: both connect at once, each from the port whose mapping the other was told.

RFC 9293 3.5 lets two SYNs that cross make one connection (simultaneous open), so neither end listens. What holds on Linux (measured
through NATs in namespaces):

* Both ends stay in ``connect()``. A SYN that dies on its way (a low TTL) takes its socket along, and to listen after a SYN fails: the
  NAT's state is that of a connection that this side began.
* A NAT that drops the first SYN costs nothing: the later one finds the way open. One that answers it with RST (or ICMP) ends the
  attempt, so it is made again about every ``RETRY_INTERVAL`` until the SYNs cross.

A number (``Endpoint.via``) names a local port, its group's. All attempts and connections of a group share it (SO_REUSEADDR), so that
several of the peer's ports can be tried from one mapping, and servers asked how it looks from outside::

    burst without data for Endpoint(tcp, host, port, via=k)
      └─ group k, bound where new ──▶ socket_opened(k, "tcp", port)
           └─ connecting ── refused, reset, unreachable ──▶ wait RETRY_INTERVAL ──▶ connecting …
                 │  └── dismissed, or PUNCH_TIMEOUT ──▶ way_lost
                 └──▶ FramedConnection ──▶ way_opened … way_lost
    core.dismissed() with k ──▶ all of the group is closed
"""

from __future__ import annotations

import errno
import random
import socket
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.interfaces import IAddress, IReadWriteDescriptor
from twisted.internet.protocol import Factory
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.datagram import address_of
from userlan.driver.reactor import DelayedCall, Reactor
from userlan.traversal.candidates import TargetBudget
from userlan.wire.endpoint import TCP, Endpoint

if TYPE_CHECKING:
    from userlan.driver.framed import FramedConnection

RETRY_INTERVAL = 0.1
"""Seconds between attempts that are answered by RST or ICMP, on average: each is a new chance for the SYNs to cross, for which they must
leave within a one-way delay of each other."""
RETRY_SPREAD = 0.5
"""Share by which each interval is longer or shorter: two ends that always waited alike would miss each other for ever."""
PUNCH_TIMEOUT = 20.0
"""Seconds after which an endpoint is given up, whether or not the core has remembered to: a kernel's fourth SYN leaves after 15 s."""
MAX_GROUPS = 64
"""Local ports held at once: one for each pair that meets, and some for classification."""
MAX_PUNCHES = 256
"""Endpoints tried at once over all groups: a prediction names some ten ports. Each costs at most ten SYNs a second."""
HOST_RATE, HOST_BURST = 50.0, 600.0
"""Attempts a second, and at once, to one host over all its ports: a host that answers each SYN by RST has it made again, and whoever says
what is tried could so have it flooded. Ten ports for five seconds need 500; what is over it waits for its next turn."""

_LINUX = hasattr(socket, "AF_NETLINK")
_IN_PROGRESS = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, 0})


class Port(Protocol):
    """What the punches need of the framed port."""

    @property
    def reactor(self) -> Reactor: ...
    @property
    def counters(self) -> Counter[str]: ...
    @property
    def receiver(self) -> Any: ...

    def punched(self, endpoint: Endpoint) -> FramedConnection: ...


class Punches:
    """All groups of the process, and what they try."""

    def __init__(self, port: Port, host: Callable[[int], str]) -> None:
        """``host`` gives the numeric address at which a family's ports (4 or 6) are bound."""
        self._port = port
        self._host = host
        self._anchors: dict[tuple[int, int], socket.socket] = {}
        """By number and family, a socket that does nothing: as long as it is bound, nobody else gets the group's port."""
        self._punches: dict[Endpoint, _Punch] = {}
        self._connections: dict[Endpoint, FramedConnection] = {}
        self._budget = TargetBudget(HOST_RATE, HOST_BURST)

    def punch(self, endpoint: Endpoint) -> None:
        """Try to connect to ``endpoint`` until it works; what is tried already goes on."""
        if endpoint in self._punches or endpoint in self._connections:
            return
        local = self._group(endpoint) if len(self._punches) < MAX_PUNCHES else None
        if local is None:
            self._port.counters["tcp-punch-refused"] += 1
            return
        self._punches[endpoint] = _Punch(self, self._port.reactor, endpoint, local)

    def dismiss(self, via: int) -> None:
        """Close everything of one group; nothing where there is none."""
        for endpoint in [endpoint for endpoint in self._punches if endpoint.via == via]:
            self._punches.pop(endpoint).close()
        for connection in [connection for endpoint, connection in self._connections.items() if endpoint.via == via]:
            connection.close()
        for version in (4, 6):
            anchor = self._anchors.pop((via, version), None)
            if anchor is not None:
                anchor.close()

    def close(self) -> None:
        """Close all that is not a connection."""
        for punch in self._punches.values():
            punch.close()
        for anchor in self._anchors.values():
            anchor.close()
        self._punches.clear()
        self._anchors.clear()

    def _group(self, endpoint: Endpoint) -> tuple[Any, ...] | None:
        """The local address of a group, bound now where it is new; None where that cannot be."""
        version = 6 if ":" in endpoint.host else 4
        anchor = self._anchors.get((endpoint.via, version))
        if anchor is None:
            if len(self._anchors) >= MAX_GROUPS:
                return None
            try:
                anchor = bound((self._host(version), 0))
            except OSError:
                return None
            self._anchors[endpoint.via, version] = anchor
            self._port.receiver.socket_opened(endpoint.via, TCP, int(anchor.getsockname()[1]))
        local: tuple[Any, ...] = anchor.getsockname()
        return local

    def allowed(self, endpoint: Endpoint) -> bool:
        """Whether another attempt to connect to an endpoint's host may be made now."""
        allowed = self._budget.allow(endpoint.host, self._port.reactor.seconds())
        if not allowed:
            self._port.counters["tcp-punch-paced"] += 1
        return allowed

    # -- what the attempts say

    def opened(self, punch: _Punch, connected: socket.socket) -> None:
        """An attempt succeeded: the connection is framed from here on."""
        endpoint = punch.endpoint
        del self._punches[endpoint]
        connection = self._connections[endpoint] = self._port.punched(endpoint)
        try:
            # Twisted makes the descriptor its own by duplicating it.
            self._port.reactor.adoptStreamConnection(connected.fileno(), connected.family, _Adopted(connection))
        except OSError:
            # It was reset at once.
            del self._connections[endpoint]
            self._port.receiver.way_lost(endpoint)

    def failed(self, punch: _Punch) -> None:
        """An attempt was given up."""
        del self._punches[punch.endpoint]
        self._port.counters["tcp-punch-failed"] += 1
        self._port.receiver.way_lost(punch.endpoint)

    def lost(self, connection: FramedConnection) -> None:
        """A connection with a number has ended."""
        if self._connections.get(connection.endpoint) is connection:
            del self._connections[connection.endpoint]


class _Adopted(Factory):
    noisy = False

    def __init__(self, connection: FramedConnection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: IAddress | None) -> FramedConnection:
        return self._connection


@implementer(IReadWriteDescriptor)
class _Punch:
    """Attempts to connect to one endpoint, one after the other, each by a socket of its own."""

    def __init__(self, punches: Punches, reactor: Reactor, endpoint: Endpoint, local: tuple[Any, ...]) -> None:
        self.endpoint = endpoint
        self._punches = punches
        self._reactor = reactor
        self._local = local
        self._socket: socket.socket | None = None
        # Never within the caller: what comes of it reaches the core.
        self._retry: DelayedCall | None = reactor.callLater(0.0, self._connect)
        self._end: DelayedCall = reactor.callLater(PUNCH_TIMEOUT, self._expire)

    def close(self) -> None:
        """Try no more. Idempotent."""
        for call in (self._retry, self._end):
            if call is not None and call.active():
                call.cancel()
        self._retry = None
        self._drop()

    def _connect(self) -> None:
        self._retry = None
        if not self._punches.allowed(self.endpoint):
            self._again()
            return
        try:
            self._socket = bound(self._local)
            code = self._socket.connect_ex(address_of(self.endpoint))
        except OSError as error:
            code = error.errno or errno.EIO
        if code not in _IN_PROGRESS or self._socket is None:
            self._again()
            return
        self._reactor.addWriter(self)

    def _settled(self) -> None:
        """The kernel knows how the attempt ended."""
        current = self._socket
        if current is None:
            return
        self._reactor.removeWriter(self)
        if not _connected(current):
            self._again()
            return
        self._socket = None
        self.close()
        with current:
            self._punches.opened(self, current)

    def _again(self) -> None:
        self._drop()
        wait = RETRY_INTERVAL * random.uniform(1 - RETRY_SPREAD, 1 + RETRY_SPREAD)
        self._retry = self._reactor.callLater(wait, self._connect)

    def _drop(self) -> None:
        current, self._socket = self._socket, None
        if current is not None:
            self._reactor.removeWriter(self)
            current.close()

    def _expire(self) -> None:
        self.close()
        self._punches.failed(self)

    # -- IReadWriteDescriptor

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        return f"punch {self.endpoint}"

    def doRead(self) -> None:
        """Never asked for."""

    def doWrite(self) -> None:
        self._settled()

    def connectionLost(self, reason: object) -> None:
        """The reactor saw an error on the socket, or ends."""
        self._settled()


def _connected(attempt: socket.socket) -> bool:
    """Whether an attempt ended well: with a peer that is not itself, as a SYN meets its own sender where the target is the own address."""
    try:
        return attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and attempt.getpeername() != attempt.getsockname()
    except OSError:
        return False


def bound(local: tuple[Any, ...]) -> socket.socket:
    """A non-blocking TCP socket at a numeric address and port, which others of this process may share. OSError."""
    made = socket.socket(socket.AF_INET6 if ":" in str(local[0]) else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not _LINUX and hasattr(socket, "SO_REUSEPORT"):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)      # BSD's word for the same
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(local)
    except OSError:
        made.close()
        raise
    return made
