"""The two links' sockets: the LAN, and this computer's own (see mdns_link.py for what is said on them).

The LAN: UDP 5353 of the own virtual addresses, both groups. Every datagram is the word of the member whose address it bears (the tunnel
has checked it).

This computer. A socket for each interface, bound to the *group's* address: it hears what is told to the group and never takes away
an answer that is meant for the system's own responder, which holds the port for all addresses. What is sent leaves this computer only
where that is asked for: otherwise with a time to live of 0, which the kernel gives to the programs of this computer and to nobody else,
and never to a single host but this computer. What comes from an own address is this computer's word: no other computer can send
from it. Other computers of the link are heard so far as they have names that we wanted to use, and believed where that is asked for.

Why not python-zeroconf's engine on this side: it answers single hosts by datagrams that leave the computer, does not tell who said what,
and takes unicast answers away from others by binding the interface's own address.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Hashable
from typing import Any

from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from bridges.mdns_link import NOBODY, Event, Link
from bridges.mdns_responder import PORT, Host
from userlan.driver.interfaces import Interface, interfaces
from userlan.driver.lan import Lan

GROUP, GROUP6 = "224.0.0.251", "ff02::fb"
"""RFC 6762 3."""
HOPS = 255
"""RFC 6762 11."""
MAX_DATAGRAM = 9000
"""RFC 6762 17."""
MAX_INTERFACES = 16
"""Interfaces of this computer that are spoken on: more are containers' and virtual machines'."""
IP_MULTICAST_ALL = 49
"""Linux: whether a socket hears groups that others have joined, too; Python does not name it."""
LOOPBACK = "127.0.0.1"
THIS_COMPUTER = ""
"""The origin of what this computer's own programs say."""
SHORTEST_PAUSE = 0.005
"""Seconds until the link is looked after again at the earliest: what comes at nearly the same time shares datagrams."""


def chance() -> float:
    """A number from 0 to 1."""
    return int.from_bytes(os.urandom(4), "big") / 2**32


class Side:
    """A link and its time: sends what is due, tells what happened, sleeps until there is something again."""

    def __init__(self, reactor: Any, unicast: bool, happened: Callable[[Event], None], yields: bool = False) -> None:
        self.link = Link(chance, unicast, yields)
        self.reactor = reactor
        self._happened = happened
        self._call: Any = None
        self._running = False

    def run(self) -> None:
        """Begin."""
        self._running = True
        self.link.start(self.now())
        self.touch()

    def now(self) -> float:
        """Seconds of the reactor's clock."""
        seconds: float = self.reactor.seconds()
        return seconds

    def touch(self) -> None:
        """Something was put into the link: look after it soon."""
        if self._running:
            self._schedule(self.now() + SHORTEST_PAUSE)

    def halt(self) -> None:
        """Send what is due (goodbyes) and end."""
        if self._running:
            self._running = False
            self._send()
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def send(self, datagram: bytes, to: Host | None) -> None:
        """One datagram."""

    def _pass(self) -> None:
        self._call = None
        self._send()
        for event in self.link.events(self.now()):
            self._happened(event)
        deadline = self.link.deadline()
        if deadline is not None and self._running:
            self._schedule(max(deadline, self.now() + SHORTEST_PAUSE))

    def _send(self) -> None:
        for datagram, to in self.link.datagrams(self.now()):
            self.send(datagram, to)

    def _schedule(self, when: float) -> None:
        if self._call is not None and self._call.active():
            if self._call.getTime() <= when:
                return
            self._call.cancel()
        self._call = self.reactor.callLater(max(0.0, when - self.now()), self._pass)


class LanSide(Side, DatagramProtocol):
    """On the LAN."""

    noisy = False

    def __init__(self, lan: Lan, happened: Callable[[Event], None]) -> None:
        super().__init__(lan.reactor, True, happened)
        self._lan = lan
        self._port: Any = None

    def open(self) -> None:
        """Bind and join; raises CannotListenError."""
        self._port = self._lan.datagram_port(self, PORT)
        self._port.setTTL(HOPS)
        self._port.setLoopbackMode(False)
        for group in (GROUP, GROUP6):
            self._port.joinGroup(group).addErrback(lambda _: None)
        self.run()

    def close(self) -> None:
        """Say goodbye. Idempotent."""
        self.halt()
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()

    def send(self, datagram: bytes, to: Host | None) -> None:
        if self._port is None:
            return
        if to is None:
            to = (GROUP if self._lan.own().ipv4 else GROUP6, PORT)
        try:
            self._port.write(datagram, to)
        except (OSError, ValueError, MessageLengthError):
            self.link.counters["unsent"] += 1
        except Exception as refusal:        # of the stack: nobody is there, or no own address is known yet
            self.link.counters[f"unsent: {type(refusal).__name__}"] += 1

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        peer = self._lan.peer_at(addr[0])
        if peer is None or peer.key == self._lan.own().key:
            self.link.counters["stranger"] += 1
            return
        self.link.receive(datagram, (addr[0], addr[1]), peer.key, self.now())
        self.touch()


class LocalSide(Side):
    """On this computer's interfaces."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        happened: Callable[[Event], None],
        browse: bool,
        advertise: bool,
        interfaces: Callable[[], list[Interface]] = interfaces,
        names: tuple[str, ...] = (),
    ) -> None:
        """``browse``: other computers of the links are believed too. ``advertise``: they hear us. ``names``: the interfaces that are
        spoken on, none: all."""
        super().__init__(reactor, False, happened, yields=True)
        self.hosts: tuple[str, ...] = ()
        """Own IPv4 addresses that are spoken from."""
        self.own: frozenset[str] = frozenset()
        """All own addresses."""
        self.error = ""
        self._browse = browse
        self._advertise = advertise
        self._interfaces = interfaces
        self._names = names
        self._sockets: dict[str, _Interface] = {}

    def look(self, ours: tuple[str, ...]) -> bool:
        """See which interfaces there are, and speak on those; ``ours``: addresses of the LAN, whose interface belongs to the LAN.
        Whether the own addresses are others than before."""
        found = self._interfaces()
        of = {interface.name: [str(one.ip) for one in interface.ipv4] + [str(one.ip) for one in interface.ipv6] for interface in found}
        own = frozenset([LOOPBACK, "::1", *(host for hosts in of.values() for host in hosts)])
        unused = {name for name, hosts in of.items() if not set(hosts).isdisjoint(ours) or (self._names and name not in self._names)}
        hosts = [str(interface.ipv4[0].ip) for interface in found if interface.ipv4 and interface.name not in unused][:MAX_INTERFACES]
        wanted = hosts or [LOOPBACK]
        self.error = ""
        for host in [host for host in self._sockets if host not in wanted]:
            self._sockets.pop(host).close()
        for host in wanted:
            if host not in self._sockets:
                try:
                    self._sockets[host] = _Interface(self, host, HOPS if self._advertise else 0)
                except OSError as error:
                    self.error = f"multicast DNS by {host}: {error.strerror or error}"
        changed = (tuple(self._sockets), own) != (self.hosts, self.own)
        self.hosts, self.own = tuple(self._sockets), own
        self.link.copies = len(self._sockets)
        if changed and self._running:
            self.link.again(self.now())
            self.touch()
        return changed

    def close(self) -> None:
        """Say goodbye. Idempotent."""
        self.halt()
        sockets, self._sockets = self._sockets, {}
        for one in sockets.values():
            one.close()

    def send(self, datagram: bytes, to: Host | None) -> None:
        if to is not None and not (self._advertise or to[0] in self.own):
            self.link.counters["elsewhere"] += 1
            return
        for one in list(self._sockets.values()):
            try:
                one.send(datagram, to or (GROUP, PORT))
            except OSError:
                self.link.counters["unsent"] += 1
            if to is not None:
                return

    def received(self, datagram: bytes, source: Host) -> None:
        """From one of the interfaces."""
        origin: Hashable = THIS_COMPUTER
        elsewhere = source[0] not in self.own
        if elsewhere:
            response = len(datagram) > 2 and bool(datagram[2] & 0x80)
            if not response and not self._advertise:
                return          # nobody but this computer is answered
            origin = source[0] if self._browse else NOBODY
        self.link.receive(datagram, source, origin, self.now(), elsewhere and not self._advertise)
        self.touch()


class _Interface(DatagramProtocol):
    """The socket of one interface."""

    noisy = False
    transport: Any = None

    def __init__(self, side: LocalSide, host: str, hops: int) -> None:
        """Raises OSError."""
        self._side = side
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sys.platform != "linux" and hasattr(socket, "SO_REUSEPORT"):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                made.bind((GROUP, PORT))
            except OSError:         # some platforms bind own addresses only
                made.bind(("", PORT))
            packed = socket.inet_aton(host)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + packed)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, packed)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, hops)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            if sys.platform == "linux":
                made.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
            self._port = side.reactor.adoptDatagramPort(made.fileno(), socket.AF_INET, self, MAX_DATAGRAM)
        finally:
            made.close()

    def send(self, datagram: bytes, to: Host) -> None:
        if self.transport is not None:
            self.transport.write(datagram, to)

    def close(self) -> None:
        self._port.stopListening()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._side.received(datagram, (addr[0], addr[1]))
