"""Threads for what blocks: reading, writing, hashing and synchronising files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")

MOST: Final = 4
"""Threads: a step takes some ms, so that a few carry many transfers; the reactor's own are for looking up names."""


class Threads:
    """Runs functions, and gives their results in the reactor's thread."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=MOST, name="files")

    def start(self) -> None:
        """Begin."""
        self._pool.start()

    def stop(self) -> None:
        """End, after what has begun."""
        if self._pool.started:
            self._pool.stop()

    def run(self, function: Callable[..., T], *arguments: object) -> Deferred[T]:
        """The result of a function, or what it raised."""
        return deferToThreadPool(self._reactor, self._pool, function, *arguments)  # type: ignore[no-any-return, unused-ignore]
