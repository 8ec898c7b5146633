"""One other member as this node reaches it: introduction, liveness, latency.

States (the words of ``status``)::

    OFFLINE --introduced, or something to try--> CONNECTING --session and an answer--> DIRECT
       ^                                            |                                    |
       +---- attempt failed, nobody says online ----+<--- silent for 12 s, was online ---+

Liveness: an ICMP echo to the peer's own virtual address after 5 s of silence carries bytes through every NAT on the way (some ignore
empty packets), measures the round trip, and proves the whole path, stack to stack. After one unanswered echo they come every
second; after 12 s without any authenticated packet, and three echoes that had their second, the peer is gone.

An echo of the peer's is as good a sign of life as the answer to an own one, and its answer keeps the own NAT's mapping: so one side asks
for both, and they take turns, for who was asked is the first to ask again (one rounds down to a quarter of a second, the other one up).
Where both ask at the same moment, one of them leaves the next turn to the other::

    A   ask ── 5 s ──▶            hears ── 5 s ──▶  ask
    B         hears ── 5 s ──▶  ask ── 5.25 s ──▶       hears …

Each side so measures the round trip every ten seconds, and every thirty where traffic says all the time that the peer is there. Beside
a bulk way, by which much of that comes, UDP is asked as if nothing did. Echoes of many peers fall into the same quarter of a second, and
cost one turn of the reactor instead of one each: with 500 peers 50 to 100 echoes a second, in four turns.

A process that was not run for a while has asked nobody, and what came for it waits in its socket: silence counts only together with
echoes that nobody answered.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from math import floor, inf
from typing import NamedTuple

from userlan.traversal.attempt import Attempt
from userlan.traversal.candidates import MAX_CANDIDATES, is_private
from userlan.traversal.path_mtu import BASE, PathMtuSearch
from userlan.wire.endpoint import TCP, UDP, Endpoint

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
DOUBT = 4.0
"""Seconds that a peer has to answer once the mediator has said that it went away: four echoes."""
QUIET = 0.1
"""Seconds without a packet of the peer's after which a probe of the path's MTU is accompanied by an echo: if that is answered and the
probe is not, it was its size."""
RETRY_FIRST = 2.0
RETRY_LAST = 60.0
"""Seconds between attempts by this node's own will; doubles."""
UPGRADE_INTERVAL = 60.0
"""Seconds between attempts to leave framed TCP for UDP."""
MAX_CACHED = 4
"""Endpoints remembered for a peer: where it was reached last."""
RTT_GAIN = 0.125
"""Smoothing of the round trip (RFC 6298, 2.3: alpha)."""


class PeerState(enum.Enum):
    """As ``status`` says it."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    DIRECT = "direct"
    RELAYED = "relayed"


class EchoDue(NamedTuple):
    """Send an echo request to the peer. ``hurried``: one was not answered, so that other ways are to be tried, too."""

    sequence: int
    hurried: bool = False


class InitiateDue(NamedTuple):
    """Send a fresh handshake initiation to these endpoints."""

    endpoints: tuple[Endpoint, ...]


class ProbeDue(NamedTuple):
    """Ask whether the path carries an inner packet of ``size`` octets."""

    size: int
    sequence: int


class MeetDue(NamedTuple):
    """Ask the mediator for an introduction."""


PeerEffect = EchoDue | InitiateDue | ProbeDue | MeetDue


class PeerLink:
    """The node's side of one pair. ``now`` is monotonic seconds everywhere; effects come back from ``tick``."""

    __slots__ = (
        "_doubted",
        "_echo_sent",
        "_echo_sequence",
        "_interval",
        "_last_heard",
        "_measure_at",
        "_next_echo",
        "_retries",
        "_retry_at",
        "_silence",
        "_turn",
        "_upgrade_at",
        "_wanted",
        "attempt",
        "cached",
        "candidates",
        "key",
        "online",
        "path_mtu",
        "rtt",
        "session_networks",
        "state",
    )

    def __init__(self, key: bytes, now: float, interval: float = ECHO_INTERVAL, mtu: int = BASE, second: bool = False) -> None:
        """``interval``: seconds of silence after which the peer is asked. ``mtu``: octets, of the LAN. ``second``: of the two, the one
        that leaves its turn to the other."""
        self.key = key
        self.path_mtu = PathMtuSearch(mtu)
        self._interval = interval
        self._turn = interval + (YIELDED if second else 0.0)
        self._silence = interval + PATIENCE
        self.state = PeerState.OFFLINE
        self.online = False                    # what the mediator says
        self.rtt: float | None = None          # seconds, smoothed
        self.cached: list[Endpoint] = []       # where it was reached, latest first
        self.candidates: tuple[Endpoint, ...] = ()
        self.attempt: Attempt | None = None
        self._echo_sequence = 0
        self._echo_sent: dict[int, float] = {}
        self._next_echo = now
        self._measure_at = now
        self._last_heard = now
        self._retry_at: float | None = None
        self._retries = 0
        self._upgrade_at: float | None = None
        self.session_networks: tuple[str, ...] = ()     # those in common when the tunnel's keys were agreed
        self._wanted = False
        self._doubted: float | None = None

    # --- what happens to it ------------------------------------------------------------------------------------------

    def presence(self, online: bool, now: float) -> None:
        """What the mediator says of the peer. Its word never ends a tunnel that works; it only decides what a silence means."""
        came = online and not self.online
        self.online = online
        if came and self.state is PeerState.OFFLINE:
            self._retries = 0
            self._retry_at = now + RETRY_FIRST     # the mediator's introduction should come first
        if not online and self.state is PeerState.DIRECT and self._doubted is None:
            self._next_echo = self._doubted = now  # ask the peer itself
        if not online and self.state is PeerState.CONNECTING and self.attempt is None:
            self.state = PeerState.OFFLINE

    def introduce(self, endpoints: Sequence[Endpoint], delay: float, now: float, punched: bool = False) -> None:
        """The mediator names the peer's candidates and when to send. ``punched``: probes go before (``punching``), and tell where an
        initiation is worth it."""
        self.candidates = tuple(endpoints)
        self.online = True
        self._start(now, delay, punched)

    def nearby(self, endpoints: Sequence[Endpoint], now: float) -> None:
        """The peer was seen on the own link: it is tried there, beside what is known already, whatever path is in use."""
        self.candidates = tuple(dict.fromkeys((*endpoints, *self.candidates)))[:MAX_CANDIDATES]
        self._start(now, 0.0)
        if self.state is PeerState.OFFLINE:
            self.state = PeerState.CONNECTING

    def try_cached(self, now: float) -> None:
        """Try where the peer was last, with no mediator's help (at start, or while it is away)."""
        if self.state is not PeerState.DIRECT and self.attempt is None and (self.cached or self.candidates):
            self._start(now, 0.0)
            self.state = PeerState.CONNECTING

    def wanted(self, now: float) -> None:
        """A packet waits for the peer."""
        self._wanted = True
        if self.state is not PeerState.DIRECT and self.attempt is None:
            self._retry_at = now if self._retries == 0 else min(self._retry_at or now, now + RETRY_FIRST)

    def session_established(self, now: float) -> None:
        """The tunnel has a session: prove it by an echo at once. What an attempt would still send could only renew it."""
        self._last_heard = now
        self.attempt = None
        if self.state is not PeerState.DIRECT:
            self._next_echo = now

    def heard(self, endpoint: Endpoint | None, now: float) -> bool:
        """An authenticated packet came from the peer. True when this made it DIRECT."""
        self._last_heard = now
        self._doubted = None
        if self.state is PeerState.DIRECT:
            return False
        self.state = PeerState.DIRECT
        self.attempt = None
        self._retry_at, self._retries, self._wanted = None, 0, False
        if self.rtt is None or not self._echo_sent:
            self._next_echo = self._measure_at = now
        self.reached(endpoint, now)
        return True

    def reached(self, endpoint: Endpoint | None, now: float) -> None:
        """The tunnel's authenticated endpoint is ``endpoint`` now."""
        if endpoint is None:
            return
        if endpoint in self.cached:
            self.cached.remove(endpoint)
        self.cached.insert(0, endpoint)
        del self.cached[MAX_CACHED:]
        self._upgrade_at = now + UPGRADE_INTERVAL if endpoint.transport == TCP else None
        if endpoint.transport == UDP:
            self.path_mtu.start(now)
        else:
            self.path_mtu.stop()

    def echo_reply(self, sequence: int, now: float) -> None:
        """The peer's stack answered one of our echoes."""
        sent = self._echo_sent.pop(sequence, None)
        if sent is None:
            return
        self._echo_sent = {number: at for number, at in self._echo_sent.items() if at > sent}
        sample = max(0.0, now - sent)
        self.rtt = sample if self.rtt is None else self.rtt + RTT_GAIN * (sample - self.rtt)
        self._next_echo = max(self._next_echo, (floor((now + self._turn) / ECHO_GRID) + 1) * ECHO_GRID)
        self._measure_at = now + max(RTT_INTERVAL, self._interval)

    def probe_answered(self, sequence: int, now: float) -> list[PeerEffect]:
        """The peer's stack answered a probe of the path's MTU; the next probe may be due."""
        effects: list[PeerEffect] = []
        self._probe(effects, self.path_mtu.answered(sequence, now))
        return effects

    @staticmethod
    def _probe(effects: list[PeerEffect], probe: tuple[int, int] | None) -> None:
        if probe is not None:
            effects.append(ProbeDue(*probe))

    def network_changed(self, now: float) -> None:
        """This computer's addresses changed: the path may be gone, so look at once."""
        self._next_echo = self._measure_at = now
        self._retries = 0
        if self.state is not PeerState.DIRECT and self.online:
            self._retry_at = now

    # --- time --------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        times = [self._upgrade_at] if self._upgrade_at is not None else []
        if self.attempt is not None:
            times.append(self.attempt.deadline())
        elif self._retry_at is not None:
            times.append(self._retry_at)
        if self.state is PeerState.DIRECT:
            times += (self._next_echo, self._gone_at())
            search = self.path_mtu.deadline()
            times += (search,) if search is not None else ()
        return min(times, default=None)

    def tick(self, has_session: bool, now: float, beside: bool = False) -> list[PeerEffect]:
        """What is due. ``has_session``: the tunnel could carry a packet now. ``beside``: packets come by another way than the peer's
        own, too, and say nothing of it."""
        effects: list[PeerEffect] = []
        if self.state is PeerState.DIRECT:
            self._watch(effects, beside, now)
            probe = self.path_mtu.tick(self._last_heard, now)
            if probe is not None and now - self._last_heard > QUIET:
                self._echo(effects, now)
            self._probe(effects, probe)
        elif has_session and now >= self._next_echo:
            self._echo(effects, now)
        if self.attempt is not None:
            self._attempt(effects, now)
        if self._retry_at is not None and now >= self._retry_at and self.attempt is None:
            self._retry(effects, now)
        if self._upgrade_at is not None and now >= self._upgrade_at:
            self._upgrade_at = now + UPGRADE_INTERVAL
            udp = tuple(e for e in (*self.candidates, *self.cached) if e.transport != TCP)
            effects += (InitiateDue(udp), MeetDue())
        return effects

    def _watch(self, effects: list[PeerEffect], beside: bool, now: float) -> None:
        if now >= self._gone_at():
            self.state = PeerState.CONNECTING if self.online else PeerState.OFFLINE
            self.rtt = None
            self._doubted = None
            self._echo_sent.clear()
            self._upgrade_at = None
            self._retries = 0
            self._retry_at = now
        elif now >= self._next_echo:
            quiet_until = floor((self._last_heard + self._interval) / ECHO_GRID) * ECHO_GRID
            if beside or self._doubted is not None or now >= min(quiet_until, self._measure_at):
                self._echo(effects, now, bool(self._echo_sent if beside else self._unanswered()) or now >= self._dead_at())
            else:
                self._next_echo = min(quiet_until, self._measure_at)

    def _unanswered(self) -> list[float]:
        """When echoes were sent since the last sign of life."""
        heard = self._last_heard
        return [at for at in self._echo_sent.values() if at >= heard] if self._echo_sent else []

    def _gone_at(self) -> float:
        """When the peer is gone, unless it is heard before."""
        asked = self._unanswered()
        return max(self._dead_at(), asked[LEAST_ASKED - 1] + ECHO_RETRY) if len(asked) >= LEAST_ASKED else inf

    def _dead_at(self) -> float:
        silent = self._last_heard + self._silence
        return silent if self._doubted is None else min(silent, self._doubted + DOUBT)

    def _echo(self, effects: list[PeerEffect], now: float, late: bool = False) -> None:
        """``late``: an answer is overdue."""
        hurried = late or self.state is not PeerState.DIRECT or self._doubted is not None
        self._next_echo = now + (ECHO_RETRY if hurried else min(self._interval / 2, FIRST_RETRY))     # unanswered by then: every second
        self._echo_sent = {number: at for number, at in self._echo_sent.items() if now - at < self._silence}
        self._echo_sequence = (self._echo_sequence + 1) % 65536
        self._echo_sent[self._echo_sequence] = now
        effects.append(EchoDue(self._echo_sequence, hurried))

    def _start(self, now: float, delay: float, punched: bool = False) -> None:
        endpoints = () if punched else tuple(dict.fromkeys((*self.candidates, *self.cached)))
        self.attempt = Attempt(endpoints, now, delay)
        if self.online and self.state is PeerState.OFFLINE:
            self.state = PeerState.CONNECTING
        self._retry_at = None

    def _attempt(self, effects: list[PeerEffect], now: float) -> None:
        attempt = self.attempt
        if attempt is None:
            return
        endpoints = attempt.due(now)
        if endpoints:
            effects.append(InitiateDue(endpoints))
        if attempt.failed(now):
            self.attempt = None
            if self.state is not PeerState.DIRECT:
                self.state = PeerState.CONNECTING if self.online else PeerState.OFFLINE
                self._schedule_retry(now)

    def _retry(self, effects: list[PeerEffect], now: float) -> None:
        effects.append(MeetDue())
        if self.cached or self.candidates:
            self._start(now, 0.0)
        else:
            self._schedule_retry(now)

    def _schedule_retry(self, now: float) -> None:
        if not (self.online or self._wanted or self.cached):
            self._retry_at = None
            return
        self._retry_at = now + min(RETRY_LAST, RETRY_FIRST * 2.0 ** min(self._retries, 10))
        self._retries += 1
        self._wanted = False


def path_of(endpoint: Endpoint | None, state: PeerState) -> str:
    """The word for a peer's path: ``none``, ``tcp``, ``lan`` (a private address reached without leaving the site) or ``udp``."""
    if endpoint is None or state is not PeerState.DIRECT:
        return "none"
    if endpoint.transport == TCP:
        return "tcp"
    return "lan" if is_private(endpoint.host) else "udp"
