"""The UDP sockets beside the main one, by the numbers under which endpoints name them (``Endpoint.via``).

Behind a NAT each socket has a mapping of its own, so a node that looks for a path opens some, or hundreds, and closes them again; a
server that listens on several ports has one for each::

    a core's burst for via k > 0 ──▶ open? ── no ──▶ bind a free port ──▶ core.socket_opened(k, "udp", port) ──▶ send
                                       └──── yes ──────────────────────────────────────────────────────────────▶ send
    what arrives there ──▶ the core that it belongs to, with source.via = k
    core.dismissed() ──▶ close

A socket that a burst opened belongs to the core whose burst it was, and its number is that core's own: what others number alike is
another socket. One that is listened on is all cores' unless it was given to one. Such sockets are cheap: they share the memory that they
are read into, and their buffers in the kernel are small until they carry a path (``datagram``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from twisted.internet.error import CannotListenError

from userlan.driver.datagram import BUFFER_SIZE, DatagramPort, Receiver
from userlan.driver.reactor import Reactor
from userlan.driver.runner import CoreRunner
from userlan.wire.endpoint import UDP, Endpoint

MAX_SOCKETS = 768
"""Sockets opened by bursts: two many-socket searches of 256 at once, and those of paths. A process may usually have 1,024 descriptors
(setrlimit(2)); the others are needed for connections."""


class Opener(Receiver, Protocol):
    """What the sockets hand their buffers to, and what hears of a new one."""

    def socket_opened(self, via: int, transport: str, port: int, runner: CoreRunner | None = None) -> None: ...


class NumberedPorts:
    """All of them, of one engine."""

    def __init__(self, receiver: Opener, reactor: Reactor, host: Callable[[int], str]) -> None:
        """``host`` gives the numeric address at which sockets of a family (4 or 6) are bound."""
        self._receiver = receiver
        self._reactor = reactor
        self._host = host
        self._counters: Counter[str] = receiver.counters
        self._listened: dict[tuple[CoreRunner | None, int, int], DatagramPort] = {}
        self._opened: dict[tuple[CoreRunner, int, int], DatagramPort] = {}
        self._memory = bytearray(BUFFER_SIZE)
        """One at a time is read, and what is read is dealt with before the next."""

    @property
    def full(self) -> bool:
        """Whether something waits for any of them."""
        return any(port.full for ports in (self._opened, self._listened) for port in ports.values())

    def __len__(self) -> int:
        """How many bursts have opened and nobody has dismissed."""
        return len(self._opened)

    def add(self, port: DatagramPort) -> None:
        """One that is listened on. It stays to the end, and replaces none."""
        owner = port.owner
        key = (owner, port.via, port.version)
        if key in self._listened:
            port.close()
            raise ValueError(f"there is a socket with number {port.via} for IPv{port.version} already")
        self._listened[key] = port

    def port_for(self, endpoint: Endpoint, runner: CoreRunner) -> DatagramPort | None:
        """The socket of an endpoint with a number, opened now where there is none; None, and counted, where it cannot be had."""
        version = 6 if ":" in endpoint.host else 4
        via = endpoint.via
        own = (runner, via, version)
        port = self._opened.get(own) or self._listened.get(own) or self._listened.get((None, via, version))
        return port or self._open(runner, via, version)

    def _open(self, runner: CoreRunner, via: int, version: int) -> DatagramPort | None:
        if len(self._opened) >= MAX_SOCKETS:
            self._counters["udp-too-many-sockets"] += 1
            return None
        try:
            port = DatagramPort(self._receiver, self._reactor, self._host(version), 0, via, self._memory, runner)
        except CannotListenError:
            self._counters["udp-socket-failed"] += 1
            return None
        self._opened[runner, via, version] = port
        port.start()
        self._receiver.socket_opened(via, UDP, port.port, runner)
        return port

    def dismiss(self, via: int, runner: CoreRunner) -> None:
        """Close what a core has opened under a number; nothing where there is nothing."""
        for version in (4, 6):
            port = self._opened.pop((runner, via, version), None)
            if port is not None:
                port.close()

    def forget(self, runner: CoreRunner) -> None:
        """Close all that a core has opened."""
        for _, via, _ in [key for key in self._opened if key[0] is runner]:
            self.dismiss(via, runner)

    def close(self) -> None:
        """Close all."""
        ports = [*self._opened.values(), *self._listened.values()]
        self._opened.clear()
        self._listened.clear()
        for port in ports:
            port.close()
