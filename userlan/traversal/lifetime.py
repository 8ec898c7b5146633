"""How long a mapping lives without packets, learnt over hours (RFC 4787 4.3, RFC 5780 4.6).

A socket that is used for nothing else is seen by a vantage, stays silent for a while, and then **another** socket asks the vantage to
answer the first one (with the first one's cookie): nothing leaves by the mapping that is asked about, so that nothing refreshes it, and a
NAT that would give the same port once more is not taken for one that kept it::

    idle  ── request ──▶ vantage      control: other ── "answer idle" ──▶ vantage ── reply ──▶ idle        the method works here
    idle  ── request ──▶ vantage      3 s later: the mapping's time begins
          …  pause  …
    other ── "answer idle" ──▶ vantage ── reply ──▶ idle ?          it lives still; or, twice not: it is dead

The pauses double from ``FIRST_PAUSE`` while it lives, then halve the interval between what lived and what died. The main socket takes no
part. A vantage that is far away or lossy makes a mapping look shorter than it is, never longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

from userlan.traversal.asking import Asking, Point, Question
from userlan.wire.burst import Burst
from userlan.wire.endpoint import Endpoint
from userlan.wire.numbers import Buffer

FIRST_PAUSE: Final = 25.0
"""Seconds: below the 30 s that are the least seen in home gateways (Hätönen et al. 2010)."""
LONGEST_PAUSE: Final = 300.0
"""Seconds; what lives longer needs no fewer keepalives (RFC 4787 REQ-5 asks for 120 s or more)."""
RESOLUTION: Final = 1.15
"""The search ends when what died is no more than so many times what lived."""
BETWEEN: Final = 180.0
"""Seconds between two trials: all of them take an hour or two, and some hundred datagrams."""
STEADY: Final = 3.0
"""Seconds before a mapping's time begins: some NATs take one for a stream only after a while, and let it live longer then (Linux after 2 s,
from 30 s to 120 s: ``nf_conntrack_udp_timeout_stream``), as those of paths are."""
TRIES, INTERVAL = 3, 0.5
"""Packets, and seconds between them, after which silence counts: 10 % loss each way make it wrong once in 150, twice in a row never."""
UNANSWERED: Final = 1800.0
"""Seconds until the next trial where the vantage did not answer, or answering another socket does not work here."""

LEAST_KEEPALIVE, MOST_KEEPALIVE = 5.0, 25.0
"""Seconds between keepalives: as often as liveness asks for anyway, and as seldom as holds a mapping of RFC 4787's first minute (also
WireGuard's own persistent keepalive)."""


class Numbers(Protocol):
    """Where numbers of sockets are had (``userlan.node.sockets``)."""

    def take(self, count: int = 1) -> tuple[int, ...]: ...
    def give_back(self, *numbers: int) -> None: ...


class Stage(Enum):
    """Where a trial stands."""

    RESTING = "resting"
    SEEN = "seen"
    CONTROL = "control"
    STEADY = "steady"
    RESET = "reset"
    SILENT = "silent"
    ASKED = "asked"


class Lifetime:
    """The search. ``lower``: seconds for which a mapping was seen to live, 0: unknown; ``upper``: after which it was dead."""

    def __init__(self, sockets: Numbers, entropy: Callable[[int], bytes], now: float) -> None:
        self.lower = 0.0
        self.upper = math.inf
        self.stage = Stage.RESTING
        self._sockets = sockets
        self._asking = Asking(entropy)
        self._point: Point | None = None
        self._numbers: tuple[int, ...] = ()
        self._pause = FIRST_PAUSE
        self._doubted = False
        self._idle: Question | None = None
        self._at = now + BETWEEN

    @property
    def keepalive(self) -> float:
        """Seconds between keepalives that hold a mapping for sure: half of what it lived for."""
        return min(MOST_KEEPALIVE, max(LEAST_KEEPALIVE, self.lower / 2))

    @property
    def settled(self) -> bool:
        """Whether there is nothing more to learn here."""
        return self.lower >= LONGEST_PAUSE or self.upper <= max(self.lower, LEAST_KEEPALIVE) * RESOLUTION

    def use(self, point: Point | None) -> None:
        """The vantage to be asked over UDP from the next trial on; None: none is at hand."""
        self._point = point

    def network_changed(self, now: float) -> None:
        """It is another NAT, most likely: all anew."""
        self._finish(now, BETWEEN)
        self.lower, self.upper, self._pause, self._doubted = 0.0, math.inf, FIRST_PAUSE, False

    def known(self, lower: float) -> None:
        """What was learnt behind this NAT earlier: the search goes on from there."""
        self.lower = max(self.lower, min(lower, LONGEST_PAUSE))
        self._pause = self._next_pause()

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram answers a question of this search."""
        return self._asking.is_own(data)

    def receive(self, data: Buffer, source: Endpoint, now: float) -> None:
        """One datagram that ``owns`` said yes to."""
        question = self._asking.receive(data, source, now)
        if question is None:
            return
        match self.stage:
            case Stage.SEEN:
                self._idle = question
                self._stand(Stage.CONTROL)
                self._answer_idle(now)
            case Stage.CONTROL:
                self._stand(Stage.STEADY)
                self._at = now + STEADY
            case Stage.RESET:
                self._idle = question
                self._stand(Stage.SILENT)
                self._at = question.first_at + self._pause
            case Stage.ASKED:
                self._lived(now)

    def datagrams(self) -> list[Burst]:
        """What is to be sent. Drained."""
        return self._asking.datagrams()

    def deadline(self) -> float | None:
        """When ``tick`` has something to do."""
        if self.stage in (Stage.RESTING, Stage.STEADY, Stage.SILENT):
            return None if self._point is None or (self.stage is Stage.RESTING and self.settled) else self._at
        return self._asking.deadline()

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.stage is Stage.RESTING:
            if self._at <= now and self._point is not None and not self.settled:
                self._begin(now)
            return
        if self.stage in (Stage.STEADY, Stage.SILENT):
            if self._at <= now and self.stage is Stage.STEADY:
                self._stand(Stage.RESET)
                self._ask_idle(now)
            elif self._at <= now:
                self._stand(Stage.ASKED)
                self._answer_idle(now)
            return
        self._asking.tick(now)
        if self._asking.ended():
            if self.stage is Stage.ASKED:
                self._silence(now)
            else:
                self._finish(now, UNANSWERED)

    # ------------------------------------------------------------------ inside

    def _begin(self, now: float) -> None:
        self._numbers = self._sockets.take(2)
        if not self._numbers:
            self._at = now + BETWEEN
            return
        self._stand(Stage.SEEN)
        self._ask_idle(now)

    def _ask_idle(self, now: float) -> None:
        assert self._point is not None
        self._asking.ask(Question(self._point, self._numbers[0], "idle"), now)

    def _answer_idle(self, now: float) -> None:
        """The other socket asks that the idle one is answered."""
        idle = self._idle
        assert idle is not None
        assert idle.reply is not None
        question = Question(
            idle.point,
            self._numbers[1],
            "other",
            cookie=idle.reply.cookie,
            port=idle.reply.port,
            tries=TRIES,
            interval=INTERVAL,
            hears=self._numbers[0],
        )
        self._asking.ask(question, now)

    def _lived(self, now: float) -> None:
        self.lower = max(self.lower, self._pause)
        self.upper = max(self.upper, self.lower)
        self._doubted = False
        self._finish(now, BETWEEN)

    def _silence(self, now: float) -> None:
        """Once may be loss: the same pause again, before it is believed."""
        if self._doubted:
            self.upper = min(self.upper, self._pause)
        self._doubted = not self._doubted
        pause = self._pause
        self._finish(now, BETWEEN)
        if self._doubted:
            self._pause = pause

    def _finish(self, now: float, wait: float) -> None:
        self._asking.drop()
        self._sockets.give_back(*self._numbers)
        self._numbers = ()
        self._idle = None
        self._at = now + wait
        self._pause = self._next_pause()
        self._stand(Stage.RESTING)

    def _next_pause(self) -> float:
        if math.isinf(self.upper):
            return min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self.lower))
        return math.sqrt(max(self.lower, LEAST_KEEPALIVE) * self.upper)

    def _stand(self, stage: Stage) -> None:
        self.stage = stage
