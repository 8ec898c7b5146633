"""Two hosts with one connection between them, a network that does its worst, and what must hold all the same.

What leaves a host lies in ``network`` until a rule takes it out: delivered in any order, twice, in pieces, or never.
"""

from __future__ import annotations

from random import Random

from tests.stack.tcp.notation import pattern
from userlan.stack import Host, HostConfig, TcpAccepted, TcpEvent
from userlan.stack.tcp import Config, Connection, Events, State
from userlan.stack.tcp.state import HANDSHAKE
from userlan.wire import superpacket, tcp
from userlan.wire.superpacket import SuperPacket
from userlan.wire.tcp import Flags, Segment, parse_segment

ADDRESSES = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
PORT = 80
MTU = 1040
LIMIT = 256 * 1024
"""Octets that each host may buffer for TCP."""
MASK = 0xFFFFFFFF
MAX_IN_NETWORK = 200
MAX_STEPS = 20_000

_END = {State.CLOSED, State.TIME_WAIT}
TRANSITIONS: dict[State, set[State]] = {
    State.SYN_SENT: {State.SYN_RECEIVED, State.ESTABLISHED, State.FIN_WAIT_1},
    State.SYN_RECEIVED: {State.ESTABLISHED, State.FIN_WAIT_1, State.CLOSE_WAIT, State.CLOSING},
    State.ESTABLISHED: {State.FIN_WAIT_1, State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK},
    State.FIN_WAIT_1: {State.FIN_WAIT_2, State.CLOSING, State.TIME_WAIT},
    State.FIN_WAIT_2: {State.TIME_WAIT},
    State.CLOSE_WAIT: {State.LAST_ACK},
    State.CLOSING: {State.TIME_WAIT},
    State.LAST_ACK: set(),
    State.TIME_WAIT: set(),
    State.CLOSED: set(),
}
"""RFC 9293 3.3.2, with what one batch of segments can lead to; every state may become CLOSED."""


class End:
    """One host and the application on it. ``stream`` says which pattern its octets follow."""

    def __init__(self, index: int, config: Config) -> None:
        host_config = HostConfig(mtu=MTU, tcp=config, tcp_memory=LIMIT)
        self.host = Host(entropy=Random(index).randbytes, config=host_config)
        self.host.add_address(ADDRESSES[index])
        self.connection: Connection | None = None
        self.sent = 0
        self.pending = 0
        """Octets that the application has for a connection that has no room: it waits for WRITABLE."""
        self.read = 0
        self.eof = False
        self.gave_up = False
        """The application aborted, or closed without reading: octets may be lost from now on."""
        self.shut = False
        self.closed_events = 0
        self.last: State | None = None

    @property
    def state(self) -> State:
        connection = self.connection
        if connection is None:
            return State.LISTEN
        return connection.state if connection.time_wait is None else connection.time_wait.state


class Machine:
    """The two ends, the clock and the network."""

    def __init__(self, config: Config) -> None:
        self.now = 1000.0
        self.ends = End(0, config), End(1, config)
        self.network: list[tuple[int, SuperPacket]] = []
        self.ends[1].host.tcp_listen(PORT)
        self.ends[0].connection = self.ends[0].host.tcp_connect((ADDRESSES[1], PORT), self.now)
        self.settle()

    # ------------------------------------------------------------------ what happens

    def settle(self) -> None:
        """Drain both hosts: packets into the network, events to the applications; then check."""
        for index, end in enumerate(self.ends):
            packets = end.host.packets(self.now)
            assert len(packets) <= 500
            for packet in packets:
                check_packet(packet)
                if len(self.network) < MAX_IN_NETWORK:
                    self.network.append((1 - index, packet))
            for event in end.host.events():
                if isinstance(event, TcpAccepted) and end.connection is None:
                    end.connection = event.connection
                elif isinstance(event, TcpEvent) and event.connection is end.connection:
                    end.closed_events += bool(event.flags & Events.CLOSED)
                    if event.flags & Events.WRITABLE:
                        self._write(index)
        self.check()

    def deliver(self, place: int, keep: bool = False) -> None:
        """A packet arrives, in one piece."""
        if self.network:
            place %= len(self.network)
            target, packet = self.network[place] if keep else self.network.pop(place)
            self.ends[target].host.receive(packet, self.now)
            self.settle()

    def deliver_piece(self, place: int, piece: int) -> None:
        """One wire packet of a super-packet arrives; the super-packet stays."""
        if self.network:
            target, packet = self.network[place % len(self.network)]
            pieces = superpacket.cut(packet, False)
            self.ends[target].host.receive(superpacket.parse(pieces[piece % len(pieces)], True), self.now)
            self.settle()

    def drop(self, place: int) -> None:
        if self.network:
            del self.network[place % len(self.network)]

    def to_deadline(self) -> None:
        """The next timer, exactly."""
        times = [time for end in self.ends if (time := end.host.deadline()) is not None]
        if times:
            self.now = max(self.now, min(times))
            self.tick()

    def tick(self) -> None:
        for end in self.ends:
            end.host.tick(self.now)
        self.settle()

    def forge(self, target: int, flags: int, seq: int, ack: int, size: int) -> None:
        """A segment of a stranger who does not know RCV.NXT: whatever it is, it must do no harm. ``seq`` and ``ack`` are
        relative to what is right, and the first one is not 0."""
        connection = self.ends[target].connection
        if connection is None or connection.state in (State.SYN_SENT, State.SYN_RECEIVED):
            return
        receiver, sender = connection.receiver, connection.sender
        segment = Segment(
            connection.remote[1],
            connection.local[1],
            (receiver.next + seq) & MASK,
            (sender.una + ack) & MASK,
            flags,
            1000,
            payload=bytes(size),
        )
        packet = tcp.build(segment, connection.remote[0], connection.local[0])
        self.ends[target].host.receive(packet, self.now)
        self.settle()

    # ------------------------------------------------------------------ the applications

    def send(self, index: int, size: int) -> None:
        end = self.ends[index]
        if end.connection is None or end.shut:
            return
        waits = end.pending > 0
        end.pending += size
        if not waits:
            self._write(index)
            self.settle()

    def _write(self, index: int) -> None:
        end = self.ends[index]
        connection = end.connection
        assert connection is not None
        taken = connection.send(pattern(end.sent + index, end.pending), self.now)
        end.sent += taken
        end.pending -= taken
        if connection.state in _END or connection.sender.fin_queued:
            end.pending = 0
        if end.shut and not end.pending:
            connection.shutdown(self.now)

    def read(self, index: int, limit: int) -> None:
        end = self.ends[index]
        if end.connection is None:
            return
        data = bytes(end.connection.receive(limit))
        assert data == pattern(end.read + 1 - index, len(data)), "other octets than were sent"
        end.read += len(data)
        assert end.read <= self.ends[1 - index].sent
        if end.connection.eof:
            end.eof = True
        self.settle()

    def close(self, index: int, how: str) -> None:
        end = self.ends[index]
        if end.connection is None:
            return
        end.gave_up |= how != "shutdown"
        end.shut = True
        if how != "shutdown":
            end.pending = 0
        if not end.pending or end.state in _END:
            end.pending = 0
            getattr(end.connection, how)(self.now)
        self.settle()

    def path(self, index: int, mtu: int) -> None:
        connection = self.ends[index].connection
        if connection is not None:
            connection.path_mtu_changed(mtu, self.now)
            self.settle()

    # ------------------------------------------------------------------ what must hold

    def check(self) -> None:
        for end in self.ends:
            connection = end.connection
            assert 0 <= end.host.tcp_memory <= LIMIT + 3 * 65_536
            if connection is None:
                continue
            state = end.state
            if end.last is not None and state is not end.last:
                assert state is State.CLOSED or state in TRANSITIONS[end.last], f"{end.last} became {state}"
            end.last = state
            assert end.closed_events <= 1
            check_connection(connection)
            if connection.error in ("reset", "refused"):
                assert self.ends[0].gave_up or self.ends[1].gave_up or self._abandoned(), "a reset that nobody sent"
            deadline = end.host.deadline()
            assert deadline is None or deadline >= 0

    def _abandoned(self) -> bool:
        """Whether one end gave the other up for its silence."""
        return any(end.connection is not None and end.connection.error is not None for end in self.ends) or (
            self.ends[1].connection is None
        )

    def _is_well(self, end: End) -> bool:
        """Whether nothing stands in the way of a good end: neither the application nor a patience that is nearly over."""
        connection = end.connection
        if connection is None or end.gave_up or connection.error is not None or connection.state in HANDSHAKE:
            return False
        sender = connection.sender
        return self.now < sender.progress_at + sender.user_timeout - 100.0

    def establish(self) -> None:
        """The handshake, without any trouble."""
        for _ in range(3):
            self.now += 0.010
            for _ in range(len(self.network)):
                self.deliver(0)

    def _read_all(self) -> None:
        for index, end in enumerate(self.ends):
            while end.connection is not None and end.connection.readable:
                self.read(index, 1 << 20)
            self.close(index, "shutdown")

    def finish(self) -> None:
        """The network is good from now on and both applications read and end: all comes to a good end, and to rest."""
        good = all(self._is_well(end) for end in self.ends)
        for index in range(2):
            self.close(index, "shutdown")
        for _ in range(MAX_STEPS):
            if self.network:
                self.deliver(0)
            elif all(end.state in _END or end.state is State.LISTEN for end in self.ends):
                break
            else:
                before = self.now
                self.to_deadline()
                assert self.network or self.now >= before
            self._read_all()
        else:
            raise AssertionError("the connection comes to no end")
        self._read_all()
        for _ in range(MAX_STEPS):
            if all(end.host.deadline() is None for end in self.ends):
                break
            self.to_deadline()
            while self.network:
                self.deliver(0)
        else:
            raise AssertionError("the timers do not come to rest")
        ends = self.ends
        assert all(end.host.tcp_memory == 0 for end in ends)
        if good:
            assert all(end.connection is not None and end.connection.error is None for end in ends), "an end in error"
            assert [end.pending for end in ends] == [0, 0], "WRITABLE did not come"
            assert (ends[0].read, ends[1].read) == (ends[1].sent, ends[0].sent), "octets are missing"


def check_packet(packet: SuperPacket) -> None:
    """What leaves can be parsed, and fits."""
    segment = parse_segment(packet)
    assert packet.length <= 65_535
    assert not segment.segment_size or len(segment.payload) > segment.segment_size
    assert all(len(piece) <= MTU for piece in superpacket.cut(packet, False))


def check_connection(connection: Connection) -> None:
    """RFC 9293's variables, and the caps."""
    sender, receiver, config = connection.sender, connection.receiver, connection.config
    if connection.state is State.CLOSED:
        assert not sender.buffer
        assert not sender.board
        return
    if connection.time_wait is None:
        assert sender.una <= sender.nxt <= sender.una + len(sender.buffer) + 2
    assert len(sender.buffer) <= sender.capacity <= config.send_buffer_max
    assert receiver.next <= receiver.advertised
    assert receiver.buffer.length + receiver.reassembly.length <= config.receive_window_max
    assert len(receiver.reassembly) <= config.reassembly_ranges
    assert 0 <= sender.board.sacked + sender.board.lost <= sender.nxt - sender.una
    assert len(sender.board) <= 1024
    assert sender.congestion.window >= 1
    deadline = connection.deadline()
    if sender.board and connection.time_wait is None:
        assert deadline is not None, "something is in flight and no timer runs"


FORGED_FLAGS = (Flags.RST, Flags.RST | Flags.ACK, Flags.SYN, Flags.SYN | Flags.ACK, Flags.ACK, Flags.FIN | Flags.ACK)
