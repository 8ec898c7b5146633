"""UDP sockets (RFC 768, RFC 1122 4.1, RFC 8085).

A socket is bound to one own address or to all, and to one port. Datagrams wait in a queue that is bounded in number
and in octets; what comes to a full one is dropped and counted, as a kernel does. A connected socket takes datagrams of
one remote only, and errors about what it sent there wait for ``take_error``.

A datagram to a group reaches exactly the sockets that have joined it with a filter that admits its source; a broadcast
reaches every socket on the port. What a socket sends to a group goes to the members in this host too, unless
it does not want that, and leaves with a hop limit of 1, unless it wants another (RFC 1112 6.1, RFC 3678).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple

from userlan.stack import errors
from userlan.stack.addresses import Addresses, is_multicast
from userlan.stack.config import HostConfig
from userlan.stack.errors import StackError
from userlan.stack.groups import Groups, stays_here
from userlan.stack.outgoing import Outgoing
from userlan.stack.ports import Ports
from userlan.stack.quoted import Report
from userlan.wire.numbers import Buffer
from userlan.wire.superpacket import SuperPacket
from userlan.wire.udp import MAX_PAYLOAD_IPV4, MAX_PAYLOAD_IPV6, Datagram, build, parse_datagram

Remote = tuple[bytes, int]
"""A packed address and a port."""

MULTICAST_HOPS = 1
"""Hop limit towards groups: their own link's only, unless the program wants more (RFC 1112 6.1)."""

MAX_ERRORS = 16
"""Errors that wait in one socket; the oldest goes first: a program that does not ask holds no more."""


class Received(NamedTuple):
    """One datagram: what, from whom, and to which address and port of ours."""

    payload: Buffer
    source: Remote
    destination: Remote


class UdpError(NamedTuple):
    """An ICMP error about what a connected socket sent; ``reason`` as in ``userlan.stack.quoted``."""

    reason: str
    hard: bool
    remote: Remote


class UdpSocket:
    """Made by ``Host.udp_bind``. ``context`` is free for its owner."""

    __slots__ = (
        "_bytes",
        "_errors",
        "_queue",
        "_table",
        "address",
        "closed",
        "context",
        "multicast_hops",
        "multicast_loop",
        "multicast_source",
        "port",
        "remote",
    )

    def __init__(self, table: UdpTable, address: bytes | None, port: int) -> None:
        self.address = address
        """The own address, None for all."""
        self.port = port
        self.remote: Remote | None = None
        self.closed = False
        self.context: object = None
        self.multicast_hops = MULTICAST_HOPS
        """Hop limit of what is sent to groups, 0 to 255; with 0 it stays in this host."""
        self.multicast_loop = True
        """Whether this host's own members get what is sent to their group."""
        self.multicast_source: bytes | None = None
        """The own address to speak to groups from, None for the one that fits best."""
        self._table = table
        self._queue: deque[Received] = deque()
        self._errors: deque[UdpError] = deque(maxlen=MAX_ERRORS)
        self._bytes = 0

    def connect(self, remote: Remote | None) -> None:
        """Speak with one remote only, or (None) with everybody again; what waits from others is dropped."""
        self.remote = remote
        if remote is not None:
            self._queue = deque(received for received in self._queue if received.source == remote)
            self._bytes = sum(len(received.payload) for received in self._queue)

    def send(self, payload: Buffer, remote: Remote | None, now: float, source: bytes | None = None) -> bool:
        """Send one datagram to ``remote`` (None: the connected one); False when the host's queue is full.

        ``source``: the own address to speak from. Raises StackError: closed, not-connected, no-address, too-long.
        """
        remote = remote or self.remote
        if self.closed:
            raise StackError(errors.CLOSED, "the UDP socket is closed")
        if remote is None:
            raise StackError(errors.NOT_CONNECTED, "the UDP socket is not connected and no destination was given")
        if is_multicast(remote[0]):
            return self._table.send_to_group(self, payload, remote, source or self.multicast_source or self.address)
        return self._table.send(self, payload, remote, source or self.address)

    def join(self, group: bytes, sources: Iterable[bytes] | None = None, exclude: Iterable[bytes] = ()) -> None:
        """Hear a group (packed): ``sources`` alone, or (None) all but ``exclude``.

        It replaces what the socket wanted of that group before; no sources at all: nothing (RFC 3376 2). Raises
        StackError: closed, not-a-group, no-address (a source that is no host's), too-many.
        """
        if self.closed:
            raise StackError(errors.CLOSED, "the UDP socket is closed")
        self._table.groups.join(self, group, sources, exclude)

    def leave(self, group: bytes) -> None:
        """Hear a group no more. Raises StackError: not-a-member."""
        self._table.groups.leave(self, group)

    def receive(self) -> Received | None:
        """The next datagram, None when there is none."""
        if not self._queue:
            return None
        received = self._queue.popleft()
        self._bytes -= len(received.payload)
        return received

    def take_error(self) -> UdpError | None:
        """The next error about what was sent, None when there is none."""
        return self._errors.popleft() if self._errors else None

    def close(self) -> None:
        """Free the port; what waits is dropped."""
        if not self.closed:
            self.closed = True
            self._queue.clear()
            self._errors.clear()
            self._table.closed(self)

    def accepts(self, source: Remote) -> bool:
        return self.remote is None or self.remote == source

    def put(self, received: Received, config: HostConfig) -> bool:
        """Queue a datagram; False when there is no room."""
        size = len(received.payload)
        if len(self._queue) >= config.udp_queue_datagrams or self._bytes + size > config.udp_queue_bytes:
            return False
        self._queue.append(received)
        self._bytes += size
        return True

    def put_error(self, error: UdpError) -> None:
        self._errors.append(error)


class UdpTable:
    """The sockets of a host. ``readable`` holds those that got something since it was last cleared."""

    def __init__(
        self,
        config: HostConfig,
        addresses: Addresses,
        ports: Ports,
        groups: Groups,
        outgoing: Outgoing,
        counters: Counter[str],
    ) -> None:
        self.readable: dict[UdpSocket, None] = {}
        self.groups = groups
        self._config = config
        self._addresses = addresses
        self._ports = ports
        self._outgoing = outgoing
        self._counters = counters
        self._sockets: dict[tuple[bytes | None, int], UdpSocket] = {}
        self._weak: dict[int, UdpSocket] = {}
        self._uses: Counter[int] = Counter()

    def bind(self, port: int, address: bytes | None, weak: bool = False) -> UdpSocket:
        """Raises StackError: too-many, no-address, address-in-use, no-port.

        A weak socket (of a port by its number, all addresses) stands in nobody's way: it hears groups and broadcasts, and gets
        unicasts only where no other socket has the port; a kernel that shares the addresses goes before it too.
        """
        if len(self._sockets) + len(self._weak) >= self._config.max_udp_sockets:
            raise StackError(errors.TOO_MANY, f"no more than {self._config.max_udp_sockets} UDP sockets can be open")
        if address is not None and address not in self._addresses:
            raise StackError(errors.NO_ADDRESS, "the address to bind to is not one of this host's")
        if weak and port:
            return self._bind_weak(port)
        if port == 0:
            chosen = self._ports.for_socket(lambda candidate: self._uses[candidate] > 0)
            if chosen is None:
                raise StackError(errors.NO_PORT, "no UDP port is free")
            port = chosen
        elif self._taken(port, address):
            raise StackError(errors.ADDRESS_IN_USE, f"UDP port {port} is in use")
        socket = self._sockets[address, port] = UdpSocket(self, address, port)
        self._uses[port] += 1
        return socket

    def _bind_weak(self, port: int) -> UdpSocket:
        if port in self._weak:
            raise StackError(errors.ADDRESS_IN_USE, f"UDP port {port} is in use")
        socket = self._weak[port] = UdpSocket(self, None, port)
        return socket

    def closed(self, socket: UdpSocket) -> None:
        """A socket is closed: forget it."""
        self.groups.closed(socket)
        if self._weak.get(socket.port) is socket:
            del self._weak[socket.port]
            self.readable.pop(socket, None)
            return
        del self._sockets[socket.address, socket.port]
        self.readable.pop(socket, None)
        self._uses[socket.port] -= 1
        if not self._uses[socket.port]:
            del self._uses[socket.port]

    def send(self, socket: UdpSocket, payload: Buffer, remote: Remote, source: bytes | None) -> bool:
        """One datagram to a host, or to all by broadcast. Raises StackError: no-address, too-long."""
        return self._outgoing.add(self._built(socket, payload, remote, source, self._config.hop_limit))

    def send_to_group(self, socket: UdpSocket, payload: Buffer, remote: Remote, source: bytes | None) -> bool:
        """One datagram to a group, and to its members in this host. Raises StackError: no-address, too-long."""
        packet = self._built(socket, payload, remote, source, socket.multicast_hops)
        if socket.multicast_loop:
            self.receive(packet)
        return socket.multicast_hops == 0 or stays_here(remote[0]) or self._outgoing.add(packet)

    def _built(
        self, socket: UdpSocket, payload: Buffer, remote: Remote, source: bytes | None, hop_limit: int
    ) -> SuperPacket:
        destination, port = remote
        if source is None:
            source = self._addresses.source_for(destination)
        if source is None or source not in self._addresses or len(source) != len(destination):
            raise StackError(errors.NO_ADDRESS, "this host has no address to reach that destination from")
        if len(payload) > (MAX_PAYLOAD_IPV4 if len(destination) == 4 else MAX_PAYLOAD_IPV6):
            raise StackError(errors.TOO_LONG, f"a UDP datagram of {len(payload)} octets is too long")
        return build(Datagram(socket.port, port, payload), source, destination, hop_limit)

    def receive(self, packet: SuperPacket) -> bool:
        """A datagram to this host; False when nobody has its port. Raises WireError when malformed."""
        datagram = parse_datagram(packet)
        source = (packet.source, datagram.source_port)
        destination = (packet.destination, datagram.destination_port)
        sockets = self._receivers(destination, source)
        payload = datagram.payload
        step = datagram.segment_size or len(payload)
        for socket in sockets:
            for start in range(0, len(payload), step) if payload else (0,):
                if not socket.put(Received(payload[start : start + step], source, destination), self._config):
                    self._counters["udp-queue-full"] += 1
            self.readable[socket] = None
        return bool(sockets)

    def expects(self, packet: SuperPacket) -> bool:
        """Whether a datagram is to a port that is bound here, whoever it is from."""
        header, offset = packet.header, packet.transport_offset
        return self._sender(packet.destination, header[offset + 2] << 8 | header[offset + 3]) is not None

    def is_bound(self, packet: SuperPacket) -> bool:
        """Whether any socket has the port that a datagram is to, whatever its address."""
        header, offset = packet.header, packet.transport_offset
        return self._uses[header[offset + 2] << 8 | header[offset + 3]] > 0

    def failed(self, found: Report) -> bool:
        """An ICMP error about a datagram; whether a connected socket sent there."""
        quote = found.quote
        socket = self._holder(quote.source, quote.source_port)
        remote = (quote.destination, quote.destination_port)
        if socket is None or socket.remote != remote:
            return False
        socket.put_error(UdpError(found.reason, found.hard, remote))
        self.readable[socket] = None
        return True

    def may_have_sent(self, found: Report) -> bool:
        """Whether the quoted datagram can be ours: for an unconnected socket all that can be known is its port."""
        quote = found.quote
        socket = self._holder(quote.source, quote.source_port)
        return socket is not None and socket.accepts((quote.destination, quote.destination_port))

    def _taken(self, port: int, address: bytes | None) -> bool:
        if not self._uses[port]:
            return False
        return address is None or (address, port) in self._sockets or (None, port) in self._sockets

    def _sender(self, address: bytes, port: int) -> UdpSocket | None:
        return self._sockets.get((address, port)) or self._sockets.get((None, port))

    def _holder(self, address: bytes, port: int) -> UdpSocket | None:
        return self._sender(address, port) or self._weak.get(port)

    def _receivers(self, destination: Remote, source: Remote) -> list[UdpSocket]:
        address, port = destination
        found: list[UdpSocket | None]
        if self._addresses.of_many(address):
            family = [own for own in self._addresses if len(own) == len(address)]
            bound = [*(self._sockets.get((own, port)) for own in (None, *family)), self._weak.get(port)]
            hears = self.groups.hears
            found = [socket for socket in bound if socket is not None and hears(socket, address, source[0])]
        else:
            found = [self._holder(address, port)]
        return [socket for socket in found if socket is not None and socket.accepts(source)]
