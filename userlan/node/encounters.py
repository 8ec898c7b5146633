"""From a way that probes have found to a path of the tunnel: who does what, and when a punch has done its work.

A probe proves nothing but that it passed; only the tunnel's own keys make a path. Of the two ends the mediator calls one ``first``, so that
one handshake is made and not two::

    first     on a probe or an answer by a way          session there: a knock by that way     none: an initiation
    second    on an answer, and 0.25 s later at that    the same, where the tunnel was not heard by that way meanwhile

A peer that the tunnel hears by a direct way is met. Its punch goes on for ``GRACE`` all the same: its steps have stopped, and a candidate
that is slower to be heard may be better. Each punch's end is an outcome for the mediator that asked for it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from math import inf
from typing import NamedTuple

from userlan.control.meeting import Introduce, Outcome, ServerEndpoint
from userlan.control.messages import Candidate
from userlan.node.punching import MAX_PUNCHES, PunchEnded, Punching, PunchingEvent
from userlan.traversal.punch import PathAnswered, PathHeard
from userlan.tunnel.device import Device
from userlan.wire.endpoint import RELAY, Endpoint

YIELDED = 0.25
"""Seconds that the second of a pair leaves to the first."""
GRACE = 0.3
"""Seconds after the first direct way for which better ones are looked for."""
RETRY = 0.1
"""Seconds between two packets of the tunnel by one way that is not heard yet."""
MAX_WAYS = 16
"""Ways of one encounter that are tried by the tunnel: the tunnel knows as many paths."""
MAX_TRIED = 8
"""Introductions of one peer that are remembered for people: an hour of those that are tried again and again."""
MAX_REMEMBERED = 1024
"""Peers of whom they are: the members of a full network."""


class ReportDue(NamedTuple):
    """What came of an introduction, for whoever asked for it: a mediator's key, empty: a member."""

    mediator: bytes
    outcome: Outcome


class Tried(NamedTuple):
    """One introduction, for people. ``at``: when it began; ``seconds``, ``packets``: from then to its end, None: it goes on; ``path``: how
    the peer was met, in the words of ``status``, ``none``: not; ``by_member``: no mediator asked for it."""

    token: bytes
    technique: str
    at: float
    by_member: bool
    candidates: tuple[Candidate, ...]
    seconds: float | None = None
    packets: int = 0
    path: str = ""


class _Encounter:
    """One introduction that is carried out."""

    __slots__ = ("heard", "mediator", "met_at", "named", "tries", "waiting")

    def __init__(self, message: Introduce, mediator: bytes) -> None:
        self.mediator = mediator
        self.named = {(candidate.host, candidate.port) for candidate in message.candidates}
        self.waiting: dict[Endpoint, float] = {}        # the second's: when it tries
        self.tries: dict[Endpoint, float] = {}
        self.heard: dict[Endpoint, None] = {}       # in the order in which they were
        self.met_at: float | None = None


class Encounters:
    """Of one node: what becomes of its punches' events. Times are monotonic seconds."""

    def __init__(self, device: Device, punching: Punching) -> None:
        self._device = device
        self._punching = punching
        self._encounters: OrderedDict[bytes, _Encounter] = OrderedDict()        # by peer: the latest introduction
        self._first: dict[bytes, bool] = {}
        self._mediators: OrderedDict[bytes, bytes] = OrderedDict()              # who asked, by token
        self._paths: dict[bytes, frozenset[Endpoint]] = {}
        self._tried: OrderedDict[bytes, deque[Tried]] = OrderedDict()
        self._reports: list[ReportDue] = []
        self._nearest: float | None = inf                                       # when something is due; None: to be found anew

    def introduced(self, message: Introduce, mediator: bytes, now: float) -> None:
        """A punch begins. ``mediator``: the key of who asked for it, empty: a member."""
        peer = message.peer
        self._remember(message, mediator, now)
        self._first[peer] = message.first
        self._encounters[peer] = _Encounter(message, mediator)
        self._encounters.move_to_end(peer)
        if len(self._encounters) > MAX_PUNCHES:
            self._first.pop(self._encounters.popitem(last=False)[0], None)
        self._mediators[message.token] = mediator
        if len(self._mediators) > 2 * MAX_PUNCHES:
            self._mediators.popitem(last=False)

    def happened(self, event: PunchingEvent, path: str, now: float) -> None:
        """``path``: how the peer is reached now, in the words of ``status``."""
        encounter = self._encounters.get(event.peer)
        if isinstance(event, PathHeard | PathAnswered):
            if encounter is None or event.endpoint in encounter.heard:
                return
            if self._first[event.peer]:
                self._try(event.peer, encounter, event.endpoint, now)
            elif isinstance(event, PathAnswered) and len(encounter.waiting) < MAX_WAYS:
                encounter.waiting.setdefault(event.endpoint, now + YIELDED)
                self._nearest = None
            return
        mediator = self._mediators.pop(event.token, None)
        if mediator is None:
            return
        direct = path if event.met and path not in ("relay", "none") else "udp" if event.met else "none"
        self._ended(event, direct)
        met = next(iter(encounter.heard), None) if encounter is not None and event.met else None
        observed = None
        if met is not None and encounter is not None and (met.host, met.port) not in encounter.named and met.transport != RELAY:
            observed = ServerEndpoint(met.host, met.port, "tcp" if met.transport == "tcp" else "udp")
        outcome = Outcome(event.peer, event.token, direct, event.technique, event.seconds, event.packets, observed)
        self._reports.append(ReportDue(mediator, outcome))

    def tunnel_heard(self, peer: bytes, endpoint: Endpoint, now: float) -> None:
        """Authenticated packets of a peer's come by ``endpoint``."""
        encounter = self._encounters.get(peer)
        if encounter is None or endpoint.transport == RELAY:
            return
        encounter.waiting.pop(endpoint, None)
        if len(encounter.heard) < MAX_WAYS:
            encounter.heard[endpoint] = None
            self._punching.keep(endpoint)
        if encounter.met_at is None:
            encounter.met_at = now
            self._nearest = None

    def paths_are(self, peer: bytes, endpoints: frozenset[Endpoint]) -> None:
        """The paths of a peer: the sockets of these stay open, those of what was one before are closed."""
        before = self._paths.get(peer, frozenset())
        if endpoints:
            self._paths[peer] = endpoints
        else:
            self._paths.pop(peer, None)
        for endpoint in endpoints - before:
            self._punching.keep(endpoint)
        encounter = self._encounters.get(peer)
        tried: dict[Endpoint, None] = encounter.heard if encounter is not None else {}
        for endpoint in before - endpoints:
            tried.pop(endpoint, None)
            self._punching.release(endpoint)

    def tried(self, peer: bytes) -> tuple[Tried, ...]:
        """What was tried to meet a peer of late, the latest last."""
        return tuple(self._tried.get(peer, ()))

    def forget(self, peer: bytes) -> None:
        """A member left the roster."""
        self._tried.pop(peer, None)

    def deadline(self) -> float | None:
        """When ``tick`` has something to do. Asked for each turn of the node, of encounters that are over for hours: found once."""
        if self._nearest is None:
            nearest = inf
            for encounter in self._encounters.values():
                if encounter.met_at is not None:
                    nearest = min(nearest, encounter.met_at + GRACE)
                nearest = min((nearest, *encounter.waiting.values()))
            self._nearest = nearest
        return self._nearest if self._nearest < inf else None

    def tick(self, now: float) -> None:
        """Do what is due."""
        due = self.deadline()
        if due is None or now < due:
            return
        self._nearest = None
        for peer, encounter in list(self._encounters.items()):
            for endpoint, at in list(encounter.waiting.items()):
                if now >= at:
                    del encounter.waiting[endpoint]
                    self._try(peer, encounter, endpoint, now)
            if encounter.met_at is not None and now >= encounter.met_at + GRACE:
                self._punching.stop(peer, now)
                encounter.met_at = inf

    def reports(self) -> list[ReportDue]:
        """Drained."""
        reports, self._reports = self._reports, []
        return reports

    def _remember(self, message: Introduce, mediator: bytes, now: float) -> None:
        tried = self._tried.setdefault(message.peer, deque(maxlen=MAX_TRIED))
        tried.append(Tried(message.token, message.plan.technique, now + message.delay, not mediator, message.candidates))
        self._tried.move_to_end(message.peer)
        if len(self._tried) > MAX_REMEMBERED:
            self._tried.popitem(last=False)

    def _ended(self, event: PunchEnded, path: str) -> None:
        tried = self._tried.get(event.peer, deque())
        for place, one in enumerate(tried):
            if one.token == event.token:
                tried[place] = one._replace(seconds=event.seconds, packets=event.packets, path=path)

    def _try(self, peer: bytes, encounter: _Encounter, endpoint: Endpoint, now: float) -> None:
        """Let the tunnel pass by a way."""
        if now - encounter.tries.get(endpoint, -inf) < RETRY or (endpoint not in encounter.tries and len(encounter.tries) >= MAX_WAYS):
            return
        encounter.tries[endpoint] = now
        if not self._punching.allowed(endpoint, now):
            return
        tunnel = self._device.peer(peer)
        if tunnel is not None and tunnel.has_session(now):
            self._device.knock(peer, endpoint, now)
        else:
            self._device.initiate(peer, [endpoint], now)
