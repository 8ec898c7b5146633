"""A real reactor of the test's own, turned by the test itself: real sockets without a thread and without the global one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor

from userlan.driver.reactor import use_monotonic_time

try:
    from twisted.internet.epollreactor import EPollReactor
except ImportError:
    Kind: Any = SelectReactor
else:
    Kind = EPollReactor

PATIENCE = 60.0
"""Seconds after which something that should have happened has not: ample for a busy machine."""
LEAST_TURNS = 5
"""Turns that what has begun needs at most: to accept, to read, to answer, to read the answer, to end."""


class Loop:
    """Runs only inside :meth:`until`, :meth:`run` and :meth:`result`."""

    def __init__(self) -> None:
        self.reactor: Any = Kind()
        use_monotonic_time(self.reactor)
        self.reactor.startRunning(installSignalHandlers=False)

    def turn(self, delay: float = 0.0) -> None:
        """One turn of the reactor."""
        self.reactor.iterate(delay)

    def until(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        """Turn until it holds."""
        end = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            self.reactor.iterate(self._pause(end))

    def run(self, seconds: float) -> None:
        """Turn for some seconds, and a few times on a machine that is busy for as long."""
        end, turns = time.monotonic() + seconds, 0
        while time.monotonic() < end or turns < LEAST_TURNS:
            self.reactor.iterate(self._pause(end))
            turns += 1

    def result(self, deferred: Deferred[Any]) -> Any:
        """What a Deferred gives, once it does."""
        fired: list[tuple[bool, Any]] = []
        deferred.addCallbacks(lambda value: fired.append((True, value)), lambda failure: fired.append((False, failure)))
        self.until(lambda: fired)
        good, value = fired[0]
        if not good:
            raise value.value
        return value

    def close(self) -> None:
        """End the reactor and close its own descriptors."""
        self.reactor.fireSystemEvent("shutdown")
        self.reactor.iterate(0)
        self.reactor.disconnectAll()
        for call in self.reactor.getDelayedCalls():
            call.cancel()
        for internal in self.reactor._internalReaders:
            internal.connectionLost(None)
        if hasattr(self.reactor, "_poller"):
            self.reactor._poller.close()

    def _pause(self, end: float) -> float:
        timeout = self.reactor.timeout()
        left = max(0.0, min(end - time.monotonic(), 0.05))
        return left if timeout is None else min(timeout, left)
