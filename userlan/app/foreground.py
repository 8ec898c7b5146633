"""What the programs that run in the foreground have in common: how they end."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger


class StartError(Exception):
    """The program cannot start; ``str()`` is one line for people."""


class Foreground:
    """Base of a program. ``stop`` is its own: idempotent, it closes everything and stops the reactor."""

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.exit_status = 0
        self._stopping = False

    def stop(self, status: int = 0) -> Deferred[Any]:
        """End in order, with this exit status."""
        raise TypeError(f"{type(self).__name__} does not say how it ends")

    def fail(self, reason: str) -> None:
        """End with one line on standard error and exit status 1."""
        if not self._stopping:
            print(f"userlan: {reason}", file=sys.stderr, flush=True)
            self.stop(1).addErrback(self.stop_failed)

    def stop_failed(self, failure: Any) -> None:
        """The end itself went wrong: tell, and end all the same."""
        self.log.failure("the program did not stop in order", failure)
        self.exit_status = 1
        self.reactor.stop()
