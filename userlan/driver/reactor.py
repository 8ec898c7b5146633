"""What this package needs of a Twisted reactor, as types; and its clock made monotonic.

Twisted's interfaces are zope's, which a type checker does not follow without a plugin; these protocols say the same
structurally, so that a real reactor, ``task.Clock`` and ``MemoryReactorClock`` all fit where they are enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol


class DelayedCall(Protocol):
    """IDelayedCall."""

    def cancel(self) -> None: ...
    def active(self) -> Any: ...
    def reset(self, seconds_from_now: float, /) -> None: ...


class Clock(Protocol):
    """IReactorTime."""

    def seconds(self) -> Any: ...
    def callLater(self, delay: float, call: Callable[..., object], /, *args: Any) -> Any: ...


class Reactor(Clock, Protocol):
    """IReactorTime, IReactorFDSet and IReactorTCP."""

    def addReader(self, reader: Any, /) -> Any: ...
    def addWriter(self, writer: Any, /) -> Any: ...
    def removeReader(self, reader: Any, /) -> Any: ...
    def removeWriter(self, writer: Any, /) -> Any: ...
    def listenTCP(self, port: int, factory: Any, backlog: int = ..., interface: str = ...) -> Any: ...
    def adoptStreamPort(self, fileDescriptor: int, addressFamily: Any, factory: Any, /) -> Any: ...
    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: Any, factory: Any, /) -> Any: ...
    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = ...) -> Any: ...


def use_monotonic_time(reactor: Any) -> None:
    """Let a reactor that has not started count monotonic seconds.

    Twisted's reactors count the wall clock's, so that a step of that clock (NTP, a laptop that wakes) delays every
    timer by as much. All of its timers read ``reactor.seconds`` of the instance, which is therefore the one place to
    change.
    """
    if reactor.getDelayedCalls():
        raise RuntimeError("the reactor's clock cannot be changed once calls are scheduled by it")
    reactor.seconds = time.monotonic
