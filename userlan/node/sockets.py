"""The numbers of a node's extra sockets (``Endpoint.via``): who wants a socket takes a number here, and gives it back here.

The driver opens a socket when a datagram first leaves by its number, and closes those that ``dismissed`` names. A number is used once
only: what was still on its way to a closed socket is never taken for something of the next one's. UDP sockets and TCP's local ports share
the numbers, so that one number dismisses whatever is behind it.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

MAX_OPEN: Final = 768
"""Numbers in use at once: two plans of 256 sockets, a measurement, a netcheck and the sockets of direct paths; below the 1,024 file
descriptors that a process has by default (setrlimit(2))."""

MAIN: Final = 0
"""The main socket's number: it is open always."""


class Sockets:
    """Hands out numbers, and knows the local ports of those that are open. ``counters`` says how many were not to be had."""

    def __init__(self, limit: int = MAX_OPEN) -> None:
        self.counters: Counter[str] = Counter()
        self._limit = limit
        self._next = MAIN + 1
        self._ports: dict[int, dict[str, int]] = {}
        """Number in use → transport → local port, once the driver has told it."""
        self._dismissed: list[int] = []

    def __len__(self) -> int:
        return len(self._ports)

    def __contains__(self, via: object) -> bool:
        return via == MAIN or via in self._ports

    @property
    def room(self) -> int:
        """How many more can be had now."""
        return self._limit - len(self._ports)

    def take(self, count: int = 1) -> tuple[int, ...]:
        """``count`` fresh numbers; all of them, or none where so many are not to be had."""
        if count > self.room:
            self.counters["sockets-refused"] += 1
            return ()
        taken = tuple(range(self._next, self._next + count))
        self._next += count
        self._ports.update((via, {}) for via in taken)
        return taken

    def give_back(self, *numbers: int) -> None:
        """These are used no longer: the driver closes them. Unknown numbers and the main one are passed over."""
        for via in numbers:
            if self._ports.pop(via, None) is not None:
                self._dismissed.append(via)

    def opened(self, via: int, transport: str, port: int) -> None:
        """The driver opened socket ``via`` at a local ``port``. One that was given back meanwhile is dismissed again."""
        ports = self._ports.get(via)
        if ports is not None:
            ports[transport] = port
        elif via != MAIN:
            self._dismissed.append(via)

    def port(self, via: int, transport: str = "udp") -> int:
        """The local port of a socket, 0 where it is not known (yet)."""
        return self._ports.get(via, {}).get(transport, 0)

    def dismissed(self) -> list[int]:
        """The numbers whose sockets are to be closed. Drained by the driver."""
        dismissed, self._dismissed = self._dismissed, []
        return dismissed
