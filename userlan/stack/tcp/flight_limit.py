"""A bound of what is in flight, so that a bulk transfer does not fill the queues of its path (bufferbloat).

Theory
------
Loss-based congestion control grows until a queue overflows; where queues are deep (a home router, or
this process itself, whose event loop and sockets are queues too), that is hundreds of milliseconds which every other
flow suffers. What keeps a path busy is *delivery rate x shortest round trip*; whatever is in flight beyond it waits
in a queue. So beside the congestion window::

    limit = max(floor, delivery rate x (shortest round trip + queue time))

The floor (192 KiB) is three super-segments: with fewer, a limit between two whole numbers of them is the lower one, and
a rate that was found too low would stay so.

- The **delivery rate** is the highest of the last 10 round trips, measured for each transmission from its send time
  to its ACK (draft-cheng-iccrg-delivery-rate-estimation): the highest, since a lower one may only mean that the
  application, the receiver's window or a loss held the sender back. Samples that the application limited only count
  when they are higher.
- The **queue time** lets the rate be found to grow: with it in flight a faster path is seen as a faster delivery. It is
  8 ms, and an eighth of the round trip (12 ms at most) on a long path, more than the window of CUBIC or NewReno grows
  in a round trip, so that they are never held back on a path without a queue. It is twice the round trip's variation
  where that is more, since on a path with jitter (Wi-Fi) that much is under way without any queue; but not when
  every sample of a round trip was longer than the shortest one by the queue time: that is a queue.
- Whether the delay that stands is the queue of a full path, or the path's own (a radio that sends in bunches; another
  flow's queue), the two cannot tell: in both the rate stays the same. So every eight round trips there is a **trial**
  with 4 ms more than the mean round trip (as BBR's ProbeBW): on a full path nothing comes of it, else the rate grows,
  and trial follows trial.
- The **shortest round trip** is measured anew every 10 s: for one round trip the limit is half a product, so that our
  own standing queue drains and is not taken for the path (as BBR's ProbeRTT). A path that became longer is recognized
  the same way.
- In **slow start** the limit is 2.9 times as high, so that the window doubles freely each round trip, and before the
  first rate is known there is none. It is 1.25 times once HyStart++ suspects a queue, or while the last samples were
  all longer than the shortest by HyStart++'s threshold: with pacing, the queue of a slow start grows in the course of
  one round trip, of which the first sample shows nothing yet. When the rate has not grown by a
  quarter in three round trips that nothing else limited, the pipe is full: slow start ends (as BBR's Startup does).

It does not slow a long or a lossy path down. The queue time is more than a congestion window grows in a round trip, so
without a queue the limit stays above the window; and in an episode of losses it does not hold at all, the window is
what CUBIC or NewReno and proportional rate reduction make it.
"""

from __future__ import annotations

from math import inf

from userlan.stack.tcp.scoreboard import Run

RATE_ROUNDS = 10
"""Round trips for which the highest delivery rate counts (BBR: BBRMaxBwFilterLen)."""

MIN_RATE_WINDOW = 0.100
"""Seconds: with round trips of less than 10 ms the highest rate counts that long, so that a pause of the event loop
is bridged."""

SHORTEST_LIFETIME = 10.0
"""Seconds after which the shortest round trip is measured anew (BBR: MinRTTFilterLen)."""

PROBE_TIME = 0.010
LONGEST_PROBE = 1.0
"""Seconds: the least and the greatest duration of such a measurement. What asks for one may be a sample of an outage (RFC 7323 gives one
for whatever was acknowledged at last), and two of those at half a product would make its end as bad again."""

SLOW_START_GAIN = 2.9
"""2/ln 2: the gain with which a window doubles each round trip (BBR: Startup)."""

CONSERVATIVE_GAIN = 1.25
"""The gain of HyStart++'s conservative slow start, in which a window grows by a quarter each round trip."""

FULL_PIPE_GROWTH = 1.25
FULL_PIPE_ROUNDS = 3
"""BBR's conditions of a full pipe."""

MAX_QUEUE_TIME = 0.040
"""Seconds: jitter raises the queue time to this at most."""

QUEUE_SHARE = 1 / 8
MAX_QUEUE_SHARE = 0.012
"""Of the round trip, and seconds: the queue time on a long path."""

MIN_SIGN = 0.004
MAX_SIGN = 0.016
SIGN_SHARE = 1 / 8
"""Seconds, and of the round trip: by how much samples are longer when there is a queue (RFC 9406 4.3)."""

LAST_SAMPLES = 4
"""Samples of which, and of as many before, the shortest tells of the present."""

PROBE_QUEUE = 0.004
"""Seconds of queue that are added for a trial whether the path carries more."""

PROBE_PAUSE = 6
PROBE_ROUNDS = 2
"""Round trips between two trials, and of one: what it does shows in the second."""

PROBE_GROWTH = 1.03
"""A trial that made the rate grow so much is followed by another at once."""

SAME = 0.001
"""Seconds: a round trip that is longer than the shortest by no more is the shortest one again."""


class FlightLimit:
    """Keeps the delivery rate (octets/s), the shortest round trip (s) and the limit (octets)."""

    __slots__ = (
        "_cycle",
        "_delivered_at",
        "_first_sent_at",
        "_floor",
        "_full_rate",
        "_full_rounds",
        "_latest",
        "_low",
        "_low_before",
        "_mean",
        "_probe_shortest",
        "_probe_until",
        "_probing",
        "_queue_time",
        "_rate_before",
        "_rates",
        "_round_delivered",
        "_round_samples",
        "_round_shortest",
        "_round_sum",
        "_samples",
        "_shortest_at",
        "_standing",
        "application_limited_until",
        "delivered",
        "limit",
        "rate",
        "shortest",
    )

    def __init__(self, floor: int, queue_time: float) -> None:
        self._floor = floor
        self._queue_time = queue_time
        self.delivered = 0
        """Octets delivered since the connection began."""
        self.application_limited_until = 0
        """Once this much is delivered, samples speak of the path again."""
        self.rate = 0.0
        self.shortest = inf
        self.limit: float = inf
        self._latest = 0.0
        self._full_rate = 0.0
        self._full_rounds = 0
        self._round_delivered = 0
        self._delivered_at = 0.0
        self._first_sent_at = 0.0
        self._rates: list[tuple[float, float]] = []
        self._shortest_at = 0.0
        self._probe_until = 0.0
        self._probe_shortest = inf
        self._round_shortest = inf
        self._mean = 0.0
        """Seconds by which the samples of the last round trip were longer on average."""
        self._round_sum = 0.0
        self._round_samples = 0
        self._cycle = 0
        self._probing = False
        self._rate_before = 0.0
        self._low = self._low_before = inf
        self._samples = 0
        self._standing = 0.0
        """Seconds by which every sample of the last round trip was longer than the shortest one."""

    @property
    def full_pipe(self) -> bool:
        """The delivery rate has ceased to grow."""
        return self._full_rounds >= FULL_PIPE_ROUNDS

    def stamp(self, run: Run, idle: bool, now: float) -> None:
        """A transmission leaves; ``idle``: nothing else is in flight."""
        if idle:
            self._first_sent_at = self._delivered_at = now
        run.sent_at = now
        run.first_sent_at = self._first_sent_at
        run.delivered = self.delivered
        run.delivered_at = self._delivered_at
        run.application_limited = self.delivered < self.application_limited_until

    def starved(self, in_flight: int) -> None:
        """The application had nothing more to send, or the receiver no room for it."""
        self.application_limited_until = self.delivered + in_flight + 1

    def acknowledged(
        self, octets: int, youngest: Run | None, rtt: float | None, variation: float, gain: float, now: float
    ) -> None:
        """``octets`` were delivered, the one sent last of them in ``youngest``; ``rtt`` is the sample of this ACK.

        ``gain``: by how much the limit exceeds the product while the window grows.
        """
        self.delivered += octets
        self._delivered_at = now
        if rtt is not None:
            self.round_trip(rtt, now)
        if youngest is not None:
            self._first_sent_at = youngest.sent_at
            elapsed = max(youngest.sent_at - youngest.first_sent_at, now - youngest.delivered_at)
            if elapsed > 0 and elapsed >= self.shortest:
                self._sample((self.delivered - youngest.delivered) / elapsed, youngest.application_limited, now)
                if youngest.delivered >= self._round_delivered:
                    self._next_round(youngest.application_limited)
        if not self.rate:
            return
        floor = self._floor
        if now < self._probe_until:
            self.limit = max(floor / 4, self.rate * self.shortest / 2)
            return
        queue_time = max(self._queue_time, min(self.shortest * QUEUE_SHARE, MAX_QUEUE_SHARE))
        if gain > CONSERVATIVE_GAIN:
            sign = min(max(self.shortest * SIGN_SHARE, MIN_SIGN), MAX_SIGN)
            if min(self._low, self._low_before) > self.shortest + sign:
                gain = CONSERVATIVE_GAIN
        if self._standing < queue_time and 2 * variation > queue_time:
            queue_time = min(2 * variation, MAX_QUEUE_TIME)
        if self._probing:
            queue_time = max(queue_time, min(self._mean, MAX_QUEUE_TIME)) + PROBE_QUEUE
        self.limit = max(floor, self.rate * (self.shortest + queue_time) * gain)

    def _sample(self, rate: float, application_limited: bool, now: float) -> None:
        if application_limited and rate < self.rate:
            return
        rates = self._rates
        while rates and rates[-1][1] <= rate:
            rates.pop()
        rates.append((now, rate))
        oldest = now - max(RATE_ROUNDS * self._latest, MIN_RATE_WINDOW)
        while rates[0][0] < oldest:
            del rates[0]
        self.rate = rates[0][1]

    def _next_round(self, application_limited: bool) -> None:
        self._round_delivered = self.delivered
        self._standing = self._round_shortest - self.shortest if self._round_shortest < inf else 0.0
        self._round_shortest = inf
        if self._round_samples:
            self._mean = self._round_sum / self._round_samples - self.shortest
            self._round_sum = 0.0
            self._round_samples = 0
        self._cycle += 1
        if self._cycle == (PROBE_ROUNDS if self._probing else PROBE_PAUSE):
            self._probing = not self._probing or self.rate >= self._rate_before * PROBE_GROWTH
            self._rate_before = self.rate
            self._cycle = 0
        if self.rate >= self._full_rate * FULL_PIPE_GROWTH:
            self._full_rate = self.rate
            self._full_rounds = 0
        elif not application_limited:
            self._full_rounds += 1

    def round_trip(self, rtt: float, now: float) -> None:
        """A sample (s), of the handshake for instance."""
        self._latest = rtt
        if self._samples == LAST_SAMPLES:
            self._low_before, self._low, self._samples = self._low, inf, 0
        self._samples += 1
        if rtt < self._low:
            self._low = rtt
        self._round_sum += rtt
        self._round_samples += 1
        if rtt < self._round_shortest:
            self._round_shortest = rtt
        if rtt <= self.shortest + SAME:
            if rtt < self.shortest:
                self.shortest = rtt
            self._shortest_at = now
            return
        if self._probe_until:
            self._probe_shortest = min(self._probe_shortest, rtt)
            if now >= self._probe_until:
                self.shortest = self._probe_shortest
                self._shortest_at = now
                self._probe_until = 0.0
        elif now - self._shortest_at > SHORTEST_LIFETIME:
            self._probe_shortest = inf
            self._probe_until = now + min(max(2 * rtt, PROBE_TIME), LONGEST_PROBE)
