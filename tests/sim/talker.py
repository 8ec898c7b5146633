"""A core for tests of the network itself: it says what it is told to and remembers what it heard."""

from __future__ import annotations

from typing import NamedTuple

from userlan.wire.endpoint import Endpoint


class Burst(NamedTuple):
    data: bytes
    segment: int
    endpoint: Endpoint
    ttl: int = 0


class Talker:
    """A core that remembers what it got and sends what it was told to; ``mark``: the first byte of what it owns."""

    def __init__(self, mark: bytes = b"", repeat_every: float = 0.0) -> None:
        self.mark = mark
        self.got: list[tuple[bytes, int, Endpoint, float]] = []
        self.outgoing: list[Burst] = []
        self.period = repeat_every
        self.ticks: list[float] = []
        self.opened: dict[tuple[str, int], int] = {}
        self.ways: list[tuple[str, Endpoint]] = []
        self.to_dismiss: list[int] = []
        self._next: float | None = 1000.0 + repeat_every if repeat_every else None

    def say(self, data: bytes, endpoint: Endpoint, segment: int = 0, ttl: int = 0) -> None:
        self.outgoing.append(Burst(data, segment or len(data), endpoint, ttl))

    def texts(self) -> list[bytes]:
        return [entry[0] for entry in self.got]

    def sources(self) -> list[Endpoint]:
        return [entry[2] for entry in self.got]

    def owns(self, data: bytes) -> bool:
        return data.startswith(self.mark)

    def receive(self, data: bytes, segment: int, source: Endpoint, now: float) -> None:
        self.got.append((data, segment, source, now))

    def datagrams(self, now: float) -> list[Burst]:
        outgoing, self.outgoing = self.outgoing, []
        return outgoing

    def events(self) -> list[object]:
        return []

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        self.opened[transport, via] = port

    def dismissed(self) -> list[int]:
        dismissed, self.to_dismiss = self.to_dismiss, []
        return dismissed

    def way_opened(self, endpoint: Endpoint) -> None:
        self.ways.append(("opened", endpoint))

    def way_lost(self, endpoint: Endpoint) -> None:
        self.ways.append(("lost", endpoint))

    def deadline(self) -> float | None:
        return self._next

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        self._next = now + self.period


def udp(host: str, port: int = 41414, via: int = 0) -> Endpoint:
    return Endpoint("udp", host, port, via)


def tcp(host: str, port: int = 41414, via: int = 0) -> Endpoint:
    return Endpoint("tcp", host, port, via)
