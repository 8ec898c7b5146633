"""Opening a connection (RFC 9293 3.5): SYN and SYN-ACK with their options, simultaneous open, and the retries of
both."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from userlan.stack.tcp import sizes
from userlan.stack.tcp.challenge import challenge
from userlan.stack.tcp.ecn import SETUP
from userlan.stack.tcp.receiver import MAX_SCALE, MAX_WINDOW_FIELD, window_shift
from userlan.stack.tcp.resets import reset
from userlan.stack.tcp.seq import SEQUENCE_MASK, near
from userlan.stack.tcp.state import Events, State
from userlan.wire.tcp import Flags, Segment

if TYPE_CHECKING:
    from userlan.stack.tcp.connection import Connection

SYN, RST, ACK, ECE = Flags.SYN, Flags.RST, Flags.ACK, Flags.ECE

def in_syn_sent(connection: Connection, segment: Segment, now: float) -> bool:
    """RFC 9293 3.10.7.3. True: it was the SYN-ACK, and text or FIN in it count."""
    sender = connection.sender
    flags = segment.flags
    if flags & ACK:
        ack = near(segment.ack, sender.una)
        if not connection.initial < ack <= sender.nxt:
            if not flags & RST:
                connection.resets_due.append(reset(connection.local[1], connection.remote[1], segment.ack))
            return False
    if flags & RST:
        if flags & ACK:
            connection.end("refused")
        return False
    if not flags & SYN:
        return False
    take_syn(connection, segment, now)
    if not flags & ACK:
        connection.state = State.SYN_RECEIVED
        connection.handshake_due = True
        return False
    established(connection, now)
    connection.receiver.ack_now = True
    return True


def take_syn(connection: Connection, segment: Segment, now: float) -> None:
    """The peer's SYN: where its octets start, and its options (RFC 9293 3.7.1, RFC 7323 2.2 and 3.2, RFC 2018 2)."""
    config = connection.config
    sender = connection.sender
    if segment.mss:
        connection.peer_mss = max(segment.mss, sizes.MIN_MSS)
    scaled = config.window_scale and segment.window_scale is not None
    if scaled:
        sender.scale = min(segment.window_scale or 0, MAX_SCALE)
    if config.timestamps and segment.timestamp is not None:
        connection.timestamps.enabled = True
        connection.timestamps.keep(segment.timestamp[0], now)
    sender.sack = config.sack and segment.sack_permitted
    if segment.flags & ACK:
        connection.ecn.answered(segment.flags, config.ecn and not connection.handshake_retries)
    else:
        connection.ecn.asked(segment.flags, config.ecn)
    connection.receiver.start(segment.seq, scaled)
    sender.window = sender.max_window = segment.window
    sender.wl1 = segment.seq
    sender.wl2 = sender.una


def established(connection: Connection, now: float) -> None:
    """Our SYN was acknowledged."""
    sender = connection.sender
    sender.rtt.progress()
    if connection.handshake_retries:
        sender.rtt.forget_handshake()
        sender.congestion.handshake_lost()
    else:
        rtt = now - connection.handshake_sent_at
        sender.first_round_trip(rtt, now)
        connection.receiver.window.round_trip_sample(rtt, now)
    connection.path.limit(sizes.largest_to_peer(connection))
    sender.established(connection.initial + 1, sizes.effective_segment(connection), now)
    connection.handshake_due = False
    if connection.listener is not None:
        connection.listener.left(connection)
    connection.state = State.FIN_WAIT_1 if sender.fin_queued else State.ESTABLISHED
    if connection.config.keepalive_idle is not None:
        connection.keepalive_at = now + connection.config.keepalive_idle
    connection.report(Events.CONNECTED)


def is_simultaneous(connection: Connection, segment: Segment, seq: int, now: float) -> bool:
    """A SYN in SYN-RECEIVED. True: it is the one that is known, with an ACK (simultaneous open), so the rest of it
    counts.

    Another one comes from a peer that began anew, or from a stranger; RFC 9293 3.10.7.4 would give the connection up
    for it. A challenge ACK tells them apart: a peer that began anew answers it with the RST that is right, and its
    next SYN opens (RFC 5961 4).
    """
    if segment.flags & RST:
        return False
    if seq != connection.receiver.next - 1:
        connection.counters["syn-unexpected"] += 1
        challenge(connection, now)
        return False
    if segment.flags & ACK:
        return True
    connection.ecn.asked(segment.flags, connection.ecn.enabled)
    connection.handshake_retries += 1
    connection.handshake_due = True
    return False


def syn(connection: Connection, now: float) -> Segment:
    """SYN, or SYN-ACK with those options that the peer's SYN had (RFC 7323 2.2 and 3.2). ECN is asked for once (RFC
    3168 6.1.1.1)."""
    config = connection.config
    sender = connection.sender
    receiver = connection.receiver
    connection.handshake_due = False
    connection.handshake_sent_at = now
    answering = connection.state is State.SYN_RECEIVED
    flags = SYN | ACK if answering else SYN
    if answering:
        flags |= ECE if connection.ecn.enabled else 0
    elif config.ecn and not connection.handshake_retries:
        flags |= SETUP
    segment = Segment(
        connection.local[1],
        connection.remote[1],
        connection.initial & SEQUENCE_MASK,
        receiver.next & SEQUENCE_MASK if answering else 0,
        flags,
        min(receiver.limit, MAX_WINDOW_FIELD),
        mss=sizes.offered_mss(connection),
        sack_permitted=sender.sack if answering else config.sack,
    )
    if receiver.scaled if answering else config.window_scale:
        segment.window_scale = window_shift(config.receive_window_max)
    if answering:
        segment.timestamp = connection.timestamps.option(now)
        receiver.ack_was_sent()
    elif config.timestamps:
        segment.timestamp = (connection.timestamps.value(now), 0)
    if sender.timer_at == inf:
        sender.timer_at = now + sender.rtt.timeout
    return segment


def timer(connection: Connection, now: float) -> None:
    """The SYN or SYN-ACK was not answered (RFC 9293 3.8.3, RFC 6298 5)."""
    config = connection.config
    end = connection.handshake_started_at + (config.half_open_timeout if connection.passive else config.syn_timeout)
    if now >= end:
        connection.end(connection.soft_error or "timeout")
        return
    sender = connection.sender
    connection.handshake_retries += 1
    connection.handshake_due = True
    sender.rtt.back_off()
    sender.timer_at = min(now + sender.rtt.timeout, end)
