"""All punches of a node, and the measurements before them, within what a node lets itself be used for.

::

    Measure ──▶ measure ── requests from fresh sockets ──▶ the mediator's vantages
                               │ (kept for MEASURED_FOR)
    Introduce ──▶ introduce ── Punch ── probes ──▶ the peer        heard, answered ──▶ events ──▶ the peer table: initiations, knocks
                               └─ sockets: those of paths are kept, the others dismissed

The mediator decides what is sent where; it is hostile until proven. So, whatever it says:

- a target is a host which the peer's candidates name and the rules of ``traversal.candidates`` allow; more than ``FEW_PORTS`` ports are
  tried only of one at which the peer is observed or has a mapped port, and by one punch at a time;
- every target host has a budget over all punches, and all of them together have a rate;
- a peer is punched only so often, and a token once; sockets, punches and measurements are counted;
- measurements go to the mediator's own hosts.

What a peer sends is answered only with a MAC by the token's key, once, by the way it came, and with no more octets.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf
from typing import NamedTuple

from msgspec.structs import replace

from userlan.control.meeting import Introduce, Measure
from userlan.node.measuring import Measuring
from userlan.node.sockets import Sockets
from userlan.traversal.candidates import TargetBudget
from userlan.traversal.probe import attempt_of, is_probe
from userlan.traversal.punch import BURST, TICK, PathAnswered, PathHeard, Punch, cost, sockets_of
from userlan.traversal.step import Plan, Step
from userlan.wire.burst import Burst
from userlan.wire.endpoint import TCP, Endpoint
from userlan.wire.numbers import Buffer

TARGET_RATE = 50.0
"""Probes a second to one host over all punches in the long run: a birthday a minute."""
TARGET_BURST = 3072.0
"""Probes to one host that may leave beyond that rate: a birthday's 2,048, and the candidates of many members behind one address."""
TOTAL_RATE = 3000.0
"""Probes a second to all together, 2.2 Mbit/s with headers: a birthday's both halves at full speed."""
TOTAL_BURST = 512.0
"""Probes that may leave beyond that rate: 40 members with four addresses each are met at one moment."""
MAX_PUNCHES = 256
"""Punches at once, lingering ones included: a member that comes into a network of 200 is introduced to all of them in a second."""
MAX_A_PEER = 3
"""Punches of one peer at once: two mediators introduce the same pair, and one of them again since an address changed."""
PEER_RATE, PEER_BURST = 0.5, 6.0
"""Introductions to one peer a second, and at once: mediators leave two seconds between them."""
MAX_TOKENS = 512
"""Tokens that are remembered so that none is used twice."""
FEW_PORTS = 16
"""Ports of a host that may be tried by any step; more is searching."""
FEW_PACKETS = 1024
"""Packets to so few ports by one step: 256 sockets, four rounds."""
FEW_CONNECTIONS = 64
"""TCP connection attempts of one plan: each is a kernel's socket."""
MAX_KEPT = 256
"""Sockets beside the main one that are part of paths."""


class PunchEnded(NamedTuple):
    """A punch is over: ``met`` where it was stopped because the peer is met. ``seconds`` from the common start, ``packets`` sent."""

    peer: bytes
    token: bytes
    technique: str
    packets: int
    seconds: float
    met: bool


PunchingEvent = PathHeard | PathAnswered | PunchEnded


class Punching:
    """Of one node. ``entropy(n)`` gives n random octets; times are monotonic seconds. ``counters`` says what was refused, and why."""

    def __init__(self, public_key: bytes, entropy: Callable[[int], bytes], sockets: Sockets) -> None:
        self.counters: Counter[str] = Counter()
        self._public_key = public_key
        self._entropy = entropy
        self._sockets = sockets
        self._measuring = Measuring(entropy, sockets, self.counters)
        self._budget = TargetBudget(TARGET_RATE, TARGET_BURST)
        self._introductions = TargetBudget(PEER_RATE, PEER_BURST)
        self._tokens: OrderedDict[bytes, None] = OrderedDict()
        self._punches: dict[bytes, Punch] = {}          # by the attempt that probes name
        self._ended: set[bytes] = set()
        self._kept: dict[Endpoint, None] = {}
        self._bursts: list[Burst] = []
        self._events: list[PunchingEvent] = []
        self._room = TOTAL_BURST
        self._room_at = -inf

    # --- what the mediator says ----------------------------------------------------------------------------------------

    def measure(self, message: Measure, mediator: bytes, endpoints: Iterable[Endpoint], now: float) -> None:
        """Open fresh sockets and have them seen. ``endpoints``: where the mediator with that key is reached."""
        self._measuring.measure(message, mediator, endpoints, now)

    def introduce(self, message: Introduce, usable: Sequence[Endpoint], now: float) -> bool:
        """Punch towards a peer of the roster. ``usable``: its candidates that may be sent to. False where that is refused."""
        if message.token in self._tokens:
            self.counters["introduction-repeated"] += 1
            return False
        if not self._introductions.allow(message.peer.hex(), now):
            self.counters["introduction-too-soon"] += 1
            return False
        self._tokens[message.token] = None
        if len(self._tokens) > MAX_TOKENS:
            self._tokens.popitem(last=False)
        self._make_room(message.peer, now)
        fresh = self._measuring.taken(message.token)
        plan = self._permitted(message, usable)
        new = self._sockets.take(sockets_of(plan)) if sockets_of(plan) else ()
        unheard = {(one.host, one.port) for one in message.candidates if one.transport == TCP and one.kind == "observed"}
        candidates = [one for one in usable if one.transport != TCP or one[1:3] not in unheard]     # nothing listens there: for steps only
        punch = Punch(
            message.peer, message.token, int(self._public_key > message.peer), candidates, plan,
            now=now, entropy=self._entropy, delay=message.delay, fresh=fresh, new=new,
        )  # fmt: skip
        self._punches[punch.key.attempt] = punch
        return True

    def stop(self, peer: bytes, now: float) -> None:
        """The peer is met."""
        for punch in self._of(peer):
            punch.stop(now)
            self._end(punch, now)

    # --- datagrams -----------------------------------------------------------------------------------------------------

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram is a probe of one of these punches, or an answer to one of these measurements."""
        return (is_probe(data) and attempt_of(data) in self._punches) or self._measuring.owns(data)

    def receive(self, data: Buffer, source: Endpoint, now: float) -> None:
        """One datagram came from ``source``, by own socket ``source.via``."""
        if self._measuring.owns(data):
            self._measuring.receive(data)
            return
        punch = self._punches.get(attempt_of(data)) if is_probe(data) else None
        probe = punch.key.open(data) if punch is not None else None
        if punch is None or probe is None:
            self.counters["probe-not-authentic" if punch is not None else "probe-unknown"] += 1
            return
        answer = punch.receive(probe, source, now)
        if answer is not None and self._budget.allow(source.host, now):     # sources can be forged, by a peer too
            self._bursts.append(answer)
        self._events += punch.events()

    def datagrams(self, now: float) -> list[Burst]:
        """What is due. Drained."""
        if not self._punches and not self._bursts and not self._measuring.busy:
            return []
        bursts, self._bursts = self._bursts, []
        bursts += self._measuring.due(now)
        room = self._refill(now)
        for punch in self._punches.values():
            if room < 1.0:
                break
            if punch.deadline() > now:
                continue
            due = punch.due(now, min(BURST, int(room)))
            room -= len(due)
            for burst in due:
                if self._budget.allow(burst.endpoint.host, now):
                    bursts.append(burst)
                else:
                    self.counters["probe-budget"] += 1
        self._room = room
        return bursts

    def way_opened(self, endpoint: Endpoint, now: float) -> None:
        """A framed TCP connection is there."""
        self._measuring.opened(endpoint)
        for punch in self._punches.values():
            punch.opened(endpoint, now)

    def allowed(self, endpoint: Endpoint, now: float) -> bool:
        """Whether one packet more may go where a probe came from: it is of the same budget."""
        return self._budget.allow(endpoint.host, now)

    # --- sockets -------------------------------------------------------------------------------------------------------

    def keep(self, endpoint: Endpoint) -> None:
        """An endpoint is a path: its socket stays open."""
        if endpoint.via and len(self._kept) < MAX_KEPT:
            self._kept[endpoint] = None

    def release(self, endpoint: Endpoint) -> None:
        """It is none any more."""
        if endpoint in self._kept:
            del self._kept[endpoint]
            if not any(endpoint.via in punch.vias for punch in self._punches.values()):
                self._dismiss((endpoint.via,))

    # --- time and results ----------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When ``tick`` or ``datagrams`` has something to do."""
        nearest = self._measuring.deadline()
        if self._bursts:
            return -inf
        if not self._punches:
            return nearest if nearest < inf else None
        paced = -inf if self._room >= 1.0 else self._room_at + TICK
        for attempt, punch in self._punches.items():
            ends = punch.over_at if attempt in self._ended else punch.ended_at
            nearest = min(nearest, max(punch.deadline(), paced), ends)
        return nearest if nearest < inf else None

    def tick(self, now: float) -> None:
        """End what is over."""
        self._measuring.tick(now)
        for attempt, punch in list(self._punches.items()):
            if now >= punch.ended_at:
                self._end(punch, now)
            if now >= punch.over_at:
                self._forget(attempt)

    def events(self) -> list[PunchingEvent]:
        """Drained."""
        events, self._events = self._events, []
        return events

    # --- inside --------------------------------------------------------------------------------------------------------

    def _of(self, peer: bytes) -> list[Punch]:
        return [punch for attempt, punch in self._punches.items() if punch.peer == peer and attempt not in self._ended]

    def _make_room(self, peer: bytes, now: float) -> None:
        """The oldest gives way: of the peer's own, then of all."""
        own = [attempt for attempt, punch in self._punches.items() if punch.peer == peer]
        for attempt in own[: max(0, len(own) + 1 - MAX_A_PEER)]:
            self._end(self._punches[attempt], now)
            self._forget(attempt)
        while len(self._punches) >= MAX_PUNCHES:
            attempt = next(iter(self._ended), None) or next(iter(self._punches))
            self.counters["punches-crowded-out"] += 1
            self._end(self._punches[attempt], now)
            self._forget(attempt)

    def _permitted(self, message: Introduce, usable: Sequence[Endpoint]) -> Plan:
        """The plan without the steps that this node does not let itself be used for."""
        named = {endpoint.host for endpoint in usable}
        seen = {candidate.host for candidate in message.candidates if candidate.kind in ("observed", "mapped")} & named
        if any(searches(step) for step in message.plan.steps):
            for punch in self._of(message.peer):        # this one takes its place
                punch.rest()
        searched = {step.host for punch in self._punches.values() for step in punch.steps if searches(step)}
        steps: tuple[Step, ...] = ()
        for step in message.plan.steps:
            if self._step_permitted(step, named, seen, searched, sum(connections(one) for one in steps)):
                steps += (step,)
        plan = message.plan if steps == message.plan.steps else replace(message.plan, steps=steps)
        if sockets_of(plan) > self._sockets.room:
            self.counters["step-without-sockets"] += 1
            plan = replace(plan, steps=tuple(step for step in plan.steps if step.fresh or not step.sockets))
        return plan

    def _step_permitted(
        self, step: Step, named: Collection[str], seen: Collection[str], searched: Collection[str], connecting: int
    ) -> bool:
        if step.host not in named:
            self.counters["step-elsewhere"] += 1
        elif searches(step) and step.host not in seen:
            self.counters["step-not-observed"] += 1
        elif searches(step) and step.host in searched:
            self.counters["step-target-busy"] += 1
        elif connecting + connections(step) > FEW_CONNECTIONS:
            self.counters["step-connections"] += 1
        else:
            return True
        return False

    def _refill(self, now: float) -> float:
        """The probes that may leave now."""
        if self._room_at > -inf:
            self._room = min(TOTAL_BURST, self._room + max(0.0, now - self._room_at) * TOTAL_RATE)
        self._room_at = now
        return self._room

    def _end(self, punch: Punch, now: float) -> None:
        """Tell how it ended, once; the sockets by which nothing was heard are closed."""
        attempt = punch.key.attempt
        if attempt in self._ended:
            return
        self._ended.add(attempt)
        self._events += punch.events()
        seconds = max(0.0, now - punch.start)
        self._events.append(PunchEnded(punch.peer, punch.token, punch.plan.technique, punch.packets, seconds, punch.met))
        self._dismiss(punch.vias - punch.heard_by)

    def _forget(self, attempt: bytes) -> None:
        punch = self._punches.pop(attempt)
        self._ended.discard(attempt)
        self._dismiss(punch.vias)

    def _dismiss(self, vias: Iterable[int]) -> None:
        kept = {endpoint.via for endpoint in self._kept}
        self._sockets.give_back(*(via for via in vias if via not in kept))


def connections(step: Step) -> int:
    """TCP connection attempts of a step."""
    return step.count * max(1, step.sockets) if step.transport == TCP else 0


def searches(step: Step) -> bool:
    """Whether a step goes through so many ports of a host that it could be taken for a scan."""
    return step.scattered or step.count > FEW_PORTS or cost(Plan(steps=(step,))) > FEW_PACKETS
