"""Sockets of this computer for the discovery relay: to hear what local programs tell everybody, and to speak to them as a peer.

Hearing. A socket is bound to the *group's* or the *broadcast's* own address, not to the wildcard: so it gets what is told to
everybody on its port and never a datagram to this computer alone, which would be taken away from the program that holds the port.
What local programs send comes back by the kernel's own loop. Only what bears one of this computer's own addresses as its source is
theirs; what others on the physical LAN say is not carried, nor what a peer's alias says. What was sent with a time to live of 0 is
for this computer alone, and is not carried either: that is how nodes tell local programs something by an interface.

Speaking. A socket at the peer's loopback alias sends to 127.255.255.255, which reaches the programs that hold the port for all
addresses and not those that chose 127.0.0.1, or to the group by the loopback interface.

Why IPv4 alone: there are no IPv6 aliases, and every profile's programs use IPv4 too.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import sys
from collections.abc import Callable
from typing import Any

from userlan.driver.interfaces import Interface, interfaces

MAX_DATAGRAM = 65535
"""Bytes of a UDP datagram (RFC 768)."""

DATAGRAMS_A_ROUND = 64
"""Datagrams read from one socket in a row; then the others have their turn."""

IP_RECVTTL = getattr(socket, "IP_RECVTTL", 12 if sys.platform == "linux" else None)
"""The option and the control message that tell a datagram's time to live; Python does not name it everywhere."""

IP_TTL_MESSAGE = socket.IP_TTL if sys.platform == "linux" else IP_RECVTTL

LOOPBACK = "127.0.0.1"
LOOPBACK_BROADCAST = "127.255.255.255"
EVERYBODY = "255.255.255.255"

REFRESH = 5.0
"""Seconds between two looks at this computer's addresses."""

Received = Callable[[bytes, tuple[str, int]], None]


class Surroundings:
    """This computer's own addresses, looked up anew now and then."""

    def __init__(self, look: Callable[[], list[Interface]] = interfaces) -> None:
        self._look = look
        self.addresses: tuple[str, ...] = ()
        self.addresses6: tuple[str, ...] = ()
        self.broadcasts: tuple[str, ...] = ()
        self.primary = ""
        """The address that local programs use towards groups; empty when there is none."""

    def refresh(self) -> bool:
        """Look; whether anything changed."""
        found = self._look()
        ipv4 = [one for interface in found for one in interface.ipv4]
        self.addresses6 = tuple(str(one.ip) for interface in found for one in interface.ipv6 if not one.ip.is_link_local)
        addresses = tuple(dict.fromkeys(str(one.ip) for one in ipv4))
        primary = _towards_groups(addresses)
        addresses = tuple(sorted(addresses, key=lambda host: host != primary))      # a kernel limits the memberships of one socket
        wide = [one.network.broadcast_address for one in ipv4 if one.network.prefixlen < 31]
        broadcasts = (EVERYBODY, *dict.fromkeys(str(one) for one in wide))
        changed = (addresses, broadcasts) != (self.addresses, self.broadcasts)
        self.addresses, self.broadcasts = addresses, broadcasts
        self.primary = primary
        return changed

    def is_own(self, host: str) -> bool:
        """Whether an address is one of this computer's interfaces."""
        return host in self.addresses

    def own(self, host: str) -> str:
        """Where a host named by a local program is: an own address, the one that programs use when the host is this computer by name
        or not named at all; empty when it is elsewhere."""
        if host in self.addresses or host in (LOOPBACK, "::1") or host in self.addresses6:
            return host
        if host == "localhost":
            return LOOPBACK
        name = socket.gethostname().partition(".")[0].lower()
        if not host or host.lower() in (name, f"{name}.local", socket.gethostname().lower()):
            return self.primary or LOOPBACK
        return ""


def _towards_groups(addresses: tuple[str, ...]) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("239.255.255.250", 9))        # asks for the route, sends nothing
        found = str(probe.getsockname()[0])
        if found in addresses:
            return found
    return addresses[0] if addresses else ""


class LocalSocket:
    """A UDP socket in the reactor. What Twisted's has no word for: an address to bind that is a group's, and the time to live."""

    def __init__(self, reactor: Any, made: socket.socket, received: Received) -> None:
        self.socket = made
        made.setblocking(False)
        self._reactor = reactor
        self._received = received
        reactor.addReader(self)

    @property
    def port(self) -> int:
        """Its own port."""
        port: int = self.socket.getsockname()[1]
        return port

    @property
    def host(self) -> str:
        """Its own address."""
        host: str = self.socket.getsockname()[0]
        return host

    def send(self, datagram: bytes, to: tuple[str, int]) -> bool:
        """Whether the kernel took it."""
        try:
            self.socket.sendto(datagram, to)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Idempotent."""
        if self.socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self.socket.close()

    # IReadDescriptor

    def fileno(self) -> int:
        return self.socket.fileno()

    def logPrefix(self) -> str:
        return "discovery"

    def doRead(self) -> None:
        """Read what there is, in bounded rounds."""
        for _ in range(DATAGRAMS_A_ROUND):
            if self.socket.fileno() < 0:
                return
            try:
                datagram, control, _, source = self.socket.recvmsg(MAX_DATAGRAM, 64)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EINTR):
                    return
                continue        # an ICMP error about what was sent; reading has taken it
            if not _stays_here(control):
                self._received(datagram, source)

    def connectionLost(self, reason: object) -> None:
        self.close()


def _stays_here(control: list[tuple[int, int, bytes]]) -> bool:
    return any(
        level == socket.IPPROTO_IP and kind == IP_TTL_MESSAGE and int.from_bytes(data[:4], sys.byteorder) == 0
        for level, kind, data in control
    )


def hear(reactor: Any, address: str, port: int, own: tuple[str, ...], received: Received) -> LocalSocket:
    """A socket that hears what is sent to a broadcast or group address, on the loopback and all own interfaces. OSError when the port
    is held by a program that does not share it."""
    made = _udp()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform != "linux" and hasattr(socket, "SO_REUSEPORT"):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)        # what shares a group's port on the BSDs
        if IP_RECVTTL is not None:
            made.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        made.bind((address, port))
        if ipaddress.ip_address(address).is_multicast:
            for interface in (LOOPBACK, *own):
                join(made, address, interface)
    except OSError:
        made.close()
        raise
    return LocalSocket(reactor, made, received)


def speak(reactor: Any, alias: str, port: int, reuse: bool, received: Received) -> LocalSocket:
    """A socket that speaks as a peer: at its alias and port where these can be had, else at another port; at 127.0.0.1 when ``alias``
    is empty. ``reuse``: whether local programs share that port, so that this must not hinder them. OSError."""
    made = _udp()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
        if reuse:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((alias or LOOPBACK, port if alias else 0))
        except OSError:
            made.bind((alias or LOOPBACK, 0))
    except OSError:
        made.close()
        raise
    return LocalSocket(reactor, made, received)


def speak_here(reactor: Any, address: str, received: Received) -> LocalSocket:
    """A socket that speaks to groups by an own interface, and to this computer alone: with a time to live of 0. OSError."""
    made = _udp()
    try:
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        made.bind((address, 0))
    except OSError:
        made.close()
        raise
    return LocalSocket(reactor, made, received)


def join(member: socket.socket, group: str, interface: str) -> None:
    """Join a group on the interface that has an address; one that cannot be is left out."""
    with contextlib.suppress(OSError):
        member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(interface))


def mark(alias: str, port: int) -> socket.socket | None:
    """Hold a port of an alias for oneself alone; None where somebody has it."""
    made = _udp()
    try:
        made.bind((alias, port))
    except OSError:
        made.close()
        return None
    return made


def _udp() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
