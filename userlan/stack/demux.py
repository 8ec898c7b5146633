"""TCP for a host: who gets a segment, and what becomes of connections that were touched.

::

    segment ─▶ (local, remote) known? ─▶ Connection ─▶ touched
                      │                  TimeWait   ─▶ touched; gives way to a newer SYN (RFC 6191)
                      ▼ no
               port listened on? ───────▶ Listener ──▶ a new Connection, touched; or a RST
                      │
                      ▼ no
               RST (RFC 9293 3.10.7.1)

    touched ─▶ transmit ─▶ segments as super-packets
            ─▶ events: TcpAccepted once a passive open is complete, TcpEvent
            ─▶ deadline into the heap; CLOSED: forgotten; TIME-WAIT: only its light remains are kept
"""

from __future__ import annotations

from collections import Counter

from userlan.stack import errors
from userlan.stack.addresses import Addresses, is_martian
from userlan.stack.config import HostConfig
from userlan.stack.deadlines import Deadlines
from userlan.stack.errors import StackError
from userlan.stack.events import Event, TcpAccepted, TcpEvent
from userlan.stack.pmtu import PathMtu
from userlan.stack.ports import Ports
from userlan.stack.tcp import Config, Connection, ConnectionInfo, Events, InitialNumbers, Listener, Memory, State, TimeWait, reset_reply
from userlan.stack.tcp.output import restored
from userlan.wire.quote import Quote
from userlan.wire.superpacket import SuperPacket
from userlan.wire.tcp import Flags, Segment, build, parse_segment

HOLE_TIME = 5.0
"""Seconds: with less than an eighth of the memory free, what is out of order behind a hole that nobody filled for so long is
given up (RFC 2018 8; its sender has it still). A loss is repaired sooner; a peer that never fills it would hold what others
could use, without any program of ours that does not read."""

Key = tuple[bytes, int, bytes, int]
"""Local address and port, remote address and port."""


class TcpDemux:
    """The connections and listeners of a host; counts into ``counters``."""

    def __init__(
        self,
        config: HostConfig,
        addresses: Addresses,
        ports: Ports,
        numbers: InitialNumbers,
        path_mtu: PathMtu,
        counters: Counter[str],
    ) -> None:
        self.mtu = config.mtu
        self.memory = Memory(config.tcp_memory)
        """What all connections may buffer."""
        self.touched: dict[Connection, None] = {}
        """Connections that may have something to send or to tell; an ordered set."""
        self._config = config
        self._addresses = addresses
        self._ports = ports
        self._numbers = numbers
        self._path_mtu = path_mtu
        self._counters = counters
        self._entries: dict[Key, Connection | TimeWait] = {}
        self._listeners: dict[tuple[bytes | None, int], Listener] = {}
        self._half_open: set[Connection] = set()
        """Passive opens of which the owner does not know yet."""
        self._time_waits: dict[Key, TimeWait] = {}
        self._touched_waits: dict[TimeWait, None] = {}
        self._deadlines: Deadlines[Connection | TimeWait] = Deadlines()
        self._now = 0.0
        self._holes: dict[Connection, int] = {}
        """Where those with a hole stood when memory was looked for last."""
        self._holes_at = 0.0
        self._replies: list[SuperPacket] = []
        self._events: list[Event] = []

    # ------------------------------------------------------------------ the program's calls

    def connect(
        self, remote: tuple[bytes, int], now: float, local_address: bytes | None, config: Config | None
    ) -> Connection:
        """An active open. Raises StackError: no-host, no-address, no-port, too-many."""
        if is_martian(remote[0]) or self._addresses.of_many(remote[0]):
            raise StackError(errors.NO_HOST, "no host can have that address: TCP is between two hosts")
        local = local_address or self._addresses.source_for(remote[0])
        if local is None or local not in self._addresses or len(local) != len(remote[0]):
            raise StackError(errors.NO_ADDRESS, "this host has no address to reach that destination from")
        if not self._has_room():
            limit = self._config.max_connections
            raise StackError(errors.TOO_MANY, f"no more than {limit} TCP connections can be open")
        port = self._ports.for_connection(local, remote, lambda candidate: self._in_use(local, candidate, remote))
        if port is None:
            raise StackError(errors.NO_PORT, "no TCP port is free for that destination")
        numbers = self._numbers.numbers((local, port), remote, now)
        mtu = self._path_mtu.get(remote[0], self.mtu)
        connection = Connection.connect((local, port), remote, config or self._config.tcp, numbers, mtu, now)
        self._enter(connection)
        return connection

    def listen(self, port: int, address: bytes | None, backlog: int, config: Config | None) -> Listener:
        """A passive open; port 0: a free one. Raises StackError: no-address, address-in-use, no-port."""
        if address is not None and address not in self._addresses:
            raise StackError(errors.NO_ADDRESS, "the address to listen on is not one of this host's")
        if port == 0:
            chosen = self._ports.for_socket(lambda candidate: self._listened(candidate, address))
            if chosen is None:
                raise StackError(errors.NO_PORT, "no TCP port is free")
            port = chosen
        elif self._listened(port, address):
            raise StackError(errors.ADDRESS_IN_USE, f"TCP port {port} is in use")
        listener = Listener((address, port), config or self._config.tcp, self._numbers, backlog)
        self._listeners[address, port] = listener
        return listener

    def unlisten(self, listener: Listener, now: float) -> None:
        """Listen no more: half-open connections are reset, established ones go on."""
        if self._listeners.get(listener.local) is listener:
            del self._listeners[listener.local]
        listener.close(now)

    # ------------------------------------------------------------------ from the network

    def receive(self, packet: SuperPacket, now: float) -> None:
        """A segment to this host, its checksum right. Raises WireError when malformed."""
        segment = parse_segment(packet)
        local = packet.destination
        remote = packet.source
        key = (local, segment.destination_port, remote, segment.source_port)
        entry = self._entries.get(key)
        if type(entry) is Connection:
            entry.segment_arrived(segment, now)
            self.touched[entry] = None
            return
        if type(entry) is TimeWait:
            if not entry.gives_way(segment):
                entry.segment_arrived(segment, now)
                self._touched_waits[entry] = None
                return
            self._forget_wait(key)
        self._unknown(segment, (local, key[1]), (remote, key[3]), now)

    def expects(self, packet: SuperPacket) -> bool:
        """Whether a segment is of a connection of this host, or to a port that is listened on."""
        header, offset = packet.header, packet.transport_offset
        remote_port = header[offset] << 8 | header[offset + 1]
        port = header[offset + 2] << 8 | header[offset + 3]
        local = packet.destination
        return (local, port, packet.source, remote_port) in self._entries or (
            (None, port) in self._listeners or (local, port) in self._listeners
        )

    def sent(self, quote: Quote) -> bool:
        """Whether the quoted segment can be of a connection of this host, in flight or not."""
        return (quote.source, quote.source_port, quote.destination, quote.destination_port) in self._entries

    def flight(self, quote: Quote) -> Connection | None:
        """The connection that sent the quoted segment, if that is in flight (RFC 5927 4.1)."""
        entry = self._entries.get((quote.source, quote.source_port, quote.destination, quote.destination_port))
        if type(entry) is Connection and quote.sequence is not None and entry.quotes_flight(quote.sequence):
            return entry
        return None

    def path_mtu_changed(self, destination: bytes, now: float) -> None:
        """The path to ``destination`` takes other sizes from now on: tell all who send there (RFC 8201 5.2)."""
        mtu = self._path_mtu.get(destination, self.mtu)
        for entry in list(self._entries.values()):
            if type(entry) is Connection and entry.remote[0] == destination:
                entry.path_mtu_changed(mtu, now)
                self.touched[entry] = None

    def path_restored(self, destination: bytes, now: float) -> None:
        """There is a path to ``destination`` again: nobody waits any longer for a timer that is backed off."""
        for entry in self._entries.values():
            if type(entry) is Connection and entry.remote[0] == destination:
                restored(entry, now)
                self.touched[entry] = None

    # ------------------------------------------------------------------ drained by the host

    def packets(self, now: float) -> list[SuperPacket]:
        """What the touched connections have to send, in the order of touching."""
        self._now = now
        packets, self._replies = self._replies, []
        touched = list(self.touched)
        self.touched.clear()
        for connection in touched:
            self._send(connection, connection.transmit(now), packets)
            self._settle(connection)
        if self._touched_waits:
            waits = list(self._touched_waits)
            self._touched_waits.clear()
            for wait in waits:
                self._send(wait, wait.transmit(now), packets)
                self._settle_wait(wait)
        if self.memory.scarce:
            if now >= self._holes_at:
                self._reclaim(now)
        elif self._holes:
            self._holes.clear()
        return packets

    def events(self) -> list[Event]:
        """What happened to connections, in order."""
        for connection in self.touched:
            self._report(connection)
        events, self._events = self._events, []
        return events

    @property
    def pending(self) -> bool:
        """Whether ``packets`` would have something to do."""
        return bool(self.touched or self._replies or self._touched_waits)

    def deadline(self) -> float | None:
        return self._deadlines.next()

    def tick(self, now: float) -> None:
        for entry in self._deadlines.due(now):
            entry.tick(now)
            if type(entry) is TimeWait:
                self._touched_waits[entry] = None
            elif type(entry) is Connection:
                self.touched[entry] = None

    def count(self) -> Counter[State]:
        """How many connections are in each state."""
        return Counter(entry.state for entry in self._entries.values())

    def connections(self, now: float) -> list[ConnectionInfo]:
        """What each connection is doing; what is in TIME-WAIT has nothing to tell."""
        return [entry.info(now) for entry in self._entries.values() if type(entry) is Connection]

    # ------------------------------------------------------------------ inside

    def _unknown(self, segment: Segment, local: tuple[bytes, int], remote: tuple[bytes, int], now: float) -> None:
        """A segment of no connection: to a listener, or refused."""
        listener = self._listeners.get(local)
        if listener is None:
            listener = self._listeners.get((None, local[1]))
        answer: Connection | Segment | None
        if listener is None:
            self._counters["tcp-port-closed"] += 1
            answer = reset_reply(segment)
        elif segment.flags & (Flags.SYN | Flags.ACK | Flags.RST) == Flags.SYN and not self._has_room():
            self._counters["tcp-connections-full"] += 1
            return
        else:
            mtu = self._path_mtu.get(remote[0], self.mtu)
            answer = listener.segment_arrived(segment, local, remote, mtu, now)
        if isinstance(answer, Connection):
            self._half_open.add(answer)
            self._enter(answer)
        elif answer is not None:
            self._counters["tcp-reset-sent"] += 1
            self._replies.append(build(answer, local[0], remote[0], self._config.hop_limit))

    def _enter(self, connection: Connection) -> None:
        self._entries[_key(connection)] = connection
        connection.touched = self.touched
        connection.use_memory(self.memory)
        self.touched[connection] = None

    def _reclaim(self, now: float) -> None:
        """Drop what is out of order of connections that did not move since the last time."""
        before, self._holes = self._holes, {}
        self._holes_at = now + HOLE_TIME
        for entry in self._entries.values():
            if type(entry) is Connection and (receiver := entry.receiver).reassembly:
                if before.get(entry) == receiver.next:
                    receiver.reassembly.clear()
                    entry.recount()
                    self._counters["tcp-out-of-order-dropped"] += 1
                else:
                    self._holes[entry] = receiver.next

    def _send(self, entry: Connection | TimeWait, segments: list[Segment], packets: list[SuperPacket]) -> None:
        local, remote, hop_limit = entry.local[0], entry.remote[0], self._config.hop_limit
        traffic_class = entry.traffic_class if type(entry) is Connection else 0
        for segment in segments:
            packets.append(build(segment, local, remote, hop_limit, traffic_class))

    def _path_found(self, connection: Connection) -> None:
        """A connection found out how large packets may be: the others that send there are told of less (RFC 8201
        5.2); more they find out by themselves."""
        mtu, connection.path.finding = connection.path.finding, None
        destination = connection.remote[0]
        if mtu is None:
            return
        less = mtu < self._path_mtu.get(destination, self.mtu)
        self._path_mtu.learn(destination, mtu, self.mtu, self._now)
        if less:
            self.path_mtu_changed(destination, self._now)

    def _settle(self, connection: Connection) -> None:
        """After its transmit: note its deadline, and let it go when it is over."""
        self._report(connection)
        connection.recount()
        key = _key(connection)
        if self._entries.get(key) is not connection:
            return
        if connection.path.finding is not None:
            self._path_found(connection)
        if connection.time_wait is not None:
            connection.leave_memory()
            self._deadlines.set(connection, None)
            self._enter_wait(key, connection.time_wait)
        elif connection.state is State.CLOSED:
            connection.leave_memory()
            self._deadlines.set(connection, None)
            self._half_open.discard(connection)
            del self._entries[key]
        else:
            self._deadlines.set(connection, connection.deadline())

    def _enter_wait(self, key: Key, wait: TimeWait) -> None:
        self._entries[key] = self._time_waits[key] = wait
        self._deadlines.set(wait, wait.deadline())
        if len(self._time_waits) > self._config.max_time_wait:
            self._forget_wait(next(iter(self._time_waits)))
            self._counters["tcp-time-wait-full"] += 1

    def _settle_wait(self, wait: TimeWait) -> None:
        key = _key(wait)
        if self._entries.get(key) is not wait:
            return
        if wait.state is State.CLOSED:
            self._forget_wait(key)
        else:
            self._deadlines.set(wait, wait.deadline())

    def _forget_wait(self, key: Key) -> None:
        wait = self._time_waits.pop(key)
        del self._entries[key]
        self._deadlines.set(wait, None)

    def _report(self, connection: Connection) -> None:
        """Turn a connection's events into the host's; an owner hears of a passive open when it is complete."""
        flags = connection.take_events()
        if not flags:
            return
        if connection in self._half_open:
            self._half_open.discard(connection)
            if not flags & Events.CONNECTED:
                return
            assert isinstance(connection.listener, Listener)
            self._events.append(TcpAccepted(connection.listener, connection))
            flags &= ~Events.CONNECTED
            if not flags:
                return
        self._events.append(TcpEvent(connection, flags))

    def _has_room(self) -> bool:
        """Whether one more connection may be; what is in TIME-WAIT makes room, the oldest first."""
        if len(self._entries) < self._config.max_connections:
            return True
        if not self._time_waits:
            return False
        self._forget_wait(next(iter(self._time_waits)))
        return True

    def _in_use(self, local: bytes, port: int, remote: tuple[bytes, int]) -> bool:
        return (local, port, *remote) in self._entries or self._listened(port, local)

    def _listened(self, port: int, address: bytes | None) -> bool:
        """Whether a listener on that port, and address, would take another one's connections."""
        if address is None:
            return any(listened == port for _, listened in self._listeners)
        return (address, port) in self._listeners or (None, port) in self._listeners


def _key(entry: Connection | TimeWait) -> Key:
    return (*entry.local, *entry.remote)
