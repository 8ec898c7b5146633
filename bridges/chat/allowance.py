"""How much one author may bring, sans-IO: what is beyond is not lost, it waits with the author (his connection is not read)."""

from __future__ import annotations

RATE, BURST = 20.0, 500.0
"""Messages a second, and at once: more than anybody reads, and a long absence's worth in a moment."""

OCTET_RATE, OCTET_BURST = 32 * 1024.0, 1024 * 1024.0
"""Octets of frames a second, and at once: a page of text a second fills the history of one author in half an hour, and nobody else's."""

SHORTEST = 0.05
"""Seconds of a wait at least: a message's worth. What is missing may be less than the clock can tell."""


class Allowance:
    """A pair of token buckets."""

    def __init__(self, now: float) -> None:
        self._messages, self._octets = BURST, OCTET_BURST
        self._at = now

    def take(self, octets: int, now: float) -> float:
        """0 when one more of that size may pass, and it is counted; else the seconds after which it is worth asking again."""
        passed = max(0.0, now - self._at)
        self._at = now
        self._messages = min(BURST, self._messages + passed * RATE)
        self._octets = min(OCTET_BURST, self._octets + passed * OCTET_RATE)
        wait = max((1 - self._messages) / RATE, (octets - self._octets) / OCTET_RATE)
        if wait > 0:
            return max(wait, SHORTEST)
        self._messages -= 1
        self._octets -= octets
        return 0.0
