"""Initial sequence numbers (RFC 6528) and timestamp offsets (RFC 7323 5.4).

::

    ISN    = M + F(local, remote, secret)        M ticks every 4 microseconds (RFC 9293 3.4.1)
    offset =     G(local, remote, secret)        added to the millisecond clock of TSval

A stranger cannot guess either; between one pair of endpoints both grow, so that TIME-WAIT can be left early (RFC 6191).
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2s
from typing import NamedTuple

from userlan.stack.tcp.seq import SEQUENCE_MASK

TICKS_PER_SECOND = 250_000
"""One every 4 microseconds (RFC 9293 3.4.1)."""

SECRET_LENGTH = 32
"""Octets: the longest key that BLAKE2s takes."""


class Initial(NamedTuple):
    """What a connection starts with, both 32-bit numbers."""

    sequence: int
    timestamp_offset: int


class InitialNumbers:
    """One for a host; ``entropy`` is asked once."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._secret = entropy(SECRET_LENGTH)

    def numbers(self, local: tuple[bytes, int], remote: tuple[bytes, int], now: float) -> Initial:
        """The numbers of a connection between two endpoints (packed address, port) that starts at ``now`` (s)."""
        message = b"".join(
            (len(address).to_bytes(1, "big") + address + port.to_bytes(2, "big")) for address, port in (local, remote)
        )
        digest = blake2s(message, key=self._secret, digest_size=8).digest()
        ticks = int(now * TICKS_PER_SECOND)
        return Initial(
            (ticks + int.from_bytes(digest[:4], "big")) & SEQUENCE_MASK, int.from_bytes(digest[4:], "big")
        )
