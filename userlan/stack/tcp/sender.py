"""The sending half of a connection: SND.UNA, SND.NXT, the peer's window, and what an ACK tells.

What may leave is decided in :mod:`.transmission`, when something is due in :mod:`.timers`. What an ACK tells goes, in
this order, to

- the scoreboard: which runs were delivered;
- the estimators: round trip, delivery rate, use of the window;
- the tail loss probe and the D-SACK, which are about the past;
- congestion control, when the window was in use and no fast recovery is under way;
- recovery: what is lost, what was spurious.
"""

from __future__ import annotations

from collections import Counter
from math import inf

from userlan.stack.tcp.config import Config
from userlan.stack.tcp.congestion import ALGORITHMS, CongestionControl
from userlan.stack.tcp.flight_limit import CONSERVATIVE_GAIN, SLOW_START_GAIN, FlightLimit
from userlan.stack.tcp.pacing import SHORT, Pacer
from userlan.stack.tcp.recovery import UNKNOWN_ROUND_TRIP, Episode, Recovery
from userlan.stack.tcp.rtt import RttEstimator
from userlan.stack.tcp.scoreboard import Run, Scoreboard
from userlan.stack.tcp.send_buffer import SendBuffer
from userlan.stack.tcp.seq import near
from userlan.stack.tcp.tlp import TailLossProbe
from userlan.stack.tcp.window_validation import WindowValidation

MAX_SUPER_PAYLOAD = 65_535 - 60 - 40
"""Octets: a super-packet's IP length field has 16 bits; less the largest TCP header and an IPv6 header."""

MAX_DUPLICATE = 65_535
"""Octets: a D-SACK reports one segment, or a super-segment of ours; a larger one is no report."""

ECHO_GRANULARITY = 0.001
"""Seconds: a tick of the timestamp clock, by which an echo's age may be wrong."""


class Sender:
    """RFC 9293's SND variables with everything that decides on sending. Positions are unwrapped."""

    __slots__ = (
        "_sampled_at",
        "abandoned",
        "board",
        "buffer",
        "capacity",
        "config",
        "congestion",
        "counters",
        "echoed",
        "fin_queued",
        "flight",
        "last_sent_at",
        "limited",
        "max_window",
        "measured",
        "no_delay",
        "nxt",
        "override",
        "pacer",
        "probe_at",
        "probe_due",
        "probed",
        "progress_at",
        "recovery",
        "rtt",
        "sack",
        "scale",
        "segment",
        "small_end",
        "timer_at",
        "tlp",
        "una",
        "unit",
        "user_timeout",
        "validation",
        "wake_at",
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
        self.recovery = Recovery(self.board, self.congestion, self.rtt, counters)
        self.validation = WindowValidation()
        self.pacer = Pacer()
        self.tlp = TailLossProbe()
        self.timer_at = inf
        """When the retransmission or window probe timer runs out; in a handshake, that of the SYN."""
        self.probe_at = inf
        """When a tail loss probe is due."""
        self.wake_at = inf
        """The earliest of ``probe_at``, the reordering timer and the pacer."""
        self.progress_at = 0.0
        self.measured = False
        """A round trip was measured since the last tail loss probe (RFC 8985 7.2)."""
        self.probe_due = False
        """One octet is to leave into the closed window."""
        self.probed = False
        """The octet at SND.NXT left as a probe, so that an ACK of it is right."""
        self.echoed = False
        """The ACK under way echoes congestion (ECE): the window does not grow for it (RFC 3168 6.1.2)."""
        self.override = False
        """The silly window timer ran out: what fits may leave, however little."""
        self.limited = False
        """The congestion window is what holds data back."""
        self.small_end = initial
        self.last_sent_at = 0.0
        self._sampled_at = 0.0

    # ------------------------------------------------------------------ set up

    def established(self, initial_acknowledged: int, segment: int, now: float) -> None:
        """Our SYN was acknowledged; data in segments of ``segment`` octets may be sent."""
        self.una = self.nxt = initial_acknowledged
        self.recovery.sack = self.sack
        self.use_segment(segment)
        self.progress_at = now
        self.timer_at = inf

    def first_round_trip(self, rtt: float, now: float) -> None:
        """The handshake took ``rtt`` (s)."""
        self.rtt.sample(rtt)
        self.flight.round_trip(rtt, now)
        self._path_known()

    def _path_known(self) -> None:
        self.recovery.shortest = shortest = self.flight.shortest
        self.pacer.on = self.config.pacing and shortest >= SHORT
        self.measured = True

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

    def use_congestion(self, name: str) -> None:
        """Another congestion control, from the present window on. Raises KeyError when there is none of that name."""
        chosen = ALGORITHMS[name](self.segment, self.config.initial_window_segments)
        chosen.follow(self.congestion)
        self.congestion = self.recovery.congestion = chosen

    # ------------------------------------------------------------------ what is there

    @property
    def end(self) -> int:
        """The position after all that is queued, FIN included."""
        return self.buffer.end + 1 if self.fin_queued else self.buffer.end

    @property
    def highest(self) -> int:
        """The highest acceptable ACK: SND.NXT, or a probe's octet beyond it."""
        return self.nxt + 1 if self.probed else self.nxt

    @property
    def room(self) -> int:
        """Octets that the application may add."""
        room = self.capacity - len(self.buffer)
        return room if room > 0 else 0

    # ------------------------------------------------------------------ input

    @property
    def base(self) -> int:
        """The octets that congestion is answered from: the window, unless it was not in use (RFC 7661 4.4.1)."""
        window = self.congestion.window
        if self.recovery.episode is Episode.FAST:
            return int(self.congestion.threshold)
        if self.limited or self.validation.validated(window):
            return window
        return min(window, max(self.validation.pipe_ack, self.nxt - self.una))

    def acknowledged(
        self, ack: int, blocks: tuple[tuple[int, int], ...], echo_age: float | None, duplicate: bool, now: float
    ) -> None:
        """An acceptable ACK (position) with its SACK blocks. ``echo_age``: seconds since what it echoes was sent."""
        una = self.una
        board = self.board
        advanced = ack > una
        outstanding = self.nxt - una
        delivered = counted = 0
        twice: tuple[int, int] | None = None
        board.begin(now - self.flight.shortest)
        if advanced:
            if ack > self.nxt:
                self.sent_new(ack, now)
            self.probed = False
            counted = board.duplicates
            delivered = board.acknowledge(ack)
            self.una = ack
            self.buffer.release(ack)
            self.rtt.progress()
            self.progress_at = now
            self.timer_at = self.probe_at = inf
        if blocks and self.sack:
            octets, twice = self._sacked(ack, blocks)
            delivered += octets
        rtt = self._sample(delivered, echo_age if advanced else None, outstanding, now) if delivered else None
        recovery = self.recovery
        recovering = recovery.episode is Episode.FAST
        again = twice is not None and twice[0] < board.retransmitted_to and twice[1] != self.tlp.end
        if self.tlp.end is not None and self.tlp.acknowledged(ack, advanced, bool(blocks), twice):
            recovery.probe_repaired(ack, self.nxt, self.base)
        if twice is not None and again:
            recovery.duplicated(twice[0], twice[1], self.una, self.nxt)
        if advanced or board.sacked:
            sent_at = now - echo_age + ECHO_GRANULARITY if echo_age is not None else None
            news = max(0, delivered - counted) if counted else delivered
            recovery.acknowledged(self.una, self.nxt, self.segment, self.base, news, advanced, sent_at, now)
            recovering |= recovery.episode is Episode.FAST
            if delivered and not recovering and (advanced or recovery.rack.reordering_seen):
                self._grow(delivered, rtt, now)
        elif duplicate and board and not self.sack:
            recovery.duplicate(self.una, self.nxt, self.segment, self.base, now)
        board.newest = None

    def _sacked(self, ack: int, blocks: tuple[tuple[int, int], ...]) -> tuple[int, tuple[int, int] | None]:
        """Put SACK blocks on the scoreboard, in ascending order; returns the octets that they deliver and the D-SACK.

        The first block is a D-SACK when it lies below the ACK or within the second one (RFC 2883 4). Others outside of
        what is in flight are a lie.
        """
        placed = [(near(left, ack), near(right, ack)) for left, right in blocks]
        twice: tuple[int, int] | None = None
        left, right = placed[0]
        if left < right and (right <= ack or (len(placed) > 1 and placed[1][0] <= left and right <= placed[1][1])):
            del placed[0]
            if right - left <= MAX_DUPLICATE and ack - left <= MAX_DUPLICATE + self.max_window:
                twice = left, right
                self.counters["d-sack-received"] += 1
        delivered = 0
        for left, right in sorted(placed):
            if left < ack or right <= left or right > self.nxt:
                self.counters["sack-outside"] += 1
                continue
            delivered += self.board.sack(left, right)
        return delivered, twice

    def _sample(self, delivered: int, echo_age: float | None, outstanding: int, now: float) -> float | None:
        """What one ACK tells of round trip and delivery rate; returns its RTT sample (s), if it has one (RFC 6298 3:
        Karn's rule, lifted by timestamps)."""
        newest = self.board.newest
        estimator = self.rtt
        flight = self.flight
        rtt: float | None = None
        if newest is not None:
            if not newest.retransmitted:
                rtt = now - newest.sent_at
            elif echo_age is not None and estimator.answers(echo_age):
                rtt = echo_age
            if rtt is not None:
                estimator.sample(rtt, outstanding // delivered)
        congestion = self.congestion
        gain = 1.0
        if congestion.slow_start:
            gain = CONSERVATIVE_GAIN if congestion.conservative else SLOW_START_GAIN
        flight.acknowledged(delivered, newest, rtt, estimator.variation, gain, now)
        if rtt is not None:
            self._path_known()
        round_trip = estimator.smoothed or UNKNOWN_ROUND_TRIP
        if newest is not None:
            self.validation.sample(flight.delivered - newest.delivered, round_trip, now)
        if gain > 1 and flight.full_pipe and congestion.threshold == inf and congestion.window >= flight.limit:
            congestion.leave_slow_start()
        wanted = 2 * outstanding
        if wanted > self.capacity:
            self.capacity = min(wanted, self.config.send_buffer_max)
        return rtt

    def _grow(self, delivered: int, rtt: float | None, now: float) -> None:
        """Octets were delivered outside of fast recovery: the window grows, if it was used (RFC 7661 4.4). If not,
        time does not go on for it, and after five minutes it shrinks."""
        congestion = self.congestion
        validation = self.validation
        if self.limited or validation.validated(congestion.window):
            validation.used()
            if not self.echoed:
                round_trip = self.rtt.smoothed or UNKNOWN_ROUND_TRIP
                congestion.acknowledged(delivered, rtt, round_trip, self.una, self.nxt, now)
        else:
            congestion.paused(now - self._sampled_at)
            if validation.expired(validation.unused(now), now):
                congestion.unvalidated()
        self._sampled_at = now

    def update_window(self, seq: int, ack: int, field: int, now: float) -> None:
        """The window of an acceptable ACK, unless a newer segment told a newer one (RFC 9293 3.10.7.4).

        What was in flight when it closed found no room if it stayed closed until a probe: that leaves again when it opens.
        Not so for one that was closed for a moment: two ACKs would call forth a whole window, again and again.
        """
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
            probed = self.rtt.backoffs > 0
            self.rtt.progress()
            self.timer_at = inf
            self.probe_due = False
            if probed:
                self.board.mark_all_lost()
                self.recovery.force = bool(self.board)

    def segment_shrank(self) -> None:
        """The path refused what is in flight for its size: send it again in smaller pieces, without a congestion
        response (RFC 1191 6.5)."""
        self.board.mark_all_lost()
        self.recovery.force = bool(self.board)
        self.timer_at = inf

    # ------------------------------------------------------------------ output

    def sent_new(self, end: int, now: float) -> Run:
        """New octets, from SND.NXT to ``end``, leave."""
        start = self.nxt
        run = Run(start, end, now)
        idle = not self.board
        if idle:
            if self.timer_at == inf:
                self.progress_at = now
            if self._sampled_at:
                self.congestion.paused(now - self._sampled_at)
                self._sampled_at = now
        self.flight.stamp(run, idle, now)
        self.board.sent(run)
        self.nxt = end
        self.last_sent_at = now
        self.probe_at = inf
        if (end - start) % self.segment:
            self.small_end = end
        return run

    def sent_again(self, run: Run, now: float) -> Run:
        """A run of the scoreboard leaves again."""
        self.flight.stamp(run, False, now)
        self.last_sent_at = now
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
        return self.sent_new(self.nxt + size, now)

    def probe_lost(self, run: Run) -> None:
        """Its octets are sent again at once; a probe's loss is no sign of congestion (RFC 4821 7.4)."""
        self.board.mark_lost(run)
        self.recovery.force = True

    def stop(self) -> None:
        """The connection is over: forget all."""
        self.timer_at = self.probe_at = self.wake_at = inf
        self.probe_due = False
        self.fin_queued = False
        self.buffer.clear()
        self.board.clear()
