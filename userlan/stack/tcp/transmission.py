"""What leaves of the stream now, as runs.

First a tail loss probe that is due (``loss_probe``). Then (``next_run``) what is lost, within the congestion window; new
octets, within the congestion window, the flight limit and the peer's window; both when the pacer lets them. New octets leave as
super-segments:

- as many whole segments as may, up to ``unit`` (45 segments of 1,368 octets), or a burst of the pacer's; a piece that
  began inside a chunk of the application's ends with it, so that those after it need not be copied together;
- when the windows allow less than all: only from min(cwnd/4, unit) on while something is in flight, whose ACK opens
  more (so the work for each octet stays small; it never stalls). Not so while SACKs or duplicate ACKs tell of a hole:
  then each lets a segment go (limited transmit, RFC 3042), which may bring the answer that decides;
- a tail shorter than a segment waits while an earlier short one is not acknowledged (Nagle, RFC 9293 3.7.4,
  Minshall's variant), unless ``no_delay`` or a FIN follows;
- nothing new while ``MAX_RUNS`` runs are in flight, so that the work of an ACK stays bounded for a peer with tiny segments
  too; what waits then leaves in larger pieces;
- into a peer's window smaller than a segment only half of its largest window at least (silly window, RFC 9293
  3.8.6.2.1); the timer overrides.
"""

from __future__ import annotations

from math import inf

from userlan.stack.tcp.recovery import Episode
from userlan.stack.tcp.scoreboard import MAX_RUNS, Run
from userlan.stack.tcp.sender import Sender

NORMAL = Episode.NONE
"""No episode of losses."""


def next_run(sender: Sender, now: float) -> Run | None:
    """What to send now, stamped and counted as in flight; None: nothing (more)."""
    board = sender.board
    recovery = sender.recovery
    in_flight = board.in_flight
    congestion = sender.congestion
    window = congestion.window
    limit = sender.flight.limit
    normal = recovery.episode is NORMAL
    free = window <= limit or not normal
    budget = (window if free else int(limit)) - in_flight
    unit = sender.unit
    paced = sender.pacer.on
    if paced and budget > 0:
        unit = _paced(sender, window if free else int(limit), now)
    if board.lost and not (recovery.fresh and _can_be_new(sender)):
        return _next_lost(sender, budget, in_flight, unit, now)
    nxt = sender.nxt
    pending = sender.buffer.end - nxt
    if pending <= 0:
        if sender.fin_queued and pending == 0:
            return sender.sent_new(nxt + 1, now)
        sender.limited = False
        if budget >= sender.segment:
            sender.flight.starved(in_flight)
        return None
    if not in_flight and not board and now - sender.last_sent_at > sender.rtt.timeout and sender.last_sent_at:
        congestion.idle()
        budget = congestion.window
    if not normal and recovery.fresh:
        budget = recovery.fresh
    allowed = sender.una + sender.window - nxt
    usable = allowed if allowed < budget else budget
    sender.limited = free and budget <= allowed and budget < pending
    if not unit or len(board) >= MAX_RUNS:
        return None
    length = _length(sender, pending, usable, allowed, in_flight, unit)
    if length <= 0:
        if allowed < budget:
            sender.flight.starved(in_flight)
        return None
    end = nxt + length
    if sender.fin_queued and length == pending:
        end += 1
    if not normal:
        recovery.fresh = max(0, recovery.fresh - length)
        recovery.sent(length, False)
    if paced:
        sender.pacer.sent(length)
    return sender.sent_new(end, now)


def _paced(sender: Sender, window: int, now: float) -> int:
    """Octets of the burst that the pacer lets go now, 0: none."""
    congestion = sender.congestion
    if sender.recovery.episode is Episode.FAST:
        window = max(window, int(congestion.threshold))
    round_trip = sender.rtt.smoothed or sender.flight.shortest
    burst = sender.pacer.burst(
        window, round_trip, congestion.slow_start, sender.segment, congestion.initial_window, now
    )
    return burst if burst < sender.unit else sender.unit


def _length(sender: Sender, pending: int, usable: int, allowed: int, in_flight: int, unit: int) -> int:
    """How many new octets leave as the next super-segment of ``unit`` at most, 0 for none."""
    segment = sender.segment
    if usable >= unit and pending >= unit:
        return sender.buffer.whole(sender.nxt, unit, segment)
    if usable >= pending:
        tail = pending % segment
        if tail and not sender.no_delay and not sender.fin_queued and sender.una < sender.small_end:
            return pending - tail
        return pending
    length = usable // segment * segment if usable > 0 else 0
    if in_flight:
        board = sender.board
        if board.sacked or board.duplicates or sender.recovery.fresh:
            return length
        least = sender.congestion.window // 4
        return length if length >= (least if least < unit else unit) else 0
    if length:
        return length
    if usable == allowed and usable > 0 and (sender.override or 2 * usable >= sender.max_window):
        sender.override = False
        return usable
    return 0


def _next_lost(sender: Sender, budget: int, in_flight: int, unit: int, now: float) -> Run | None:
    """The first octets that are lost, within the window; nothing more than what is lost."""
    segment = sender.segment
    recovery = sender.recovery
    recovery.fresh = 0
    sender.limited = True
    if not sender.window:
        return None
    if recovery.force:
        recovery.force = False
    elif not unit or (budget < segment and in_flight):
        return None
    size = max(segment, min(budget // segment * segment, unit))
    run = sender.board.next_lost(size)
    if run is None:
        return None
    recovery.sent(run.end - run.start, True)
    if sender.pacer.on:
        sender.pacer.sent(run.end - run.start)
    return sender.sent_again(run, now)


def _can_be_new(sender: Sender) -> bool:
    """Whether new octets may leave in place of lost ones; else F-RTO goes on conventionally (RFC 5682 2.1, step 2 b)."""
    return sender.buffer.end > sender.nxt and sender.una + sender.window - sender.nxt >= sender.segment


def loss_probe(sender: Sender, now: float) -> Run | None:
    """A segment that asks for an answer: a new one, or the last again (RFC 8985 7.3). The window does not hold it.
    None: there is nothing to ask about."""
    segment = sender.segment
    nxt = sender.nxt
    pending = sender.buffer.end - nxt
    length = min(pending, segment)
    run: Run | None
    if length > 0 and sender.una + sender.window - nxt >= length:
        end = nxt + length
        if sender.fin_queued and length == pending:
            end += 1
        run = sender.sent_new(end, now)
    elif (run := sender.board.last_segment(segment)) is not None:
        sender.sent_again(run, now)
    else:
        sender.tlp.cancel()
        return None
    sender.tlp.sent(sender.nxt, run.retransmitted)
    sender.measured = False
    sender.timer_at = sender.probe_at = inf
    sender.counters["loss-probe"] += 1
    return run
