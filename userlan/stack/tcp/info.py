"""What a connection is doing, as numbers: the counterpart of Linux's ``tcp_info`` (tcp(7), TCP_INFO)."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from userlan.stack.tcp.connection import Connection


class Limits:
    """How long a sender was busy, and what held it back while it was (Linux: tcpi_busy_time, _rwnd_limited,
    _sndbuf_limited). In seconds."""

    __slots__ = ("_kind", "_since", "busy", "receive_window", "send_buffer")

    IDLE, BUSY, RECEIVE_WINDOW, SEND_BUFFER = range(4)

    def __init__(self) -> None:
        self.busy = 0.0
        self.receive_window = 0.0
        self.send_buffer = 0.0
        self._kind = self.IDLE
        self._since = 0.0

    def note(self, kind: int, now: float) -> None:
        """From now on it is this."""
        if kind == self._kind:
            return
        self._add(now)
        self._kind = kind

    def _add(self, now: float) -> None:
        elapsed, self._since = now - self._since, now
        kind = self._kind
        if kind == self.IDLE:
            return
        self.busy += elapsed
        if kind == self.RECEIVE_WINDOW:
            self.receive_window += elapsed
        elif kind == self.SEND_BUFFER:
            self.send_buffer += elapsed

    def until(self, now: float) -> tuple[float, float, float]:
        """Busy, and of that held back by the peer's window and by the send buffer."""
        self._add(now)
        return self.busy, self.receive_window, self.send_buffer


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """A snapshot. Times in seconds, sizes in octets, rates in octets a second; None: not known, or not in use.

    ``segments_in`` and ``segments_out`` count super-segments. The field names are the keys of
    ``userlan status --connections --json``.
    """

    local: tuple[bytes, int]
    remote: tuple[bytes, int]
    state: str
    passive: bool
    """The peer opened it."""
    rtt: float | None
    rtt_variation: float
    min_rtt: float | None
    rto: float
    backoff: int
    """Timeouts in a row."""
    congestion: str
    cwnd: int
    ssthresh: int | None
    flight: int
    flight_limit: int | None
    lost: int
    sacked: int
    reordering: bool
    """The path was seen to reorder (RFC 8985 6.2)."""
    octets_sent: int
    """Of the stream; what was sent again does not count."""
    octets_acknowledged: int
    octets_received: int
    octets_retransmitted: int
    segments_out: int
    segments_in: int
    segments_retransmitted: int
    timeouts: int
    send_queue: int
    """Octets that the application sent and the peer has not acknowledged."""
    send_buffer: int
    """How many there may be."""
    receive_queue: int
    """Octets that the application has not read."""
    out_of_order: int
    send_window: int
    """The peer's."""
    receive_window: int
    """Ours, as told."""
    mss: int
    """Octets of payload in a wire segment."""
    pmtu: int
    delivery_rate: float | None
    pacing_rate: float | None
    ecn: bool
    sack: bool
    timestamps: bool
    window_scale: tuple[int, int]
    """Of the windows that we send, and of the peer's."""
    busy: float
    receive_window_limited: float
    send_buffer_limited: float
    idle: float | None
    """Since data was sent last."""


def snapshot(connection: Connection, now: float) -> ConnectionInfo:
    """The connection at ``now`` (s)."""
    sender, receiver = connection.sender, connection.receiver
    board, rtt, congestion, flight = sender.board, sender.rtt, sender.congestion, sender.flight
    start = connection.initial + 1
    counters = connection.counters
    limits = connection.limits
    busy, by_window, by_buffer = limits.until(now) if limits is not None else (0.0, 0.0, 0.0)
    last = sender.last_sent_at
    return ConnectionInfo(
        local=connection.local,
        remote=connection.remote,
        state=connection.state.value if connection.time_wait is None else connection.time_wait.state.value,
        passive=connection.passive,
        rtt=rtt.smoothed,
        rtt_variation=rtt.variation,
        min_rtt=receiver.window.round_trip if flight.shortest == inf else flight.shortest,
        rto=rtt.timeout,
        backoff=rtt.backoffs,
        congestion=congestion.name,
        cwnd=congestion.window,
        ssthresh=None if congestion.threshold == inf else int(congestion.threshold),
        flight=board.in_flight,
        flight_limit=None if flight.limit == inf else int(flight.limit),
        lost=board.lost,
        sacked=board.sacked,
        reordering=sender.recovery.rack.reordering_seen,
        octets_sent=max(0, min(sender.nxt, sender.buffer.end) - start),
        octets_acknowledged=max(0, min(sender.una, sender.buffer.end) - start),
        octets_received=max(0, receiver.next - receiver.initial - 1 - receiver.finished) if receiver.next else 0,
        octets_retransmitted=connection.octets_retransmitted,
        segments_out=connection.segments_out,
        segments_in=connection.segments_in,
        segments_retransmitted=counters["retransmitted"],
        timeouts=counters["timeout"],
        send_queue=len(sender.buffer),
        send_buffer=sender.capacity,
        receive_queue=receiver.buffer.length,
        out_of_order=receiver.reassembly.length,
        send_window=sender.window,
        receive_window=receiver.advertised - receiver.next,
        mss=sender.segment,
        pmtu=connection.path.plpmtu,
        delivery_rate=flight.rate or None,
        pacing_rate=sender.pacer.rate if sender.pacer.on else None,
        ecn=connection.ecn.enabled,
        sack=sender.sack,
        timestamps=connection.timestamps.enabled,
        window_scale=(receiver.scale, sender.scale),
        busy=busy,
        receive_window_limited=by_window,
        send_buffer_limited=by_buffer,
        idle=now - last if last else None,
    )
