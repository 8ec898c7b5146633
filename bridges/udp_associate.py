"""SOCKS5 UDP ASSOCIATE: datagrams of one client to the LAN and, where allowed, outside (RFC 1928, section 7).

::

    client ──UDP──→ relay port on the address of the control connection ──→ LAN datagram port ──→ peers
           ←──────                                                      ←──  from any peer
                                                                        ──→ outside UDP socket ──→ hosts
                                                                        ←──  from hosts that were sent to, only

The relay port takes datagrams from the client's address only, and from one port of it: the one named in the
request, else the first that sends a valid datagram. Towards the LAN one port serves all targets and takes replies
from any peer (full cone), so that servers which answer from another port, and games, work: a datagram to a broadcast or
a multicast group, of either family, reaches the members that hear it, each of whom may answer (``broadcast: refuse``
forbids it). They never leave for the networks that this computer is on. The sockets towards LAN
and outside are opened when first needed and closed after IDLE seconds without traffic; the association itself lives
as long as its control connection.

Names are resolved for each datagram, with a cache; outside names in the reactor's thread pool, while a few
datagrams wait.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import OrderedDict
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from bridges.dial import is_loopback, is_this_computer
from bridges.listen import listen_udp
from bridges.proxy_context import ProxyContext
from bridges.rules import is_numeric
from bridges.socks import SocksError, build_datagram, parse_datagram
from userlan.driver.threads import in_thread
from userlan.lan.names import UnknownName

IDLE = 300.0
"""Seconds without a datagram in either direction after which the outward sockets are closed (RFC 4787, REQ-5: five
minutes recommended)."""

NAME_LIFETIME = 60.0
"""Seconds a resolved name is used: short enough for hosts that move."""

MAX_NAMES = 64
"""Names remembered for one association."""

MAX_WAITING = 8
"""Datagrams kept for a name that is being resolved; UDP may lose the others."""

MAX_CONTACTS = 1024
"""Outside hosts whose replies are taken; the oldest is forgotten."""


class _Port(DatagramProtocol):
    """A UDP socket that hands what it gets to a function."""

    noisy = False

    def __init__(self, received: Any) -> None:
        self._received = received

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self._received(datagram, addr[0], addr[1])


class UdpAssociation:
    """The association of one control connection."""

    def __init__(self, context: ProxyContext, client_host: str, client_port: int) -> None:
        """``client_host``: who may send; ``client_port``: from which port, 0 for whichever sends first."""
        self._context = context
        self._client_host = client_host
        self._client_port = client_port
        self._relay: Any = None
        self._lan: Any = None
        self._outside: dict[int, Any] = {}
        self._names: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._waiting: dict[str, list[tuple[int, bytes]]] = {}
        self._contacts: OrderedDict[str, None] = OrderedDict()
        self._last_used = 0.0
        self._idle_check = LoopingCall(self._check_idle)
        self._idle_check.clock = context.reactor

    def start(self, address: str) -> tuple[str, int]:
        """Open the relay port on ``address``; returns where it is. Raises CannotListenError."""
        self._relay = listen_udp(self._context.reactor, 0, _Port(self._from_client), address)
        self._idle_check.start(IDLE / 4, now=False)
        bound = self._relay.getHost()
        return bound.host, bound.port

    def stop(self) -> None:
        """Close everything."""
        if self._relay is not None:
            self._relay.stopListening()
            self._relay = None
        if self._idle_check.running:
            self._idle_check.stop()
        self._close_outward()
        self._waiting.clear()

    # from the client

    def _from_client(self, data: bytes, host: str, port: int) -> None:
        if host != self._client_host or (self._client_port and port != self._client_port):
            self._drop("datagram-stranger")
            return
        try:
            datagram = parse_datagram(data)
        except SocksError as error:
            self._drop(str(error))
            return
        self._client_port = port
        address = self._resolve(datagram.host, datagram.port, datagram.payload)
        if address is not None:
            self._send(address, datagram.port, datagram.payload)

    def _resolve(self, host: str, port: int, payload: bytes) -> str | None:
        """The numeric address of ``host``; None when it has none, or the datagram waits for it."""
        if is_numeric(host):
            return host
        now = self._context.reactor.seconds()
        known = self._names.get(host)
        if known is not None and now < known[1]:
            return known[0]
        if self._context.dialer.is_lan(host):
            try:
                return self._remember(host, self._context.lan.resolve(host))
            except UnknownName:
                self._drop("datagram-unknown-name")
                return None
        if not self._context.dialer.outside:
            self._drop("datagram-forbidden")
        elif host in self._waiting:
            if len(self._waiting[host]) < MAX_WAITING:
                self._waiting[host].append((port, payload))
            else:
                self._drop("datagram-waiting-full")
        elif len(self._waiting) >= MAX_NAMES:
            self._drop("datagram-waiting-full")
        else:
            self._waiting[host] = [(port, payload)]
            self._look_up(host)
        return None

    def _remember(self, host: str, address: str) -> str:
        self._names[host] = (address, self._context.reactor.seconds() + NAME_LIFETIME)
        self._names.move_to_end(host)
        while len(self._names) > MAX_NAMES:
            self._names.popitem(last=False)
        return address

    def _look_up(self, host: str) -> None:
        reactor = self._context.reactor
        looking: Deferred[Any] = in_thread(reactor, socket.getaddrinfo, host, None, 0, socket.SOCK_DGRAM)
        looking.addCallbacks(self._looked_up, self._not_looked_up, (host,), {}, (host,))

    def _looked_up(self, found: list[Any], host: str) -> None:
        waiting = self._waiting.pop(host, [])
        if self._relay is None or not found:
            return
        address = self._remember(host, found[0][4][0].partition("%")[0])
        for port, payload in waiting:
            self._send(address, port, payload)

    def _not_looked_up(self, failure: Failure, host: str) -> None:
        for _ in self._waiting.pop(host, []):
            self._drop("datagram-unknown-name")

    # to the far side

    def _send(self, address: str, port: int, payload: bytes) -> None:
        self._last_used = self._context.reactor.seconds()
        try:
            many = self._context.dialer.is_group(address)
            if many and not self._context.broadcast:
                self._drop("datagram-forbidden")
            elif many or self._context.dialer.is_lan(address):
                if self._lan is None:
                    self._lan = self._context.lan.datagram_port(_Port(self._from_lan))
                self._lan.write(payload, (address, port))
            elif self._may_go_outside(address):
                self._contacts[address] = None
                self._contacts.move_to_end(address)
                while len(self._contacts) > MAX_CONTACTS:
                    self._contacts.popitem(last=False)
                self._outside_port(address).write(payload, (address, port))
            else:
                self._drop("datagram-forbidden")
        except (OSError, ValueError, CannotListenError, MessageLengthError):
            self._drop("datagram-unsent")

    def _may_go_outside(self, address: str) -> bool:
        return self._context.dialer.outside and (not is_loopback(address) or is_this_computer(self._client_host))

    def _outside_port(self, address: str) -> Any:
        family = ipaddress.ip_address(address).version
        if family not in self._outside:
            interface = "" if family == 4 else "::"
            protocol = _Port(self._from_outside)
            self._outside[family] = listen_udp(self._context.reactor, 0, protocol, interface)
        return self._outside[family]

    # to the client

    def _from_lan(self, data: bytes, host: str, port: int) -> None:
        self._to_client(data, host, port)

    def _from_outside(self, data: bytes, host: str, port: int) -> None:
        host = host.partition("%")[0]
        if host in self._contacts:
            self._to_client(data, host, port)
        else:
            self._drop("datagram-stranger")

    def _to_client(self, data: bytes, host: str, port: int) -> None:
        if self._relay is None or not self._client_port:
            self._drop("datagram-no-client")
            return
        self._last_used = self._context.reactor.seconds()
        try:
            self._relay.write(build_datagram(host, port, data), (self._client_host, self._client_port))
        except (OSError, ValueError, MessageLengthError):
            self._drop("datagram-unsent")

    # the rest

    def _check_idle(self) -> None:
        if self._context.reactor.seconds() - self._last_used >= IDLE:
            self._close_outward()

    def _close_outward(self) -> None:
        if self._lan is not None:
            self._lan.stopListening()
            self._lan = None
        for port in self._outside.values():
            port.stopListening()
        self._outside.clear()
        self._contacts.clear()

    def _drop(self, reason: str) -> None:
        self._context.counters[reason] += 1
