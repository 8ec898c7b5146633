"""Where a node is seen beside its session with a mediator: the other family's endpoint, and the proof of it.

A session has one family, and a mediator names a member only where it saw it itself. So the other family's vantage of the same mediator is
asked from the main socket, and what it answered is carried back over the session, which is authenticated::

    node ── session over IPv4 ─────────────────── Vantages(proofs) ──┐
      ├──── question, main socket, IPv6 ───▶ the mediator's vantage  │
      ◀──── reply: where it is seen, with a cookie for that endpoint ┘
      └──── session over IPv4 ── Sighted(endpoint, cookie) ──▶ the mediator names both endpoints to peers

Why the cookie travels by the session, and not a session's tag in the question: a question is not encrypted, so that whoever hears a tag
could send it from elsewhere; and the mediator keeps nothing until it is proved.

It is asked at once when the mediator says that it takes proofs, when the network changed, and when the mediator sees this node elsewhere;
then again every ``RENEW`` seconds over IPv6 (the proof grows old), every ``HOLD`` over IPv4 (the NAT's mapping, too).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from userlan.control.meeting import Proof, ServerEndpoint, Sighted
from userlan.traversal.asking import Asking, Point, Question
from userlan.traversal.candidates import TargetBudget
from userlan.wire.burst import Burst
from userlan.wire.endpoint import UDP, Endpoint
from userlan.wire.numbers import Buffer

RENEW: Final = 300.0
"""Seconds between two questions over IPv6: a proof is good for ten minutes at least (``COOKIE_PERIODS``)."""
HOLD: Final = 25.0
"""Seconds between two over IPv4: NATs forget a UDP mapping after 30 s at the earliest that is met (RFC 4787 4.3 asks for 120)."""
RETRY: Final = 60.0
"""Seconds after a question that nobody answered; the next endpoint has its turn then."""
CHANGED: Final = 0.2
"""Seconds after a change of the network: addresses come one by one."""
VERSIONS: Final = (4, 6)
MAX_POINTS: Final = 4
"""Endpoints of one family of one mediator that have their turns."""
RATE, BURST = 0.1, 4.0
"""Questions a second, and at once, by one family for one mediator: it says whom to ask and when, so it gets five small packets in ten
seconds out of a node, and no more."""


@dataclass(slots=True)
class _Watch:
    """One family of one mediator. ``points`` are the endpoints that can be asked, the next one first."""

    points: list[Point]
    due: float = inf
    asked: bool = False
    seen: Endpoint | None = None
    cookie: bytes = b""
    proved_at: float = -inf
    told_at: float = -inf


class Sightings:
    """Of one node. ``entropy(n)`` gives n random octets; times are monotonic seconds."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._asking = Asking(entropy)
        self._budget = TargetBudget(RATE, BURST)
        self._watches: dict[bytes, dict[int, _Watch]] = {}
        self._sessions: dict[bytes, Endpoint | None] = {}
        self._families: frozenset[int] = frozenset()
        self._say: dict[bytes, None] = {}
        self._told: dict[bytes, bool] = {}
        """Whether a mediator was told of anything, which it would have to be told is no more."""

    # --- what the node tells it ----------------------------------------------------------------------------------------

    def own_hosts(self, hosts: Iterable[str]) -> None:
        """This computer's addresses: a family of which it has none is not asked."""
        self._families = frozenset(6 if ":" in host else 4 for host in hosts)

    def greeted(self, mediator: bytes, points: Iterable[Point], session: Endpoint | None, now: float) -> None:
        """A mediator takes proofs. ``points``: where its vantages can be asked; ``session``: the endpoint at which it is reached."""
        before, watches = self._watches.get(mediator, {}), dict[int, _Watch]()
        for version in VERSIONS:
            asked = [one for one in points if one.endpoint.transport == UDP and _version(one.endpoint) == version][:MAX_POINTS]
            if version in before and set(before[version].points) == set(asked):
                watches[version] = before[version]
            elif asked:
                watches[version] = _Watch(asked)
        self._watches[mediator] = watches
        self._told.pop(mediator, None)
        self._say.pop(mediator, None)
        self.moved(mediator, session, now)

    def forget(self, mediator: bytes) -> None:
        """It is reached no longer."""
        for of_mediator in (self._watches, self._sessions, self._told, self._say):
            of_mediator.pop(mediator, None)

    def moved(self, mediator: bytes, session: Endpoint | None, now: float) -> None:
        """The session goes by ``session``, and the mediator sees it anew: what it knew beside that is no more. It is told what was
        proved a moment ago, so that nobody is introduced twice; and asked at once, since it may be another process."""
        self._sessions[mediator] = session
        for watch in self._watches.get(mediator, {}).values():
            watch.due, watch.told_at = now, -inf
            if watch.seen is not None and now - watch.proved_at < RENEW:
                self._say[mediator] = None
        self.tick(now)

    def network_changed(self, now: float) -> None:
        """Other addresses: what was seen is not so any more, and the mediators are told at once."""
        for mediator, watches in self._watches.items():
            for watch in watches.values():
                watch.due, watch.seen, watch.asked = now + CHANGED, None, False
            if self._told.get(mediator):
                self._say[mediator] = None
        self._asking = Asking(self._entropy)

    def hosts(self, mediator: bytes) -> tuple[str, ...]:
        """Where this mediator sees the node beside its session."""
        watches = self._watches.get(mediator, {})
        return tuple(watch.seen.host for watch in watches.values() if watch.seen is not None)

    # --- what the driver feeds -----------------------------------------------------------------------------------------

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram answers a question of this part."""
        return self._asking.is_own(data)

    def receive(self, data: Buffer, source: Endpoint, now: float) -> None:
        """One datagram that ``owns`` said yes to."""
        question = self._asking.receive(data, source, now)
        watch = self._of(question) if question is not None else None
        if question is None or watch is None or question.reply is None:
            return
        version = _version(question.point.endpoint)
        watch.asked = False
        watch.due = now + (RENEW if version == 6 else HOLD)
        reply = question.reply
        seen = Endpoint(UDP, reply.host, reply.port)
        if _version(seen) == version and (seen != watch.seen or now - watch.told_at >= RENEW):
            watch.seen, watch.cookie, watch.proved_at, watch.told_at = seen, reply.cookie, now, now
            self._say[question.point.key] = None

    def datagrams(self) -> list[Burst]:
        """What is to be sent. Drained."""
        return self._asking.datagrams()

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        times = [watch.due for mediator in self._watches for watch in self._wanted(mediator) if not watch.asked]
        asked = self._asking.deadline()
        if asked is not None:
            times.append(asked)
        return min((time for time in times if time < inf), default=None)

    def tick(self, now: float) -> None:
        """Ask what is due."""
        self._asking.tick(now)
        for question in self._asking.ended():
            watch = self._of(question)
            if watch is not None:
                watch.asked, watch.due = False, now + RETRY
                watch.points.append(watch.points.pop(0))
                if watch.seen is not None:
                    watch.seen = None
                    self._say[question.point.key] = None
        for mediator in self._watches:
            for watch in self._wanted(mediator):
                if not watch.asked and watch.due <= now:
                    self._ask(watch, now)

    def messages(self, ready: Collection[bytes]) -> list[tuple[bytes, Sighted]]:
        """What is to be told to which mediator, of those that are ``ready``. Each is drained once."""
        told = []
        for mediator in [one for one in self._say if one in ready]:
            del self._say[mediator]
            seen = [watch for watch in self._wanted(mediator) if watch.seen is not None]
            if seen or self._told.get(mediator):
                self._told[mediator] = bool(seen)
                told.append((mediator, Sighted(tuple(_proof(watch) for watch in seen))))
        return told

    # --- inside --------------------------------------------------------------------------------------------------------

    def _wanted(self, mediator: bytes) -> Sequence[_Watch]:
        """The families that the session does not show by UDP already, and of which there is an own address."""
        session = self._sessions.get(mediator)
        shown = _version(session) if session is not None and session.transport == UDP else 0
        return [watch for version, watch in self._watches[mediator].items() if version != shown and version in self._families]

    def _ask(self, watch: _Watch, now: float) -> None:
        point = watch.points[0]
        if self._budget.allow(f"{point.key.hex()} {_version(point.endpoint)}", now):
            watch.asked, watch.due = True, inf
            self._asking.ask(Question(point, 0, "sight"), now)
        else:
            watch.due = now + 1 / RATE

    def _of(self, question: Question) -> _Watch | None:
        """Whose question it is, if the endpoint is still asked."""
        watch = self._watches.get(question.point.key, {}).get(_version(question.point.endpoint))
        return watch if watch is not None and question.point in watch.points else None


def _version(endpoint: Endpoint) -> int:
    return 6 if ":" in endpoint.host else 4


def _proof(watch: _Watch) -> Proof:
    assert watch.seen is not None
    return Proof(ServerEndpoint(watch.seen.host, watch.seen.port), watch.cookie)
