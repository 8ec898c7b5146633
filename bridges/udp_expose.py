"""A UDP port of the LAN that leads to a local UDP service.

Each peer's port is a flow with a local socket of its own, connected to the service and bound to the peer's loopback
alias where that is possible, so that the service can tell peers apart. Flows end after FLOW_IDLE seconds without a
datagram, or when the service is not there (ICMP port unreachable); the table is bounded, and the flow used longest
ago gives way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall

from bridges.dial import is_loopback
from bridges.flows import FLOW_IDLE, MAX_FLOWS, FlowTable
from bridges.listen import listen_udp
from bridges.udp_forward import Sender
from userlan.driver.lan import Lan, PeerInfo


class UdpExpose(DatagramProtocol):
    """The protocol of the LAN port."""

    noisy = False

    def __init__(
        self,
        lan: Lan,
        admit: Callable[[str], PeerInfo | None],
        host: str,
        port: int,
        aliases: bool,
        idle: float = FLOW_IDLE,
        capacity: int = MAX_FLOWS,
        own: bool = False,
    ) -> None:
        """``host``: numeric. ``aliases``: whether loopback aliases can be bound here. ``own``: the host is this computer
        itself, whatever its address."""
        self.counters: Counter[str] = Counter()
        self._lan = lan
        self._admit = admit
        self._service = (host, port)
        self._aliases = aliases and (own or is_loopback(host))
        self._port: Any = None
        self._flows: FlowTable[Sender, _Flow] = FlowTable(capacity, idle)
        self._sweep = LoopingCall(self._expire)
        self._sweep.clock = lan.reactor

    def __len__(self) -> int:
        return len(self._flows)

    def open(self, port: int) -> Any:
        """Listen on the LAN; raises CannotListenError."""
        self._port = self._lan.datagram_port(self, port)
        self._sweep.start(self._flows.idle / 4, now=False)
        return self._port

    def close(self) -> None:
        """Stop listening, end all flows."""
        if self._sweep.running:
            self._sweep.stop()
        for flow in self._flows.clear():
            flow.close()
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        sender: Sender = (addr[0], addr[1])
        now = self._lan.reactor.seconds()
        peer = self._admit(sender[0])
        if peer is None:
            self.counters["forbidden"] += 1
            return
        flow = self._flows.use(sender, now)
        try:
            if flow is None:
                flow = _Flow(self, sender)
                flow.open(self._lan.reactor, self._service, self._alias(peer))
                for displaced in self._flows.add(sender, flow, now):
                    self.counters["flows-full"] += 1
                    displaced.close()
            flow.send(datagram)
        except (OSError, ValueError, CannotListenError, MessageLengthError):
            self.counters["unsent"] += 1

    def reply(self, sender: Sender, datagram: bytes) -> None:
        """A datagram of the service for a peer."""
        if self._port is None or self._flows.use(sender, self._lan.reactor.seconds()) is None:
            return
        try:
            self._port.write(datagram, sender)
        except (OSError, ValueError, MessageLengthError):
            self.counters["unsent"] += 1

    def refused(self, sender: Sender, flow: _Flow) -> None:
        """The service of a flow is not there."""
        self.counters["refused"] += 1
        if self._flows.peek(sender) is flow:
            self._flows.remove(sender)
        flow.close()

    def _alias(self, peer: PeerInfo) -> str:
        if ":" in self._service[0]:
            return "::"
        return peer.loopback_alias if self._aliases else ""

    def _expire(self) -> None:
        for flow in self._flows.expire(self._lan.reactor.seconds()):
            flow.close()


class _Flow(DatagramProtocol):
    """The local socket of one peer's port."""

    noisy = False
    transport: Any = None

    def __init__(self, expose: UdpExpose, sender: Sender) -> None:
        self._expose = expose
        self._sender = sender
        self._closing = False

    def open(self, reactor: Any, service: Sender, interface: str) -> None:
        listen_udp(reactor, 0, self, interface)
        try:
            self.transport.connect(*service)
        except OSError:
            self.close()
            raise

    def send(self, datagram: bytes) -> None:
        self.transport.write(datagram)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.transport.stopListening()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._expose.reply(self._sender, datagram)

    def connectionRefused(self) -> None:
        if not self._closing:
            self._expose.refused(self._sender, self)

    def stopProtocol(self) -> None:
        """Twisted's epoll reactor closes a connected UDP socket at an ICMP error, since it is not readable then."""
        if not self._closing:
            self._closing = True
            self._expose.refused(self._sender, self)
