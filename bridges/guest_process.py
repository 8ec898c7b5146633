"""A guest's companion as a child of the node: started, started again when it dies, told its networks, ended with the node.

::

    start ──▶ RUNNING ── it ended by itself ──▶ WAITING ── back-off 1 s … 60 s ──▶ RUNNING …
                 │ stop, or left                   │ stop
                 ▼                                 ▼
               ENDED ◀─────────────────────────────┘      the pipe is closed first; what has not ended in 8 s is killed

A companion whose node is killed reads the end of its pipe, and ends too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger

LOG_NAME = "node.log"
MAX_LOG = 1 << 20
"""Octets of a companion's log, after which it begins anew."""
FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
"""Seconds until one that has died is started again, doubled each time."""
LONG_LIFE = 60.0
"""Seconds of life after which the next death is the first one again."""
STOP_PATIENCE = 8.0
"""Seconds in which it must end: it takes leave of its mediator and router, and its last bytes have 2 s."""
NODES_OWN = ("NOTIFY_", "WATCHDOG_", "LISTEN_", "USERLAN_STATE")
"""Beginnings of environment variables that are not for a companion (sd_notify(3), sd_listen_fds(3))."""
FOR_PEOPLE = "userlan: "
"""How its lines begin that are no log."""
MAX_LINE = 1 << 20
"""Octets that a companion may say in a line."""


class GuestProcess:
    """One companion. ``told``: what it said last; empty while it does not run."""

    _log = Logger()

    def __init__(self, reactor: Any, folder: Path, command: list[str], changed: Callable[[], None]) -> None:
        """``changed`` is called after anything has changed. Nothing happens before :meth:`start`."""
        self.told: dict[str, Any] = {}
        self.trouble = ""
        """Why it does not run, in one line."""
        self.deaths = 0
        self._reactor = reactor
        self._folder = folder
        self._command = command
        self._changed = changed
        self._order: dict[str, Any] | None = None
        self._child: _Child | None = None
        self._began = 0.0
        self._pause = FIRST_PAUSE
        self._again: Any = None
        self._ended: list[Deferred[None]] = []
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._child.transport.pid if self._child is not None and self._child.transport is not None else None

    def start(self, delay: float = 0.0) -> None:
        """Have it run from now on, or in so many seconds."""
        self._again = self._reactor.callLater(delay, self._spawn)

    def order(self, order: dict[str, Any]) -> None:
        """Tell it, now and after each start; what was told before counts no more."""
        if order != self._order:
            self._order = order
            self._tell()

    def stop(self) -> Deferred[None]:
        """End it; called back when it has ended. Idempotent."""
        self._stopping = True
        if self._again is not None and self._again.active():
            self._again.cancel()
        self._again = None
        if self._child is None:
            return succeed(None)
        self._child.transport.closeStdin()
        killing = self._reactor.callLater(STOP_PATIENCE, self._kill)
        ended: Deferred[None] = Deferred()
        ended.addBoth(lambda _: killing.cancel() if killing.active() else None)
        self._ended.append(ended)
        return ended

    def _kill(self) -> None:
        self._log.warn("{folder} did not end in time and is killed", folder=self._folder.name)
        if self._child is not None:
            try:
                self._child.transport.signalProcess("KILL")
            except ProcessExitedAlready:
                return

    def _spawn(self) -> None:
        self._again = None
        self._began = self._reactor.seconds()
        child = _Child(self, _LogFile(self._folder / LOG_NAME))
        try:
            self._reactor.spawnProcess(child, self._command[0], self._command, env=_environment())
        except OSError as error:
            self._over(f"it cannot be started: {error.strerror}")
            return
        self._child = child
        self._tell()

    def _tell(self) -> None:
        if self._child is not None and self._order is not None:
            self._child.transport.write(msgspec.json.encode(self._order) + b"\n")

    # --- what the child says

    def said(self, line: bytes) -> None:
        """A line of its standard output; only what is for us counts."""
        try:
            told = msgspec.json.decode(line, type=dict[str, Any]).get("companion")
        except msgspec.MsgspecError:
            return
        if isinstance(told, dict):
            self.told, self.trouble = told, ""
            self._changed()

    def ended(self, why: str) -> None:
        """The process is gone, and why."""
        self._child = None
        self._over(why)

    def _over(self, why: str) -> None:
        self.told = {}
        if self._stopping:
            ended, self._ended = self._ended, []
            for waiting in ended:
                waiting.callback(None)
            return
        self.deaths += 1
        self.trouble = why or "it has ended"
        if self._reactor.seconds() - self._began >= LONG_LIFE:
            self._pause = FIRST_PAUSE
        self._log.warn("the companion of {name} has ended: {why}", name=self._folder.name, why=self.trouble)
        self.start(self._pause)
        self._pause = min(2 * self._pause, LAST_PAUSE)
        self._changed()


class _LogFile:
    """What a companion writes to standard error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.last = ""
        """What it said for people, last: why it ends, if it knows."""

    def write(self, data: bytes) -> None:
        said = [line for line in data.decode("utf-8", "replace").splitlines() if line.startswith(FOR_PEOPLE)]
        self.last = said[-1].removeprefix(FOR_PEOPLE) if said else self.last
        try:
            large = self._path.exists() and self._path.stat().st_size + len(data) > MAX_LOG
            with open(self._path, "wb" if large else "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(data)
        except OSError:
            return      # a full disk costs the log


class _Child(ProcessProtocol):
    transport: Any = None

    def __init__(self, owner: GuestProcess, log: _LogFile) -> None:
        self._owner = owner
        self._log = log
        self._buffer = b""

    def outReceived(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > MAX_LINE:
            self._buffer = b""
        for line in lines:
            if line.startswith(b"{"):
                self._owner.said(line)

    def errReceived(self, data: bytes) -> None:
        self._log.write(data)

    def processEnded(self, reason: Any) -> None:
        signal, status = getattr(reason.value, "signal", None), getattr(reason.value, "exitCode", None)
        self._owner.ended(self._log.last or (f"killed by signal {signal}" if signal else f"exit status {status}"))


def _environment() -> dict[str, str]:
    """This process' own, but for what its service manager has told it alone."""
    return {name: value for name, value in os.environ.items() if not name.startswith(NODES_OWN)}


def running(told: Mapping[str, Any]) -> bool:
    """Whether a companion has its address."""
    return bool(told.get("ipv4"))
