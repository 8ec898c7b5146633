"""The interface of congestion control, and what every algorithm has in common: slow start (RFC 5681 3.1) with
HyStart++ (RFC 9406), the initial window (RFC 6928), the restart after idle time (RFC 5681 4.1), undoing (RFC 4015 3.2).

The window is in octets and grows by octets acknowledged. One ACK covers a super-segment of up to 64 KB, so RFC 3465's
limit of two segments an ACK does not apply; an ACK for N segments counts as N (RFC 9406 4.2 does away with the limit
as well).

An algorithm keeps ``window`` and ``threshold`` and supplies three things: how much it reduces (``_reduced``), how the
window grows in congestion avoidance (``_avoid``), and what it remembers (``_state``). *What* is lost and *when* an
episode begins and ends is the business of :mod:`userlan.stack.tcp.recovery`, which also sets ``window`` while one
lasts (proportional rate reduction).
"""

from __future__ import annotations

from math import inf

from userlan.stack.tcp.congestion.hystart import CSS_GROWTH_DIVISOR, SlowStartExit

INITIAL_WINDOW_OCTETS = 14_600
"""RFC 6928 2: min(10 x MSS, max(2 x MSS, 14600)) octets."""

LOSS_WINDOW_SEGMENTS = 1
"""RFC 5681 3.1, after a timeout."""

MIN_THRESHOLD_SEGMENTS = 2
"""RFC 5681 3.1, equation 4."""

State = tuple[float, ...]
"""What an algorithm remembers beside ``window`` and ``threshold``."""


class CongestionControl:
    """What recovery and output need to know of an algorithm. ``window`` and ``threshold`` are octets."""

    __slots__ = ("_exit", "_initial_segments", "_kept", "segment", "threshold", "window")

    name = ""
    """As in ``Config.congestion``."""

    def __init__(self, segment: int, initial_segments: int) -> None:
        self.segment = segment
        self._initial_segments = initial_segments
        self.window: int = self.initial_window
        self.threshold: float = inf
        self._exit = SlowStartExit()
        self._kept: tuple[int, float, State] | None = None

    @property
    def initial_window(self) -> int:
        """RFC 6928, in octets."""
        segment = self.segment
        return min(self._initial_segments * segment, max(2 * segment, INITIAL_WINDOW_OCTETS))

    @property
    def slow_start(self) -> bool:
        return self.window < self.threshold

    @property
    def conservative(self) -> bool:
        """In slow start, and a queue is suspected (RFC 9406 4.2)."""
        return self._exit.conservative

    # ------------------------------------------------------------------ an algorithm's own

    def _avoid(self, octets: int, round_trip: float, now: float) -> None:
        """Congestion avoidance: ``octets`` were delivered, ``round_trip`` (s) is smoothed."""

    def _reduced(self, base: int) -> int:
        """The threshold (octets) after congestion with ``base`` octets in use; note what is to be remembered."""
        return base // 2

    def _timed_out(self) -> None:
        """A timeout followed :meth:`_reduced`."""

    def _state(self) -> State:
        return ()

    def _restore(self, state: State) -> None:
        """Take back what :meth:`_state` told."""

    def paused(self, seconds: float) -> None:
        """For so long the window was not what held the sender back: time that an algorithm counts does not go on."""

    # ------------------------------------------------------------------ common

    def acknowledged(
        self, octets: int, rtt: float | None, round_trip: float, una: int, nxt: int, now: float
    ) -> None:
        """``octets`` were delivered outside of fast recovery, while the window was in use (RFC 7661 4.4).

        ``rtt``: this ACK's sample, ``round_trip``: the smoothed one (both s).
        """
        if self.window >= self.threshold:
            self._avoid(octets, round_trip, now)
            return
        leave = self._exit
        if self.threshold == inf:
            leave.acknowledged(rtt, una, nxt)
        self.window += octets // CSS_GROWTH_DIVISOR if leave.conservative else octets
        if leave.done and self.threshold == inf:
            self.threshold = self.window

    def leave_slow_start(self) -> None:
        """The path is known to carry no more."""
        if self.window < self.threshold:
            self.threshold = self.window

    def loss(self, base: int) -> None:
        """A loss episode begins with ``base`` octets in use (RFC 5681 3.2, RFC 6675 5, RFC 9438 4.6)."""
        self._kept = (self.window, self.threshold, self._state())
        self._reduce(base)
        self.window = int(self.threshold)

    def congestion_experienced(self, base: int) -> None:
        """ECN told of congestion (RFC 3168 6.1.2): as for a loss, but nothing can prove it wrong later."""
        self.loss(base)
        self._kept = None

    def timeout(self, base: int, again: bool) -> None:
        """The retransmission timer ran out; ``again``: for the same octets, so the threshold stays (RFC 5681 3.1)."""
        if not again:
            self._kept = (self.window, self.threshold, self._state())
            self._reduce(base)
            self._timed_out()
        self.window = LOSS_WINDOW_SEGMENTS * self.segment

    def _reduce(self, base: int) -> None:
        least = MIN_THRESHOLD_SEGMENTS * self.segment
        reduced = self._reduced(base)
        self.threshold = reduced if reduced > least else least

    def undo(self) -> None:
        """The last reduction had no reason (RFC 4015 3.2, RFC 9438 4.9)."""
        if self._kept is not None:
            window, self.threshold, state = self._kept
            self.window = max(self.window, window)
            self._restore(state)
            self._kept = None

    def recovered(self) -> None:
        """Fast recovery is over: go on from the threshold (RFC 6937 3)."""
        self.window = max(int(self.threshold), self.segment) if self.threshold < inf else self.window

    def idle(self) -> None:
        """Nothing was sent for an RTO: restart with the initial window at most (RFC 5681 4.1), and slow start back to
        where it was (RFC 7661 4.4.3 keeps three quarters)."""
        if self.window > self.initial_window:
            self._remember()
            self.window = self.initial_window

    def unvalidated(self) -> None:
        """For five minutes the window was not used: half of it has to do (RFC 7661 4.4.3)."""
        self._remember()
        self.window = max(self.window // 2, self.initial_window)

    def _remember(self) -> None:
        if self.threshold < inf:
            self.threshold = max(self.threshold, self.window * 3 // 4)

    def handshake_lost(self) -> None:
        """A SYN or its ACK had to be sent again: one segment at first (RFC 5681 3.1, RFC 6928 2)."""
        self.window = self.segment

    def segment_changed(self, segment: int) -> None:
        """The effective MSS is another one; the window in octets stays (RFC 8201 5.3), but holds a segment."""
        self.segment = segment
        self.window = max(self.window, segment)

    def follow(self, other: CongestionControl) -> None:
        """Take over from another algorithm, which was chosen first."""
        self.window = other.window
        self.threshold = other.threshold
        self._exit = other._exit
