"""Measurements for a mediator: fresh sockets are opened and seen by its vantage points, right before a punch that uses them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from math import inf

from userlan.control.meeting import Measure
from userlan.node.sockets import Sockets
from userlan.traversal.candidates import TargetBudget
from userlan.traversal.observation import TRANSACTION_SIZE, Request, Seal, is_reply, tag_of
from userlan.wire.burst import Burst
from userlan.wire.endpoint import TCP, Endpoint, unmapped
from userlan.wire.numbers import Buffer

MEASURED_FOR = 5.0
"""Seconds that measured sockets wait for the introduction that uses them: the mediator sends it a round trip later."""
MAX_MEASUREMENTS = 4
"""At once: a mediator serialises them anyway, and each has up to 64 sockets."""
HOST_RATE, HOST_BURST = 50.0, 1024.0
"""Requests a second, and at once, to one host: the mediator's name may point to somebody else, too."""
AGAIN = (0.0, 0.05, 0.15)
"""Seconds after the start at which what is not yet answered is sent; the later ones make no new mapping, so they cost no accuracy.
Connections repeat their SYNs by themselves: they are asked for once, the second half of them after the pause that the mediator wants."""


class _Measurement:
    """One. ``transactions`` are those of the requests that were not answered yet, in the order of the sockets."""

    __slots__ = ("_halves", "at", "left", "requests", "transport", "until", "vias")

    def __init__(
        self, vias: tuple[int, ...], requests: dict[bytes, tuple[Endpoint, bytes]], transport: str, pause: float, now: float
    ) -> None:
        self.vias = vias
        self.requests = requests
        self.transport = transport
        self.until = now + MEASURED_FOR
        self.left = list(AGAIN) if transport != TCP else [0.0, pause] if pause else [0.0]
        self.at = now
        self._halves = len(self.left) if transport == TCP else 1

    def turn(self) -> list[Endpoint]:
        """The targets of the connections that are opened now."""
        begun = self._halves - len(self.left)
        first, last = (len(self.vias) * number // self._halves for number in (begun - 1, begun))
        vias = self.vias[first:last]
        return [target for target, _ in self.requests.values() if target.via in vias]

    def deadline(self) -> float:
        return min(self.at + self.left[0] if self.left and self.requests else inf, self.until)


class Measuring:
    """All of a node's."""

    def __init__(self, entropy: Callable[[int], bytes], sockets: Sockets, counters: Counter[str]) -> None:
        self._entropy = entropy
        self._sockets = sockets
        self._counters = counters
        self._measurements: dict[bytes, _Measurement] = {}      # by token
        self._bursts: list[Burst] = []
        self._budget = TargetBudget(HOST_RATE, HOST_BURST)

    def measure(self, message: Measure, mediator: bytes, endpoints: Iterable[Endpoint], now: float) -> None:
        """Ask from fresh sockets. Only one vantage is asked by each, so that each makes one mapping."""
        own = {unmapped(endpoint.host) for endpoint in endpoints}
        vantage = next((one for one in message.vantages if one.transport == message.transport and one.host in own), None)
        if vantage is None or message.token in self._measurements or len(self._measurements) >= MAX_MEASUREMENTS:
            self._counters["measure-refused"] += 1
            return
        vias = self._sockets.take(message.sockets)
        seal, tag = Seal(mediator), tag_of(message.token)
        requests: dict[bytes, tuple[Endpoint, bytes]] = {}
        for index, via in enumerate(vias):
            transaction = self._entropy(TRANSACTION_SIZE)
            target = Endpoint(message.transport, vantage.host, vantage.port, via)
            requests[transaction] = target, seal.request(Request(tag, transaction, index))
        self._measurements[message.token] = _Measurement(vias, requests, message.transport, message.pause, now)

    def taken(self, token: bytes) -> tuple[int, ...]:
        """The sockets that were measured for an introduction, which has them from now on; none where it was not measured."""
        measurement = self._measurements.pop(token, None)
        return measurement.vias if measurement is not None else ()

    def owns(self, data: Buffer) -> bool:
        """Whether a datagram answers a measurement."""
        return is_reply(data) and any(_transaction(data) in one.requests for one in self._measurements.values())

    def receive(self, data: Buffer) -> None:
        """It is not asked again; what it says is for the mediator, which knows it already."""
        for measurement in self._measurements.values():
            measurement.requests.pop(_transaction(data), None)

    def opened(self, endpoint: Endpoint) -> None:
        """A measurement's TCP connection is there: the request goes by it."""
        for measurement in self._measurements.values():
            self._bursts += [_burst(request, target) for target, request in measurement.requests.values() if target == endpoint]

    @property
    def busy(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self._measurements or self._bursts)

    def due(self, now: float) -> list[Burst]:
        """What is to be sent now. Drained."""
        bursts, self._bursts = self._bursts, []
        for measurement in self._measurements.values():
            if not measurement.left or now < measurement.at + measurement.left[0]:
                continue
            if measurement.transport == TCP:
                measurement.left.pop(0)
                targets = measurement.turn()
            else:
                while measurement.left and now >= measurement.at + measurement.left[0]:
                    measurement.left.pop(0)
                targets = [target for target, _ in measurement.requests.values()]
            if not all(self._budget.allow(target.host, now) for target in targets):
                self._counters["measure-budget"] += 1
            elif measurement.transport != TCP:
                bursts += [_burst(request, target) for target, request in measurement.requests.values()]
            else:
                bursts += [Burst(b"", 0, target, True) for target in targets]
        return bursts

    def deadline(self) -> float:
        """When ``due`` or ``tick`` has something to do; infinite where never."""
        if self._bursts:
            return -inf
        return min(measurement.deadline() for measurement in self._measurements.values()) if self._measurements else inf

    def tick(self, now: float) -> None:
        """Close the sockets of measurements that nobody used."""
        for token, measurement in list(self._measurements.items()):
            if now >= measurement.until:
                del self._measurements[token]
                self._sockets.give_back(*measurement.vias)
                self._counters["measured-unused"] += 1


def _transaction(data: Buffer) -> bytes:
    """Of a reply (``userlan.traversal.observation``)."""
    return bytes(data[24:32])


def _burst(data: bytes, endpoint: Endpoint) -> Burst:
    return Burst(data, len(data), endpoint)
