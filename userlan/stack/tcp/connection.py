"""One TCP endpoint (RFC 9293): its public face and its state. What arrives is in ``input``, what leaves in ``output``.

::

    application ── send ─▶ Sender ──┐                       ┌── segment_arrived ◀── host
                                    ├─ transmit ─▶ segments │
    application ◀─ receive ─ Receiver ◀─────────────────────┘
    application ◀─ take_events       deadline, tick ◀── host's timers

Nothing is called back. The owner calls ``transmit`` after anything that may make something due (``send``,
``receive``, ``shutdown``, ``close``, ``abort``, ``segment_arrived``, ``tick``), then ``take_events`` and
``deadline``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from userlan.stack.tcp import input as arriving
from userlan.stack.tcp import output, sizes, urgent
from userlan.stack.tcp.challenge import ChallengeLimit
from userlan.stack.tcp.config import Config
from userlan.stack.tcp.ecn import Ecn
from userlan.stack.tcp.info import ConnectionInfo, Limits, snapshot
from userlan.stack.tcp.isn import Initial
from userlan.stack.tcp.memory import RANGE_COST, UNBOUNDED, Memory
from userlan.stack.tcp.plpmtud import PathSearch
from userlan.stack.tcp.receiver import Receiver
from userlan.stack.tcp.send_buffer import SMALL, Buffer
from userlan.stack.tcp.sender import Sender
from userlan.stack.tcp.seq import near
from userlan.stack.tcp.state import HANDSHAKE, OPEN_FOR_SENDING, RECEIVING, Events, State
from userlan.stack.tcp.timestamps import Timestamps
from userlan.stack.tcp.timewait import TimeWait
from userlan.stack.tcp.urgent import Urgent
from userlan.wire.tcp import Segment

if TYPE_CHECKING:
    from userlan.stack.tcp.listener import Listener

Endpoint = tuple[bytes, int]
"""A packed address and a port."""

DEFAULT_MSS_V4 = 536
DEFAULT_MSS_V6 = 1220
"""Octets, for a SYN without the option (RFC 9293 3.7.1)."""

REASON_PORT = "port-unreachable"
"""The reason of :meth:`Connection.unreachable` that means that nobody listens."""


class Connection:
    """See the module. Made by :meth:`connect` or by a ``Listener``.

    ``error`` is None, or why it ended: "reset", "refused", "timeout", "unreachable", "aborted". ``context`` is the
    owner's.
    """

    __slots__ = (
        "_events",
        "_wants_room",
        "challenge",
        "challenge_due",
        "config",
        "context",
        "counters",
        "ecn",
        "error",
        "handshake_due",
        "handshake_retries",
        "handshake_sent_at",
        "handshake_started_at",
        "held",
        "initial",
        "keepalive_at",
        "keepalive_due",
        "keepalive_sent",
        "limits",
        "linger_at",
        "listener",
        "local",
        "memory",
        "octets_retransmitted",
        "passive",
        "path",
        "peer_mss",
        "receiver",
        "remote",
        "resets_due",
        "segments_in",
        "segments_out",
        "sender",
        "soft_error",
        "state",
        "time_wait",
        "timestamps",
        "touched",
        "traffic_class",
        "urgent",
    )

    def __init__(
        self, local: Endpoint, remote: Endpoint, config: Config, initial: Initial, mtu: int, now: float
    ) -> None:
        self.local = local
        self.remote = remote
        self.config = config
        self.state = State.CLOSED
        self.error: str | None = None
        self.counters: Counter[str] = Counter()
        self.context: object = None
        self.traffic_class = 0
        """The differentiated services field of what is sent (RFC 2474), shifted to its place; its ECN bits are 0."""
        self.urgent: Urgent | None = None
        self.touched: dict[Connection, None] | None = None
        """An ordered set of the owner's, to which the connection adds itself whenever ``transmit`` may have something
        to give.
        """
        self.listener: Listener | None = None
        """The Listener that made it, None for an active open."""
        self.passive = False
        self.time_wait: TimeWait | None = None
        """What answers for the connection once it is in TIME-WAIT; its owner may keep that and let the connection
        go."""
        self.initial = initial.sequence
        self.sender = Sender(config, initial.sequence, self.counters)
        self.receiver = Receiver(config)
        self.ecn = Ecn()
        self.limits: Limits | None = None
        """Once data was sent."""
        self.segments_in = self.segments_out = self.octets_retransmitted = 0
        self.memory = UNBOUNDED
        self.held = 0
        """Octets that are counted in ``memory``."""
        self.timestamps = Timestamps(initial.timestamp_offset)
        self.challenge = ChallengeLimit()
        self.challenge_due = False
        self.resets_due: list[Segment] = []
        self.peer_mss = DEFAULT_MSS_V4 if len(local[0]) == 4 else DEFAULT_MSS_V6
        self.handshake_due = False
        self.handshake_retries = 0
        self.handshake_sent_at = now
        self.handshake_started_at = now
        self.keepalive_at = inf
        self.keepalive_due = False
        self.keepalive_sent = 0
        self.linger_at = inf
        """When a connection that nobody reads stops waiting in FIN-WAIT-2."""
        self.soft_error: str | None = None
        self.path = PathSearch(mtu, len(local[0]) == 16)
        self._events = 0
        self._wants_room = False

    @classmethod
    def connect(
        cls, local: Endpoint, remote: Endpoint, config: Config, initial: Initial, mtu: int, now: float
    ) -> Connection:
        """An active open (RFC 9293 3.10.1): the SYN leaves with the next ``transmit``. ``mtu``: octets of an IP
        packet on the path."""
        connection = cls(local, remote, config, initial, mtu, now)
        connection.sender.nxt = connection.initial + 1
        connection.state = State.SYN_SENT
        connection.handshake_due = True
        return connection

    # ------------------------------------------------------------------ application

    @property
    def send_room(self) -> int:
        """Octets that ``send`` would take now."""
        return self._room() if self.state in OPEN_FOR_SENDING and not self.sender.fin_queued else 0

    def _room(self) -> int:
        sender = self.sender
        room = sender.room
        share = self.memory.share - len(sender.buffer)
        return room if room < share else max(0, share)

    @property
    def no_delay(self) -> bool:
        """True: short segments do not wait (Nagle's algorithm is off)."""
        return self.sender.no_delay

    @no_delay.setter
    def no_delay(self, value: bool) -> None:
        self.sender.no_delay = value
        self.touch()

    @property
    def congestion(self) -> str:
        """The name of the congestion control (:data:`userlan.stack.tcp.congestion.ALGORITHMS`). Another one goes on
        from the present window. Raises KeyError for a name that is not known."""
        return self.sender.congestion.name

    @congestion.setter
    def congestion(self, value: str) -> None:
        self.sender.use_congestion(value)

    @property
    def user_timeout(self) -> float:
        """Seconds that octets may stay unacknowledged before the connection is given up (RFC 5482 2)."""
        return self.sender.user_timeout

    @user_timeout.setter
    def user_timeout(self, value: float) -> None:
        self.sender.user_timeout = value
        if self.state not in HANDSHAKE:
            self.sender.timer_at = inf
        self.touch()

    def keep_alive(self, idle: float | None, now: float) -> None:
        """Probe a peer that was silent for ``idle`` seconds (RFC 9293 3.8.4), or (None) not any more."""
        if idle != self.config.keepalive_idle:
            self.config = replace(self.config, keepalive_idle=idle)
        if self.state is not State.CLOSED and self.state not in HANDSHAKE:
            self.keepalive_at = inf if idle is None else now + idle
            self.keepalive_sent = 0
            self.touch()

    @property
    def readable(self) -> bool:
        """Whether ``receive`` would return octets."""
        return self.receiver.buffer.length > 0

    @property
    def eof(self) -> bool:
        """The peer's FIN was reached and everything before it has been received by the application."""
        return self.receiver.finished and not self.receiver.buffer.length

    @property
    def unsent(self) -> int:
        """Octets that were taken and have not been acknowledged."""
        return len(self.sender.buffer)

    @property
    def burst(self) -> int:
        """Octets of the best piece to hand to ``send``: one super-segment, which then is not copied."""
        return self.sender.unit

    def send(self, data: Buffer, now: float) -> int:
        """Queue octets; returns how many were taken, 0 when there is no room or the stream has ended.

        Large pieces are referred to, not copied: they must not change. WRITABLE follows when not everything was taken.
        """
        if type(data) is memoryview and (data.itemsize != 1 or data.ndim != 1):
            data = data.cast("B")
        if self.state not in OPEN_FOR_SENDING or self.sender.fin_queued:
            return 0
        room = self._room()
        size = len(data)
        if size >= room:
            self._wants_room = True
            if size > room:
                data = memoryview(data)[:room]
                size = room
        self.sender.buffer.append(data)
        if size >= SMALL:
            self.recount()
        self.touch()
        return size

    def send_urgent(self, data: Buffer, now: float) -> int:
        """As ``send``; the peer's application is told to read as far as there (RFC 9293 3.8.5)."""
        taken = self.send(data, now)
        if taken:
            urgent.of(self).sent = self.sender.buffer.end
        return taken

    @property
    def urgent_left(self) -> int:
        """Octets to be read until the end of what the peer sent as urgent; 0 when there is none."""
        return urgent.left(self)

    def receive(self, limit: int = 65_536) -> Buffer:
        """Up to ``limit`` octets, b"" when there are none. The window opens; when that is worth telling, an ACK is
        due."""
        receiver = self.receiver
        data = receiver.read(limit)
        if self.held and not receiver.buffer.length:
            self.recount()
        if receiver.ack_now:
            self.touch()
        return data

    def shutdown(self, now: float) -> None:
        """No more octets will be queued: a FIN follows what is (RFC 9293 3.10.4). Receiving goes on."""
        sender = self.sender
        if sender.fin_queued or self.state not in OPEN_FOR_SENDING:
            return
        if self.state is State.SYN_SENT and not sender.buffer:
            self.end(None)
            return
        sender.fin_queued = True
        self.touch()
        if self.state is State.ESTABLISHED:
            self.state = State.FIN_WAIT_1
        elif self.state is State.CLOSE_WAIT:
            self.state = State.LAST_ACK

    def close(self, now: float) -> None:
        """Shut down and read no more: octets that were not read, or that come still, are answered by a RST (RFC 9293
        3.6.1)."""
        if self.state is State.CLOSED or self.time_wait is not None:
            self.receiver.discard()
            return
        self.touch()
        if self.receiver.buffer.length:
            self.abort(now)
            return
        self.receiver.discard()
        self.sender.abandoned = True
        self.shutdown(now)
        if self.state is State.FIN_WAIT_2:
            self.linger_at = now + self.config.fin_wait_2

    def abort(self, now: float) -> None:
        """End at once with a RST (RFC 9293 3.10.5); what is queued is dropped. ``error`` becomes "aborted"."""
        if self.state is not State.CLOSED and self.time_wait is None:
            output.queue_reset(self, now)
            self.end("aborted")
        self.receiver.discard()

    # ------------------------------------------------------------------ stack

    def segment_arrived(self, segment: Segment, now: float) -> None:
        """A segment of this connection (RFC 9293 3.10.7). Its checksum is right; nothing else is trusted."""
        self.touch()
        self.segments_in += 1
        if self.time_wait is not None:
            self.time_wait.segment_arrived(segment, now)
            self._follow_time_wait()
        else:
            arriving.segment_arrived(self, segment, now)

    def transmit(self, now: float) -> list[Segment]:
        """Everything that is due now, in order."""
        if self.time_wait is not None:
            return self.time_wait.transmit(now)
        segments = output.transmit(self, now)
        if self.urgent is not None and self.urgent.sent > self.sender.una:
            segments = urgent.marked(self, segments, self.urgent.sent)
        self.segments_out += len(segments)
        return segments

    def info(self, now: float) -> ConnectionInfo:
        """What it is doing, as numbers."""
        return snapshot(self, now)

    @property
    def waits_for_room(self) -> bool:
        """``send`` took less than it was offered, and WRITABLE has not followed yet."""
        return self._wants_room

    def deadline(self) -> float | None:
        """When ``tick`` is to be called at the latest; None: not before something else happens."""
        if self.time_wait is not None:
            return self.time_wait.deadline()
        sender = self.sender
        deadline = min(sender.timer_at, sender.wake_at, self.receiver.ack_at, self.keepalive_at, self.linger_at)
        return None if deadline == inf else deadline

    def tick(self, now: float) -> None:
        """Time has passed: what is due becomes visible in ``transmit`` and ``take_events``."""
        self.touch()
        if self.time_wait is not None:
            self.time_wait.tick(now)
            self._follow_time_wait()
            return
        if self.state is not State.CLOSED:
            output.tick(self, now)

    def take_events(self) -> int:
        """The :class:`Events` since the last call, as bits."""
        events, self._events = self._events, 0
        return events

    def path_mtu_changed(self, mtu: int, now: float) -> None:
        """The path takes IP packets of ``mtu`` octets. What is in flight and larger is cut anew and sent again (RFC
        1191 6.5); larger ones than now are tried by probes."""
        if self.state in HANDSHAKE:
            self.path = PathSearch(mtu, len(self.local[0]) == 16)
            return
        sizes.path_changed(self, mtu, now)

    def too_big(self, mtu: int, sequence: int, now: float) -> bool:
        """A message "packet too big", plausible so far, about our segment with this wire sequence number (the host
        checked :meth:`quotes_flight`). True: it is to be believed at once; else it is kept in mind (RFC 5927 7.2)."""
        return self.state in HANDSHAKE or sizes.too_big(self, mtu, sequence, now)

    def unreachable(self, hard: bool, reason: str, now: float) -> None:
        """An ICMP error about a segment of ours (the host checked :meth:`quotes_flight`).

        Only a hard one before the connection is synchronized ends it; else it names the error of a later timeout (RFC
        5927 5.2).
        """
        error = "refused" if reason == REASON_PORT else "unreachable"
        if hard and self.state in HANDSHAKE:
            self.end(error)
        else:
            self.soft_error = "unreachable"

    def quotes_flight(self, sequence: int) -> bool:
        """Whether a sequence number quoted by an ICMP error is of something that is in flight (RFC 5927 4.1)."""
        sender = self.sender
        return sender.una <= near(sequence, sender.una) < sender.nxt

    # ------------------------------------------------------------------ for input and output

    def touch(self) -> None:
        """Something changed: the owner is to look."""
        if self.touched is not None:
            self.touched[self] = None

    def use_memory(self, memory: Memory) -> None:
        """Count what is buffered in the host's budget, and keep to it; the owner calls ``recount`` after each use."""
        self.memory = self.receiver.memory = memory

    def leave_memory(self) -> None:
        """The owner forgets the connection: what is still to be read is the application's own."""
        self.memory.change(-self.held)
        self.held = 0
        self.use_memory(UNBOUNDED)

    def recount(self) -> None:
        """Bring the budget up to date with what this connection holds."""
        receiver, buffer = self.receiver, self.sender.buffer
        reassembly = receiver.reassembly
        held = receiver.buffer.length + reassembly.length + RANGE_COST * len(reassembly) + buffer.end - buffer.start
        if held != self.held:
            self.memory.change(held - self.held)
            self.held = held

    def report(self, events: int) -> None:
        """Note :class:`Events`."""
        self._events |= events

    def room_freed(self) -> None:
        """Octets were acknowledged: report WRITABLE when the application waits and there is a quarter of the buffer."""
        if self._wants_room and self._room() * 4 >= min(self.sender.capacity, self.memory.share):
            self._wants_room = False
            self._events |= Events.WRITABLE

    def enter_time_wait(self, now: float) -> None:
        """Both FINs were acknowledged (RFC 9293 3.6): a light object answers from now on."""
        self.time_wait = TimeWait(self, now)
        self.end(None)
        self.state = State.TIME_WAIT

    def _follow_time_wait(self) -> None:
        if self.time_wait is not None and self.time_wait.state is State.CLOSED:
            self.state = State.CLOSED
            self.time_wait = None

    def end(self, error: str | None) -> None:
        """The connection is over: stop every timer, drop what is queued, report CLOSED. Octets to be read stay."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self.error = error
        if self.listener is not None:
            self.listener.left(self)
        self.sender.stop()
        self.receiver.reassembly.clear()
        self.receiver.ack_now = False
        self.receiver.ack_at = inf
        self.handshake_due = self.challenge_due = self.keepalive_due = False
        self.keepalive_at = self.linger_at = inf
        self._events |= Events.CLOSED
        self.touch()

    @property
    def reads(self) -> bool:
        """Whether segment text is taken in this state."""
        return self.state in RECEIVING
