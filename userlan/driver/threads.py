"""What blocks, in the reactor's own threads: names that are looked up, small files, programs of the system."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

T = TypeVar("T")


def in_thread(reactor: Any, function: Callable[..., T], *arguments: object) -> Deferred[T]:
    """The result of a function, or what it raised.

    Why not ``deferToThread``: it takes the global reactor, and ours is an argument.
    """
    answer: Deferred[T] = deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)
    return answer
