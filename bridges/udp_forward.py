"""A local UDP port that leads to a peer's UDP service.

Each local sender is a flow with a LAN port of its own, so that the peer can tell senders apart and replies find
their way. A flow takes datagrams from the peer's address and port only, and ends after FLOW_IDLE seconds without
one; the table is bounded, and the flow used longest ago gives way.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall

from bridges.flows import FLOW_IDLE, MAX_FLOWS, FlowTable
from bridges.listen import listen_udp
from userlan.driver.lan import Lan
from userlan.lan.names import UnknownName

Sender = tuple[str, int]


class UdpForward(DatagramProtocol):
    """The protocol of the local port."""

    noisy = False
    transport: Any = None

    def __init__(self, lan: Lan, peer: str, port: int, idle: float = FLOW_IDLE, capacity: int = MAX_FLOWS) -> None:
        self.counters: Counter[str] = Counter()
        self._lan = lan
        self._peer = peer
        self._peer_port = port
        self._flows: FlowTable[Sender, _Flow] = FlowTable(capacity, idle)
        self._sweep = LoopingCall(self._expire)
        self._sweep.clock = lan.reactor

    def __len__(self) -> int:
        return len(self._flows)

    def open(self, bind: str, port: int) -> Any:
        """Listen on a local port; returns Twisted's port, raises CannotListenError."""
        listening = listen_udp(self._lan.reactor, port, self, bind)
        self._sweep.start(self._flows.idle / 4, now=False)
        return listening

    def close(self) -> None:
        """End all flows; the local port is its opener's to close."""
        if self._sweep.running:
            self._sweep.stop()
        for flow in self._flows.clear():
            flow.close()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        sender: Sender = (addr[0], addr[1])
        now = self._lan.reactor.seconds()
        flow = self._flows.use(sender, now)
        try:
            if flow is None:
                flow = _Flow(self, sender, self._lan.resolve(self._peer), self._peer_port)
                flow.open(self._lan)
                for displaced in self._flows.add(sender, flow, now):
                    self.counters["flows-full"] += 1
                    displaced.close()
            flow.send(datagram)
        except UnknownName:
            self.counters["unknown-name"] += 1
        except (OSError, ValueError, CannotListenError, MessageLengthError):
            self.counters["unsent"] += 1

    def reply(self, sender: Sender, datagram: bytes) -> None:
        """A datagram of the peer for one of the local senders."""
        if self._flows.use(sender, self._lan.reactor.seconds()) is None or self.transport is None:
            return
        try:
            self.transport.write(datagram, sender)
        except (OSError, ValueError, MessageLengthError):
            self.counters["unsent"] += 1

    def _expire(self) -> None:
        for flow in self._flows.expire(self._lan.reactor.seconds()):
            flow.close()


class _Flow(DatagramProtocol):
    """The LAN port of one local sender."""

    noisy = False

    def __init__(self, forward: UdpForward, sender: Sender, address: str, port: int) -> None:
        self._forward = forward
        self._sender = sender
        self._target = (address, port)
        self._port: Any = None

    def open(self, lan: Lan) -> None:
        self._port = lan.datagram_port(self)

    def send(self, datagram: bytes) -> None:
        self._port.write(datagram, self._target)

    def close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if (addr[0], addr[1]) == self._target:
            self._forward.reply(self._sender, datagram)
        else:
            self._forward.counters["stranger"] += 1
