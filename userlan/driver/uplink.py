"""What an attached kernel finds on its link beyond the members: the engine's side of ``userlan.node.gateway``.

::

    kernel ── LanLink.send ── Attachment ── Uplink ── Gateway (a second stack, the kernel its one peer)
                                               │
                                               ├─ ports of the own addresses (RESOLVER, GATEWAY6): server_endpoint, datagram_port
                                               └─ Services, a bridge's: StreamCall, Datagrams, Echo; each is accepted or refused
    kernel ◀─ LinkReceiver.deliver ── packets of the Gateway, in the same turn of the reactor

The second stack is a core of the node's engine as the node is, so that its streams are ``LanTransport`` and its ports are
``LanServerEndpoint`` and ``LanDatagramPort``, unchanged; its packets come and go by the link instead of a socket. They do
not pass ``Host.unclaimed``: that holds what the first stack was given and did not want.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from userlan.driver.datagrams import LanDatagramPort
from userlan.driver.endpoints import LanServerEndpoint
from userlan.driver.reasons import address_of, error, failure_of
from userlan.driver.runner import Buffer, CoreRunner
from userlan.driver.transport import LanTransport
from userlan.lan.addresses import GATEWAY6, RESOLVER, packed, text
from userlan.node.gateway import (
    DatagramsArrived,
    EchoAsked,
    Flow,
    Gateway,
    StreamAbandoned,
    StreamAsked,
    StreamOpened,
)
from userlan.node.refusal import Refusal
from userlan.stack.host import Host
from userlan.stack.tcp.connection import Connection
from userlan.wire.endpoint import Endpoint
from userlan.wire.superpacket import SuperPacket

__all__ = ["Datagrams", "Echo", "Refusal", "Services", "StreamCall", "Uplink"]

RESOLVER_TEXT, GATEWAY_TEXT = text(RESOLVER), text(GATEWAY6)
"""The own addresses of the link's far end."""

Sender = tuple[str, int]
"""A numeric host and a port."""


class Services(Protocol):
    """What a bridge does for an attached kernel. All calls in the reactor's thread."""

    counters: Counter[str]
    """What it did and what it could not do, for people."""

    def attached(self, uplink: Uplink) -> None:
        """The link is there: ports of its own addresses can be listened on."""

    def detached(self) -> None:
        """It has gone, and with it every stream and port."""

    def stream(self, call: StreamCall) -> None:
        """A program wants a connection to somebody outside; to be accepted or refused, now or later."""

    def datagrams(self, arrived: Datagrams) -> None:
        """Datagrams to somebody outside."""

    def echo(self, echo: Echo) -> None:
        """An echo request to somebody outside."""


class StreamCall:
    """A connection that a program wants; its handshake waits for :meth:`accept` or :meth:`refuse`, the first of which counts."""

    def __init__(self, uplink: Uplink, flow: Flow) -> None:
        self.host = text(flow.destination)
        """Where to, numeric."""
        self.port = flow.destination_port
        self.source: Sender = (text(flow.source), flow.source_port)
        self.abandoned: Callable[[], None] = _nothing
        """Called when the program has given up before there was a connection; at most once."""
        self._uplink = uplink
        self._flow = flow
        self._factory: Any = None
        self._done: Deferred[Any] | None = None
        self._over = False

    def accept(self, factory: Any) -> Deferred[Any]:
        """Complete the handshake; gives the protocol that ``factory`` builds, once it is connected. Fails with
        ConnectingCancelledError when the program has given up."""
        if self._over:
            return fail(error.ConnectingCancelledError(address_of(self._flow[2:])))
        self._over = True
        self._factory, self._done = factory, Deferred()
        done = self._done
        self._uplink.open(self._flow)
        return done

    def refuse(self, why: Refusal) -> None:
        """Tell the program."""
        if not self._over:
            self._over = True
            self._uplink.refuse(self._flow, why)

    def opened(self, runner: CoreRunner, connection: Connection) -> None:
        """The handshake is complete."""
        done, factory = self._done, self._factory
        self._done = self._factory = None
        if done is None:
            connection.abort(runner.now())
            runner.touch()
            return
        transport: LanTransport | None = None
        try:
            protocol = factory.buildProtocol(address_of(connection.remote))
            if protocol is None:
                raise error.NoProtocol
            transport = LanTransport(runner, connection)
            transport.attach(protocol)
        except Exception:
            failure = failure_of()
            if transport is None:
                connection.abort(runner.now())
                runner.touch()
            done.errback(failure)
            return
        done.callback(protocol)
        transport.start()

    def gave_up(self) -> None:
        """The kernel did, or the link has gone."""
        self._over = True
        done, self._done = self._done, None
        abandoned, self.abandoned = self.abandoned, _nothing
        if done is not None:
            done.errback(error.ConnectingCancelledError(address_of(self._flow[2:])))
        abandoned()


@attrs.frozen
class Datagrams:
    """One datagram, or several of ``segment_size`` octets back to back (the last may be shorter), of one flow."""

    source: Sender
    host: str
    """Where to, numeric."""
    port: int
    payload: Buffer
    segment_size: int
    """0 for one."""
    quoted: bytes
    """What :meth:`Uplink.refuse_packet` needs."""


@attrs.frozen
class Echo:
    """An echo request; both numbers 16 bits."""

    source: str
    host: str
    identifier: int
    sequence: int
    payload: bytes
    quoted: bytes


class Uplink:
    """One far end of a link, for :meth:`userlan.driver.lan.Lan.attach_link`; attached once."""

    _log = Logger()

    def __init__(self, services: Services, internet: bool) -> None:
        """``internet``: whether addresses outside are ``services``' to reach; else programs hear at once that it is prohibited,
        and of ``services`` only ``attached`` and ``detached`` are called."""
        self.internet = internet
        self.counters: Counter[str] = Counter()
        """What was dropped or refused, by reason."""
        self._services = services
        self._calls: dict[Flow, StreamCall] = {}
        self._gateway: Gateway
        self._core: GatewayCore
        self._runner: CoreRunner | None = None

    # ------------------------------------------------------------------ for services

    def tally(self) -> dict[str, int]:
        """What was dropped, refused and done, by reason; that of the services as ``outside-…``."""
        return {**self.counters, **{f"outside-{reason}": count for reason, count in self._services.counters.items()}}

    @property
    def streams(self) -> int:
        """Connections to the outside, those that are being made included."""
        return self._gateway.streams if self._runner is not None else 0

    def server_endpoint(self, port: int) -> LanServerEndpoint:
        """Listens on a port of the own addresses (IStreamServerEndpoint)."""
        return LanServerEndpoint(self._running(), port)

    def datagram_port(self, protocol: DatagramProtocol, port: int) -> LanDatagramPort:
        """Binds a UDP port of the own addresses; raises CannotListenError."""
        datagrams = LanDatagramPort(self._running(), protocol, port)
        datagrams.startListening()
        return datagrams

    def send_datagram(self, payload: Buffer, source: Sender, destination: Sender) -> None:
        """A datagram of somebody outside for the kernel, dropped when there is no link any more. Raises ValueError for what is no
        numeric address."""
        if self._runner is not None:
            flow = Flow(packed(destination[0]), destination[1], packed(source[0]), source[1])
            self._gateway.send_datagram(flow, payload)
            self._runner.touch()

    def send_echo(self, source: str, destination: str, identifier: int, sequence: int, payload: bytes) -> None:
        """An echo reply of somebody outside. Raises ValueError for what is no numeric address."""
        if self._runner is not None:
            self._gateway.send_echo(packed(source), packed(destination), identifier, sequence, payload)
            self._runner.touch()

    def refuse_packet(self, quoted: bytes, why: Refusal) -> None:
        """What came with ``quoted`` did not get through: the kernel is told by ICMP."""
        if self._runner is not None:
            self._gateway.refuse_packet(quoted, why, self._runner.now())
            self._runner.touch()

    # ------------------------------------------------------------------ for streams

    def open(self, flow: Flow) -> None:
        """The held SYN is to be answered."""
        if self._runner is not None:
            self._gateway.open(flow, self._runner.now())
            self._runner.touch()

    def refuse(self, flow: Flow, why: Refusal) -> None:
        """It is to be refused."""
        self._calls.pop(flow, None)
        if self._runner is not None:
            self._gateway.refuse(flow, why, self._runner.now())
            self._runner.touch()

    # ------------------------------------------------------------------ for the link

    def attach(
        self, runner: CoreRunner, deliver: Callable[[Sequence[SuperPacket]], None], is_lan: Callable[[bytes], bool]
    ) -> Beyond:
        """Begin: ``runner`` is the node's. What is returned takes the kernel's packets. Raises ValueError the second time."""
        if hasattr(self, "_gateway"):
            raise ValueError("an uplink is attached once")
        self._gateway = Gateway(entropy=os.urandom, is_lan=is_lan, internet=self.internet, mtu=runner.host.mtu)
        self.counters = self._gateway.counters
        core = self._core = GatewayCore(self._gateway, deliver)
        self._runner = runner.beside(core, self._event)
        try:
            self._services.attached(self)
        except Exception:
            self._log.failure("the services of a link failed to start")
        return Beyond(self._gateway, self._runner)

    def detach(self) -> None:
        """End. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        runner.leave()
        self._core.deliver = None
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.gave_up()
        self._services.detached()
        for stream in list(runner.streams):
            stream.finish()

    def _running(self) -> CoreRunner:
        if self._runner is None:
            raise ValueError("the uplink is not attached")
        return self._runner

    def _event(self, event: Any) -> None:
        match event:
            case StreamAsked(flow):
                call = self._calls[flow] = StreamCall(self, flow)
                self._services.stream(call)
            case StreamOpened(flow, connection):
                runner, opened = self._running(), self._calls.pop(flow, None)
                if opened is not None:
                    opened.opened(runner, connection)
            case StreamAbandoned(flow):
                given_up = self._calls.pop(flow, None)
                if given_up is not None:
                    given_up.gave_up()
            case DatagramsArrived(flow, payload, segment_size, quoted):
                source, destination = (text(flow.source), flow.source_port), text(flow.destination)
                self._services.datagrams(Datagrams(source, destination, flow.destination_port, payload, segment_size, quoted))
            case EchoAsked(source, destination, identifier, sequence, payload, quoted):
                self._services.echo(Echo(text(source), text(destination), identifier, sequence, payload, quoted))


class Beyond:
    """The kernel's packets for a gateway, which is then due in its schedule."""

    def __init__(self, gateway: Gateway, runner: CoreRunner) -> None:
        self.takes = gateway.takes
        self._gateway = gateway
        self._runner = runner

    def receive(self, packet: SuperPacket, now: float) -> None:
        """As ``userlan.node.attachment.Beyond``."""
        self._gateway.receive(packet, now)
        self._runner.touch()


class GatewayCore:
    """A gateway as a core of the engine: its packets leave by the link."""

    def __init__(self, gateway: Gateway, deliver: Callable[[Sequence[SuperPacket]], None]) -> None:
        self._gateway = gateway
        self.deliver: Callable[[Sequence[SuperPacket]], None] | None = deliver

    @property
    def host(self) -> Host:
        return self._gateway.host

    def datagrams(self, now: float) -> list[Any]:
        """None for a socket: what is due goes to the kernel."""
        packets = self._gateway.packets(now)
        if packets and self.deliver is not None:
            self.deliver(packets)
        return []

    def deadline(self) -> float | None:
        return self._gateway.deadline()

    def tick(self, now: float) -> None:
        self._gateway.tick(now)

    def events(self) -> list[Any]:
        return self._gateway.events()

    # What cores with sockets have to answer; this one has none.

    backlog = False

    def owns(self, data: Buffer) -> bool:
        return False

    def receive(self, data: Buffer, segment: int, source: Endpoint, now: float) -> None:
        """Nothing comes by a socket."""

    def answers(self, now: float) -> list[Any]:
        return []

    def hold(self, way: Endpoint | str, now: float) -> None:
        """No socket to be full."""

    def release(self, way: Endpoint | str) -> None:
        """As above."""

    def way_opened(self, endpoint: Endpoint) -> None:
        """As above."""

    def way_lost(self, endpoint: Endpoint) -> None:
        """As above."""

    def way_lossy(self, endpoint: Endpoint) -> None:
        """As above."""

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        """As above."""

    def dismissed(self) -> list[int]:
        return []


def _nothing() -> None:
    """Nobody wants to know."""
