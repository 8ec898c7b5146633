"""The TCP of one member's kernel, as far as traversal sees it (RFC 9293): how connections come to be, and how they end.

::

    connect ── SYN ──▶ SYN_SENT ── SYN-ACK ──▶ ESTABLISHED            SYN at 0, 1, 3 and 7 s (RFC 6298: 1 s, doubled)
                          │ SYN (simultaneous open, 3.5): SYN-ACK
                          └─────────▶ SYN_RECEIVED ── SYN-ACK or ACK ──▶ ESTABLISHED
    a SYN to a listening port ──▶ SYN_RECEIVED; to any other: RST
    RST or ICMP error in SYN_SENT: the attempt is over; RST later: the connection is lost

A way is named by its endpoint. ``via`` 0: an outgoing connection from a port of its own, or an accepted one. Of a group
(``via`` > 0) all connections share the group's port; an attempt that is refused is made again ``RETRY`` later, as the driver
does it. Once established, frames arrive in order and without loss; what waits until then is kept.

Where the member's own segment blocks TCP, all vanishes without a word: a connection then takes ``KERNEL_ROOM`` and is full
(``hold``), is told to be bad when more is sent after ``STALLED`` (``way_lossy``), and ends after ``USER_TIMEOUT``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Protocol

from tests.sim.clock import Clock
from tests.sim.packet import ACK, DATA, RST, SYN, SYN_ACK, UNREACHABLE, Address, Packet, answer
from userlan.wire.endpoint import TCP, Endpoint

FIRST_TCP_PORT = 50_000
"""Where the ports of outgoing connections start."""

RETRANSMISSIONS = (1.0, 3.0, 7.0)
"""Seconds after the first SYN."""

CONNECT_TIMEOUT = 10.0
"""Seconds after which an attempt has failed (``userlan.driver.framed``)."""

BACK_OFF_FIRST, BACK_OFF_LAST = 1.0, 30.0
"""Seconds between failed attempts to one endpoint, doubling (``userlan.driver.framed``); a group's do not wait."""

RETRY = (0.05, 0.15)
"""Seconds after which a refused attempt of a group is made again (``userlan.driver``). Were it the same on both sides, two whose SYNs
did not cross once would go on in lockstep for ever."""

PUNCH_TIMEOUT = 20.0
"""Seconds after which a group's endpoint is given up (``userlan.driver.punching_tcp``)."""

KERNEL_ROOM = 256 * 1024
"""Octets that a kernel takes for a connection whose far end does not answer."""

STALLED = 0.5
"""Seconds without an acknowledgement, as in ``userlan.driver.framed``."""

USER_TIMEOUT = 10.0
"""Seconds after which it gives the connection up (``userlan.driver.kernel_tcp.USER_TIMEOUT``)."""

CLOSED, SYN_SENT, SYN_RECEIVED, ESTABLISHED = "closed", "syn-sent", "syn-received", "established"


class Owner(Protocol):
    """The attachment around it."""

    def transmit(self, packet: Packet) -> None: ...
    def deliver(self, packet: Packet, via: int) -> None: ...
    def tell(self, word: str, *arguments: object) -> None: ...
    def tcp_blocked(self) -> bool: ...


class Connection:
    """One connection or attempt; ``waiting``: frames for when it is established."""

    __slots__ = ("accepted", "endpoint", "local", "remote", "since", "state", "stuck", "ttl", "waiting")

    def __init__(self, endpoint: Endpoint, local: Address, accepted: bool, ttl: int = 0) -> None:
        self.endpoint = endpoint
        self.local = local
        self.remote: Address = (endpoint.host, endpoint.port)
        self.state = CLOSED
        self.accepted = accepted
        self.ttl = ttl
        self.waiting: list[bytes] = []
        self.stuck = 0
        """Octets given while nothing passes."""
        self.since = 0.0


class Kernel:
    """All connections of a member."""

    def __init__(self, clock: Clock, owner: Owner, random: Random) -> None:
        self.ways: dict[Endpoint, Connection] = {}
        self.syns = 0
        """SYNs sent for connections of groups: what punching costs."""
        self._clock = clock
        self._owner = owner
        self._random = random
        self._by_tuple: dict[tuple[Address, Address], Connection] = {}
        self._opened = 0
        self._back_off: dict[Endpoint, tuple[float, float]] = {}

    def clear(self) -> None:
        """The member has left its network: nobody is told."""
        for connection in self.ways.values():
            connection.state = CLOSED
        self.ways.clear()
        self._by_tuple.clear()
        self._back_off.clear()

    def close_group(self, via: int) -> None:
        """A group's connections end with it."""
        for connection in [way for way in self.ways.values() if way.endpoint.via == via]:
            if connection.state in (ESTABLISHED, SYN_RECEIVED):
                self._emit(connection, RST)
            self._lost(connection)

    def lost(self, remote_hosts: tuple[str, ...]) -> int:
        """All connections with some hosts end; how many."""
        ended = [way for way in self.ways.values() if way.endpoint.host in remote_hosts]
        for connection in ended:
            self._lost(connection)
        return len(ended)

    # the core's side

    def send(self, endpoint: Endpoint, frames: list[bytes], local: Address, ttl: int = 0) -> None:
        """Frames for a way, opening it where there is none; without frames it is enough to say that it is open.

        ``local``: the group's address; port 0: one of its own.
        """
        connection = self.ways.get(endpoint)
        if connection is None:
            if self._back_off.get(endpoint, (0.0, 0.0))[0] > self._clock.now:
                return
            if not local[1]:
                local = (local[0], FIRST_TCP_PORT + self._opened)
                self._opened += 1
            connection = Connection(endpoint, local, False, ttl)
            self.ways[endpoint] = self._by_tuple[connection.local, connection.remote] = connection
            self._connect(connection)
            if endpoint.via:
                self._clock.call_later(PUNCH_TIMEOUT, partial(self._missed, connection))
        elif not frames and connection.state == ESTABLISHED:
            self._owner.tell("way_opened", endpoint)
        for frame in frames:
            if self._owner.tcp_blocked():
                self._vanished(connection, len(frame))
            elif connection.state == ESTABLISHED:
                self._owner.transmit(Packet(TCP, connection.local, connection.remote, frame))
            else:
                connection.waiting.append(frame)

    def _connect(self, connection: Connection) -> None:
        connection.state = SYN_SENT
        begun = connection.since = self._clock.now
        self._emit(connection, SYN)
        for later in RETRANSMISSIONS:
            self._clock.call_later(later, partial(self._again, connection, begun))
        if connection.endpoint.via == 0:
            self._clock.call_later(CONNECT_TIMEOUT, partial(self._give_up, connection, begun))

    def _again(self, connection: Connection, begun: float) -> None:
        if connection.since == begun and connection.state in (SYN_SENT, SYN_RECEIVED):
            self._emit(connection, SYN if connection.state == SYN_SENT else SYN_ACK)

    def _give_up(self, connection: Connection, begun: float) -> None:
        if connection.since == begun and connection.state in (SYN_SENT, SYN_RECEIVED):
            self._lost(connection)

    def _missed(self, connection: Connection) -> None:
        if connection.state != ESTABLISHED:
            self._lost(connection)

    # the network's side

    def arrived(self, packet: Packet, listens: Callable[[Address], int | None]) -> bool:
        """A packet for this member; whether there was a connection for it. ``listens``: the ``via`` of a listening port."""
        connection = self._by_tuple.get((packet.destination, packet.source))
        if connection is None:
            via = listens(packet.destination) if packet.kind == SYN else None
            if via is None:
                if packet.kind not in (RST, UNREACHABLE):
                    self._owner.transmit(answer(packet, RST))
                return False
            endpoint = Endpoint(TCP, *packet.source, via)
            if endpoint in self.ways:
                return False
            connection = Connection(endpoint, packet.destination, True)
            self.ways[endpoint] = self._by_tuple[connection.local, connection.remote] = connection
        if packet.kind == DATA:
            self._data(connection, packet)
        else:
            self._segment(connection, packet.kind)
        return True

    def _data(self, connection: Connection, packet: Packet) -> None:
        if connection.state == SYN_RECEIVED:
            self._establish(connection)
        if connection.state == ESTABLISHED:
            self._owner.deliver(packet, connection.endpoint.via)

    def _segment(self, connection: Connection, kind: str) -> None:
        state = connection.state
        if kind == SYN and state in (CLOSED, SYN_SENT, SYN_RECEIVED):
            if state == CLOSED:
                connection.since = self._clock.now
                for later in RETRANSMISSIONS:
                    self._clock.call_later(later, partial(self._again, connection, connection.since))
                self._clock.call_later(CONNECT_TIMEOUT, partial(self._give_up, connection, connection.since))
            connection.state = SYN_RECEIVED
            self._emit(connection, SYN_ACK)
        elif kind == SYN_ACK and state in (SYN_SENT, SYN_RECEIVED):
            self._emit(connection, ACK)
            self._establish(connection)
        elif kind == SYN_ACK and state == ESTABLISHED:
            self._emit(connection, ACK)
        elif kind == ACK and state == SYN_RECEIVED:
            self._establish(connection)
        elif kind == RST or (kind == UNREACHABLE and state == SYN_SENT):
            self._refused(connection)

    def _establish(self, connection: Connection) -> None:
        connection.state = ESTABLISHED
        self._back_off.pop(connection.endpoint, None)
        self._owner.tell("way_opened", connection.endpoint)
        waiting, connection.waiting = connection.waiting, []
        for frame in waiting:
            self._owner.transmit(Packet(TCP, connection.local, connection.remote, frame))

    def _refused(self, connection: Connection) -> None:
        if connection.endpoint.via == 0 or connection.accepted or connection.state == ESTABLISHED:
            self._lost(connection)
            return
        connection.state = CLOSED
        connection.since = -1.0
        del self._by_tuple[connection.local, connection.remote]
        self._clock.call_later(self._random.uniform(*RETRY), partial(self._retry, connection))

    def _retry(self, connection: Connection) -> None:
        if self.ways.get(connection.endpoint) is connection and connection.state == CLOSED:
            self._by_tuple[connection.local, connection.remote] = connection
            self._connect(connection)

    def _emit(self, connection: Connection, kind: str) -> None:
        if kind == SYN and connection.endpoint.via:
            self.syns += 1
        packet = Packet(TCP, connection.local, connection.remote, b"", kind)
        self._owner.transmit(packet._replace(ttl=connection.ttl) if connection.ttl and kind == SYN else packet)

    def _lost(self, connection: Connection) -> None:
        if connection.state == SYN_SENT and connection.endpoint.via == 0:
            _, wait = self._back_off.get(connection.endpoint, (0.0, BACK_OFF_FIRST))
            self._back_off[connection.endpoint] = (self._clock.now + wait, min(2 * wait, BACK_OFF_LAST))
        connection.state = CLOSED
        if self.ways.get(connection.endpoint) is connection:
            del self.ways[connection.endpoint]
            self._by_tuple.pop((connection.local, connection.remote), None)
            self._owner.tell("way_lost", connection.endpoint)

    def _vanished(self, connection: Connection, size: int) -> None:
        now, before = self._clock.now, connection.stuck
        if not before:
            connection.since = now
            self._clock.call_later(USER_TIMEOUT, partial(self._silent, connection))
        connection.stuck += size
        if now - connection.since >= STALLED:
            self._owner.tell("way_lossy", connection.endpoint)
        if before < KERNEL_ROOM <= connection.stuck:
            self._owner.tell("hold", connection.endpoint, now)

    def _silent(self, connection: Connection) -> None:
        if connection.stuck and self.ways.get(connection.endpoint) is connection:
            self._lost(connection)
