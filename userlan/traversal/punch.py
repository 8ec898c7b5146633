"""One introduction carried out: probes to the candidates and by the plan's steps, answers to the other end's, and what came of it.

::

    now          start              hold                     first answer                give-up
     ├── delay ──┼── steps ─────────┼── candidates … ─────────┼── steps stop ─ candidates ─┼── only answers ──▶ over
                 └ paced by their spacing, ``BURST`` packets a ``TICK`` at most            (3 s)

A probe says nothing of a path but that it passed; so whoever hears one answers it by the way it came, at once, and probes that way itself
as if it were a candidate (as ICE's triggered checks, RFC 8445 7.3.1.4). An answer says that the way works in both directions: the steps,
which may be thousands of packets, stop. A probe heard only lets them pause, since its answer may be filtered on its way.

Pacing: what is due within a tick leaves together. So a plan of 2,048 probes costs 1,000 timers, and not one each; a process that was not
run for a while goes on at most twice as fast as planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import gcd, inf
from typing import NamedTuple

from userlan.traversal.candidates import MAX_CANDIDATES
from userlan.traversal.probe import Probe, ProbeKey
from userlan.traversal.step import MAX_PORTS, Plan, Step
from userlan.wire.burst import Burst
from userlan.wire.endpoint import TCP, UDP, Endpoint

OFFSETS = (0.0, 0.03, 0.08, 0.16, 0.3, 0.5, 0.8, 1.2, 1.8, 2.6, 3.5)
"""Seconds after its turn at which a candidate is probed: eleven packets survive 40 % loss with 99.996 %; the first ones come densely, since
one lost packet is to cost less than a round trip."""
STREAM_OFFSETS = (0.0, 1.0, 2.0)
"""The same for framed TCP, which joins once UDP had its chance (``Plan.streams``: two seconds cover the worst links); alone it comes at
once, and more densely."""
TICK = 0.002
"""Seconds between two bursts: what the system's timers keep to."""
BURST = 8
"""Probes of one punch that leave together: 4,000 a second at most, twice what a plan asks for."""
PAUSE = 0.25
"""Seconds for which the steps wait after a probe was heard: a round trip and a half of most pairs."""
LINGER = 3.0
"""Seconds after giving up for which the other end's probes are still answered: it may have started later."""
MAX_DELAY = 3.0
"""Seconds. A start delay beyond it is cut: no honest mediator needs more than the slowest control link's one-way delay."""
MAX_WAYS = 32
"""Endpoints by which the other end was heard that are remembered: all its candidates, and as many mappings that it was heard by."""
MAX_PROBES = 4 * MAX_PORTS
"""Probes of one punch in all, whatever its plan asks for: a birthday's 2,048 with the 512 of its sockets leave half of it."""
MAX_ANSWERS = 2 * MAX_PROBES
"""Answers of one punch: none is larger than what it answers, so this only bounds what a peer can make this end do."""
HEARD_INTERVAL = 0.1
"""Seconds between two reports that the same way was heard."""


class PathHeard(NamedTuple):
    """A probe of the peer's came from ``endpoint`` (by own socket ``endpoint.via``) and was answered there."""

    peer: bytes
    endpoint: Endpoint


class PathAnswered(NamedTuple):
    """A probe to ``endpoint`` was answered from there after ``rtt`` seconds: the path works both ways."""

    peer: bytes
    endpoint: Endpoint
    rtt: float


PunchEvent = PathHeard | PathAnswered


class _Cursor:
    """How far one step has come."""

    __slots__ = ("_drawn", "_factor", "_offset", "_round", "_sent", "_size", "_stride", "at", "start", "step", "vias")

    def __init__(self, step: Step, vias: Sequence[int], start: float, random: int) -> None:
        self.step = step
        self.vias = vias
        self.at = self.start = start + step.start
        self._sent = 0          # in this round
        self._round = 0
        self._drawn = 0         # scattered ports, over all rounds
        self._stride = max(1, abs(step.stride))                 # of scattered ports
        self._size = size = max(0, step.last - step.first) // self._stride + 1
        self._offset = random % size
        self._factor = (random >> 32) % size or 1
        while gcd(self._factor, size) != 1:     # so that every port comes once before any comes twice
            self._factor += 1

    def next(self) -> tuple[int, int]:
        """The own socket and the port of the next packet, 0: that is no port. Moves on."""
        step, sockets = self.step, len(self.vias)
        if step.spread:
            via, index = self.vias[self._sent % sockets], self._sent
            whole = step.count
        else:
            via, index = self.vias[self._sent // step.count], self._sent % step.count
            whole = step.count * sockets
        if step.scattered:
            port = step.first + (self._offset + self._drawn * self._factor) % self._size * self._stride
            self._drawn += 1
        else:
            port = step.first + index * step.stride
        self._sent += 1
        self.at += step.spacing
        if self._sent >= whole:
            self._sent = 0
            self._round += 1
            over = self._round >= step.rounds or step.transport == TCP      # a connection attempt goes on by itself
            self.at = inf if over else max(self.at, self.start + self._round * step.interval)
        return via, port if 1 <= port <= 65535 else 0


class _Turn:
    """How far the probing of one candidate has come."""

    __slots__ = ("_next", "_offsets", "_start", "at", "endpoint")

    def __init__(self, endpoint: Endpoint, start: float, offsets: Sequence[float]) -> None:
        self.endpoint = endpoint
        self._offsets = offsets
        self._start = start
        self._next = 0
        self.at = start + offsets[0]

    def advance(self, now: float) -> None:
        while self._next < len(self._offsets) and self._start + self._offsets[self._next] <= now:
            self._next += 1
        self.at = self._start + self._offsets[self._next] if self._next < len(self._offsets) else inf

    def postpone(self, planned: float, late: float) -> None:
        """Leave ``late`` seconds later, if ``planned`` was its start."""
        if self._start == planned:
            self._start += late
            self.at += late


class Punch:
    """One introduction to one peer. Times are monotonic seconds."""

    def __init__(
        self,
        peer: bytes,
        token: bytes,
        role: int,
        candidates: Iterable[Endpoint],
        plan: Plan,
        *,
        now: float,
        entropy: Callable[[int], bytes],
        delay: float = 0.0,
        fresh: Sequence[int] = (),
        new: Sequence[int] = (),
    ) -> None:
        """``fresh``: numbers of the sockets that were measured; ``new``: of as many more as ``sockets_of`` the plan says."""
        self.peer = peer
        self.token = token
        self.key = ProbeKey(token, role)
        self.plan = plan
        self.vias = frozenset((*fresh, *new))
        self.start = now + min(max(delay, 0.0), MAX_DELAY)
        self.give_up = self.start + plan.give_up
        self.packets = 0
        self.met = False
        self.stopped_at: float | None = None
        self.answered: dict[Endpoint, float] = {}
        self._heard: dict[Endpoint, float] = {}
        self._answers = 0
        self._sent: list[Endpoint] = []
        self._paused = -inf
        self._not_before = -inf
        self._next: float | None = None
        """What ``deadline`` has found; None: to be looked for again."""
        self._begun = False
        self._events: list[PunchEvent] = []
        self._turns: dict[Endpoint, _Turn] = {}
        self._cursors: list[_Cursor] = []
        self._enlist(tuple(candidates))
        for step in plan.steps:
            vias = (fresh if step.fresh else new)[: step.sockets] if step.sockets else (0,)
            if vias:
                self._cursors.append(_Cursor(step, vias, self.start, int.from_bytes(entropy(8), "big")))

    # --- what happens ------------------------------------------------------------------------------------------------

    def receive(self, probe: Probe, source: Endpoint, now: float) -> Burst | None:
        """The other end's probe, or its answer, came from ``source``; what is sent back."""
        self._next = None
        if probe.answer:
            self._answer(probe, source, now)
            return None
        if self._answers >= MAX_ANSWERS:
            return None
        self._answers += 1
        self._hear(source, now)
        return _burst(self.key.answer(probe, source), source)

    def opened(self, endpoint: Endpoint, now: float) -> None:
        """A connection of framed TCP is there: what passes by it is to be seen."""
        self._next = None
        if endpoint.via in self.vias and any(step.transport == TCP and step.host == endpoint.host for step in self.plan.steps):
            self._probe_too(endpoint, now)

    def stop(self, now: float) -> None:
        """The peer is met: nothing more is sent but answers."""
        if self.stopped_at is None:
            self.met, self.stopped_at = True, now
            self._quiet()

    def rest(self) -> None:
        """Another punch of the same peer goes on with steps of its own: of this one's, no more; its candidates are probed still."""
        self._cursors.clear()

    def events(self) -> list[PunchEvent]:
        """Drained."""
        events, self._events = self._events, []
        return events

    # --- time --------------------------------------------------------------------------------------------------------

    @property
    def ended_at(self) -> float:
        """When the punch is decided: it was stopped, or gave up."""
        return self.give_up if self.stopped_at is None else self.stopped_at

    @property
    def steps(self) -> list[Step]:
        """Those that have something left to send."""
        return [cursor.step for cursor in self._cursors]

    @property
    def heard_by(self) -> set[int]:
        """The own sockets by which the other end was heard."""
        return {endpoint.via for endpoint in (*self._heard, *self.answered)}

    @property
    def over_at(self) -> float:
        """When nothing is answered any more."""
        return self.ended_at + LINGER

    def deadline(self) -> float:
        """When ``due`` has something to say next; infinite once all is sent. It is asked for with every datagram of the node's."""
        if self._next is None:
            self._next = self._find_next()
        return self._next

    def _find_next(self) -> float:
        candidates = min((turn.at for turn in self._turns.values()), default=inf)
        steps = min((cursor.at for cursor in self._cursors), default=inf)
        return max(min(candidates, max(steps, self._paused)), self._not_before)

    def due(self, now: float, most: int = BURST) -> list[Burst]:
        """The probes that leave now, ``most`` of them at most; what is left is due at the next tick."""
        if now >= self.give_up:
            self._quiet()
        if now < self.deadline():
            return []
        self._next = None
        if not self._begun:
            self._begin(now)
        room = min(most, BURST, MAX_PROBES - self.packets)
        bursts: list[Burst] = []
        for turn in self._turns.values():
            if turn.at <= now and len(bursts) < room:
                turn.advance(now)
                bursts.append(self._probe(turn.endpoint, now))
        if now >= self._paused:
            self._steps(bursts, room, now)
        if self.packets >= MAX_PROBES:
            self._quiet()
        self._not_before = now + TICK
        return bursts

    # --- inside ------------------------------------------------------------------------------------------------------

    def _enlist(self, candidates: Sequence[Endpoint]) -> None:
        """The candidates' turns; framed TCP's come later where there is anything else."""
        first = self.start + self.plan.hold
        datagram = any(candidate.transport == UDP for candidate in candidates)
        for candidate in candidates[:MAX_CANDIDATES]:
            stream = candidate.transport == TCP
            late = stream and datagram
            offsets = STREAM_OFFSETS if late else OFFSETS[::3] if stream else OFFSETS
            self._turns[candidate] = _Turn(candidate, first + self.plan.streams if late else first, offsets)

    def _begin(self, now: float) -> None:
        """A process that was busy at the start holds its candidates back all the same: they are to come after the steps' first packets."""
        self._begun = True
        if self.plan.hold and self._cursors and now > self.start:
            for turn in self._turns.values():
                turn.postpone(self.start + self.plan.hold, now - self.start)

    def _steps(self, bursts: list[Burst], room: int, now: float) -> None:
        """What is due of the steps, the one that waits for longest first."""
        while len(bursts) < room:
            cursor = min(self._cursors, key=lambda one: one.at, default=None)
            if cursor is None or cursor.at > now:
                return
            step = cursor.step
            via, port = cursor.next()
            if cursor.at == inf:
                self._cursors.remove(cursor)
            if not port:
                continue
            endpoint = Endpoint(step.transport, step.host, port, via)
            if step.transport == TCP:
                self.packets += 1
                bursts.append(Burst(b"", 0, endpoint, True))
            else:
                bursts.append(self._probe(endpoint, now, step.ttl))

    def _probe(self, endpoint: Endpoint, now: float, ttl: int = 0) -> Burst:
        probe = self.key.probe(endpoint, len(self._sent), int(now * 1_000_000))
        self._sent.append(endpoint)
        self.packets += 1
        return _burst(probe, endpoint, ttl)

    def _hear(self, source: Endpoint, now: float) -> None:
        last = self._heard.get(source)
        if last is None and len(self._heard) >= MAX_WAYS:
            return
        if last is None or now - last >= HEARD_INTERVAL:
            self._heard[source] = now
            self._events.append(PathHeard(self.peer, source))
        if last is None and self.stopped_at is None:
            self._probe_too(source, now)
            if not self.answered:
                self._paused = now + PAUSE

    def _probe_too(self, endpoint: Endpoint, now: float) -> None:
        """A way by which the other end may be reached is probed as a candidate is, from now on."""
        turn = self._turns.get(endpoint)
        if endpoint not in self.answered and (turn is None or turn.at > now) and now < self.give_up:
            self._turns[endpoint] = _Turn(endpoint, now, OFFSETS)

    def _answer(self, probe: Probe, source: Endpoint, now: float) -> None:
        """It answers a probe of this end's: where it is from where that went, the way works; elsewhere the other end can be heard there."""
        if probe.number >= len(self._sent):
            return
        if self._sent[probe.number] != source:
            self._hear(source, now)
            return
        if source in self.answered or len(self.answered) >= MAX_WAYS:
            return
        rtt = min(max(0.0, now - probe.time / 1_000_000), now - self.start + MAX_DELAY)     # the peer could write anything
        self.answered[source] = rtt
        self._events.append(PathAnswered(self.peer, source, rtt))
        self._turns.pop(source, None)
        self._cursors.clear()

    def _quiet(self) -> None:
        self._next = None
        self._cursors.clear()
        self._turns.clear()


def sockets_of(plan: Plan) -> int:
    """New sockets that a plan wants, beside the measured ones."""
    return max((step.sockets for step in plan.steps if not step.fresh), default=0)


def cost(plan: Plan) -> int:
    """Packets of a plan's steps."""
    return sum(step.count * step.rounds * (1 if step.spread else max(1, step.sockets)) for step in plan.steps)


def _burst(data: bytes, endpoint: Endpoint, ttl: int = 0) -> Burst:
    return Burst(data, len(data), endpoint, False, ttl)
