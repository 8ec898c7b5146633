"""Accepts streams on a port and joins each with a stream that is opened for it.

Whoever connects is accepted by the kernel, or by the LAN's stack, before the far side is known to answer. Until it
does, nothing is read (the leg is paused), and when it does not, the accepted stream is aborted with RST at once: to
the one who connected that looks like a service that is down, as it should.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from bridges.dial import DialError
from bridges.leg import Leg, LegOwner
from bridges.splice import Splice, Splices

MAX_STREAMS = 4096
"""Streams of one forwarded or exposed port at a time: more than any service of a LAN has, and below what uses up
memory and sockets."""

Connect = Callable[[Leg, LegOwner], Deferred[Leg]]
"""Opens the far side for an accepted leg; the Deferred fails with DialError."""


class Acceptor(Factory):
    """The factory of one listening port."""

    noisy = False
    log = Logger()

    def __init__(self, splices: Splices, connect: Connect, limit: int = MAX_STREAMS) -> None:
        self.splices = splices
        self.connect = connect
        self.counters: Counter[str] = Counter()
        self.last_error = ""
        """The reason of the last failure to reach the far side; empty after a success."""
        self._limit = limit
        self._pending: set[_Pending] = set()
        self._spliced: set[Splice] = set()
        self._ended: Callable[[Splice], None] = self._spliced.discard
        """One for all: a method that is bound for each would cost as much as the splice."""

    def buildProtocol(self, addr: IAddress | None) -> Leg | None:
        """A leg for whoever connects; none (closed at once) beyond the limit."""
        if len(self) >= self._limit:
            self.counters["full"] += 1
            return None
        self.counters["accepted"] += 1
        pending = _Pending(self)
        self._pending.add(pending)
        return pending.near

    def __len__(self) -> int:
        return len(self._pending) + len(self._spliced)

    def settled(self, pending: _Pending, splice: Splice | None) -> None:
        """An accepted stream is joined, or gone."""
        self._pending.discard(pending)
        if splice is not None and not splice.over:
            self._spliced.add(splice)
            splice.on_end = self._ended

    def abort_all(self) -> None:
        """RST all streams of this port."""
        for pending in list(self._pending):
            pending.near.abort()
        for splice in list(self._spliced):
            splice.abort()


class _Pending:
    """Owner of an accepted leg until the far side is there."""

    __slots__ = ("_acceptor", "_connecting", "near")

    def __init__(self, acceptor: Acceptor) -> None:
        self.near = Leg(self)
        self._acceptor = acceptor
        self._connecting: Deferred[Any] | None = None

    def leg_made(self, leg: Leg) -> None:
        if leg is not self.near:
            return
        connecting = self._acceptor.connect(leg, self)
        self._connecting = connecting
        connecting.addCallback(self._connected)
        connecting.addErrback(self._not_connected)

    def leg_lost(self, leg: Leg, reason: Failure) -> None:
        if leg is self.near:
            self._acceptor.settled(self, None)
            if self._connecting is not None:
                self._connecting.cancel()

    def leg_data(self, leg: Leg, data: bytes) -> None:
        """Both legs are paused."""

    def leg_ended(self, leg: Leg) -> None:
        """Kept in the leg; the splice hands it on."""

    def leg_congested(self, leg: Leg) -> None:
        """Nothing was written."""

    def leg_drained(self, leg: Leg) -> None:
        """Nothing was written."""

    def _connected(self, far: Leg) -> None:
        self._connecting = None
        if self.near.lost:
            far.abort()
            return
        self._acceptor.counters["connected"] += 1
        self._acceptor.last_error = ""
        self._acceptor.settled(self, self._acceptor.splices.join(self.near, far))

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if not self.near.lost:
            error = failure.value
            if isinstance(error, DialError):
                self._acceptor.counters[error.cause.name.lower()] += 1
                self._acceptor.last_error = str(error)
            else:
                self._acceptor.log.failure("an accepted stream could not be handled", failure)
            self.near.abort()
