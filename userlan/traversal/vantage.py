"""A vantage point: tells whoever asks from where he is seen, by several sockets of its own, and through other hosts.

It keeps nothing about those who ask but a budget for each source address: a cookie is a keyed hash of the endpoint that it was sent to
and of the time, so that it can be checked without being remembered (as WireGuard's and DTLS's, RFC 9147 5.1)::

    node ── request ──────────────────────▶ vantage, socket 0       seen at 198.51.100.7:41414
         ◀────────────────────── reply ────  with a cookie for that endpoint
         ── request, cookie, other port ──▶
         ◀────────────────────── reply ──── socket 1                 comes through only where the NAT's filter lets it
         ── request, cookie, other host ──▶ ── reflection ──▶ a relay
         ◀──────────────────────────────────────── reply ────        comes through only where the NAT filters nothing
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from userlan.traversal.candidates import TargetBudget
from userlan.traversal.kinds import OBSERVE_REQUEST
from userlan.traversal.observation import COOKIE_SIZE, OTHER_HOST, REQUEST_SIZE, Reply, Request, Seal, Wanted
from userlan.wire.burst import Burst
from userlan.wire.endpoint import UDP, Endpoint, unmapped
from userlan.wire.numbers import Buffer

MAX_SOCKETS: Final = OTHER_HOST - 1
"""Numbers of own sockets that a reply can name in its one octet."""

RATE, BURST = 64.0, 512.0
"""Requests a second, and at once, of one source address: a netcheck sends 60 in its second, and a school's computers come all at once."""
MAX_SOURCES: Final = 16_384
"""Source addresses that have asked in the last second or so: all members of a mediator that has just restarted."""

COOKIE_PERIOD: Final = 300.0
COOKIE_PERIODS: Final = 3
"""Seconds, and how many such periods a cookie is good for: a mapping's lifetime is tested with one of ten minutes ago."""

MAX_OBSERVATIONS: Final = 16_384
"""Observations that wait to be drained: 256 measurements of 64 sockets; the oldest are dropped beyond it."""

_SECRET_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class Observation:
    """A request with ``tag`` from the asker's socket ``index`` came from ``endpoint`` (``via``: to that own socket) at time ``at``."""

    tag: bytes
    index: int
    endpoint: Endpoint
    at: float


class Reflection(NamedTuple):
    """A reply that another host shall send to ``target``."""

    target: Endpoint
    datagram: bytes


class Local(NamedTuple):
    """One of the vantage's own sockets. ``host`` may be a wildcard."""

    via: int
    host: str
    port: int


class Vantage:
    """Answers requests. ``entropy(n)`` gives n random octets; times are monotonic seconds.

    ``counters`` says what was answered, and what was not and why.
    """

    def __init__(self, public_key: bytes, entropy: Callable[[int], bytes]) -> None:
        self.counters: Counter[str] = Counter()
        self.reflecting = False
        """Whether other hosts are at hand that send ``reflections``; whoever carries them out sets it."""
        self._seal = Seal(public_key)
        self._secret = entropy(_SECRET_SIZE)
        self._budget = TargetBudget(RATE, BURST, MAX_SOURCES)
        self._sockets: dict[tuple[int, bool], Local] = {}
        """By number and family (True: IPv6): both may have a socket of one number."""
        self._observations: list[Observation] = []
        self._reflections: list[Reflection] = []

    def listening(self, via: int, host: str, port: int) -> None:
        """Socket ``via`` (0: the main one) is bound to a numeric ``host`` and ``port``: answers can leave by it."""
        if 0 <= via <= MAX_SOCKETS:
            self._sockets[via, ":" in host] = Local(via, host, port)

    @property
    def hosts(self) -> frozenset[str]:
        """The addresses that are listened on, without wildcards."""
        return frozenset(local.host for local in self._sockets.values() if not _wildcard(local.host))

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram is a request by its kind and length; whether it is a genuine one is seen when it is received."""
        return len(data) == REQUEST_SIZE and bytes(data[:4]) == OBSERVE_REQUEST

    def proves(self, cookie: bytes, endpoint: Endpoint, now: float) -> bool:
        """Whether this vantage sent ``cookie`` to ``endpoint`` within the last ``COOKIE_PERIODS``: who knows it can be reached there."""
        return self._cookie_is(cookie, endpoint, now)

    def receive(self, data: Buffer, source: Endpoint, now: float) -> list[Burst]:
        """One datagram came from ``source`` by own socket ``source.via``; what is answered at once."""
        request = self._seal.read_request(data)
        if request is None:
            self.counters["observe-not-genuine"] += 1
            return []
        seen = source._replace(host=unmapped(source.host))
        if not self._budget.allow(seen.host, now):
            self.counters["observe-limited"] += 1
            return []
        if request.wanted is Wanted.SAME and not request.port:
            self._observed(Observation(request.tag, request.index, seen, now))
        return self._answer(request, source, seen, now)

    def observations(self) -> list[Observation]:
        """What was seen since, in order. Drained."""
        observations, self._observations = self._observations, []
        return observations

    def reflections(self) -> list[Reflection]:
        """Replies for other hosts to send. Drained."""
        reflections, self._reflections = self._reflections, []
        return reflections

    # ------------------------------------------------------------------ inside

    def _observed(self, observation: Observation) -> None:
        if len(self._observations) >= MAX_OBSERVATIONS:
            self.counters["observations-dropped"] += 1
            del self._observations[: MAX_OBSERVATIONS // 2]
        self._observations.append(observation)

    def _answer(self, request: Request, source: Endpoint, seen: Endpoint, now: float) -> list[Burst]:
        elsewhere = request.wanted is not Wanted.SAME or request.port
        target, reached = (source, seen) if not request.port else (source._replace(port=request.port), seen._replace(port=request.port))
        if elsewhere and (seen.transport != UDP or not self._cookie_is(request.cookie, reached, now)):
            self.counters["observe-cookie-wrong"] += 1
            return []
        via = self._answering(request.wanted, source)
        if via is None:
            if request.wanted is Wanted.OTHER_HOST and self.reflecting:
                self.counters["observe-reflected"] += 1
                self._reflections.append(Reflection(reached._replace(via=0), self._reply(request, reached, OTHER_HOST, now)))
            return []
        self.counters["observe-answered"] += 1
        reply = self._reply(request, reached, via, now)
        return [Burst(reply, len(reply), target._replace(via=via))]

    def _reply(self, request: Request, reached: Endpoint, source: int, now: float) -> bytes:
        cookie = self._cookie(reached, int(now // COOKIE_PERIOD))
        return self._seal.reply(Reply(request.transaction, reached.host, reached.port, cookie, source))

    def _answering(self, wanted: Wanted, source: Endpoint) -> int | None:
        """The own socket that answers a request which came by ``source.via``; None where there is none such."""
        if wanted is Wanted.SAME:
            return source.via
        family = ":" in source.host
        here = self._sockets.get((source.via, family))
        for (via, other), local in self._sockets.items():
            if here is None or other != family:
                continue
            same_host = local.host == here.host
            if wanted is Wanted.OTHER_PORT and same_host and local.port != here.port:
                return via
            if wanted is Wanted.OTHER_HOST and not (same_host or _wildcard(local.host) or _wildcard(here.host)):
                return via
        return None

    def _cookie(self, endpoint: Endpoint, period: int) -> bytes:
        what = f"{endpoint.transport} {endpoint.host} {endpoint.port} {period}".encode()
        return hashlib.blake2s(what, digest_size=COOKIE_SIZE, key=self._secret).digest()

    def _cookie_is(self, cookie: bytes, endpoint: Endpoint, now: float) -> bool:
        current = int(now // COOKIE_PERIOD)
        return any(hmac.compare_digest(self._cookie(endpoint, current - age), cookie) for age in range(COOKIE_PERIODS))


def _wildcard(host: str) -> bool:
    return ipaddress.ip_address(host).is_unspecified
