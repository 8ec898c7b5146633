"""The link of a node or a relay to one mediator: handshake, control connection, greeting, liveness, reconnection.

It lies with the conversation that it carries, since both a node and a relay (which know nothing of each other) are clients of it.

States of a link::

    WAITING --retry due--> REACHING --session--> CONNECTING --established--> GREETING --Welcome--> READY
       ^                      | 6 s                  | 6 s                      | 6 s                |
       +------ back-off ------+----------------------+--------------------------+--- silence 12 s ---+

REACHING sends handshake initiations to every known address of the mediator, over UDP first, framed TCP from 1 s on, and that at port 443
from 2 s on.
A link never gives up; the back-off doubles from 0.5 s to 10 s, each time drawn from its upper half (so that a mediator that comes
back is not met by everybody at once).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple

from userlan.control.frames import ControlError, Framer, Undecodable, encode, node_framer
from userlan.control.messages import CONTROL_PORT, Bye, Hello, Message, Ping, Pong, Refused, Welcome
from userlan.control.vocabulary import FromMediator
from userlan.lan.addresses import ipv6_of
from userlan.stack.errors import StackError
from userlan.stack.host import Host
from userlan.stack.tcp.connection import Connection
from userlan.stack.tcp.state import Events
from userlan.tunnel.device import Device
from userlan.wire.endpoint import TCP, UDP, Endpoint
from userlan.wire.numbers import PROTOCOL_TCP
from userlan.wire.superpacket import SuperPacket
from userlan.wire.tcp import Flags

REACH_OFFSETS = (0.0, 0.2, 0.5, 1.0, 2.0, 3.5)
"""Seconds after the start at which the mediator's addresses get an initiation."""
STREAM_FROM = 1.0
"""Seconds after which framed TCP is tried beside UDP: longer than nearly every UDP round trip, shorter than a user's patience."""
WEB_PORT = 443
WEB_FROM = 2.0
"""The port that hardly any firewall closes, at which mediators listen, too, where they may; and the seconds after which it is tried."""
STEP_TIMEOUT = 6.0
"""Seconds for each of reaching, connecting and greeting: two rounds of TCP's first retransmission (RFC 6298: 1 s, 2 s)."""
PING_INTERVAL = 5.0
"""Seconds of silence after which the mediator is asked for a sign of life; below every NAT's 30 s, so the mapping stays too."""
SILENCE = 12.0
"""Seconds without any byte from the mediator after which the link counts as lost: two pings and their retransmissions."""
BACKOFF_FIRST = 0.5
BACKOFF_LAST = 10.0
"""Seconds; the first and the greatest wait before another try."""
UDP_RETRY = 60.0
"""Seconds between attempts to return from framed TCP to UDP."""
MAX_PENDING_BYTES = 1 << 20
"""Bytes of messages that wait for the control connection to take them; beyond it the link is torn down and built again."""


class LinkState(enum.Enum):
    """Where a link stands; see the module's picture."""

    WAITING = "waiting"
    REACHING = "reaching"
    CONNECTING = "connecting"
    GREETING = "greeting"
    READY = "ready"
    STOPPED = "stopped"


class Received(NamedTuple):
    """A message that the mediator sent (``Welcome`` included, first)."""

    message: FromMediator


class Lost(NamedTuple):
    """The link was READY and is no more; it goes on by itself. ``reason`` is one line for people."""

    reason: str


class Failed(NamedTuple):
    """A try failed before READY; it goes on by itself. ``reason`` is one line for people."""

    reason: str


LinkEvent = Received | Lost | Failed


def of_control_service(packet: SuperPacket) -> bool:
    """Whether a mediator's packet belongs to the control connection, which this node opens: a mediator is no member of the LAN."""
    offset, header = packet.transport_offset, packet.header
    if packet.protocol != PROTOCOL_TCP or len(header) < offset + 14:
        return False
    source_port, flags = int.from_bytes(header[offset : offset + 2], "big"), header[offset + 13]
    return source_port == CONTROL_PORT and flags & (Flags.SYN | Flags.ACK) != Flags.SYN


def printable(said: str) -> str:
    """What somebody else wrote as one line that is safe on a terminal: no control characters, no direction marks."""
    return " ".join("".join(character if character.isprintable() else " " for character in said).split())


class MediatorLink:
    """One mediator, by key. ``addresses`` are its HOST:PORT pairs, resolved to numbers by whoever does I/O."""

    def __init__(
        self, key: bytes, addresses: Sequence[tuple[str, int]], device: Device, host: Host, entropy: Callable[[int], bytes]
    ) -> None:
        self.key = key
        self.address = ipv6_of(key)
        self.addresses = tuple(addresses)
        self.state = LinkState.WAITING
        self.hello: Hello | None = None
        self.reason = ""
        self.down_since: float | None = None
        """Since when it is sought in vain; None: it was not yet, or it is READY."""
        self._device = device
        self._host = host
        self._entropy = entropy
        self._numbers: dict[str, tuple[str, ...]] = {}
        self._events: list[LinkEvent] = []
        self._framer: Framer[FromMediator] = node_framer()
        self._connection: Connection | None = None
        self._unsent = bytearray()
        self._since = 0.0
        self._reach_step = 0
        self._retry_at = 0.0
        self._failures = 0
        self._last_heard = 0.0
        self._next_ping = 0.0
        self._next_udp = 0.0
        self._token = 0
        device.add_peer(key)

    # --- what its owner tells it --------------------------------------------------------------------------------------

    def resolved(self, host: str, numbers: Sequence[str], now: float) -> None:
        """Name resolution's answer for one of ``addresses``' hosts (an empty one keeps what was known)."""
        if numbers:
            self._numbers[host] = tuple(numbers)
            if self.state is LinkState.WAITING and self._failures == 0:
                self._retry_at = now

    def endpoints(self, transport: str) -> tuple[Endpoint, ...]:
        """The mediator's known outer addresses for ``udp`` or ``tcp``."""
        return tuple(
            Endpoint(transport, number, port) for host, port in self.addresses for number in self._numbers.get(host, ())
        )

    def session_established(self, now: float) -> None:
        """The tunnel to the mediator has a session (a new or another one)."""
        if self.state is LinkState.REACHING:
            try:
                self._connection = self._host.tcp_connect((self.address, CONTROL_PORT), now)
            except StackError as error:
                self._fail(f"the control connection cannot be opened: {error}", now)
                return
            self._connection.context = self
            self._connection.no_delay = True     # short messages, which others' punching waits for (RFC 9293 3.7.4)
            self._enter(LinkState.CONNECTING, now)

    def network_changed(self, now: float) -> None:
        """Interfaces or addresses changed: try at once, and let the mediator see where we are now."""
        if self.state is LinkState.WAITING:
            self._retry_at = now
        elif self.state is LinkState.READY:
            self._next_ping = now
            self._device.initiate(self.key, self.endpoints(UDP), now)

    def hasten(self, now: float) -> bool:
        """Somebody waits for the mediator: begin a try at once. Whether it was sought in vain since it was READY last (``reason``)."""
        if self.state is LinkState.WAITING:
            self._retry_at = now
        elif self.state is LinkState.REACHING and self._failures:
            self._reach_step = 0
            self._enter(LinkState.REACHING, now)
        return self._failures > 0

    def tcp_event(self, connection: Connection, flags: int, now: float) -> None:
        """An event of the control connection."""
        if connection is not self._connection:
            return
        if flags & Events.CONNECTED and self.state is LinkState.CONNECTING:
            self._enter(LinkState.GREETING, now)
            if self.hello is not None:
                self.send(self.hello, now)
        if flags & Events.READABLE:
            self._read(connection, now)
        if flags & Events.WRITABLE:
            self._flush(now)
        if flags & (Events.CLOSED | Events.EOF) and connection is self._connection:
            self._fail(f"the mediator closed the connection ({connection.error or 'end of stream'})", now)

    def send(self, message: Message, now: float) -> None:
        """Queue a message; dropped where nothing has been greeted yet (state is told anew after each Welcome): the greeting goes first."""
        if self._connection is None or self.state is LinkState.CONNECTING:
            return
        self._unsent += encode(message)
        self._flush(now)
        if len(self._unsent) > MAX_PENDING_BYTES:
            self._fail("the mediator does not read what it is sent", now)

    def stop(self, now: float) -> None:
        """Say goodbye and stop; no further tries."""
        if self.state is LinkState.READY:
            self.send(Bye(), now)
        if self._connection is not None:
            self._connection.shutdown(now)
        self.state = LinkState.STOPPED

    # --- time --------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        if self.state is LinkState.STOPPED:
            return None
        if self.state is LinkState.WAITING:
            return self._retry_at if self._numbers else None
        if self.state is LinkState.READY:
            return min(self._next_ping, self._last_heard + SILENCE, self._next_udp or self._next_ping)
        times = [self._since + STEP_TIMEOUT]
        if self.state is LinkState.REACHING and self._reach_step < len(REACH_OFFSETS):
            times.append(self._since + REACH_OFFSETS[self._reach_step])
        return min(times)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.state is LinkState.WAITING and self._numbers and now >= self._retry_at:
            self._reach_step = 0
            self._enter(LinkState.REACHING, now)
        if self.state is LinkState.REACHING:
            self._reach(now)
        if self.state is LinkState.READY:
            self._watch(now)
        elif self.state not in (LinkState.WAITING, LinkState.STOPPED) and now >= self._since + STEP_TIMEOUT:
            self._fail(self._step_failure(), now)

    def events(self) -> list[LinkEvent]:
        """Drained."""
        events, self._events = self._events, []
        return events

    # --- inside ------------------------------------------------------------------------------------------------------

    def _reach(self, now: float) -> None:
        while self._reach_step < len(REACH_OFFSETS) and now >= self._since + REACH_OFFSETS[self._reach_step]:
            self._reach_step += 1
            endpoints = self.endpoints(UDP)
            if now >= self._since + STREAM_FROM:
                endpoints += self.endpoints(TCP)
            if now >= self._since + WEB_FROM:
                endpoints += tuple(dict.fromkeys(one._replace(port=WEB_PORT) for one in self.endpoints(TCP)))
            self._device.initiate(self.key, endpoints, now)

    def _watch(self, now: float) -> None:
        if now >= self._last_heard + SILENCE:
            self._fail(f"the mediator has been silent for {SILENCE:.0f} s", now)
            return
        if now >= self._next_ping:
            self._token = (self._token + 1) % 2**32
            self._next_ping = now + (PING_INTERVAL if now - self._last_heard < PING_INTERVAL else 1.0)
            self.send(Ping(self._token), now)
        if self._next_udp and now >= self._next_udp:
            self._next_udp = now + UDP_RETRY
            self._device.initiate(self.key, self.endpoints(UDP), now)

    def _step_failure(self) -> str:
        where = ", ".join(f"{host}:{port}" for host, port in self.addresses)
        if self.state is LinkState.REACHING:
            return f"no answer from the mediator at {where} over UDP or TCP: is it running, and are its address and key right?"
        if self.state is LinkState.CONNECTING:
            return f"the mediator at {where} does not accept the control connection"
        return f"the mediator at {where} does not answer the greeting"

    def _read(self, connection: Connection, now: float) -> None:
        self._last_heard = now
        while connection is self._connection and (data := connection.receive()):
            try:
                messages = self._framer.feed(data)
            except ControlError as error:
                self._fail(f"the mediator sent rubbish: {error}", now)
                return
            for message in messages:
                self._message(message, now)

    def _message(self, message: FromMediator | Undecodable, now: float) -> None:
        if isinstance(message, Undecodable):
            return
        if isinstance(message, Ping):
            self.send(Pong(message.token), now)
        elif isinstance(message, Bye):
            self._fail(f"the mediator said goodbye: {printable(message.reason) or 'no reason given'}", now)
        elif isinstance(message, Welcome) and self.state is LinkState.GREETING:
            self._failures = 0
            self._enter(LinkState.READY, now)
            self._next_ping = now + PING_INTERVAL
            peer = self._device.peer(self.key)
            over_stream = peer is not None and peer.endpoint is not None and peer.endpoint.transport == TCP
            self._next_udp = now + UDP_RETRY if over_stream else 0.0
            self._events.append(Received(message))
        elif isinstance(message, Refused) and self.state is LinkState.GREETING:
            self._fail(f"the mediator refused: {printable(message.text)}", now)
        elif self.state is LinkState.READY and not isinstance(message, Pong | Welcome):
            self._events.append(Received(message))

    def _flush(self, now: float) -> None:
        connection = self._connection
        if connection is None or not self._unsent or self.state not in (LinkState.GREETING, LinkState.READY):
            return
        taken = connection.send(bytes(self._unsent), now)
        del self._unsent[:taken]

    def _fail(self, reason: str, now: float) -> None:
        if self.state is LinkState.STOPPED:
            self._connection = None
            return
        was_ready = self.state is LinkState.READY
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort(now)
        self._unsent.clear()
        self._framer = node_framer()
        self.reason = reason
        wait = min(BACKOFF_LAST, BACKOFF_FIRST * 2.0 ** min(self._failures, 16))
        self._failures += 1
        self._retry_at = now + wait * (0.5 + int.from_bytes(self._entropy(2), "big") / 131072)
        self._enter(LinkState.WAITING, now)
        self._events.append(Lost(reason) if was_ready else Failed(reason))

    def _enter(self, state: LinkState, now: float) -> None:
        self.state = state
        self._since = now
        self._last_heard = now
        if state is LinkState.READY:
            self.down_since = None
        elif self.down_since is None:
            self.down_since = now
