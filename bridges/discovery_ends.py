"""The two ends of what the discovery relay carries: a local program as the LAN sees it, and a peer's program as local programs do.

::

    local program 192.168.1.5:5000  ⇄  LanEnd, port 5000 of the LAN (another where that is taken)  ⇄  peers
    peer's program 25.a.b.c:8303    ⇄  Mirror, 127.a.b.c:8303 (another where that is taken)        ⇄  local programs

Both translate whole endpoints, whoever the other side is (RFC 4787, "endpoint-independent mapping"): so replies find their way
whichever port they come from, and a game that goes on by UDP after it was found needs nothing more.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol

from bridges.discovery_local import EVERYBODY, LOOPBACK, LOOPBACK_BROADCAST, LocalSocket, join, speak, speak_here
from bridges.profiles import Channel
from userlan.driver.lan import Lan, PeerInfo

if TYPE_CHECKING:
    from bridges.discovery_carrier import Carrier

NEVER = float("-inf")

UNSENT = (OSError, ValueError, CannotListenError, MessageLengthError)
"""What keeps a datagram from being sent; UDP may lose it."""


class LanEnd(DatagramProtocol):
    """A port of the LAN: of a channel, or of one local program's socket."""

    noisy = False

    def __init__(self, carrier: Carrier, local_port: int, channel: Channel | None) -> None:
        self.carrier = carrier
        self.local_port = local_port
        """The local program's; of a channel: the same as on the LAN."""
        self.channel = channel
        self.host = ""
        """Where the local program was seen last; empty when none was."""
        self.heard = NEVER
        """When it was."""
        self.asked = NEVER
        """When it last told everybody something."""
        self._port: Any = None

    def open(self, lan: Lan) -> None:
        """Bind; CannotListenError when there is none for it."""
        if self.channel is None:
            try:
                self._port = lan.datagram_port(self, self.local_port)
            except CannotListenError:
                self._port = lan.datagram_port(self)
        else:
            self._port = lan.datagram_port(self, self.local_port, weak=True)
            for group in self.channel.groups:
                self._port.joinGroup(group).addErrback(self._not_joined)
        self._port.setLoopbackMode(False)

    @property
    def number(self) -> int:
        """The port's number on the LAN."""
        number: int = self._port.getHost().port
        return number

    def write(self, datagram: bytes, to: tuple[str, int]) -> bool:
        """Whether it was taken."""
        if self._port is None:
            return False
        try:
            self._port.write(datagram, to)
        except UNSENT:
            return False
        return True

    def seen(self, host: str, now: float) -> None:
        """The local program speaks from ``host``."""
        self.host = host
        self.heard = now

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.carrier.from_lan(self, datagram, addr, "")

    def groupDatagramReceived(self, datagram: bytes, addr: tuple[str, int], group: str) -> None:
        self.carrier.from_lan(self, datagram, addr, group)

    def close(self) -> None:
        """Idempotent."""
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()

    def _not_joined(self, failure: Any) -> None:
        self.carrier.counters["group-not-joined"] += 1


class Mirror:
    """A peer's endpoint, at this computer."""

    def __init__(self, carrier: Carrier, peer: PeerInfo, address: str, port: int) -> None:
        self.carrier = carrier
        self.peer = peer
        self.address = address
        """The peer's, IPv4 or IPv6, that it speaks from."""
        self.port = port
        self.emitted = NEVER
        """When it last told everybody something."""
        self._socket: LocalSocket | None = None
        self._here: LocalSocket | None = None

    def open(self, reactor: Any, alias: str, reuse: bool, same: bool) -> None:
        """Bind, at the same port if wanted; OSError."""
        self._socket = speak(reactor, alias, self.port if same else 0, reuse, self._received)

    @property
    def local(self) -> tuple[str, int]:
        """Where local programs see it."""
        assert self._socket is not None
        return self._socket.host, self._socket.port

    def send(self, datagram: bytes, to: tuple[str, int]) -> bool:
        """To one local program."""
        return self._socket is not None and self._socket.send(datagram, to)

    def tell(self, datagram: bytes, channel: Channel, port: int, destination: str, primary: str) -> bool:
        """To every local program on the port, as the peer told everybody at ``destination``. ``primary``: the own address by which
        programs that look at the interface are told."""
        group = destination if destination in channel.groups4 else ""
        if not group and not channel.broadcast and channel.groups4:
            group = channel.groups4[0]
        if not group:
            return self.send(datagram, (LOOPBACK_BROADCAST, port)) or (bool(primary) and self.send(datagram, (primary, port)))
        if self.carrier.profile.deliver == "interface" and primary:
            return self._tell_here(datagram, (group, port), primary)
        if self._socket is not None:
            join(self._socket.socket, group, LOOPBACK)        # the loopback interface delivers what somebody has joined there
        return self.send(datagram, (group, port))

    def close(self) -> None:
        """Idempotent."""
        for one in (self._socket, self._here):
            if one is not None:
                one.close()
        self._socket = self._here = None

    def _tell_here(self, datagram: bytes, to: tuple[str, int], primary: str) -> bool:
        if self._here is not None and self._here.host != primary:
            self._here.close()
            self._here = None
        if self._here is None:
            try:
                self._here = speak_here(self.carrier.relay.lan.reactor, primary, self._received)
            except OSError:
                return False
        return self._here.send(datagram, to)

    def _received(self, datagram: bytes, source: tuple[str, int]) -> None:
        self.carrier.from_local(self, datagram, source)


def to_everybody(group: str) -> str:
    """Where the LAN is told what a local program told ``group``, or a broadcast address."""
    return group if socket.inet_aton(group)[0] & 0xF0 == 0xE0 else EVERYBODY
