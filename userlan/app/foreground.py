"""What the programs that run in the foreground have in common: how they stand, read their configuration again, and end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from userlan.app.notify import Manager
from userlan.driver.reasons import listen_error
from userlan.node.config import Config


class StartError(Exception):
    """The program cannot start; ``str()`` is one line for people."""


def not_listening(error: CannotListenError) -> StartError:
    """The program cannot listen where it was told to, and where that is said otherwise."""
    return StartError(f"{listen_error(error)}: name another with --listen HOST:PORT")


class Foreground:
    """Base of a program. ``stop`` is its own: idempotent, it closes everything and stops the reactor."""

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.exit_status = 0
        self.manager = Manager(reactor, {})
        """Who started the process and wants to know how it stands; nobody, until somebody says who."""
        self.read_config: Callable[[], Config] | None = None
        """Reads the configuration again, and takes over what is not this program's own (the log's); None: there is no file."""
        self._stopping = False

    def begins_to_end(self, status: int) -> bool:
        """Whether this is the first word of it: the manager is told, and the exit status is at least this one."""
        if self._stopping:
            return False
        self._stopping = True
        self.manager.stopping()
        self.exit_status = max(self.exit_status, status)
        return True

    def ended(self) -> None:
        """All is closed: so ends the process."""
        if self.reactor.running:
            self.reactor.stop()

    def stop(self, status: int = 0) -> Deferred[Any]:
        """End in order, with this exit status."""
        raise TypeError(f"{type(self).__name__} does not say how it ends")

    def standing(self) -> str:
        """How it stands, in one line."""
        return ""

    @property
    def ending(self) -> bool:
        """Whether it is about to end, or has."""
        return self._stopping

    def reload(self) -> object:
        """Read the configuration again (SIGHUP); a Deferred where taking it over takes time."""
        if self.read_config is None:
            self.log.info("there is no configuration file to reload")
            return None
        try:
            config = self.read_config()
        except ValueError as error:
            self.log.error("the configuration was not reloaded: {error}", error=error)
            return None
        return self.configured(config)

    def configured(self, config: Config) -> object:
        """The configuration was read again: take over what can be while it runs; a Deferred where that takes time."""
        self.log.info("the configuration was read again: of the log it holds at once, of all else at the next start")
        return None

    def fail(self, reason: str) -> None:
        """End with one line on standard error and exit status 1."""
        if not self._stopping:
            self.manager.stopping(reason)
            print(f"userlan: {reason}", file=sys.stderr, flush=True)
            self.stop(1).addErrback(self.stop_failed)

    def stop_failed(self, failure: Any) -> None:
        """The end itself went wrong: tell, and end all the same."""
        self.log.failure("the program did not stop in order", failure)
        self.exit_status = 1
        self.ended()
