"""Questions to vantage points that are on their way: sent again until they are answered or given up (RFC 8489 6.2.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from userlan.traversal.observation import NO_COOKIE, TAG_SIZE, TRANSACTION_SIZE, Reply, Request, Seal, Wanted
from userlan.wire.burst import Burst
from userlan.wire.endpoint import TCP, Endpoint
from userlan.wire.numbers import Buffer

FIRST_INTERVAL: Final = 0.25
"""Seconds before a question is sent again, until a round trip was measured: nearly all are shorter."""
LEAST_INTERVAL: Final = 0.1
"""Seconds; below it a reply may still be under way however short the last round trip was."""
GROWTH: Final = 1.5
"""Each interval is so much longer than the one before."""
TRIES: Final = 5
"""Packets of one question: 30 % loss each way leaves one question in 30 unanswered; the last leaves after 2 s."""

MAX_QUESTIONS: Final = 256
"""Questions at once; whoever asks more is wrong, and is told so by an exception."""


class Point(NamedTuple):
    """One endpoint of a vantage, and its public key."""

    key: bytes
    endpoint: Endpoint


@dataclass(slots=True)
class Question:
    """One question by own socket ``via``. ``purpose`` is the asker's own word for it.

    ``tries`` and ``interval`` (0: from the round trips) bound it. ``opener``: before each packet of it another one goes from the same
    socket to that endpoint, dropped after ``ttl`` hops, whose answer is of no interest. ``hears``: the
    own socket that is answered, where it is another one.
    """

    point: Point
    via: int
    purpose: str
    index: int = 0
    wanted: Wanted = Wanted.SAME
    cookie: bytes = NO_COOKIE
    port: int = 0
    tries: int = TRIES
    interval: float = 0.0
    opener: Point | None = None
    ttl: int = 0
    hears: int = -1
    transaction: bytes = b""
    order: int = 0
    first_at: float = 0.0
    sent: int = 0
    next_at: float = 0.0
    reply: Reply | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Where it goes, by which own socket."""
        return self.point.endpoint._replace(via=self.via)


class Asking:
    """All questions of one asker. ``tag`` goes with each. Times are monotonic seconds; ``round_trip`` is the least one seen, 0: none."""

    def __init__(self, entropy: Callable[[int], bytes], tag: bytes = b"") -> None:
        self.round_trip = 0.0
        self.tag = tag or entropy(TAG_SIZE)
        self._entropy = entropy
        self._asked = 0
        self._seals: dict[bytes, Seal] = {}
        self.first_sent: dict[tuple[str, int, str, int], float] = {}
        """Transport, own socket, far address and port → when the first packet left."""
        self._open: dict[bytes, Question] = {}
        self._waiting: set[Endpoint] = set()
        """Framed TCP connections that are asked for and not open yet."""
        self._ways: set[Endpoint] = set()
        self._out: list[Burst] = []
        self._ended: list[Question] = []

    def __len__(self) -> int:
        return len(self._open)

    def questions(self) -> Iterable[Question]:
        """Those that are open."""
        return self._open.values()

    def ask(self, question: Question, now: float, delay: float = 0.0) -> None:
        """Send a question, ``delay`` seconds from now. Over framed TCP the connection is asked for first, and is given the tries' time."""
        if len(self._open) >= MAX_QUESTIONS:
            raise ValueError(f"more than {MAX_QUESTIONS} questions at once")
        question.transaction = self._entropy(TRANSACTION_SIZE)
        question.next_at = now + delay
        question.order = self._asked = self._asked + 1
        self._open[question.transaction] = question
        if delay <= 0.0:
            self._send(question, now)

    def hairpin(self, point: Point, via: int, target: Endpoint, transaction: bytes, now: float) -> None:
        """Send a sealed request to an own outside endpoint: it is known again by its transaction."""
        datagram = self._seal(point.key).request(Request(self.tag, transaction))
        self._put(datagram, target._replace(via=via), now)

    def receive(self, data: Buffer, source: Endpoint, now: float) -> Question | None:
        """The question that a datagram answers; None where it answers none that is open."""
        transaction = bytes(data[24:32])        # of a reply (``observation``); nothing is believed before the MAC is checked
        question = self._open.get(transaction)
        if question is None or source.via != (question.via if question.hears < 0 else question.hears):
            return None
        question.reply = self._seal(question.point.key).read_reply(data)
        if question.reply is None:
            return None
        if question.sent == 1:      # of a packet that was sent once only (RFC 6298 3)
            taken = now - question.first_at
            self.round_trip = min(self.round_trip or taken, taken)
        del self._open[transaction]
        return question

    def is_own(self, data: Buffer) -> bool:
        """Whether a datagram answers one of these questions, by its transaction."""
        return bytes(data[24:32]) in self._open

    def way_opened(self, endpoint: Endpoint, now: float) -> None:
        """A framed TCP connection is there: what waits for it is asked."""
        if endpoint in self._waiting:
            self._waiting.discard(endpoint)
            self._ways.add(endpoint)
            for question in list(self._open.values()):
                if question.endpoint == endpoint:
                    question.first_at, question.sent = now, 0
                    self._send(question, now)

    def way_lost(self, endpoint: Endpoint) -> None:
        """It ended."""
        self._ways.discard(endpoint)

    def opened(self, endpoint: Endpoint) -> bool:
        """Whether a framed TCP connection is there."""
        return endpoint in self._ways

    def drop(self) -> None:
        """Give up everything, silently."""
        self._open.clear()
        self._waiting.clear()

    def ended(self) -> list[Question]:
        """The questions that were given up. Drained."""
        ended, self._ended = self._ended, []
        return ended

    def datagrams(self) -> list[Burst]:
        """What is to be sent. Drained."""
        out, self._out = self._out, []
        return out

    @property
    def pending(self) -> bool:
        """Whether ``datagrams`` has something."""
        return bool(self._out)

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        return min((question.next_at for question in self._open.values()), default=None)

    def tick(self, now: float) -> None:
        """Send again, or give up, what is due."""
        for question in list(self._open.values()):
            if question.next_at > now:
                continue
            if question.sent >= question.tries:
                del self._open[question.transaction]
                self._waiting.discard(question.endpoint)
                self._ended.append(question)
            else:
                self._send(question, now)

    # ------------------------------------------------------------------ inside

    def _send(self, question: Question, now: float) -> None:
        if not question.sent:
            question.first_at = now
        usual = max(LEAST_INTERVAL, 2 * self.round_trip) if self.round_trip else FIRST_INTERVAL
        question.next_at = now + (question.interval or usual * GROWTH**question.sent)
        question.sent += 1
        endpoint = question.endpoint
        if endpoint.transport == TCP and endpoint not in self._ways:
            if endpoint not in self._waiting:
                self._waiting.add(endpoint)
                self._out.append(Burst(b"", 0, endpoint, True))
            return
        seal = self._seal(question.point.key)
        if question.opener is not None:
            opening = self._seal(question.opener.key).request(Request(self.tag, self._entropy(TRANSACTION_SIZE)))
            self._put(opening, question.opener.endpoint._replace(via=question.via), now, question.ttl)
        datagram = seal.request(
            Request(self.tag, question.transaction, question.index, question.wanted, question.cookie, question.port)
        )
        self._put(datagram, endpoint, now)

    def _put(self, datagram: bytes, endpoint: Endpoint, now: float, ttl: int = 0) -> None:
        self.first_sent.setdefault((endpoint.transport, endpoint.via, endpoint.host, endpoint.port), now)
        self._out.append(Burst(datagram, len(datagram), endpoint, False, ttl))

    def _seal(self, key: bytes) -> Seal:
        seal = self._seals.get(key)
        if seal is None:
            seal = self._seals[key] = Seal(key)
        return seal
