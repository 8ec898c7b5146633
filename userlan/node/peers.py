"""One other member as this node reaches it: introduction, state, what its path carries.

States (the words of ``status``)::

    OFFLINE --introduced, or something to try--> CONNECTING --session and an answer--> DIRECT or RELAYED, as its path is
       ^                                            |                                    |
       +---- attempt failed, nobody says online ----+<--- silent for 12 s, was online ---+

While the path is a relay's, or framed TCP, the mediator is asked for another introduction every minute, and at once when the addresses of
this computer change. ``liveness`` says whether the peer is there; ``paths`` by which way it is reached; where no path is known to work
while traffic flows, the peer has three seconds to answer, and meanwhile everything is tried anew.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from userlan.node.liveness import ECHO_INTERVAL, ECHO_RETRY, LEAST_ASKED, Liveness
from userlan.node.paths import PathSet
from userlan.traversal.attempt import Attempt
from userlan.traversal.candidates import MAX_CANDIDATES, is_private
from userlan.traversal.path_mtu import BASE, PathMtuSearch
from userlan.wire.endpoint import RELAY, TCP, UDP, Endpoint

DOUBT = 4.0
"""Seconds that a peer has to answer once the mediator has said that it went away: four echoes."""
PATH_DOUBT = LEAST_ASKED * ECHO_RETRY
"""Seconds that it has once no path is known to work."""
QUIET = 0.1
"""Seconds without a packet of the peer's after which a probe of the path's MTU is accompanied by an echo: if that is answered and the
probe is not, it was its size."""
RETRY_FIRST = 2.0
RETRY_LAST = 60.0
"""Seconds between attempts by this node's own will; doubles."""
UPGRADE_INTERVAL = 60.0
"""Seconds between attempts to leave a relay, or framed TCP, for a direct path by UDP."""
UNAIDED = 1.5
"""Seconds that an introduction has to come after it was asked for, before the peer is tried without one. Not at once: a packet that comes
before the peer's own would close a NAT that moves its port to the introduction's punch."""
MAX_CACHED = 4
"""Endpoints remembered for a peer: where it was reached last."""
YIELDED = 0.1
"""Seconds that the second of a pair leaves to the first where both begin by themselves, as those do who were all started by one command:
what costs each of them most is a handshake, and one is enough."""
SECOND_DELAY = 0.25
"""Seconds that the second of a pair leaves to the first by a relay: its initiation takes no longer, and one session is enough."""


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
    """The node's side of one pair. ``now`` is monotonic seconds everywhere; effects come back from ``tick``.

    ``paths`` has deadlines and effects of its own, which the owner sees to.
    """

    blocked = False

    __slots__ = (
        "_relay_attempt",
        "_retries",
        "_retry_at",
        "_unaided_at",
        "_upgrade_at",
        "_wanted",
        "_yielding",
        "attempt",
        "cached",
        "candidates",
        "first",
        "key",
        "liveness",
        "online",
        "path_mtu",
        "paths",
        "second",
        "session_networks",
        "state",
    )

    def __init__(self, key: bytes, now: float, interval: float = ECHO_INTERVAL, mtu: int = BASE, second: bool = False) -> None:
        """``interval``: seconds of silence after which the peer is asked. ``mtu``: octets, of the LAN. ``second``: of the two, the one
        that leaves its turn to the other."""
        self.key = key
        self.second = second
        self.liveness = Liveness(now, interval, second)
        self.path_mtu = PathMtuSearch(mtu)
        self.paths = PathSet()
        self.state = PeerState.OFFLINE
        self.online = False                    # what the mediator says
        self.first = True                      # this side begins, of the two that are introduced
        self.cached: list[Endpoint] = []       # where it was reached, latest first
        self.candidates: tuple[Endpoint, ...] = ()
        self.attempt: Attempt | None = None
        self._relay_attempt: Attempt | None = None
        self._retry_at: float | None = None
        self._retries = 0
        self._upgrade_at: float | None = None
        self._unaided_at: float | None = None
        self.session_networks: tuple[str, ...] = ()     # those in common when the tunnel's keys were agreed
        self._wanted = False
        self._yielding = False

    @property
    def attempting(self) -> bool:
        """Whether initiations are being sent."""
        return self.attempt is not None or self._relay_attempt is not None

    @property
    def up(self) -> bool:
        """Whether the peer is reached, by whatever path."""
        return self.state in (PeerState.DIRECT, PeerState.RELAYED)

    @property
    def rtt(self) -> float | None:
        """Seconds, smoothed; None: not measured."""
        return self.liveness.rtt

    # --- what happens to it ------------------------------------------------------------------------------------------

    def presence(self, online: bool, now: float) -> None:
        """What the mediator says of the peer. Its word never ends a tunnel that works; it only decides what a silence means."""
        came = online and not self.online
        self.online = online
        if came and self.state is PeerState.OFFLINE:
            self._retries = 0
            self._retry_at = now + RETRY_FIRST     # the mediator's introduction should come first
        if not online and self.up and not self.liveness.doubted:
            self.liveness.doubt(DOUBT, now)        # ask the peer itself
        if not online and self.state is PeerState.CONNECTING and self.attempt is None:
            self.state = PeerState.OFFLINE

    def wait_for_answers(self, patience: float, answered: bool) -> None:
        """For the next ``tick``: seconds that an initiation has for its answer at present, at least; and whether one of the peer's was
        answered meanwhile, so that an own one would only cross the session that comes of it."""
        for attempt in (self.attempt, self._relay_attempt):
            if attempt is not None:
                attempt.patience = patience
        self._yielding = answered

    def introduce(self, endpoints: Sequence[Endpoint], delay: float, now: float, first: bool = True, punched: bool = False) -> None:
        """The mediator names the peer's candidates and when to send. ``first``: of the two, this side begins by a relay. ``punched``:
        probes go before (``punching``), and tell where an initiation is worth it."""
        self.candidates = tuple(endpoints)
        self.first = first
        self.online = True
        self._unaided_at = None
        self._start(now, delay, punched)

    def nearby(self, endpoints: Sequence[Endpoint], now: float) -> None:
        """The peer was seen on the own link: it is tried there, beside what is known already, whatever path is in use."""
        self.candidates = tuple(dict.fromkeys((*endpoints, *self.candidates)))[:MAX_CANDIDATES]
        self._start(now, 0.0)
        if self.state is PeerState.OFFLINE:
            self.state = PeerState.CONNECTING

    def relay_bound(self, endpoint: Endpoint, has_session: bool, now: float) -> None:
        """A relay carries packets to the peer, if that is there, too: the tunnel starts by it at once."""
        self.paths.add(endpoint, now)
        if has_session or self.up:
            return
        self._relay_attempt = Attempt((endpoint,), now, 0.0 if self.first else SECOND_DELAY)
        if self.online and self.state is PeerState.OFFLINE:
            self.state = PeerState.CONNECTING

    def try_cached(self, now: float) -> None:
        """Try where the peer was last, with no mediator's help (at start, or while it is away)."""
        if not self.up and self.attempt is None and (self.cached or self.candidates):
            self._start(now, YIELDED if self.second else 0.0)
            self.state = PeerState.CONNECTING

    def wanted(self, now: float) -> None:
        """A packet waits for the peer."""
        self._wanted = True
        if not self.up and self.attempt is None:
            self._retry_at = now if self._retries == 0 else min(self._retry_at or now, now + RETRY_FIRST)

    def session_established(self, now: float, endpoint: Endpoint | None = None) -> None:
        """The tunnel has a session, made by way of ``endpoint``: prove it by an echo at once. What an attempt would still send could only
        renew it, unless that was a relay's way: then a direct one is sought further."""
        self.liveness.heard_at = now
        self._relay_attempt = None
        if endpoint is None or endpoint.transport != RELAY:
            self.attempt = None
        if not self.up:
            self.liveness.ask_soon(now)

    def heard(self, endpoint: Endpoint | None, now: float) -> bool:
        """An authenticated packet came from the peer. True when this made it DIRECT or RELAYED."""
        self.liveness.heard(now)
        if self.up:
            return False
        self.state = PeerState.RELAYED if endpoint is not None and endpoint.transport == RELAY else PeerState.DIRECT
        if self.state is PeerState.DIRECT:
            self.attempt = None
        self._relay_attempt = None
        self._retry_at, self._retries, self._wanted = None, 0, False
        self.liveness.came_up(now)
        self.reached(endpoint, now)
        return True

    def reached(self, endpoint: Endpoint | None, now: float) -> None:
        """Packets go to ``endpoint`` now, which the tunnel's keys have authenticated."""
        if endpoint is None:
            return
        if endpoint.transport != RELAY and not endpoint.via:       # what is worth trying after a restart
            if endpoint in self.cached:
                self.cached.remove(endpoint)
            self.cached.insert(0, endpoint)
            del self.cached[MAX_CACHED:]
        if self.up:
            self.state = PeerState.RELAYED if endpoint.transport == RELAY else PeerState.DIRECT
        self._upgrade_at = now + UPGRADE_INTERVAL if endpoint.transport != UDP else None
        if endpoint.transport == UDP:
            self._unaided_at = None
        if endpoint.transport != TCP:
            self.path_mtu.start(now)
        else:
            self.path_mtu.stop()

    def path_dead(self, now: float) -> None:
        """No path is known to work: the peer has a moment to answer, and all is tried anew."""
        if self.up and not self.liveness.doubted:
            self.liveness.doubt(PATH_DOUBT, now)
            self.attempt, self._retry_at = None, now

    def echo_reply(self, sequence: int, now: float) -> None:
        """The peer's stack answered one of our echoes."""
        self.liveness.answered(sequence, now)

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
        """This computer's addresses changed: the path may be gone, so look at once, and for a better one."""
        self.liveness.ask_soon(now)
        self.paths.network_changed(now)
        self._retries = 0
        if (not self.up or self.liveness.doubted) and (self.online or self.attempt is not None or self._retry_at is not None):
            self.attempt, self._retry_at = None, now     # what is under way speaks of where this computer was
        if self._upgrade_at is not None:
            self._upgrade_at = now

    # --- time --------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        times = [time for time in (self._upgrade_at, self._unaided_at) if time is not None]
        if self._relay_attempt is not None:
            times.append(self._relay_attempt.deadline())
        if self.attempt is not None:
            times.append(self.attempt.deadline())
        elif self._retry_at is not None:
            times.append(self._retry_at)
        if self.up:
            times.append(self.liveness.deadline())
            search = self.path_mtu.deadline()
            times += (search,) if search is not None else ()
        return min(times, default=None)

    def tick(self, has_session: bool, now: float, beside: bool = False) -> list[PeerEffect]:
        """What is due. ``has_session``: the tunnel could carry a packet now. ``beside``: packets come by another way than the peer's
        own, too, and say nothing of it."""
        effects: list[PeerEffect] = []
        if self.up:
            self._watch(effects, beside, now)
            probe = self.path_mtu.tick(self.liveness.heard_at, now)
            if probe is not None and now - self.liveness.heard_at > QUIET:
                effects.append(EchoDue(*self.liveness.send(not self.up or self.liveness.doubted, now)))
            self._probe(effects, probe)
        elif has_session and now >= self.liveness.next:
            effects.append(EchoDue(*self.liveness.send(True, now)))
        if self._retry_at is not None and now >= self._retry_at and self.attempt is None:
            self._retry(effects, now)
        if self._relay_attempt is not None:
            self._start_by_relay(effects, self._relay_attempt, now)
        if self.attempt is not None:
            self._attempt(effects, self.attempt, now)
        if self._upgrade_at is not None and now >= self._upgrade_at:
            self._upgrade_at = now + UPGRADE_INTERVAL
            self._unaided_at = now + UNAIDED
            effects.append(MeetDue())
        if self._unaided_at is not None and now >= self._unaided_at:
            self._unaided_at = None
            effects.append(InitiateDue(tuple(e for e in (*self.candidates, *self.cached) if e.transport != TCP)))
        return effects

    def _watch(self, effects: list[PeerEffect], beside: bool, now: float) -> None:
        if now >= self.liveness.gone_at():
            self.state = PeerState.CONNECTING if self.online else PeerState.OFFLINE
            self.liveness.gone()
            self.paths.reset()
            self._upgrade_at = self._unaided_at = None
            self._retries = 0
            self._retry_at = now
            return
        echo = self.liveness.due(beside, now)
        if echo is not None:
            effects.append(EchoDue(*echo))

    def _start(self, now: float, delay: float, punched: bool = False) -> None:
        endpoints = () if punched else tuple(dict.fromkeys((*self.candidates, *self.cached)))
        self.attempt = Attempt(endpoints, now, delay)
        if self.online and self.state is PeerState.OFFLINE:
            self.state = PeerState.CONNECTING
        self._retry_at = None

    def _start_by_relay(self, effects: list[PeerEffect], attempt: Attempt, now: float) -> None:
        endpoints = attempt.due(now)
        if endpoints and not self._yielding:
            effects.append(InitiateDue(endpoints))
        if attempt.failed(now):
            self._relay_attempt = None

    def _attempt(self, effects: list[PeerEffect], attempt: Attempt, now: float) -> None:
        endpoints = attempt.due(now)
        if endpoints and not self._yielding:
            effects.append(InitiateDue(endpoints))
        if attempt.failed(now):
            self.attempt = None
            if not self.up:
                self.state = PeerState.CONNECTING if self.online else PeerState.OFFLINE
                self._schedule_retry(now)

    def _retry(self, effects: list[PeerEffect], now: float) -> None:
        effects.append(MeetDue())
        relay = self.paths.relay()
        if relay is not None and not self.up and self._relay_attempt is None:
            self._relay_attempt = Attempt((relay,), now)
        if self.cached or self.candidates:
            self._start(now, 0.0)
        else:
            self._schedule_retry(now)

    def _schedule_retry(self, now: float) -> None:
        if self.up or not (self.online or self._wanted or self.cached or self.paths.relay() is not None):
            self._retry_at = None
            return
        self._retry_at = now + min(RETRY_LAST, RETRY_FIRST * 2.0 ** min(self._retries, 10))
        self._retries += 1
        self._wanted = False


def path_of(endpoint: Endpoint | None, state: PeerState) -> str:
    """The word for a peer's path: ``none``, ``relay``, ``tcp``, ``lan`` (a private address reached without leaving the site) or ``udp``."""
    if endpoint is None or state not in (PeerState.DIRECT, PeerState.RELAYED):
        return "none"
    if endpoint.transport in (TCP, RELAY):
        return endpoint.transport
    return "lan" if is_private(endpoint.host) else "udp"
