"""Joins a command's local connection with a stream of the LAN, octet by octet, each half with its own end (``userlan
nc``).

::

    command ⇄ LocalClient ⇄ Inward ⇄ Outward ⇄ LanTransport

Each side is the other's producer, so that whoever reads slowly slows the writer down and nothing is stored.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from userlan.driver.commands import Reply


@implementer(IHalfCloseableProtocol)
class Side(Protocol):
    """One of the two ends; ``other`` is the opposite one."""

    other: Any = None

    def dataReceived(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def readConnectionLost(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.unregisterProducer()
            self.other.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """Our half has ended; the other one goes on."""

    def connectionLost(self, reason: Any = None) -> None:
        other, self.other = self.other, None
        self.transport = None
        if other is not None and other.transport is not None:
            other.transport.unregisterProducer()
            other.transport.loseConnection()


class Inward(Side):
    """The command's end."""

    def __init__(self, outward: Outward) -> None:
        self.other = outward

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self.other.transport.registerProducer(transport, True)
        transport.registerProducer(self.other.transport, True)


class Outward(Side):
    """The LAN's end: once it is connected, the command's connection is taken over."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def connectionMade(self) -> None:
        self.other = Inward(self)
        self._reply.upgrade(self.other)
