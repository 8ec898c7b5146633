"""Sockets to the outside for an attached kernel's datagrams and pings.

A socket here is bound to no destination, so that one serves all that a program's own socket speaks with, as RFC 4787 wants
it of a NAT. What a destination answers by ICMP (nobody listens, no way leads there) comes by the socket's error queue
(``IP_RECVERR``, ip(7)), with the destination that it is about, and is told the program by the same kind of message.

::

    kernel ── Datagrams ──▶ UdpFlows ── one socket for each (address, port) of a program ──▶ anybody
    kernel ── Echo ───────▶ EchoFlows ─ one ping socket for each (address, identifier) ───▶ anybody

Ping sockets (``icmp(7)``: SOCK_DGRAM, IPPROTO_ICMP) need no privileges where ``net.ipv4.ping_group_range`` has the user's group;
where it has not, programs hear that it is prohibited.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

from bridges.flows import FLOW_IDLE, FlowTable
from userlan.driver.uplink import Datagrams, Echo, Refusal, Sender, Uplink

DNS_IDLE = 30.0
"""Seconds without a datagram after which a flow to port 53 ends (RFC 4787, REQ-5 a: well-known ports may have less)."""

ECHO_IDLE = 60.0
"""Seconds without a reply or request after which a ping's socket is closed (RFC 5508, REQ-1 b)."""

MAX_FLOWS = 1024
"""UDP flows of one link: each is a socket, and a program can have any number of ports."""

MAX_ECHOES = 64
"""Pings at a time."""

MAX_REMOTES = 256
"""Destinations of one flow that may answer; the one spoken to longest ago is forgotten first."""

READS_A_WAKEUP = 64
"""Datagrams read from one socket in a row; then the others have their turn."""

SWEEP_INTERVAL = 5.0
"""Seconds between two looks for idle flows."""

MAX_DATAGRAM = 65_535
MAX_SEGMENTS = 64
"""Datagrams that Linux takes in one call (UDP_MAX_SEGMENTS)."""

_IP_RECVERR, _IPV6_RECVERR, _MSG_ERRQUEUE = 11, 25, 0x2000
_UDP_SEGMENT = 103
_ECHO = struct.Struct("!BBHHH")
_ECHO_TYPES = {4: (8, 0), 6: (128, 129)}
_EXTENDED = struct.Struct("=IBB2xII")
"""``struct sock_extended_err``: errno, origin, type, code, info, data."""

_REFUSALS = {
    errno.ECONNREFUSED: Refusal.REFUSED,
    errno.EHOSTUNREACH: Refusal.UNREACHABLE,
    errno.ENETUNREACH: Refusal.UNREACHABLE,
    errno.EADDRNOTAVAIL: Refusal.UNREACHABLE,
    errno.EINVAL: Refusal.UNREACHABLE,
    errno.EACCES: Refusal.PROHIBITED,
    errno.EPERM: Refusal.PROHIBITED,
}


def refusal(number: int | None) -> Refusal:
    """What a program is told about an error of the system's; nothing about what it could not help."""
    return _REFUSALS.get(number or 0, Refusal.SILENT)


@implementer(IReadDescriptor)
class OutsideSocket:
    """A datagram socket without a destination of its own."""

    def __init__(
        self,
        reactor: Any,
        version: int,
        protocol: int,
        received: Callable[[bytes, Sender], None],
        failed: Callable[[Sender, Refusal], None],
    ) -> None:
        """``received`` gets each datagram and its sender, ``failed`` each error and the destination it is about. Raises OSError."""
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol)
        try:
            if version == 4:
                made.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            else:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        except OSError:
            made.close()
            raise
        self._socket: socket.socket | None = made
        self._reactor = reactor
        self._received = received
        self._failed = failed
        reactor.addReader(self)

    def send(self, data: Any, remote: Sender, segment: int = 0) -> None:
        """One datagram, or several of ``segment`` octets. Raises OSError when it cannot be sent, BlockingIOError when the
        system's queue is full."""
        if self._socket is None:
            return
        if segment and len(data) > segment:
            self._send_many(self._socket, memoryview(data), remote, segment)
        else:
            self._send(self._socket, data, remote, [])

    def _send_many(self, made: socket.socket, data: memoryview, remote: Sender, segment: int) -> None:
        step = segment * MAX_SEGMENTS
        control = [(socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("=H", segment))]
        for begin in range(0, len(data), step):
            part = data[begin : begin + step]
            try:
                self._send(made, part, remote, control if len(part) > segment else [])
            except OSError as problem:
                if problem.errno not in (errno.EIO, errno.EINVAL, errno.EMSGSIZE):
                    raise
                for place in range(0, len(part), segment):      # the way out does not cut them itself
                    self._send(made, part[place : place + segment], remote, [])

    def _send(self, made: socket.socket, data: Any, remote: Sender, control: list[Any]) -> None:
        try:
            made.sendmsg([data], control, 0, remote)
        except ConnectionRefusedError:
            self._errors()              # that of an earlier datagram, reported by the first call after it (ip(7))
            made.sendmsg([data], control, 0, remote)

    def close(self) -> None:
        """Idempotent."""
        made, self._socket = self._socket, None
        if made is not None:
            self._reactor.removeReader(self)
            made.close()

    # IReadDescriptor

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        return "outside"

    def doRead(self) -> None:
        for _ in range(READS_A_WAKEUP):
            if self._socket is None:
                return
            try:
                data, sender = self._socket.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                break
            except OSError:
                self._errors()
                continue
            self._received(data, (sender[0], sender[1]))
        self._errors()

    def connectionLost(self, reason: Failure) -> None:
        """The epoll reactor gives a socket up that has an error and nothing to read: this one goes on."""
        if self._socket is not None and isinstance(reason.value, ConnectionDone):
            self._errors()
            self._reactor.addReader(self)
        else:
            self.close()

    def _errors(self) -> None:
        """Read the error queue to its end."""
        for _ in range(READS_A_WAKEUP):
            if self._socket is None:
                return
            try:
                _, ancillary, _, remote = self._socket.recvmsg(0, 256, _MSG_ERRQUEUE)
            except OSError:
                break
            for level, kind, data in ancillary:
                if (level, kind) in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)) and remote:
                    self._failed((remote[0], remote[1]), refusal(_EXTENDED.unpack_from(data)[0]))
        if self._socket is not None:
            self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


class _Remotes:
    """Whom a flow has spoken with, and what of that an error would quote."""

    def __init__(self) -> None:
        self._quoted: OrderedDict[Sender, bytes] = OrderedDict()
        self._hosts: Counter[str] = Counter()

    def spoken_to(self, remote: Sender, quoted: bytes) -> None:
        if remote not in self._quoted:
            self._hosts[remote[0]] += 1
        self._quoted[remote] = quoted
        self._quoted.move_to_end(remote)
        if len(self._quoted) > MAX_REMOTES:
            forgotten, _ = self._quoted.popitem(last=False)
            self._hosts[forgotten[0]] -= 1
            if not self._hosts[forgotten[0]]:
                del self._hosts[forgotten[0]]

    def known(self, host: str) -> bool:
        """Whether that host may answer, from any port (RFC 4787, REQ-8: address-dependent filtering)."""
        return host in self._hosts

    def quoted(self, remote: Sender) -> bytes | None:
        return self._quoted.get(remote)


class UdpFlow:
    """One port of a program."""

    def __init__(self, reactor: Any, uplink: Uplink, source: Sender, counters: Counter[str]) -> None:
        """Raises OSError."""
        self._uplink = uplink
        self._source = source
        self._counters = counters
        self._remotes = _Remotes()
        self._socket = OutsideSocket(reactor, _version(source[0]), 0, self._received, self._failed)
        self.used: Callable[[], None] = _nothing
        self.close = self._socket.close

    def send(self, arrived: Datagrams) -> None:
        """The program's. Raises OSError."""
        remote = arrived.host, arrived.port
        self._remotes.spoken_to(remote, arrived.quoted)
        self._socket.send(arrived.payload, remote, arrived.segment_size)

    def _received(self, data: bytes, sender: Sender) -> None:
        if not self._remotes.known(sender[0]):
            self._counters["udp-stranger"] += 1
            return
        self.used()
        self._uplink.send_datagram(data, sender, self._source)

    def _failed(self, remote: Sender, why: Refusal) -> None:
        quoted = self._remotes.quoted(remote)
        if quoted is not None:
            self._counters[f"udp-{why.value}"] += 1
            self._uplink.refuse_packet(quoted, why)


class EchoFlow:
    """The pings of one program."""

    def __init__(self, reactor: Any, uplink: Uplink, source: str, identifier: int) -> None:
        """Raises OSError, PermissionError where there are no ping sockets for us."""
        self._uplink = uplink
        self._source = source
        self._identifier = identifier
        self._version = _version(source)
        self._quoted = _Remotes()
        protocol = socket.IPPROTO_ICMP if self._version == 4 else socket.IPPROTO_ICMPV6
        self._socket = OutsideSocket(reactor, self._version, protocol, self._received, self._failed)
        self.used: Callable[[], None] = _nothing
        self.close = self._socket.close

    def send(self, echo: Echo) -> None:
        """A request. Raises OSError."""
        self._quoted.spoken_to((echo.host, 0), echo.quoted)
        kind = _ECHO_TYPES[self._version][0]
        self._socket.send(_ECHO.pack(kind, 0, 0, 0, echo.sequence) + echo.payload, (echo.host, 0))

    def _received(self, data: bytes, sender: Sender) -> None:
        if len(data) < _ECHO.size:
            return
        kind, _, _, _, sequence = _ECHO.unpack_from(data)
        if kind == _ECHO_TYPES[self._version][1] and self._quoted.known(sender[0]):
            self.used()
            self._uplink.send_echo(sender[0], self._source, self._identifier, sequence, data[_ECHO.size :])

    def _failed(self, remote: Sender, why: Refusal) -> None:
        quoted = self._quoted.quoted((remote[0], 0))
        if quoted is not None:
            self._uplink.refuse_packet(quoted, why)


class Flows:
    """All datagram flows and pings of one link. ``counters``: what was dropped or refused."""

    def __init__(self, reactor: Any, uplink: Uplink, counters: Counter[str], idle: float = FLOW_IDLE) -> None:
        """``idle``: seconds, of UDP flows other than DNS."""
        self.counters = counters
        self._reactor = reactor
        self._uplink = uplink
        self._udp: FlowTable[Sender, UdpFlow] = FlowTable(MAX_FLOWS, idle)
        self._dns: FlowTable[Sender, UdpFlow] = FlowTable(MAX_FLOWS // 4, min(DNS_IDLE, idle))
        self._echoes: FlowTable[tuple[str, int], EchoFlow] = FlowTable(MAX_ECHOES, ECHO_IDLE)
        self._tables: tuple[FlowTable[Any, Any], ...] = (self._udp, self._dns, self._echoes)
        self._sweeper = LoopingCall(self._sweep)
        self._sweeper.clock = reactor

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def datagrams(self, arrived: Datagrams) -> None:
        """Of a program."""
        table = self._dns if arrived.port == 53 else self._udp
        source = arrived.source
        self._send(table, source, lambda: UdpFlow(self._reactor, self._uplink, source, self.counters), arrived)

    def echo(self, echo: Echo) -> None:
        """Of a program."""
        key = echo.source, echo.identifier
        self._send(self._echoes, key, lambda: EchoFlow(self._reactor, self._uplink, *key), echo)

    def _send(self, table: FlowTable[Any, Any], key: Any, make: Callable[[], Any], sent: Any) -> None:
        now = self._reactor.seconds()
        flow = table.use(key, now)
        try:
            if flow is None:
                flow = make()
                flow.used = lambda: table.use(key, self._reactor.seconds())
                for displaced in table.add(key, flow, now):
                    self.counters["flows-full"] += 1
                    displaced.close()
                if not self._sweeper.running:
                    self._sweeper.start(SWEEP_INTERVAL, now=False)
            flow.send(sent)
        except BlockingIOError:
            self.counters["unsent-full"] += 1
        except OSError as problem:
            why = refusal(problem.errno)
            self.counters[f"unsent-{errno.errorcode.get(problem.errno or 0, 'error').lower()}"] += 1
            self._uplink.refuse_packet(sent.quoted, why)

    def close(self) -> None:
        """All of them. Idempotent."""
        if self._sweeper.running:
            self._sweeper.stop()
        for table in self._tables:
            for flow in table.clear():
                flow.close()

    def _sweep(self) -> None:
        now = self._reactor.seconds()
        for table in self._tables:
            for flow in table.expire(now):
                flow.close()
        if not len(self):
            self._sweeper.stop()


def _version(host: str) -> int:
    return 6 if ":" in host else 4


def _nothing() -> None:
    """Nobody keeps count."""
