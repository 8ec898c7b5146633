"""Which processes are in a network namespace, and when one of them ends.

Whoever a program starts is in its namespace too, also when the program itself ends before: nobody is forgotten, since
the processes of the system are looked through again whenever one of those known has ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress


class Residents:
    """Of the network namespace of this process, which is none of them itself."""

    def __init__(self) -> None:
        self.unwatched = False
        """Whether one cannot be waited for, so that one has to look again now and then (Linux before 5.3)."""
        self._own = self._network("self")
        self._descriptors: dict[int, int] = {}

    def look(self) -> int:
        """Look through all processes of the system; how many are here."""
        here = {int(name) for name in os.listdir("/proc") if name.isdigit() and self._network(name) == self._own} - {os.getpid()}
        for pid in set(self._descriptors) - here:
            os.close(self._descriptors.pop(pid))
        self.unwatched = False
        for pid in here - set(self._descriptors):
            try:
                self._descriptors[pid] = os.pidfd_open(pid)
            except OSError:
                self.unwatched = True
        return len(here)

    def descriptors(self) -> list[int]:
        """Each can be read from when a process that is here ends (pidfd_open(2)); valid until the next look."""
        return list(self._descriptors.values())

    @staticmethod
    def _network(pid: str) -> tuple[int, int] | None:
        """None for one that has ended, or is somebody else's: those cannot have come here."""
        for path in _places(pid):
            with suppress(OSError):
                status = os.stat(path)
                return status.st_dev, status.st_ino
        return None


def _places(pid: str) -> Iterator[str]:
    """Where the network namespace of a process is shown: with its first thread, or when that has ended with another."""
    yield f"/proc/{pid}/ns/net"
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            if thread != pid:
                yield f"/proc/{pid}/task/{thread}/ns/net"
