"""Ephemeral ports that a stranger cannot guess (RFC 6056).

TCP takes algorithm 4 (double hash): for each pair of addresses and remote port a sequence of its own, starting at a
secret place; so a port comes back as late as possible and does not meet its own TIME-WAIT at the far end. UDP takes
algorithm 1: at random, the next free one.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2s

FIRST_PORT = 32_768
LAST_PORT = 65_535
"""As Linux's lower bound and RFC 6056's upper one: below lies what services are given."""

TABLE_LENGTH = 1_024
"""Counters of algorithm 4 (RFC 6056 3.3.4 suggests 10 as the least; 1024 costs a few KB)."""

class Ports:
    """Chooses ports; which ones are in use is asked of the caller each time."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._first = FIRST_PORT
        self._count = LAST_PORT - FIRST_PORT + 1
        self._offset_key = entropy(16)
        self._index_key = entropy(16)
        start = entropy(2 * TABLE_LENGTH)
        self._table = [int.from_bytes(start[2 * index : 2 * index + 2], "big") for index in range(TABLE_LENGTH)]

    def keep_to(self, first: int = FIRST_PORT, last: int = LAST_PORT) -> None:
        """Choose from this range only from now on: a kernel that has the same addresses chooses from another one."""
        self._first = first
        self._count = last - first + 1

    def for_connection(self, local: bytes, remote: tuple[bytes, int], in_use: Callable[[int], bool]) -> int | None:
        """A port for a TCP connection from ``local`` to ``remote``; None when all are in use."""
        flow = local + remote[0] + remote[1].to_bytes(2, "big")
        offset = _hash(self._offset_key, flow)
        index = _hash(self._index_key, flow) % TABLE_LENGTH
        for _ in range(self._count):
            port = self._first + (offset + self._table[index]) % self._count
            self._table[index] += 1
            if not in_use(port):
                return port
        return None

    def for_socket(self, in_use: Callable[[int], bool]) -> int | None:
        """A port for a UDP socket; None when all are in use."""
        start = int.from_bytes(self._entropy(4), "big")
        for step in range(self._count):
            port = self._first + (start + step) % self._count
            if not in_use(port):
                return port
        return None


def _hash(key: bytes, data: bytes) -> int:
    return int.from_bytes(blake2s(data, digest_size=4, key=key).digest(), "big")
