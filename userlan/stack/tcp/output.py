"""What leaves a connection: the handshake, data, ACKs, probes, RSTs; and what its timers do.

A data segment carries the ACK. SACK blocks travel in segments without data only, so that data segments keep one
header size; such an ACK leaves first. One ACK is sent for a batch of arrivals, and as many as it takes when more
ranges changed than fit in one option: there is no later ACK that would repeat them. They leave in the order of the
changes, the latest last: told the other way round, they would look like reordering to the sender (RFC 8985 6.2).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from userlan.stack.tcp import handshake, sizes, timers
from userlan.stack.tcp.ecn import ECT0
from userlan.stack.tcp.info import Limits
from userlan.stack.tcp.seq import SEQUENCE_MASK
from userlan.stack.tcp.state import HANDSHAKE, SENDING, State
from userlan.stack.tcp.transmission import loss_probe, next_run
from userlan.wire.tcp import Flags, Segment

if TYPE_CHECKING:
    from userlan.stack.tcp.connection import Connection
    from userlan.stack.tcp.scoreboard import Run
    from userlan.stack.tcp.sender import Sender

FIN, SYN, RST, PSH, ACK = Flags.FIN, Flags.SYN, Flags.RST, Flags.PSH, Flags.ACK
ECE, CWR = Flags.ECE, Flags.CWR

INTERRUPTED = 30.0
"""Seconds since a connection heard its peer for which it may have been in the middle of something when the path died."""

SACK_BLOCKS = 4
SACK_BLOCKS_WITH_TIMESTAMPS = 3
"""RFC 2018 3."""


def transmit(connection: Connection, now: float) -> list[Segment]:
    """Everything that is due, in order."""
    segments, connection.resets_due = connection.resets_due, []
    state = connection.state
    if state is State.CLOSED:
        return segments
    if state in HANDSHAKE:
        if connection.handshake_due:
            segments.append(handshake.syn(connection, now))
        elif connection.challenge_due:
            segments.append(_bare(connection, now))
        connection.challenge_due = False
        return segments
    receiver = connection.receiver
    if receiver.ack_at <= now:
        receiver.ack_now = True
    if receiver.ack_now and (receiver.reassembly or receiver.reassembly.duplicate is not None):
        _acknowledge_selectively(connection, segments, now)
    if state in SENDING:
        _send_data(connection, segments, now)
    if receiver.ack_now or connection.challenge_due:
        segments.append(_bare(connection, now))
    if connection.keepalive_due:
        connection.keepalive_due = False
        probe = _bare(connection, now)
        probe.seq = (connection.sender.nxt - 1) & SEQUENCE_MASK
        segments.append(probe)
    return segments


def _send_data(connection: Connection, segments: list[Segment], now: float) -> None:
    """What the sender lets go: each run as one super-segment."""
    sender = connection.sender
    if sender.probe_due:
        sender.probe_due = False
        segments.append(_probe(connection, now))
    first = True
    window = 0
    path = connection.path
    if path.searching and (probe := path.next_probe(sender, sizes.overhead(connection), now)) is not None:
        first = False
        window = connection.receiver.window_field(now)
        option = connection.timestamps.option(now)
        segments.append(_run(connection, probe, window, option, 0))
        segments[-1].segment_size = 0
        connection.counters["mtu-probe"] += 1
    codepoint = ECT0 if connection.ecn.enabled else 0
    run = loss_probe(sender, now) if sender.tlp.due else None
    while run is not None or (run := next_run(sender, now)) is not None:
        if first:
            first = False
            window = connection.receiver.window_field(now)
            option = connection.timestamps.option(now)
        segments.append(_run(connection, run, window, option, codepoint))
        run = None
    if not first:
        if codepoint and sender.recovery.reduced:
            _tell_of_reduction(sender, segments)
        connection.receiver.ack_was_sent()
        connection.receiver.data_was_sent(now)
        connection.challenge_due = False
    timers.arm(sender, now)
    if not first or connection.limits is not None:
        _note_limits(connection, now)


def _note_limits(connection: Connection, now: float) -> None:
    """What holds the sender back from now on, for ``Connection.info``."""
    sender = connection.sender
    limits = connection.limits
    if limits is None:
        limits = connection.limits = Limits()
    if sender.buffer.end > sender.nxt:
        held = sender.una + sender.window - sender.nxt < sender.segment
        limits.note(Limits.RECEIVE_WINDOW if held else Limits.BUSY, now)
    elif not sender.board:
        limits.note(Limits.IDLE, now)
    else:
        limits.note(Limits.SEND_BUFFER if connection.waits_for_room else Limits.BUSY, now)


def _run(
    connection: Connection, run: Run, window: int, option: tuple[int, int] | None, codepoint: int
) -> Segment:
    """``codepoint``: of ECN, for new data (RFC 3168 6.1.5)."""
    sender = connection.sender
    buffer = sender.buffer
    start = run.start
    end = run.end
    last = buffer.end
    flags = ACK
    if end >= last:
        flags = ACK | PSH
        if end > last:
            flags = ACK | PSH | FIN if start < last else ACK | FIN
            end = last
    length = end - start
    segment = sender.segment
    if run.retransmitted:
        connection.octets_retransmitted += length
        codepoint = 0
    if connection.ecn.echo:
        flags |= ECE
    path = connection.path
    if path.proven < path.plpmtu and length >= segment:
        path.left(start + segment)
    return Segment(
        connection.local[1],
        connection.remote[1],
        start & SEQUENCE_MASK,
        connection.receiver.next & SEQUENCE_MASK,
        flags,
        window,
        0,
        buffer.slice(start, length),
        segment if length > segment else 0,
        timestamp=option,
        ecn=codepoint if length else 0,
    )


def _tell_of_reduction(sender: Sender, segments: list[Segment]) -> None:
    """CWR in the first new data since the window was reduced (RFC 3168 6.1.2)."""
    for segment in segments:
        if segment.ecn:
            segment.flags |= CWR
            sender.recovery.reduced = False
            return


def _probe(connection: Connection, now: float) -> Segment:
    """The octet at SND.UNA, or the FIN there, into a closed window (RFC 9293 3.8.6.1). SND.NXT does not move for it."""
    sender = connection.sender
    segment = _bare(connection, now)
    segment.seq = sender.una & SEQUENCE_MASK
    if sender.una < sender.buffer.end:
        segment.payload = sender.buffer.slice(sender.una, 1)
    else:
        segment.flags |= FIN
    return segment


def _bare(connection: Connection, now: float) -> Segment:
    """<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>. Within the peer's window, when it shrank, so that it is not refused; behind our
    FIN all the same, which may have filled the window to one octet beyond it: two ends of which each took the other's FIN
    would else refuse each other's ACKs for ever."""
    sender = connection.sender
    receiver = connection.receiver
    edge = sender.una + sender.window
    if sender.nxt > sender.buffer.end:
        edge += 1
    segment = Segment(
        connection.local[1],
        connection.remote[1],
        (sender.nxt if sender.nxt <= edge else edge) & SEQUENCE_MASK,
        receiver.next & SEQUENCE_MASK,
        ACK | ECE if connection.ecn.echo else ACK,
        receiver.window_field(now),
        timestamp=connection.timestamps.option(now),
    )
    receiver.ack_was_sent()
    connection.challenge_due = False
    return segment


def _acknowledge_selectively(connection: Connection, segments: list[Segment], now: float) -> None:
    """ACKs with SACK blocks; to a peer without SACK as many duplicates as segments arrived out of order, three at
    most."""
    receiver = connection.receiver
    if not connection.sender.sack:
        for _ in range(max(1, receiver.duplicates_due)):
            segments.append(_bare(connection, now))
        receiver.duplicates_due = 0
        receiver.reassembly.duplicate = None
        return
    each = SACK_BLOCKS_WITH_TIMESTAMPS if connection.timestamps.enabled else SACK_BLOCKS
    for blocks in reversed(receiver.reassembly.blocks(each) or [[]]):
        segment = _bare(connection, now)
        segment.sack = tuple((left & SEQUENCE_MASK, right & SEQUENCE_MASK) for left, right in blocks)
        segments.append(segment)


# ---------------------------------------------------------------------- RST


def queue_reset(connection: Connection, now: float) -> None:
    """<SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK>, when the peer knows of the connection (RFC 9293 3.10.5)."""
    if connection.state in (State.SYN_SENT, State.CLOSED) or connection.time_wait is not None:
        return
    segment = _bare(connection, now)
    segment.flags = RST | ACK
    segment.window = 0
    connection.resets_due.append(segment)


# ---------------------------------------------------------------------- timers


def tick(connection: Connection, now: float) -> None:
    """Do what is due at ``now``."""
    receiver = connection.receiver
    sender = connection.sender
    if receiver.ack_at <= now:
        receiver.ack_now = True
        receiver.ack_at = inf
    if sender.wake_at <= now:
        timers.wake(sender, now)
    if sender.timer_at <= now:
        if connection.state in HANDSHAKE:
            handshake.timer(connection, now)
        elif not timers.expired(sender, now):
            connection.end(connection.soft_error or "timeout")
            return
        else:
            sizes.stalled(connection, now)
    if connection.keepalive_at <= now:
        _keepalive_timer(connection, now)
    if connection.linger_at <= now:
        connection.end(None)


def restored(connection: Connection, now: float) -> None:
    """There is a path again, as the owner knows. What waits for a timer that was backed off leaves now, and the back-off ends (RFC 6069 4,
    which has only an ICMP error to go by, and so takes back one step); and the peer, whose ACKs of ours may have been lost, hears one."""
    sender, idle = connection.sender, connection.config.keepalive_idle
    if connection.time_wait is not None or connection.state is State.CLOSED:
        return
    if sender.rtt.backoffs and sender.timer_at > now:
        sender.rtt.progress()
        sender.timer_at = now
    heard_at = connection.keepalive_at - idle if idle is not None else now
    if connection.state not in HANDSHAKE and now - heard_at < INTERRUPTED:
        connection.receiver.ack_now = True
    connection.touch()


def restart_keepalive(connection: Connection, now: float) -> None:
    """Something arrived."""
    idle = connection.config.keepalive_idle
    if idle is not None:
        connection.keepalive_at = now + idle
        connection.keepalive_sent = 0


def _keepalive_timer(connection: Connection, now: float) -> None:
    """Nothing arrived for long (RFC 9293 3.8.4). While something is in flight the retransmission timer watches."""
    config = connection.config
    connection.keepalive_at = now + config.keepalive_interval
    if connection.sender.board or connection.state in HANDSHAKE:
        return
    if connection.keepalive_sent >= config.keepalive_probes:
        queue_reset(connection, now)
        connection.end("timeout")
        return
    connection.keepalive_sent += 1
    connection.keepalive_due = True
    connection.counters["keepalive"] += 1
