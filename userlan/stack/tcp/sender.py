"""The sending half of a connection: SND.UNA, SND.NXT, the peer's window, what may leave now, and the retransmission
timer.

What leaves (``next_run``), in this order: a window probe that is due; what is lost, within the congestion window; new
octets, within the congestion window, the flight limit and the peer's window. New octets leave as super-segments:

- as many whole segments as may, up to ``unit`` (45 segments of 1,368 octets);
- when the windows allow less than all: only from min(cwnd/4, unit) on while something is in flight, whose ACK opens
  more (so the work for each octet stays small; it never stalls);
- a tail shorter than a segment waits while an earlier short one is not acknowledged (Nagle, RFC 9293 3.7.4,
  Minshall's variant), unless ``no_delay`` or a FIN follows;
- into a peer's window smaller than a segment only half of its largest window at least (silly window, RFC 9293
  3.8.6.2.1); the timer overrides.

One timer: retransmission (RFC 6298) while the peer's window is open, else window probes (RFC 9293 3.8.6.1), both with
back-off.
"""

from __future__ import annotations

from collections import Counter
from math import inf

from userlan.stack.tcp.config import Config
from userlan.stack.tcp.congestion import ALGORITHMS, CongestionControl
from userlan.stack.tcp.flight_limit import CONSERVATIVE_GAIN, SLOW_START_GAIN, FlightLimit
from userlan.stack.tcp.recovery import Episode, Recovery
from userlan.stack.tcp.rtt import RttEstimator
from userlan.stack.tcp.scoreboard import Run, Scoreboard
from userlan.stack.tcp.send_buffer import SendBuffer
from userlan.stack.tcp.seq import near

MAX_SUPER_PAYLOAD = 65_535 - 60 - 40
"""Octets: a super-packet's IP length field has 16 bits; less the largest TCP header and an IPv6 header."""

ECHO_GRANULARITY = 0.001
"""Seconds: a tick of the timestamp clock, by which an echo's age may be wrong."""

UNKNOWN_ROUND_TRIP = 0.1
"""Seconds, where none was measured yet."""


class Sender:
    """RFC 9293's SND variables with everything that decides on sending. Positions are unwrapped."""

    __slots__ = (
        "_last_sent_at",
        "_limited",
        "_override",
        "_probed",
        "_small_end",
        "abandoned",
        "board",
        "buffer",
        "capacity",
        "config",
        "congestion",
        "counters",
        "fin_queued",
        "flight",
        "max_window",
        "no_delay",
        "nxt",
        "probe_due",
        "progress_at",
        "recovery",
        "rtt",
        "sack",
        "scale",
        "segment",
        "timer_at",
        "una",
        "unit",
        "user_timeout",
        "window",
        "wl1",
        "wl2",
    )

    def __init__(self, config: Config, initial: int, counters: Counter[str]) -> None:
        self.config = config
        self.counters = counters
        self.una = initial
        self.nxt = initial
        self.window = 0
        self.max_window = 0
        self.wl1 = 0
        self.wl2 = 0
        self.scale = 0
        self.sack = False
        self.segment = 536
        self.unit = 536
        self.buffer = SendBuffer(initial + 1)
        self.capacity = config.send_buffer
        self.fin_queued = False
        self.abandoned = False
        """The application is gone: a peer that only keeps its window closed does not hold the connection for ever."""
        self.no_delay = not config.nagle
        self.user_timeout = config.user_timeout
        self.board = Scoreboard()
        self.rtt = RttEstimator(config.rto_initial, config.rto_min, config.rto_max)
        self.congestion: CongestionControl = ALGORITHMS[config.congestion](536, config.initial_window_segments)
        self.flight = FlightLimit(config.flight_floor, config.flight_queue_time)
        self.recovery = Recovery(self.board, self.congestion, counters)
        self.timer_at = inf
        self.progress_at = 0.0
        self.probe_due = False
        """One octet is to leave into the closed window."""
        self._probed = False
        """The octet at SND.NXT left as a probe, so that an ACK of it is right."""
        self._override = False
        """The silly window timer ran out: what fits may leave, however little."""
        self._limited = False
        self._small_end = initial
        self._last_sent_at = 0.0

    # ------------------------------------------------------------------ set up

    def established(self, initial_acknowledged: int, segment: int, now: float) -> None:
        """Our SYN was acknowledged; data in segments of ``segment`` octets may be sent."""
        self.una = self.nxt = initial_acknowledged
        self.recovery.sack = self.sack
        self.use_segment(segment)
        self.progress_at = now
        self.timer_at = inf

    def use_segment(self, segment: int) -> bool:
        """The effective MSS (octets of payload). True when it shrank, so that what is in flight may not have fitted."""
        shrank = segment < self.segment
        self.segment = segment
        self.unit = segment * max(1, min(self.config.burst_segments, MAX_SUPER_PAYLOAD // segment))
        initial = not self.board and self.congestion.window == self.congestion.initial_window
        self.congestion.segment_changed(segment)
        if initial:
            self.congestion.window = self.congestion.initial_window
        return shrank

    # ------------------------------------------------------------------ what is there

    @property
    def end(self) -> int:
        """The position after all that is queued, FIN included."""
        return self.buffer.end + 1 if self.fin_queued else self.buffer.end

    @property
    def highest(self) -> int:
        """The highest acceptable ACK: SND.NXT, or a probe's octet beyond it."""
        return self.nxt + 1 if self._probed else self.nxt

    @property
    def room(self) -> int:
        """Octets that the application may add."""
        room = self.capacity - len(self.buffer)
        return room if room > 0 else 0

    # ------------------------------------------------------------------ input

    def acknowledged(
        self, ack: int, blocks: tuple[tuple[int, int], ...], echo_age: float | None, duplicate: bool, now: float
    ) -> None:
        """An acceptable ACK (position) with its SACK blocks. ``echo_age``: seconds since what it echoes was sent."""
        una = self.una
        board = self.board
        advanced = ack > una
        outstanding = self.nxt - una
        delivered = 0
        youngest: Run | None = None
        if advanced:
            if ack > self.nxt:
                self._send(self.nxt, ack, now)
            self._probed = False
            delivered, youngest = board.acknowledge(ack)
            self.una = ack
            self.buffer.release(ack)
            self.rtt.progress()
            self.progress_at = now
            self.timer_at = inf
        if blocks and self.sack:
            octets, run = self._sacked(ack, blocks)
            delivered += octets
            if run is not None and (youngest is None or run.sent_at > youngest.sent_at):
                youngest = run
        if delivered:
            self._sample(delivered, youngest, echo_age if advanced else None, outstanding, now)
        recovery = self.recovery
        if advanced or board.sacked:
            sent_at = now - echo_age + ECHO_GRANULARITY if echo_age is not None else None
            round_trip = self.rtt.smoothed or UNKNOWN_ROUND_TRIP
            recovery.acknowledged(self.una, self.nxt, self.segment, round_trip, advanced, sent_at, now)
        elif duplicate and board and not self.sack:
            recovery.duplicate(self.una, self.nxt, self.segment, now)

    def _sacked(self, ack: int, blocks: tuple[tuple[int, int], ...]) -> tuple[int, Run | None]:
        """Put SACK blocks on the scoreboard; one outside of what is in flight is a duplicate's (RFC 2883) or a lie."""
        delivered = 0
        youngest: Run | None = None
        for left_number, right_number in blocks:
            left = near(left_number, ack)
            right = near(right_number, ack)
            if left < ack or right <= left or right > self.nxt:
                self.counters["sack-outside"] += 1
                continue
            octets, run = self.board.sack(left, right)
            delivered += octets
            if run is not None and (youngest is None or run.sent_at > youngest.sent_at):
                youngest = run
        return delivered, youngest

    def _sample(
        self, delivered: int, youngest: Run | None, echo_age: float | None, outstanding: int, now: float
    ) -> None:
        """What one ACK tells of round trip, delivery rate and congestion (RFC 6298 3: Karn's rule, lifted by
        timestamps)."""
        rtt: float | None = None
        if youngest is not None:
            elapsed = now - youngest.sent_at
            if not youngest.retransmitted:
                rtt = elapsed
            elif echo_age is not None:
                rtt = echo_age
            if elapsed >= self.flight.shortest or not youngest.retransmitted:
                board = self.board
                if youngest.sent_at > board.delivered_sent_at:
                    board.delivered_sent_at = youngest.sent_at
            elif youngest.retransmitted:
                youngest = None
        if rtt is not None:
            self.rtt.sample(rtt, outstanding // delivered)
        congestion = self.congestion
        gain = 1.0
        if congestion.slow_start:
            gain = CONSERVATIVE_GAIN if congestion.conservative else SLOW_START_GAIN
        flight = self.flight
        flight.acknowledged(delivered, youngest, rtt, self.rtt.variation, gain, now)
        if gain > 1 and flight.full_pipe:
            congestion.leave_slow_start()
        if self._limited and self.recovery.episode is not Episode.FAST:
            congestion.acknowledged(delivered, rtt, self.una, self.nxt, now)
        wanted = 2 * outstanding
        if wanted > self.capacity:
            self.capacity = min(wanted, self.config.send_buffer_max)

    def update_window(self, seq: int, ack: int, field: int, now: float) -> None:
        """The window of an acceptable ACK, unless a newer segment told a newer one (RFC 9293 3.10.7.4)."""
        if not (self.wl1 < seq or (self.wl1 == seq and self.wl2 <= ack)):
            return
        window = field << self.scale
        was_closed = self.window == 0
        self.window = window
        self.wl1 = seq
        self.wl2 = ack
        if window > self.max_window:
            self.max_window = window
        if not window:
            if not self.abandoned:
                self.progress_at = now
        elif was_closed:
            self.rtt.progress()
            self.timer_at = inf
            self.probe_due = False
            self.board.mark_all_lost()
            self.recovery.force = bool(self.board)

    def segment_shrank(self) -> None:
        """The path refused what is in flight for its size: send it again in smaller pieces, without a congestion
        response (RFC 1191 6.5)."""
        self.board.mark_all_lost()
        self.recovery.force = bool(self.board)
        self.timer_at = inf

    # ------------------------------------------------------------------ output

    def next_run(self, now: float) -> Run | None:
        """What to send now, stamped and counted as in flight; None: nothing (more)."""
        board = self.board
        in_flight = board.in_flight
        congestion = self.congestion
        limit = self.flight.limit
        window = congestion.window
        budget = (window if window <= limit else int(limit)) - in_flight
        if board.lost:
            return self._next_lost(budget, in_flight, now)
        nxt = self.nxt
        pending = self.buffer.end - nxt
        if pending <= 0:
            if self.fin_queued and pending == 0:
                return self._send(nxt, nxt + 1, now)
            self._limited = False
            if budget >= self.segment:
                self.flight.starved(in_flight)
            return None
        if not board and now - self._last_sent_at > self.rtt.timeout and self._last_sent_at:
            congestion.idle()
            budget = congestion.window
        allowed = self.una + self.window - nxt
        usable = allowed if allowed < budget else budget
        self._limited = budget <= allowed and budget < pending and window <= limit
        length = self._length(pending, usable, allowed, in_flight)
        if length <= 0:
            if allowed < budget:
                self.flight.starved(in_flight)
            return None
        end = nxt + length
        if self.fin_queued and length == pending:
            end += 1
        return self._send(nxt, end, now)

    def _length(self, pending: int, usable: int, allowed: int, in_flight: int) -> int:
        """How many new octets leave as the next super-segment, 0 for none."""
        unit = self.unit
        if usable >= unit and pending >= unit:
            return self.buffer.whole(self.nxt, unit, self.segment)
        segment = self.segment
        if usable >= pending:
            tail = pending % segment
            if tail and not self.no_delay and not self.fin_queued and self.una < self._small_end:
                return pending - tail
            return pending
        length = usable // segment * segment if usable > 0 else 0
        if in_flight:
            least = self.congestion.window // 4
            return length if length >= (least if least < unit else unit) else 0
        if length:
            return length
        if usable == allowed and usable > 0 and (self._override or 2 * usable >= self.max_window):
            self._override = False
            return usable
        return 0

    def _send(self, start: int, end: int, now: float) -> Run:
        """New octets, from SND.NXT on, leave."""
        run = Run(start, end, now)
        idle = not self.board
        if idle and self.timer_at == inf:
            self.progress_at = now
        self.flight.stamp(run, idle, now)
        self.board.sent(run)
        self.nxt = end
        self._last_sent_at = now
        if (end - start) % self.segment:
            self._small_end = end
        return run

    def _next_lost(self, budget: int, in_flight: int, now: float) -> Run | None:
        segment = self.segment
        self._limited = True
        if not self.window:
            return None
        if self.recovery.force:
            self.recovery.force = False
        elif budget < segment and in_flight:
            return None
        size = max(segment, min(budget // segment * segment, self.unit))
        run = self.board.next_lost(size)
        if run is None:
            return None
        self.flight.stamp(run, False, now)
        self._last_sent_at = now
        self.counters["retransmitted"] += 1
        if run.start == self.una:
            self.timer_at = inf
        return run

    def send_probe(self, size: int, following: int, now: float) -> Run | None:
        """``size`` new octets leave as one wire packet, when the windows let them and ``following`` more go (RFC 4821
        7.3); stamped and counted as ``next_run`` does. None: not now."""
        least = size + following
        budget = min(self.congestion.window, self.flight.limit) - self.board.in_flight
        allowed = self.una + self.window - self.nxt
        if self.board.lost or min(self.buffer.end - self.nxt, budget, allowed) < least:
            return None
        return self._send(self.nxt, self.nxt + size, now)

    def probe_lost(self, run: Run) -> None:
        """Its octets are sent again at once; a probe's loss is no sign of congestion (RFC 4821 7.4)."""
        self.board.mark_lost(run)
        self.recovery.force = True

    # ------------------------------------------------------------------ the timer

    def arm(self, now: float) -> None:
        """After sending: the timer runs while something is in flight or held back by the peer's window, and only
        then."""
        if self.board:
            if self.timer_at == inf:
                self._start_timer(now)
        elif self.end > self.nxt:
            if self.timer_at == inf:
                self.progress_at = now
                self._start_timer(now)
        else:
            self.timer_at = inf

    def _start_timer(self, now: float) -> None:
        self.timer_at = min(now + self.rtt.timeout, max(now, self.progress_at + self.user_timeout))

    def timer(self, now: float) -> bool:
        """The timer ran out. False: the peer has not answered for the user timeout, the connection is to be given
        up."""
        if now >= self.progress_at + self.user_timeout:
            return False
        if self.board and self.window:
            self.counters["timeout"] += 1
            self.recovery.timeout(self.una, self.nxt, now)
        else:
            self.counters["window-probe"] += 1
            if self.window:
                self._override = True
            else:
                self.probe_due = True
                self._probed = self._probed or self.una == self.nxt
        self.rtt.back_off()
        self._start_timer(now)
        return True

    def stop(self) -> None:
        """The connection is over: forget all."""
        self.timer_at = inf
        self.probe_due = False
        self.fin_queued = False
        self.buffer.clear()
        self.board.clear()
