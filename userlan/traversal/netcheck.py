"""Measures what the NAT does, within a second or so: the machine that asks and listens; ``classify`` draws the conclusions.

::

    round trip 1    the main socket and a fresh one ask up to four endpoints each, three fresh ones ask the first;  TCP likewise
                    └── enough for mapping and allocation: ``sufficient``
    round trip 2    filter: a fresh socket that has sent to one endpoint only wants answers from the other port, and from another host
                    depth:  another one first lets a packet out that dies behind the first router, then wants an answer from where it went
                    hairpin: two sockets send to each other's outside endpoint
    0.4 s           two fresh sockets ask once more: what others took meanwhile
    then            early:  where the filter refused the other port, the filter's socket asks there itself

A question that stays without answer is asked again (``asking``), three times where silence is an answer too, if a plain question after
them is answered in the time that they had: who is slow just then has not refused. All is over after ``LONGEST``;
where somebody answers, but takes so long that the tests' silences are no answers by then (a satellite's link, a crowded one), after
``SLOW_LONGEST``. What is still open then was not told: ``cut``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from userlan.traversal.asking import Asking, Point, Question
from userlan.traversal.candidates import is_private, usable
from userlan.traversal.classify import Classification, classify
from userlan.traversal.evidence import Asked, Evidence, Sighting
from userlan.traversal.kinds import OBSERVE_REQUEST
from userlan.traversal.observation import REQUEST_SIZE, TRANSACTION_SIZE, Wanted
from userlan.wire.burst import Burst
from userlan.wire.endpoint import TCP, UDP, Endpoint
from userlan.wire.numbers import Buffer

LONGEST: Final = 3.0
"""Seconds after which it ends whatever is open still, unless the tests go on."""
SLOW_LONGEST: Final = 12.0
"""The same where they do: what three silences and the questions before them take at a round trip of 0.8 s."""
LATE: Final = 0.4
"""Seconds after which two sockets more are seen: others' 48 mappings a second (the least that a busy NAT has) are 19 by then."""
SILENT_TRIES: Final = 3
"""Packets after which silence counts as refusal: 10 % loss each way make it wrong once in 150."""
MAX_DOUBTED: Final = 2
"""Times that a silence is not believed, and asked anew with more patience."""
HAIRPIN_INTERVAL: Final = 0.15
"""Seconds; the way to the own router and back is short."""
FIRST_ROUTER_ONLY: Final = 2
"""Hops: the first router lowers it to 1 and sends the packet on, the next one drops it (RFC 1812 5.3.1)."""
LOOKED_AT: Final = 4
"""Endpoints that one socket asks."""

ASKED_ELSEWHERE: Final = 2
"""Times that another host is asked before the first answer goes without it."""
ENOUGH_SOCKETS: Final = 4
"""Sockets that must have been seen before the first answer is given, where not all are answered."""

FILTERS: Final = frozenset(("other-port", "other-host", "other-port6", "other-host6"))
"""Purposes of the questions to which silence is an answer."""
TESTS: Final = frozenset(("cookie", "control", "early", "depth-cookie", "shallow", "deep", *FILTERS))
"""Purposes of the questions on which filter, depth and early packets turn."""

UDP_SOCKETS: Final = 9
TCP_SOCKETS: Final = 3
SOCKETS: Final = UDP_SOCKETS + TCP_SOCKETS
"""Fresh numbers that one netcheck needs."""


class Seen(NamedTuple):
    """What the node knows by itself: its own addresses, local port of a socket, and whether a link passes by TCP."""

    own_hosts: frozenset[str]
    port: Callable[[int, str], int]
    over_tcp: bool = False


class Netcheck:
    """One measurement; it ends by itself: ``done``.

    ``points`` are the vantages' endpoints, the preferred vantage's first; ``others`` are the keys of those vantages that can have another
    host answer; ``sockets`` are ``SOCKETS`` fresh numbers.
    """

    def __init__(
        self,
        points: Sequence[Point],
        others: frozenset[bytes],
        sockets: Sequence[int],
        known: Seen,
        entropy: Callable[[int], bytes],
        now: float,
    ) -> None:
        self.done = False
        self.cut = False        # whether it ended before its tests, or these could not decide
        self._known = known
        self._others = others
        self._entropy = entropy
        self._asking = Asking(entropy)
        self._began = now
        self._evidence = Evidence(own_hosts=known.own_hosts, over_tcp=known.over_tcp)
        self._looks: dict[str, set[Endpoint]] = {}
        self._answered: dict[str, set[Endpoint]] = {}
        self._told = False
        self._controls: dict[bytes, tuple[Question, float]] = {}
        """By the control's transaction: what kept silent, and the seconds that it had."""
        self._doubted: dict[str, int] = {}
        self._undecided = False
        self._hairpins: dict[bytes, Endpoint] = {}
        self._hairpin_tries = 0
        self._hairpin_at = 0.0
        udp4, udp6 = _spread(points, UDP, 4), _spread(points, UDP, 6)
        self._udp4, self._udp6, self._tcp4 = udp4, udp6, _spread(points, TCP, 4)
        *self._fresh, self._late, self._later, self._filter, self._depth, self._filter6 = sockets[:UDP_SOCKETS]
        self._tcp = tuple(sockets[UDP_SOCKETS:SOCKETS])
        self._start(now)

    # ------------------------------------------------------------------ what is known

    @property
    def sufficient(self) -> bool:
        """Whether mapping and allocation can be told (or that nothing answers): punching need not wait for the rest.

        Another host's answer is waited for, until it has been asked twice in vain: without it an address-dependent mapping looks as if
        it were endpoint-independent, and thousands of packets would be sent for nothing."""
        seen = {(one.via, one.target) for one in self._evidence.sightings if one.transport == UDP}
        several = any((self._fresh[0], point.endpoint[1:3]) in seen for point in self._udp4[1:2])
        looks = [question for question in self._asking.questions() if question.purpose == "look"]
        hosts = {host for _, (host, _) in seen}
        elsewhere = any(
            question.sent <= ASKED_ELSEWHERE and question.point.endpoint.host not in hosts and ":" not in question.point.endpoint.host
            for question in looks
        )
        return self.done or not looks or (several and not elsewhere and len({via for via, _ in seen}) >= ENOUGH_SOCKETS)

    def evidence(self) -> Evidence:
        """What was seen until now."""
        seen = self._evidence
        seen.sent = self._asking.first_sent
        waiting = {question.point.endpoint for question in self._asking.questions() if question.purpose in ("look", "tcp")}
        counts = {}
        for name, asked in self._looks.items():
            answered = self._answered.get(name, set())
            counts[name] = Asked(len(asked - (waiting - answered)), len(answered))      # who may still answer has not kept silent
        seen.udp, seen.udp6, seen.tcp = counts.get("udp4", Asked()), counts.get("udp6", Asked()), counts.get("tcp4", Asked())
        return seen

    def result(self) -> Classification:
        """What follows from it."""
        return classify(self.evidence())

    # ------------------------------------------------------------------ what the owner feeds

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram answers a question of this netcheck, or is one that came back to its sender."""
        if len(data) == REQUEST_SIZE and bytes(data[:4]) == OBSERVE_REQUEST:
            return bytes(data[16:24]) in self._hairpins
        return self._asking.is_own(data)

    def receive(self, data: Buffer, source: Endpoint, now: float) -> None:
        """One datagram that ``owns`` said yes to."""
        if bytes(data[:4]) == OBSERVE_REQUEST:
            if self._hairpins.get(bytes(data[16:24])) is not None:
                self._evidence.hairpin = True
                self._hairpin_tries = SILENT_TRIES + 1
            return
        question = self._asking.receive(data, source, now)
        if question is not None:
            self._answer(question, now)
        self._ending(now)

    def way_opened(self, endpoint: Endpoint, now: float) -> None:
        """A framed TCP connection is established."""
        self._asking.way_opened(endpoint, now)

    def way_lost(self, endpoint: Endpoint) -> None:
        """It has ended."""
        self._asking.way_lost(endpoint)

    def datagrams(self, now: float) -> list[Burst]:
        """What is to be sent. Drained."""
        return self._asking.datagrams()

    def deadline(self) -> float | None:
        """When ``tick`` has something to do; None once it is done."""
        if self.done:
            return None
        times = [self._began + self._longest]
        asked = self._asking.deadline()
        if asked is not None:
            times.append(asked)
        if 0 < self._hairpin_tries <= SILENT_TRIES:
            times.append(self._hairpin_at)
        return min(times)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.done:
            return
        self._asking.tick(now)
        for question in self._asking.ended():
            self._unanswered(question, now)
        if 0 < self._hairpin_tries <= SILENT_TRIES and self._hairpin_at <= now:
            self._hairpin(now)
        self._ending(now)

    # ------------------------------------------------------------------ the questions

    def _start(self, now: float) -> None:
        if self._udp4:
            first = self._udp4[0]
            for via in (0, self._fresh[0]):
                for point in self._udp4[:LOOKED_AT]:
                    self._look("udp4", point, via, now)
            for via in self._fresh[1:]:
                self._look("udp4", first, via, now)
            for via, delay in ((self._late, LATE), (self._later, LATE)):
                self._asking.ask(Question(first, via, "late"), now, delay)
            self._asking.ask(Question(first, self._filter, "cookie"), now)
            if self._beside(first) is not None:
                self._asking.ask(Question(first, self._depth, "depth-cookie"), now)
        if self._udp6:
            self._look("udp6", self._udp6[0], 0, now)
            self._asking.ask(Question(self._udp6[0], self._filter6, "cookie6"), now)
        for number, via in enumerate(self._tcp):
            for point in self._tcp4[: LOOKED_AT if number == 0 else 1]:
                self._looks.setdefault("tcp4", set()).add(point.endpoint)
                self._asking.ask(Question(point, via, "tcp", interval=LONGEST / 3, tries=2), now)

    def _look(self, name: str, point: Point, via: int, now: float) -> None:
        self._looks.setdefault(name, set()).add(point.endpoint)
        self._asking.ask(Question(point, via, "look"), now)

    def _answer(self, question: Question, now: float) -> None:
        match question.purpose:
            case "look" | "late" | "tcp":
                self._sighted(question)
                if question.purpose == "look" and self._hairpin_tries == 0:
                    self._hairpin(now)
            case "cookie" | "cookie6":
                self._sighted(question)
                self._test_filter(question, now)
            case "depth-cookie":
                self._sighted(question)
                self._test_depth(question, FIRST_ROUTER_ONLY, now)
            case "other-port" | "other-host" | "other-port6" | "other-host6":
                setattr(self._evidence, question.purpose.replace("-", "_"), True)
            case "control":
                self._controlled(question, now)
            case "early":
                self._compare(question)
            case "shallow":
                self._evidence.shallow = True
            case "deep":
                self._evidence.shallow = False

    def _unanswered(self, question: Question, now: float) -> None:
        match question.purpose:
            case "other-port" | "other-host" | "other-port6" | "other-host6":
                control = Question(question.point, question.via, "control")
                self._asking.ask(control, now)
                self._controls[control.transaction] = question, now - question.first_at
            case "control" | "cookie" | "early":
                self._undecided = bool(self._evidence.sightings)
            case "shallow":
                self._test_depth(question, 0, now)

    def _controlled(self, control: Question, now: float) -> None:
        """A plain question was answered after a silence: in the time that the silent one had?"""
        silent, patience = self._controls.pop(control.transaction)
        taken = now - control.first_at
        word = silent.purpose
        if taken > patience and self._doubted.get(word, 0) < MAX_DOUBTED:
            self._doubted[word] = self._doubted.get(word, 0) + 1
            again = Question(
                silent.point, silent.via, word, wanted=silent.wanted, cookie=silent.cookie, tries=SILENT_TRIES, interval=2 * taken
            )
            self._asking.ask(again, now)
            return
        if taken > patience:
            self._undecided = True
            return
        setattr(self._evidence, word.replace("-", "_"), False)
        beside = self._beside(silent.point)
        if word == "other-port" and beside is not None:
            self._asking.ask(Question(beside, silent.via, "early"), now)

    def _sighted(self, question: Question) -> None:
        reply, target = question.reply, question.point.endpoint
        if reply is None:
            return
        name = f"{target.transport}{6 if ':' in target.host else 4}"
        self._answered.setdefault(name, set()).add(target)
        inside = self._known.port(question.via, target.transport)
        where, seen = (target.host, target.port), (reply.host, reply.port)
        sighting = Sighting(target.transport, question.via, inside, where, seen, question.first_at, question.order)
        self._evidence.sightings.append(sighting)

    def _test_filter(self, asked: Question, now: float) -> None:
        """Want answers from where this socket has sent nothing to."""
        assert asked.reply is not None
        suffix = "6" if asked.purpose == "cookie6" else ""
        wanted = []
        if asked.point.key in self._others:
            wanted.append(("other-host", Wanted.OTHER_HOST))
        if self._beside(asked.point) is not None:
            wanted.append(("other-port", Wanted.OTHER_PORT))
        for word, kind in wanted:
            question = Question(asked.point, asked.via, word + suffix, wanted=kind, cookie=asked.reply.cookie, tries=SILENT_TRIES)
            self._asking.ask(question, now)

    def _test_depth(self, asked: Question, ttl: int, now: float) -> None:
        """Let a packet out to the other port, which dies after ``ttl`` hops (0: none), and want an answer from there."""
        cookie = asked.reply.cookie if asked.reply is not None else asked.cookie
        word = "shallow" if ttl else "deep"
        opener = self._beside(asked.point)
        if opener is not None:
            question = Question(
                asked.point, asked.via, word, wanted=Wanted.OTHER_PORT, cookie=cookie, tries=SILENT_TRIES, opener=opener, ttl=ttl
            )
            self._asking.ask(question, now)

    def _hairpin(self, now: float) -> None:
        """Two sockets send to each other's outside endpoint, once both are known and neither is the inside one."""
        seen = {one.via: one.seen for one in reversed(self._evidence.of(UDP))}
        main, fresh = seen.get(0), seen.get(self._fresh[0])
        if main is None or fresh is None or main[0] in self._known.own_hosts or not all(map(self._outside, (main, fresh))):
            return
        self._hairpin_tries += 1
        self._hairpin_at = now + HAIRPIN_INTERVAL
        if self._hairpin_tries > SILENT_TRIES:
            self._evidence.hairpin = bool(self._evidence.hairpin)
            return
        for via, target in ((0, fresh), (self._fresh[0], main)):
            transaction = self._entropy(TRANSACTION_SIZE)
            endpoint = Endpoint(UDP, *target)
            self._hairpins[transaction] = endpoint
            self._asking.hairpin(self._udp4[0], via, endpoint, transaction, now)

    def _outside(self, seen: tuple[str, int]) -> bool:
        """Whether an own outside endpoint, as a vantage says, may be sent to: a vantage of the Internet's knows of no private one."""
        vantage = self._udp4[0].endpoint.host
        near = is_private(vantage)
        return usable(Endpoint(UDP, *seen), vantage, near)

    def _compare(self, asked: Question) -> None:
        """Whether the filter's socket still has the mapping that it had before the other port's packets came."""
        before = next((one.seen for one in self._evidence.of(UDP) if one.via == asked.via), None)
        if asked.reply is not None and before is not None:
            self._evidence.moved = (asked.reply.host, asked.reply.port) != before

    def _beside(self, point: Point) -> Point | None:
        """Another port of the same vantage at the same address."""
        family = self._udp6 if ":" in point.endpoint.host else self._udp4
        for other in family:
            if other.key == point.key and other.endpoint.host == point.endpoint.host and other.endpoint != point.endpoint:
                return other
        return None

    def _ending(self, now: float) -> None:
        waiting = 0 < self._hairpin_tries <= SILENT_TRIES
        if (not len(self._asking) and not waiting) or now >= self._began + self._longest:
            self.done, self.cut = True, self._undecided or any(question.purpose in TESTS for question in self._asking.questions())
            self._asking.drop()

    @property
    def _longest(self) -> float:
        """Seconds that it takes at most."""
        testing = any(question.purpose in TESTS for question in self._asking.questions())
        return SLOW_LONGEST if testing and self._evidence.sightings else LONGEST


def _spread(points: Sequence[Point], transport: str, version: int) -> tuple[Point, ...]:
    """The endpoints of one transport and family in the order in which they are asked: the first, its other ports, then other addresses."""
    usable = [
        point
        for point in dict.fromkeys(points)
        if point.endpoint.transport == transport and (":" in point.endpoint.host) == (version == 6)
    ]
    if not usable:
        return ()
    first = next((one for one in usable if sum(one.endpoint.host == other.endpoint.host for other in usable) > 1), usable[0])
    same = [one for one in usable if one.key == first.key and one.endpoint.host == first.endpoint.host and one != first]
    elsewhere: dict[str, Point] = {}
    for one in usable:
        if one.endpoint.host != first.endpoint.host:
            elsewhere.setdefault(one.endpoint.host, one)
    rest = [one for one in usable if one not in (first, *same[:1], *elsewhere.values())]
    return (first, *same[:1], *elsewhere.values(), *rest)
