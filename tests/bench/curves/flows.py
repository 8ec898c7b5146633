"""Bulk flows in the simulator: hosts of the real stack on a star of links, one of which is the bottleneck."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from tests.bench.curves.theory import jain
from tests.sim.lan import Lan, packed
from tests.sim.link import PERFECT, LinkProfile
from tests.sim.world import World
from userlan.stack.events import TcpAccepted, TcpEvent
from userlan.stack.tcp import Config, Connection

PORT = 80
SINK = "10.0.0.1"
CHUNK = bytes(65_536)
MTU_SEGMENT = 1368
"""Octets of a segment's data at the LAN's MTU of 1420: IPv4 20, TCP 20, timestamps 12."""


FORGOTTEN = 4
"""Losses after which slow start's last window no longer shows: CUBIC comes back to it for some."""


class Receiver:
    """One host that takes everything; octets by the sender's address."""

    def __init__(self, lan: Lan, down: LinkProfile, up: LinkProfile) -> None:
        self.octets: dict[bytes, int] = {}
        self.actor = lan.host(SINK, up=up, down=down)
        self.actor.handler = self._event
        self.actor.core.tcp_listen(PORT)

    def _event(self, event: object) -> None:
        if isinstance(event, TcpAccepted | TcpEvent):
            connection: Connection = event.connection
            address = connection.remote[0]
            while data := connection.receive():
                self.octets[address] = self.octets.get(address, 0) + len(data)


class Sender:
    """One host that sends without end from ``start`` (virtual seconds from now)."""

    def __init__(self, lan: Lan, number: int, algorithm: str, start: float, up: LinkProfile) -> None:
        self._world = lan.world
        self._algorithm = algorithm
        address = f"10.0.1.{number + 1}"
        self.address = packed(address)
        self.actor = lan.host(address, up=up)
        self.actor.handler = self._more
        self.connection: Connection | None = None
        self._world.clock.call_later(start, self._open)

    def _open(self) -> None:
        self.connection = self.actor.core.tcp_connect((packed(SINK), PORT), self._world.now, config=Config(congestion=self._algorithm))
        self._world.touch(self.actor)

    def _more(self, event: object) -> None:
        if isinstance(event, TcpEvent):
            while event.connection.send(CHUNK, self._world.now):
                pass


def response(algorithm: str, loss: float, rtt: float, segments: int, seed: int) -> float:
    """Segments a second that one flow gets through random loss on the data's way; measured once it has left slow start."""
    world = World(seed)
    lan = Lan(world, checksums=False)
    receiver = Receiver(lan, PERFECT, LinkProfile(delay=rtt / 2))
    sender = Sender(lan, 0, algorithm, 0.0, LinkProfile(delay=rtt / 2, loss=loss))

    def delivered() -> int:
        return receiver.octets.get(sender.address, 0) // MTU_SEGMENT

    world.run_until(lambda: sender.actor.up.counters["lost"] >= FORGOTTEN, 6_000)
    world.run(20 * rtt)
    first, begin = delivered(), world.now
    world.run_until(lambda: delivered() - first >= segments, 36_000)
    return (delivered() - first) / (world.now - begin)


class Sharing(NamedTuple):
    """Flows over one bottleneck, a figure a window of time. Rates in bits a second, delays in seconds."""

    window: float
    rates: list[list[float]]
    """For each flow."""
    delays: list[float]
    """The queue's, sampled ten times a window."""

    def evenness(self, number: int) -> float:
        """Jain's index in one window."""
        return jain([flow[number] for flow in self.rates])

    def late(self) -> range:
        """The windows of the second half."""
        return range(len(self.rates[0]) // 2, len(self.rates[0]))

    def fairness(self) -> float:
        """Jain's index of what each flow got in the second half."""
        return jain([sum(flow[number] for number in self.late()) for flow in self.rates])

    def use(self, rate: float) -> float:
        """The share of the link that carried data in the second half."""
        return statistics.fmean(sum(flow[number] for flow in self.rates) for number in self.late()) / rate

    def late_delays(self) -> list[float]:
        """The queue's delays in the second half."""
        return self.delays[len(self.delays) // 2 :]


def share(
    algorithms: Sequence[str], starts: Sequence[float], rate: float, rtt: float, queue: float, seconds: float, seed: int,
    window: float = 1.0,
) -> Sharing:
    """Flows of these congestion controls, started at these times, over a link of ``rate`` bits a second and ``queue`` seconds of queue."""
    world = World(seed)
    lan = Lan(world, checksums=False)
    # a hair of jitter on the way to the bottleneck: packets of two flows never arrive in lockstep, as they do not in reality
    near, far = LinkProfile(delay=rtt / 4, jitter=0.0002), LinkProfile(delay=rtt / 2)
    receiver = Receiver(lan, LinkProfile(delay=rtt / 4, rate=rate, queue=int(queue * rate / 8)), far)
    senders = [
        Sender(lan, number, algorithm, start, near) for number, (algorithm, start) in enumerate(zip(algorithms, starts, strict=True))
    ]
    rates: list[list[float]] = [[] for _ in senders]
    delays, counted = [], [0] * len(senders)
    for _ in range(round(seconds / window)):
        for _ in range(10):
            world.run(window / 10)
            delays.append(receiver.actor.down.queued)
        for number, sender in enumerate(senders):
            now = receiver.octets.get(sender.address, 0)
            rates[number].append((now - counted[number]) * 8 / window)
            counted[number] = now
    return Sharing(window, rates, delays)


def convergence(sharing: Sharing, start: float, wanted: float = 0.9, steady: int = 3) -> float | None:
    """Seconds after ``start`` until Jain's index is at ``wanted`` for ``steady`` windows in a row; None where it never is."""
    first = round(start / sharing.window)
    good = 0
    for number in range(first, len(sharing.rates[0])):
        good = good + 1 if sharing.evenness(number) >= wanted else 0
        if good == steady:
            return (number - steady + 1 - first) * sharing.window
    return None
