"""Protocols that note what happens to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types


class Notes(Protocol):
    """Keeps what it gets."""

    transport: Any

    def __init__(self) -> None:
        self.data = bytearray()
        self.sizes: list[int] = []
        self.made = 0
        self.lost: Any = None

    def connectionMade(self) -> None:
        self.made += 1

    def dataReceived(self, data: bytes) -> None:
        assert type(data) is bytes
        self.data += data
        self.sizes.append(len(data))

    def connectionLost(self, reason: Any = None) -> None:
        assert self.lost is None, "connectionLost came twice"
        self.lost = reason


@implementer(IHalfCloseableProtocol)
class HalfNotes(Notes):
    """The same, and each half has an end of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.halves: list[str] = []

    def readConnectionLost(self) -> None:
        self.halves.append("read")

    def writeConnectionLost(self) -> None:
        self.halves.append("write")


class Made(Factory):
    """Makes protocols and keeps them."""

    noisy = False

    def __init__(self, make: Callable[[], Any] = Notes) -> None:
        self.make = make
        self.made: list[Any] = []
        self.started = self.stopped = 0

    def startFactory(self) -> None:
        self.started += 1

    def stopFactory(self) -> None:
        self.stopped += 1

    def buildProtocol(self, addr: Any) -> Any:
        protocol = self.make()
        self.made.append(protocol)
        return protocol


@implementer(IPushProducer)
class Pushing:
    """Writes pieces whenever it may; each ``step`` writes one."""

    def __init__(self, transport: Any, piece: bytes) -> None:
        self.transport = transport
        self.piece = piece
        self.paused = False
        self.stopped = False
        self.calls: deque[str] = deque(maxlen=1000)
        self.written = 0

    def fill(self) -> None:
        """Write until paused."""
        while not self.paused and not self.stopped:
            self.transport.write(self.piece)
            self.written += len(self.piece)

    def pauseProducing(self) -> None:
        self.calls.append("pause")
        self.paused = True

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        self.paused = False

    def stopProducing(self) -> None:
        self.calls.append("stop")
        self.stopped = True


def connected(world: Any, client: Callable[[], Any] = Notes, server: Callable[[], Any] = Notes) -> tuple[Any, Any]:
    """A client protocol of "me" and its server protocol of "nas"."""
    listening = Made(server)
    world.result(world.nas.server_endpoint(8000).listen(listening))
    protocol = world.result(world.me.client_endpoint("nas", 8000).connect(Made(client)))
    world.run(lambda: listening.made)
    return protocol, listening.made[0]
