"""One UDP socket of one address family: bursts in by GRO, bursts out by GSO.

Linux coalesces datagrams of one sender and size into one buffer of up to 64 KB (``UDP_GRO``) and cuts such a buffer
into datagrams again (``UDP_SEGMENT``), see udp(7) and Documentation/networking/segmentation-offloads.rst: one system
call for up to 64 datagrams. Where a call of these is refused, by the platform, the device or the path, the same burst
leaves datagram by datagram.

What the kernel does not take at once waits in a bounded queue for the socket to become writable; what does not fit
there is dropped and counted, as any router would. ICMP errors that the kernel reports on the socket say nothing about
the sessions behind it and are counted only.

A burst with a time to live of its own (RFC 791 3.2, RFC 8200 3: it opens the own NAT and dies on its way) leaves datagram by datagram,
each with it as a control message; where the kernel takes none, the socket's is changed for that moment.

A port with a number (``via``) is one of many: it says so in what it hands over, shares its memory for reading with the others, and is
small until it carries more than probes.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
from collections import Counter, deque
from typing import Any, Protocol

from twisted.internet.interfaces import IReadWriteDescriptor
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.reactor import Reactor
from userlan.driver.reasons import cannot_listen
from userlan.driver.runner import CoreRunner
from userlan.wire.endpoint import UDP, Endpoint

Buffer = bytes | bytearray | memoryview

SOL_UDP = 17
UDP_SEGMENT = 103
UDP_GRO = 104
"""Linux, include/uapi/linux/udp.h. Elsewhere these are unknown to the kernel, which says so when asked."""

SO_RCVBUFFORCE = 33
"""Linux, include/uapi/asm-generic/socket.h.
The number means another thing elsewhere: used only where the kernel has netlink."""

BUFFER_SIZE = 65536
"""Bytes of the receive buffer: the largest coalesced buffer; a smaller one truncates."""

READS_A_WAKEUP = 16
"""Buffers read in one go:
up to 1 MiB, about a millisecond of work, so that timers and local sockets are not starved."""

READS_WHEN_LATE = 256
"""Buffers read in one go before timers that are overdue: a handshake of each of a hundred members, and their echoes."""

SHORT = 4096
LULL = 0.002
"""Bytes and seconds: when nothing came for so long, then a buffer of no more than so many bytes, there is likely nothing else, and if
there is the reactor says so again: the answer leaves without asking. In a stream of datagrams it is worth asking."""

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes asked for: 30 ms at 1 Gbit/s, the time that a busy process may be away from the socket."""

SMALL_BUFFER = 128 * 1024
"""Bytes asked for in either direction as long as a numbered socket carries only probes: some hundred, with what the kernel keeps
beside each (skb->truesize), so that hundreds of sockets that are flooded hold tens of megabytes and not gigabytes."""

SEND_BUFFER = 512 * 1024
"""Bytes asked for: what waits in the kernel waits behind everything else, what waits with the cores waits by flow. It holds two whole
bursts with the kernel's own bookkeeping (skb->truesize), so that the device is never idle."""

RETRY_BYTES = 4 * 1024 * 1024
"""Bytes that wait for the socket to become writable:
as much as the socket's own buffer, so that one stall of it loses nothing."""

RETRY_BURSTS = 8192
"""Bursts that wait likewise, whatever their size."""

MAX_ADDRESSES = 4096
"""Remote addresses kept in both directions' look-up tables, which are only a saving and are forgotten when full."""

MAX_SEGMENT_SIZES = 256
"""Sizes whose control message is kept likewise."""

_DISCOVERY = {
    4: (getattr(socket, "IPPROTO_IP", 0), 10, 3, 0),
    6: (getattr(socket, "IPPROTO_IPV6", 41), 23, 3, 1),
}
"""IP_MTU_DISCOVER and IPV6_MTU_DISCOVER; IP_PMTUDISC_PROBE for probes; and for all else IP_PMTUDISC_DONT over IPv4, so that routers may
fragment, as with the kernel's WireGuard, and IPV6_PMTUDISC_WANT, the default, where none may (Linux, include/uapi/linux/in.h and in6.h).
The numbers mean other things elsewhere: used only where the kernel has netlink."""

UNFRAGMENTED = 1452
"""Octets of a UDP payload that an Ethernet carries whole over IPv6. Where "don't fragment" cannot be asked for, larger probes are not
sent: their answer would only tell that fragments arrive."""

_WHOLE = -1
"""Segment size of what waits as a probe."""

_TTL = {
    4: (getattr(socket, "IPPROTO_IP", 0), getattr(socket, "IP_TTL", 2), getattr(socket, "IP_TTL", 2)),
    6: (getattr(socket, "IPPROTO_IPV6", 41), getattr(socket, "IPV6_HOPLIMIT", 52), getattr(socket, "IPV6_UNICAST_HOPS", 16)),
}
"""By family: level, control message, socket option (ip(7); RFC 3542 6.3 and RFC 3493 5.1)."""

_ANCILLARY = socket.CMSG_SPACE(4) if hasattr(socket, "CMSG_SPACE") else 0
_LINUX = hasattr(socket, "AF_NETLINK")
_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)
_TRUNCATED = getattr(socket, "MSG_TRUNC", 0)
_FULL = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})
_NO_SEGMENTATION_EVER = frozenset({errno.EIO, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOPROTOOPT})
"""The socket's device cannot sum checksums (EIO) or the kernel knows no segmentation: it is not asked again."""
_NO_SEGMENTATION_HERE = frozenset({errno.EINVAL, errno.EMSGSIZE})
"""The burst does not fit this path (a segment above its MTU, which then goes out in fragments): others may."""


_NO_CONTROL = frozenset({errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.ENOTSUP})
"""The kernel knows no such control message."""


class Receiver(Protocol):
    """What the socket hands its buffers to."""

    counters: Counter[str]

    def received(self, data: memoryview, segment: int, source: Endpoint, port: DatagramPort | None) -> None: ...
    def pump(self) -> None: ...
    def hold(self, way: Endpoint | str) -> None: ...
    def release(self, way: Endpoint | str) -> None: ...


@implementer(IReadWriteDescriptor)
class DatagramPort:
    """A bound UDP socket; ``version`` is 4 or 6, ``port`` its number, ``via`` how endpoints name it."""

    def __init__(
        self,
        receiver: Receiver,
        reactor: Reactor,
        host: str,
        port: int,
        via: int = 0,
        memory: bytearray | None = None,
        owner: CoreRunner | None = None,
    ) -> None:
        """Bind; raises CannotListenError. ``host`` is numeric. Nothing is read before :meth:`start`.

        ``memory``: BUFFER_SIZE octets to read into, where ports share them; such a port begins small. ``owner``: whose alone it is.
        """
        self.version = 6 if ":" in host else 4
        self.host = host
        self.via = via
        self.owner = owner
        self._receiver = receiver
        self._counters = receiver.counters
        self._reactor = reactor
        self._small = memory is not None
        self._socket = _bound(host, port, self._small)
        self.port = int(self._socket.getsockname()[1])
        self.segmentation = hasattr(self._socket, "sendmsg") and _takes(self._socket, UDP_SEGMENT, 0)
        """Whether bursts are given to the kernel whole. It turns False when the device refuses them."""
        self.coalescing = hasattr(self._socket, "recvmsg_into") and _takes(self._socket, UDP_GRO, 1)
        """Whether the kernel may deliver bursts."""
        self.controls = hasattr(self._socket, "sendmsg")
        """Whether a datagram's time to live is given to the kernel as a control message. It turns False when that is refused."""
        self._memory = bytearray(BUFFER_SIZE) if memory is None else memory
        self._view = memoryview(self._memory)
        self._waiting: deque[tuple[Buffer, int, Any]] = deque()
        self._waiting_bytes = 0
        self._woke = 0.0
        self._sources: dict[Any, Endpoint] = {}
        self._targets: dict[Endpoint, Any] = {}
        self._controls: dict[int, list[tuple[int, int, bytes]]] = {}

    @property
    def full(self) -> bool:
        """Whether something waits for the socket."""
        return bool(self._waiting)

    def start(self) -> None:
        """Begin to read."""
        self._reactor.addReader(self)

    def close(self) -> None:
        """Close the socket; what waits is dropped. Idempotent."""
        if self._socket.fileno() < 0:
            return
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        full = self.full
        self._waiting.clear()
        self._waiting_bytes = 0
        self._socket.close()
        if full:
            self._receiver.release(UDP)

    # -- IReadWriteDescriptor

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return f"udp {self.port}"

    def connectionLost(self, reason: object) -> None:
        """The reactor ends, or gave up on the socket."""
        self.close()

    def doRead(self) -> None:
        """Read a bounded number of buffers, then let the cores act on them once."""
        try:
            now = self._reactor.seconds()
            least = SHORT if now - self._woke > LULL else 0
            self._woke = now
            self._read(READS_A_WAKEUP, least)
        finally:
            self._receiver.pump()

    def catch_up(self) -> None:
        """Read what waits, since this process was away for long: timers may be about just that. The caller pumps."""
        self._woke = self._reactor.seconds()
        self._read(READS_WHEN_LATE, 0)

    def _read(self, buffers: int, least: int) -> None:
        """Read so many buffers, or up to one of no more than ``least`` octets."""
        for _ in range(buffers):
            if self._socket.fileno() < 0 or self._read_one() <= least:
                break

    def _read_one(self) -> int:
        """Read one buffer; its bytes, 0 when there is none (or the socket was closed by what it caused)."""
        try:
            if self.coalescing:
                size, ancillary, flags, address = self._socket.recvmsg_into([self._memory], _ANCILLARY, _DONT_WAIT)
            else:
                size, address = self._socket.recvfrom_into(self._memory)
                ancillary, flags = [], 0
        except BlockingIOError:
            return 0
        except OSError as error:
            # What an earlier datagram met (ICMP), or a passing shortage of the kernel's.
            self._counters[f"udp-receive-{_name(error)}"] += 1
            return SHORT + 1 if self._socket.fileno() >= 0 else 0
        if flags & _TRUNCATED:
            self._counters["udp-truncated"] += 1
            return size
        if size == 0:
            self._counters["udp-empty"] += 1
            return SHORT + 1
        segment = size
        for level, kind, value in ancillary:
            if level == SOL_UDP and kind == UDP_GRO and len(value) >= 2:
                segment = int.from_bytes(value[:4], sys.byteorder)
        if self._small and size > segment:
            self._grow()
        source = self._sources.get(address) or self._source(address)
        self._receiver.received(self._view[:size], segment, source, self)
        return size

    def doWrite(self) -> None:
        """Send what waited, as far as the kernel takes it."""
        waiting = self._waiting
        while waiting:
            data, segment, address = waiting.popleft()
            self._waiting_bytes -= len(data)
            rest = self._transmit(data, segment, address)
            if rest is not None:
                waiting.appendleft((rest, segment, address))
                self._waiting_bytes += len(rest)
                return
        self._reactor.removeWriter(self)
        self._receiver.release(UDP)

    # -- sending

    def send(self, data: Buffer, segment: int, endpoint: Endpoint, whole: bool = False, ttl: int = 0) -> None:
        """Send one burst. It is kept by reference until it has left; it must not be changed any more.

        ``whole``: a datagram that nobody may fragment. ``ttl``: hops that it may go, 1 to 255; 0: the system's default. What has one is
        sent now or never: it is about a moment.
        """
        address = self._targets.get(endpoint) or self._target(endpoint)
        if ttl:
            self._transmit_near(data, segment, address, min(ttl, 255))
            return
        if self._small and len(data) > segment > 0:
            self._grow()
        segment = _WHOLE if whole else segment
        rest: Buffer | None = data
        if not self._waiting:
            rest = self._transmit(data, segment, address)
        if rest is not None:
            self._wait(rest, segment, address)

    def _transmit_whole(self, data: Buffer, address: Any) -> Buffer | None:
        """A probe of the path's MTU: "don't fragment", whatever the kernel has learnt of the path (RFC 8899 4.4)."""
        level, option, probe, usual = _DISCOVERY[self.version]
        if _LINUX:
            self._socket.setsockopt(level, option, probe)
        elif len(data) > UNFRAGMENTED:
            self._counters["udp-probe-unasked"] += 1
            return None
        try:
            self._socket.sendto(data, _DONT_WAIT, address)
        except OSError as error:
            if error.errno in _FULL:
                return data
            self._counters[f"udp-probe-{_name(error)}"] += 1
        finally:
            if _LINUX:
                self._socket.setsockopt(level, option, usual)
        return None

    def _transmit_near(self, data: Buffer, segment: int, address: Any, ttl: int) -> None:
        """Datagrams with a time to live of their own."""
        view = memoryview(data)
        for offset in range(0, len(view), segment if segment > 0 else max(1, len(view))):
            part = view[offset : offset + segment] if segment > 0 else view
            try:
                self._send_near(part, address, ttl)
            except OSError as error:
                self._counters["udp-send-full" if error.errno in _FULL else f"udp-send-{_name(error)}"] += 1

    def _send_near(self, datagram: memoryview, address: Any, ttl: int) -> None:
        level, control, option = _TTL[self.version]
        if self.controls:
            try:
                self._socket.sendmsg((datagram,), [(level, control, struct.pack("=i", ttl))], _DONT_WAIT, address)
                return
            except OSError as error:
                if error.errno not in _NO_CONTROL:
                    raise
                self.controls = False
        usual = self._socket.getsockopt(level, option)
        self._socket.setsockopt(level, option, ttl)
        try:
            self._socket.sendto(datagram, _DONT_WAIT, address)
        finally:
            self._socket.setsockopt(level, option, usual)

    def _grow(self) -> None:
        """More than probes passes here: the socket is part of a path, and gets the buffers of one."""
        self._small = False
        _enlarge(self._socket)

    def _wait(self, data: Buffer, segment: int, address: Any) -> None:
        if self._waiting_bytes + len(data) > RETRY_BYTES or len(self._waiting) >= RETRY_BURSTS:
            self._counters["udp-send-full"] += 1
            return
        if not self._waiting:
            self._reactor.addWriter(self)
            self._receiver.hold(UDP)
        self._waiting.append((data, segment, address))
        self._waiting_bytes += len(data)

    def _transmit(self, data: Buffer, segment: int, address: Any) -> Buffer | None:
        """Give a burst to the kernel; what it has no room for is returned, what it refuses is counted."""
        if segment == _WHOLE:
            return self._transmit_whole(data, address)
        single = segment <= 0 or len(data) <= segment
        if self.segmentation or single:
            try:
                if single:
                    self._socket.sendto(data, _DONT_WAIT, address)
                else:
                    self._socket.sendmsg((data,), self._control(segment), _DONT_WAIT, address)
                return None
            except OSError as error:
                code = error.errno
                if code in _FULL:
                    return data
                if single or (code not in _NO_SEGMENTATION_EVER and code not in _NO_SEGMENTATION_HERE):
                    self._counters[f"udp-send-{_name(error)}"] += 1
                    return None
                if code in _NO_SEGMENTATION_EVER:
                    self.segmentation = False
                self._counters["udp-send-unsegmented"] += 1
        return self._transmit_each(data, segment, address)

    def _transmit_each(self, data: Buffer, segment: int, address: Any) -> Buffer | None:
        view = memoryview(data)
        for offset in range(0, len(view), segment):
            try:
                self._socket.sendto(view[offset : offset + segment], _DONT_WAIT, address)
            except OSError as error:
                if error.errno in _FULL:
                    return view[offset:]
                self._counters[f"udp-send-{_name(error)}"] += 1
        return None

    def _control(self, segment: int) -> list[tuple[int, int, bytes]]:
        control = self._controls.get(segment)
        if control is None:
            if len(self._controls) >= MAX_SEGMENT_SIZES:
                self._controls.clear()
            control = self._controls[segment] = [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", segment))]
        return control

    # -- addresses

    def _source(self, address: Any) -> Endpoint:
        if len(self._sources) >= MAX_ADDRESSES:
            self._sources.clear()
        endpoint = self._sources[address] = endpoint_of(address, self.via)
        return endpoint

    def _target(self, endpoint: Endpoint) -> Any:
        if len(self._targets) >= MAX_ADDRESSES:
            self._targets.clear()
        address = self._targets[endpoint] = address_of(endpoint)
        return address


def endpoint_of(address: Any, via: int = 0) -> Endpoint:
    """A socket's address as an endpoint; a link-local one keeps its interface as a numeric zone (RFC 4007, 11)."""
    host = str(address[0])
    if len(address) == 4 and address[3]:
        host = f"{host.partition('%')[0]}%{address[3]}"
    return Endpoint(UDP, host, int(address[1]), via)


def address_of(endpoint: Endpoint) -> Any:
    """The reverse, so that no call of the kernel's has to look anything up."""
    host, _, zone = endpoint.host.partition("%")
    if ":" not in host:
        return (host, endpoint.port)
    return (host, endpoint.port, 0, int(zone) if zone.isdecimal() else 0)


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "error").lower()


def _takes(sock: socket.socket, option: int, value: int) -> bool:
    """Whether the kernel knows a UDP option."""
    try:
        sock.setsockopt(SOL_UDP, option, value)
    except OSError:
        return False
    return True


def _bound(host: str, port: int, small: bool) -> socket.socket:
    """A non-blocking UDP socket, with large buffers or small ones; an IPv6 one takes IPv6 only, since IPv4 has a socket of its own."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        raise cannot_listen(host, port, error) from error
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if small:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, SMALL_BUFFER)
        else:
            _enlarge(sock)
        if _LINUX:
            level, option, _, usual = _DISCOVERY[6 if family == socket.AF_INET6 else 4]
            sock.setsockopt(level, option, usual)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise cannot_listen(host, port, error) from error
    return sock


def _enlarge(sock: socket.socket) -> None:
    """Ask for a large receive buffer: within the system's limit, and beyond it where the process may (CAP_NET_ADMIN)."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    if _LINUX:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
