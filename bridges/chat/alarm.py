"""One timer that follows a deadline which moves with every message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Alarm:
    """Calls ``action`` at a time of the reactor's clock. One that moves to later costs nothing until it goes off."""

    def __init__(self, reactor: Any, action: Callable[[], object]) -> None:
        self._reactor, self._action = reactor, action
        self._at: float | None = None
        self._call: Any = None

    def set(self, at: float | None) -> None:
        """At this time, or never."""
        self._at = at
        if at is None:
            self._cancel()
        elif self._call is None or self._call.getTime() > at:
            self._cancel()
            self._call = self._reactor.callLater(max(0.0, at - self._reactor.seconds()), self._go_off)

    def set_sooner(self, at: float) -> None:
        """At this time, unless it is to go off before."""
        self.set(at if self._at is None else min(at, self._at))

    def _go_off(self) -> None:
        self._call = None
        at, self._at = self._at, None
        if at is not None and self._reactor.seconds() < at:
            self.set(at)
        else:
            self._action()

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
