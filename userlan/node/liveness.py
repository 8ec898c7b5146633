"""Whether a peer is there, and how long its round trip takes: echoes to its own virtual address.

An ICMP echo after 5 s of silence carries bytes through every NAT on the way (some ignore empty packets), measures the round trip, and
proves the whole path, stack to stack. After one unanswered echo they come every second; after 12 s without any authenticated packet, and
three echoes that had their second, the peer is gone.

An echo of the peer's is as good a sign of life as the answer to an own one, and its answer keeps the own NAT's mapping: so one side asks
for both, and they take turns, for who was asked is the first to ask again (one rounds down to a quarter of a second, the other one up).
Where both ask at the same moment, one of them leaves the next turn to the other::

    A   ask ── 5 s ──▶            hears ── 5 s ──▶  ask
    B         hears ── 5 s ──▶  ask ── 5.25 s ──▶       hears …

Each side so measures the round trip every ten seconds, and every thirty where traffic says all the time that the peer is there. Beside
a bulk way, by which much of that comes, UDP is asked as if nothing did. Echoes of many peers fall into the same quarter of a second, and
cost one turn of the reactor instead of one each: with 500 peers 50 to 100 echoes a second, in four turns.

A process that was not run for a while has asked nobody, and what came for it waits in its socket: silence counts only together with
echoes that nobody answered. Nor is a peer gone that is merely slow, or whose answers this side reads late: echoes wait for their answer
twice as long as the slowest of late took, and are repeated no sooner, since more questions make nobody quicker.
"""

from __future__ import annotations

from math import floor, inf

ECHO_INTERVAL = 5.0
"""Seconds between echoes while they are answered, by default; well below the 30 s of the shortest NAT mappings."""
ECHO_RETRY = 1.0
"""Seconds between echoes while one is unanswered."""
FIRST_RETRY = 2.0
"""Seconds that the first one has for its answer: three times an intercontinental mobile round trip."""
YIELDED = 0.5
"""Seconds for which one side leaves its turn to the other: longer than a packet takes."""
ECHO_GRID = 0.25
"""Seconds: echoes are due at multiples of it."""
LEAST_ASKED = 3
"""Echoes that must have gone unanswered for a peer to be gone, whatever the clock says."""
RTT_INTERVAL = 30.0
"""Seconds between measurements of the round trip, at most, while the peer is heard without being asked."""
PATIENCE = 7.0
"""Seconds that an echo and those that repeat it may go unanswered; a path is dead after the interval and these."""
SILENCE = ECHO_INTERVAL + PATIENCE
"""Seconds without an authenticated packet after which a path is dead, by default."""
SLOW_TIMES, SLOWEST = 2.0, 10.0
"""Times what the slowest answer of late took that the next may take; and seconds, at most."""
RTT_GAIN = 0.5
"""Smoothing of the round trip. RFC 6298, 2.3, has an eighth, for several samples a round trip; these are ten or thirty seconds apart, and a
first one that waited for a handshake, or for another path, should be forgotten within the minute."""


class Liveness:
    """Of one peer. ``rtt``: seconds, smoothed, None: not measured; ``sample``: the last one as it was, ``sampled_at``: when it came.
    ``heard_at``: monotonic seconds, as all times."""

    __slots__ = ("_doubted_until", "_interval", "_measure_at", "_next", "_sent", "_sequence", "_silence", "_slow", "_turn", "heard_at",
                 "rtt", "sample", "sampled_at")  # fmt: skip

    def __init__(self, now: float, interval: float, second: bool) -> None:
        """``interval``: seconds of silence after which the peer is asked. ``second``: of the two, the one that leaves its turn."""
        self._interval = interval
        self._turn = interval + (YIELDED if second else 0.0)
        self._silence = interval + PATIENCE
        self.rtt: float | None = None
        self.sample = 0.0
        self.sampled_at = -inf
        self._slow = 0.0
        self.heard_at = now
        self._sequence = 0
        self._sent: dict[int, float] = {}
        self._next = now
        self._measure_at = now
        self._doubted_until: float | None = None

    def keep(self, interval: float) -> None:
        """Another ``interval`` from now on: what the NAT's mapping needs."""
        self._turn += interval - self._interval
        self._interval = interval
        self._silence = interval + PATIENCE

    @property
    def doubted(self) -> bool:
        """Whether something says that the peer is gone, so that it is asked every second."""
        return self._doubted_until is not None

    def heard(self, now: float) -> None:
        """An authenticated packet came."""
        self.heard_at = now
        self._doubted_until = None

    def ask_soon(self, now: float) -> None:
        """There is reason to ask at once."""
        self._next = self._measure_at = now

    def came_up(self, now: float) -> None:
        """The peer is there: measure, unless that is under way."""
        if self.rtt is None or not self._sent:
            self.ask_soon(now)

    def doubt(self, seconds: float, now: float) -> None:
        """Something says that the peer is gone: it has so long to answer."""
        until = now + seconds
        if self._doubted_until is None:
            self._next = now
        self._doubted_until = until if self._doubted_until is None else min(until, self._doubted_until)

    def gone(self) -> None:
        """The peer is given up: what was known of it is old."""
        self.rtt = None
        self._doubted_until = None
        self._sent.clear()

    def answered(self, sequence: int, now: float) -> None:
        """The peer's stack answered an echo."""
        sent = self._sent.pop(sequence, None)
        if sent is None:
            return
        self._sent = {number: at for number, at in self._sent.items() if at > sent}
        sample = max(0.0, now - sent)
        self.sample, self.sampled_at = sample, now
        self._slow = max(sample, self._slow / 2)
        self.rtt = sample if self.rtt is None else self.rtt + RTT_GAIN * (sample - self.rtt)
        self._next = max(self._next, (floor((now + self._turn) / ECHO_GRID) + 1) * ECHO_GRID)
        self._measure_at = now + max(RTT_INTERVAL, self._interval)

    @property
    def next(self) -> float:
        """When an echo may be due."""
        return self._next

    def deadline(self) -> float:
        """When ``due`` or ``gone_at`` has something to say."""
        return min(self._next, self.gone_at())

    def gone_at(self) -> float:
        """When the peer is gone, unless it is heard before."""
        asked = self._unanswered()
        return max(self._dead_at(), asked[LEAST_ASKED - 1] + self._patience()) if len(asked) >= LEAST_ASKED else inf

    def due(self, beside: bool, now: float) -> tuple[int, bool] | None:
        """The echo that is to be sent now to a peer that is up: its sequence number, and whether an answer is overdue. ``beside``: packets
        come by another way than the peer's own, too, and say nothing of it."""
        if now < self._next:
            return None
        quiet_until = floor((self.heard_at + self._interval) / ECHO_GRID) * ECHO_GRID
        if beside or self.doubted or now >= min(quiet_until, self._measure_at):
            late = bool(self._sent if beside else self._unanswered()) or now >= self._dead_at()
            return self.send(late or self.doubted, now)
        self._next = min(quiet_until, self._measure_at)
        return None

    def send(self, hurried: bool, now: float) -> tuple[int, bool]:
        """An echo leaves whether it is due or not; ``hurried``: the next one in a second, if it is not answered."""
        patience = self._patience()
        self._next = now + (patience if hurried else max(min(self._interval / 2, FIRST_RETRY), patience))     # then every second
        self._sent = {number: at for number, at in self._sent.items() if now - at < self._silence + LEAST_ASKED * patience}
        self._sequence = (self._sequence + 1) % 65536
        self._sent[self._sequence] = now
        return self._sequence, hurried

    def _patience(self) -> float:
        """Seconds that an echo has for its answer."""
        return min(max(ECHO_RETRY, SLOW_TIMES * self._slow), SLOWEST)

    def _unanswered(self) -> list[float]:
        """When echoes were sent since the last sign of life."""
        heard = self.heard_at
        return [at for at in self._sent.values() if at >= heard] if self._sent else []

    def _dead_at(self) -> float:
        silent = self.heard_at + self._silence
        return silent if self._doubted_until is None else min(silent, self._doubted_until)
