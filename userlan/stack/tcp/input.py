"""What arrives at a connection: RFC 9293 3.10.7, in the order of its steps, with RFC 5961, RFC 7323 and RFC 2018::

    step  RFC 9293 3.10.7.4    here
    0     (RFC 7323 5.3 R1)    PAWS; a segment without the timestamp that was agreed on is dropped
    1     sequence number      ``Receiver.acceptable``; else an ACK (limited when it carried nothing)
    2     RST                  exactly RCV.NXT resets; elsewhere in the window a challenge ACK (RFC 5961 3)
    4     SYN                  a challenge ACK, wherever it lies (RFC 5961 4)
    5     ACK                  SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT, else a challenge ACK (RFC 5961 5)
    6     URG                  the application is told; the octets are ordinary data
    7     segment text         ``Receiver.take``
    8     FIN                  counts when everything before it is here
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from userlan.stack.tcp import handshake, output, sizes, urgent
from userlan.stack.tcp.challenge import challenge
from userlan.stack.tcp.ecn import CE, SETUP
from userlan.stack.tcp.resets import reset
from userlan.stack.tcp.send_buffer import Buffer
from userlan.stack.tcp.seq import near
from userlan.stack.tcp.state import Events, State
from userlan.stack.tcp.timestamps import TICK
from userlan.wire.tcp import Flags, Segment

if TYPE_CHECKING:
    from userlan.stack.tcp.connection import Connection

FIN, SYN, RST, PSH, ACK, URG = Flags.FIN, Flags.SYN, Flags.RST, Flags.PSH, Flags.ACK, Flags.URG

MAX_DUPLICATES = 3
"""Duplicate ACKs for one batch, for a peer without SACK: as many as start a fast retransmit (RFC 5681 3.2)."""

ROUND_TRIP_INTERVAL = 0.050
"""Seconds between two samples of the round trip that the receiver takes from echoed timestamps."""


def segment_arrived(connection: Connection, segment: Segment, now: float) -> None:
    """Process one segment, or a super-segment, of this connection."""
    state = connection.state
    if state is State.SYN_SENT:
        if handshake.in_syn_sent(connection, segment, now) and (segment.payload or segment.flags & FIN):
            _text(connection, segment.seq + 1, segment.payload, segment.segment_size, segment.flags, now)
        return
    if state is State.CLOSED:
        connection.counters["closed"] += 1
        return
    receiver = connection.receiver
    flags = segment.flags
    payload = segment.payload
    seq = near(segment.seq, receiver.next)
    if state is State.SYN_RECEIVED and flags & SYN:
        if not handshake.is_simultaneous(connection, segment, seq, now):
            return
        seq += 1
        flags &= ~SYN
    if not _sequence_is_right(connection, segment, seq, flags, len(payload), now):
        return
    if receiver.advertised == receiver.next and payload:
        payload = b""
        flags &= ~FIN
        receiver.ack_now = True
    if flags & (RST | SYN | ACK) != ACK:
        _control(connection, flags, seq, now)
        return
    sender = connection.sender
    ack = near(segment.ack, sender.una)
    if state is State.SYN_RECEIVED:
        if not sender.una < ack <= sender.nxt:
            connection.resets_due.append(reset(connection.local[1], connection.remote[1], segment.ack))
            return
        handshake.established(connection, now)
    elif ack > sender.highest or ack < sender.una - sender.max_window:
        connection.counters["ack-unsent" if ack > sender.una else "ack-old"] += 1
        challenge(connection, now)
        return
    if flags & SETUP or segment.ecn == CE:
        _congestion(connection, flags, segment.ecn, len(payload) > 0)
    _acknowledged(connection, segment, seq, ack, not payload and not flags & FIN, now)
    state = connection.state
    if state is State.CLOSED or connection.time_wait is not None:
        return
    if flags & URG:
        urgent.arrived(connection, seq, segment.urgent)
    if payload or flags & FIN:
        _text(connection, seq, payload, segment.segment_size, flags, now)


# ---------------------------------------------------------------------- steps 0 to 4


def _sequence_is_right(
    connection: Connection, segment: Segment, seq: int, flags: int, size: int, now: float
) -> bool:
    """Steps 0 and 1; False: the segment was dropped and answered as it should be.

    One octet or none just before RCV.NXT is answered, and its ACK counts all the same: when both ends probe each other's
    closed window at once, or their FINs cross in the same way, each has the other's octet while its own is not in its
    SND.NXT, and they would refuse each other's ACKs for ever (draft-gont-tcpm-tcp-seq-validation, which RFC 9293
    3.10.7.4 points to).
    """
    receiver = connection.receiver
    length = size
    if flags & (FIN | SYN):
        length += 2 if flags & (FIN | SYN) == FIN | SYN else 1
    timestamps = connection.timestamps
    if timestamps.enabled and not flags & RST:
        timestamp = segment.timestamp
        if timestamp is None:
            if flags & SYN:
                return True
            connection.counters["timestamp-missing"] += 1
            return False
        if timestamps.is_stale(timestamp[0], now):
            connection.counters["paws"] += 1
            _answer_unacceptable(connection, length, flags, now)
            return False
    if flags & RST:
        length = 0
    if receiver.acceptable(seq, length) or (seq == receiver.next == receiver.advertised):
        if connection.keepalive_at != inf:
            output.restart_keepalive(connection, now)
        return True
    connection.counters["out-of-window"] += 1
    if not flags & RST:
        if size and seq < receiver.next:
            receiver.reassembly.duplicate = (seq, min(seq + size, receiver.next))
        _answer_unacceptable(connection, length, flags, now)
    return seq == receiver.next - 1 and length <= 1 and not flags & (RST | SYN)


def _answer_unacceptable(connection: Connection, length: int, flags: int, now: float) -> None:
    """<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>; limited when nothing was in the segment, so that two ends do not answer
    for ever."""
    if length and not flags & SYN:
        connection.receiver.ack_now = True
    else:
        challenge(connection, now)


def _control(connection: Connection, flags: int, seq: int, now: float) -> None:
    """Steps 2 and 4, and a segment without ACK: nothing more of the segment counts."""
    if flags & RST:
        if seq != connection.receiver.next:
            connection.counters["rst-inexact"] += 1
            challenge(connection, now)
        elif connection.state is State.SYN_RECEIVED:
            connection.end("refused")
        elif connection.state in (State.CLOSING, State.LAST_ACK):
            connection.end(None)
        else:
            connection.end("reset")
    elif flags & SYN:
        connection.counters["syn-unexpected"] += 1
        challenge(connection, now)
    else:
        connection.counters["ack-missing"] += 1


# ---------------------------------------------------------------------- step 5


def _congestion(connection: Connection, flags: int, codepoint: int, data: bool) -> None:
    """Something of RFC 3168 is in a segment: ECE for the sender, CE or CWR for the receiver."""
    ecn = connection.ecn
    if not ecn.enabled:
        return
    connection.sender.echoed = flags & Flags.ECE != 0
    if ecn.arrived(flags, codepoint, data):
        connection.receiver.ack_now = True


def _acknowledged(connection: Connection, segment: Segment, seq: int, ack: int, bare: bool, now: float) -> None:
    """The ACK field, the SACK option, the window, and what an ACK of our FIN does. ``bare``: nothing else is in the
    segment."""
    sender = connection.sender
    timestamps = connection.timestamps
    age: float | None = None
    una = sender.una
    if timestamps.enabled and (timestamp := segment.timestamp) is not None:
        receiver = connection.receiver
        if seq <= receiver.ack_sent:
            timestamps.keep(timestamp[0], now)
        age = timestamps.age(timestamp[1], now)
        if not bare and age is not None and now >= receiver.sample_after:
            receiver.sample_after = now + ROUND_TRIP_INTERVAL
            receiver.window.round_trip_sample(max(age, TICK), now)
    path = connection.path
    if path.probe is not None and path.probed(sender, ack, segment.sack, now):
        sizes.path_found(connection)
    if ack >= path.proof_at:
        path.arrived()
    if ack > una or segment.sack or (bare and ack == una and sender.board):
        unchanged = segment.window << sender.scale == sender.window
        sender.acknowledged(ack, segment.sack, age, bare and unchanged, now)
    if sender.echoed:
        sender.echoed = False
        if ack >= una:
            sender.recovery.congestion_experienced(ack, sender.nxt, sender.base)
    if ack >= una:
        sender.update_window(seq, ack, segment.window, now)
    if ack <= una:
        return
    connection.room_freed()
    if sender.fin_queued and ack == sender.end:
        _fin_acknowledged(connection, now)


def _fin_acknowledged(connection: Connection, now: float) -> None:
    state = connection.state
    if state is State.FIN_WAIT_1:
        connection.state = State.FIN_WAIT_2
        if connection.receiver.closed:
            connection.linger_at = now + connection.config.fin_wait_2
    elif state is State.CLOSING:
        connection.enter_time_wait(now)
    elif state is State.LAST_ACK:
        connection.end(None)


# ---------------------------------------------------------------------- steps 7 and 8


def _text(connection: Connection, seq: int, payload: Buffer, unit: int, flags: int, now: float) -> None:
    """Segment text and FIN."""
    receiver = connection.receiver
    if not connection.reads or receiver.finished:
        receiver.ack_now = True
        return
    if receiver.closed and payload and seq + len(payload) > receiver.next:
        connection.counters["data-after-close"] += 1
        output.queue_reset(connection, now)
        connection.end("aborted")
        return
    size = len(payload)
    if size and not receiver.has_memory():
        connection.counters["memory-full"] += 1
        receiver.ack_now = True
        return
    if size:
        if not connection.sender.sack and seq > receiver.next:
            receiver.duplicates_due = min(MAX_DUPLICATES, receiver.duplicates_due + -(-size // (unit or size)))
        if receiver.take(seq, payload, unit or size, now, bool(flags & PSH)):
            connection.report(Events.READABLE)
    if flags & FIN and seq + size <= receiver.advertised:
        receiver.note_fin(seq + size)
    if receiver.fin_at is not None and receiver.reached_fin():
        _fin_reached(connection, now)


def _fin_reached(connection: Connection, now: float) -> None:
    """Step 8: the peer will send nothing more."""
    connection.report(Events.EOF)
    state = connection.state
    if state is State.ESTABLISHED:
        connection.state = State.CLOSE_WAIT
    elif state is State.FIN_WAIT_1:
        connection.state = State.CLOSING
    elif state is State.FIN_WAIT_2:
        connection.enter_time_wait(now)
