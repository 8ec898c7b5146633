"""Splices whose data passes a filter: what names addresses inside a stream (HTTP, mostly) is rewritten on its way.

::

    left ──→ Filter.feed ──→ right        one filter for each direction, made for each stream
    left ←── Filter.feed ←── right

Everything else is a splice's: back-pressure, FIN, RST. A filter may hold data back, as it must where a length stands in
front of what is rewritten; at FIN it gives what it holds. A filter that raises ends its stream with RST.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from bridges.leg import Buffer, Leg
from bridges.splice import Splice, Splices


class Filter(Protocol):
    """One direction of one stream."""

    def feed(self, data: bytes) -> bytes:
        """Take what arrived, give what is to be sent on (b"": nothing yet). ValueError ends the stream."""

    def end(self) -> bytes:
        """The direction has ended (FIN): what was held back."""


Filters = Callable[[Leg], tuple[Filter, Filter]]
"""Makes the filters of one stream, for what its left leg (the accepted one) sends and for what is sent to that leg."""


class FilteredSplice(Splice):
    """Two legs with a filter between them each way."""

    __slots__ = ("_filters",)
    _log = Logger()

    def __init__(self, splices: Splices, left: Leg, right: Leg, filters: tuple[Filter, Filter]) -> None:
        super().__init__(splices, left, right)
        self._filters = {left: filters[0], right: filters[1]}

    def leg_data(self, leg: Leg, data: Buffer) -> None:
        feed = self._filters[leg].feed
        self._pass(leg, lambda: feed(bytes(data)))

    def leg_ended(self, leg: Leg) -> None:
        self._end(leg)
        super().leg_ended(leg)

    def leg_lost(self, leg: Leg, reason: Failure) -> None:
        if isinstance(reason.value, ConnectionDone):
            self._end(leg)        # a leg that has sent its own FIN is told of the loss first
        super().leg_lost(leg, reason)

    def _end(self, leg: Leg) -> None:
        one = self._filters.pop(leg, None)
        if one is not None:
            self._pass(leg, one.end)

    def _pass(self, leg: Leg, through: Callable[[], bytes]) -> None:
        try:
            data = through()
        except ValueError as error:
            self._log.debug("a stream is not what its filter expects: {error}", error=str(error))
            self.abort()
            return
        (self.right if leg is self.left else self.left).write(data)


class FilteringSplices(Splices):
    """As ``Splices``, each with filters of its own."""

    def __init__(self, reactor: Any, filters: Filters) -> None:
        super().__init__(reactor)
        self._filters = filters

    def _splice(self, left: Leg, right: Leg) -> Splice:
        return FilteredSplice(self, left, right, self._filters(left))
