"""How a program tells the manager that started it how it stands: systemd's protocol (sd_notify(3)).

::

    READY=1  STATUS=…                          it serves; and one line for `systemctl status`, again whenever it changes
    WATCHDOG=1                                 the reactor turns: at half of WATCHDOG_USEC
    RELOADING=1  MONOTONIC_USEC=…, READY=1     around the reading and the taking over of its configuration
    STOPPING=1                                 it ends, in order

The manager is found by ``NOTIFY_SOCKET``, which is taken out of the environment, so that no child speaks in this program's name. Without
one nothing is done. Whether a message arrives is not known and hinders nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any

from twisted.internet.defer import maybeDeferred

STATUS_INTERVAL = 5.0
"""Seconds between two looks at how the program stands."""
MAX_STATUS = 300
"""Characters of the line."""
LEAST_WATCHDOG = 0.1
"""Seconds between two signs of life at the least, whatever the manager asks for."""


class Manager:
    """The manager of one process."""

    def __init__(self, reactor: Any, environment: MutableMapping[str, str]) -> None:
        """``environment``: that of the process; what is the manager's in it is taken out."""
        self._reactor = reactor
        self._socket: socket.socket | None = None
        self._address = environment.pop("NOTIFY_SOCKET", "")
        self._watchdog = _watchdog(environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", ""))
        self._standing: Callable[[], str] = str
        self._told = ""
        self._ready = False
        self._stopping = False
        if self._address[:1] in ("/", "@") and hasattr(socket, "AF_UNIX"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
            self._socket.setblocking(False)

    def ready(self, standing: Callable[[], str]) -> None:
        """The program serves. ``standing`` says in one line how it stands, and is asked now and then."""
        if self._socket is None or self._ready or self._stopping:
            return
        self._standing, self._ready = standing, True
        self._told = standing()
        self._send("READY=1", _status(self._told))
        self._reactor.callLater(STATUS_INTERVAL, self._look)
        if self._watchdog:
            self._alive()

    def reloading(self, reload: Callable[[], object]) -> None:
        """Carry ``reload`` out; the manager knows when it begins and when it has ended."""
        if self._socket is None or not self._ready:
            reload()
            return
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        maybeDeferred(reload).addBoth(self._reloaded)

    def _reloaded(self, result: Any) -> Any:
        if not self._stopping:
            self._told = self._standing()
            self._send("READY=1", _status(self._told))
        return result

    def stopping(self, reason: str = "") -> None:
        """The program ends; ``reason``: why, where it was not asked to. Idempotent."""
        if self._socket is not None and not self._stopping:
            self._stopping = True
            self._send("STOPPING=1", _status(reason or "ending"))

    def close(self) -> None:
        """Tell nothing any more."""
        if self._socket is not None:
            self._stopping = True
            self._socket.close()
            self._socket = None

    def _look(self) -> None:
        if self._stopping:
            return
        stands = self._standing()
        if stands != self._told:
            self._told = stands
            self._send(_status(stands))
        self._reactor.callLater(STATUS_INTERVAL, self._look)

    def _alive(self) -> None:
        self._send("WATCHDOG=1")
        self._reactor.callLater(self._watchdog, self._alive)

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        where = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError):         # a manager that is gone or full: it is told again, or was told enough
            self._socket.sendto("\n".join(lines).encode(), where)


def _status(line: str) -> str:
    return "STATUS=" + "".join(character if character.isprintable() else " " for character in line[:MAX_STATUS])


def _watchdog(microseconds: str, process: str) -> float:
    """Seconds between two signs of life; 0 where none are asked for, or of another process (sd_watchdog_enabled(3))."""
    if not (microseconds.isascii() and microseconds.isdigit()) or (process and process != str(os.getpid())):
        return 0.0
    return max(int(microseconds) / 2e6, LEAST_WATCHDOG) if int(microseconds) else 0.0
