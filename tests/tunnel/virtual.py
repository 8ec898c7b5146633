"""Devices on a simulated network in virtual time: delays, losses and reordering are seeded."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence

from userlan.tunnel.device import Device
from userlan.tunnel.endpoint import Burst
from userlan.tunnel.events import SessionEstablished, TunnelEvent
from userlan.wire.endpoint import Endpoint
from userlan.wire.superpacket import SuperPacket
from userlan.wire.udp import Datagram, build, parse_datagram

WALL = 1_700_000_000.0
ADDRESS_A = bytes((25, 1, 0, 1))
ADDRESS_B = bytes((25, 1, 0, 2))


def entropy(seed: object) -> Callable[[int], bytes]:
    return random.Random(str(seed)).randbytes


def device(seed: object, now: float = 0.0, **options: object) -> Device:
    """A device with a key and an entropy of its own."""
    source = entropy(seed)
    return Device(source(32), entropy=source, now=now, wall_offset=WALL, **options)  # type: ignore[arg-type]


def packet(payload: bytes, segment_size: int = 0) -> SuperPacket:
    """A UDP datagram on the LAN; its addresses do not matter to the tunnel."""
    return build(Datagram(7, 7, payload, segment_size), ADDRESS_A, ADDRESS_B)


def cut_up(burst: Burst) -> list[bytes]:
    """The single datagrams of a burst."""
    data = bytes(burst.data)
    return [data[start : start + burst.segment] for start in range(0, len(data), burst.segment)]


class Side:
    """A device at an endpoint, with what came out of it."""

    def __init__(self, device: Device, endpoint: Endpoint) -> None:
        self.device = device
        self.endpoint = endpoint
        self.received: list[bytes] = []
        self.events: list[TunnelEvent] = []
        self.established = 0

    def collect(self) -> None:
        for event in self.device.events():
            self.events.append(event)
            self.established += isinstance(event, SessionEstablished)


class Network:
    """Two or more sides. `delay(datagram)` says how long one takes, None loses it; by default 10 ms."""

    def __init__(self, *sides: Side, delay: Callable[[bytes], float | None] = lambda datagram: 0.01) -> None:
        self.now = 0.0
        self.sides = sides
        self.delay = delay
        self.sent: list[tuple[float, Endpoint, bytes]] = []
        self._flight: list[tuple[float, int, Endpoint, Endpoint, bytes]] = []
        self._count = 0

    def flush(self) -> None:
        """Put what the devices want to send on the way, and collect their events."""
        for side in self.sides:
            for burst in side.device.datagrams(self.now):
                for datagram in cut_up(burst):
                    self.sent.append((self.now, burst.endpoint, datagram))
                    delay = self.delay(datagram)
                    if delay is not None:
                        self.inject(datagram, side.endpoint, burst.endpoint, self.now + delay)
            side.collect()

    def inject(self, datagram: bytes, source: Endpoint, destination: Endpoint, arrival: float) -> None:
        self._count += 1
        heapq.heappush(self._flight, (arrival, self._count, source, destination, datagram))

    def run(self, until: float) -> None:
        """Let everything happen up to and including that time."""
        while True:
            self.flush()
            times = [due for side in self.sides if (due := side.device.deadline()) is not None]
            if self._flight:
                times.append(self._flight[0][0])
            moment = min(times, default=until + 1)
            if moment > until:
                self.now = until
                return
            self.now = max(self.now, moment)
            self._arrivals()
            for side in self.sides:
                side.device.tick(self.now)

    def _arrivals(self) -> None:
        while self._flight and self._flight[0][0] <= self.now:
            _, _, source, destination, datagram = heapq.heappop(self._flight)
            for side in self.sides:
                if side.endpoint == destination:
                    for inbound in side.device.receive(datagram, 0, source, self.now):
                        side.received += [bytes(parse_datagram(one).payload) for one in inbound.packets]


def endpoint(number: int, port: int = 41414) -> Endpoint:
    return Endpoint("udp", f"192.0.2.{number}", port)


def pair(
    seed: object = 1,
    *,
    keys_a: Sequence[bytes] = (),
    keys_b: Sequence[bytes] = (),
    delay: Callable[[bytes], float | None] = lambda datagram: 0.01,
    aes: tuple[bool, bool] = (False, False),
) -> tuple[Side, Side, Network]:
    """Two sides that know each other; A knows where B is, B does not know where A is. aes: which of them take it."""
    a, b = Side(device((seed, "a"), aes=aes[0]), endpoint(1)), Side(device((seed, "b"), aes=aes[1]), endpoint(2))
    a.device.add_peer(b.device.public_key, preshared_keys=keys_a, endpoint=b.endpoint)
    b.device.add_peer(a.device.public_key, preshared_keys=keys_b)
    return a, b, Network(a, b, delay=delay)


def send(network: Network, source: Side, destination: Side, payload: bytes) -> None:
    source.device.send(destination.device.public_key, packet(payload), network.now)
    network.flush()


def connected(seed: object = 1, aes: tuple[bool, bool] = (False, False)) -> tuple[Side, Side, Network]:
    """Two sides with a session, confirmed both ways, 1 s after the start. Neither has said what it takes."""
    a, b, network = pair(seed, aes=aes)
    send(network, a, b, b"first")
    network.run(1.0)
    assert b.received == [b"first"]
    b.received.clear()
    return a, b, network
