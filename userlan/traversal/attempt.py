"""One introduction carried out: which candidates get a packet, and when.

The first packets leave at the moment that the mediator computed for both sides; those that follow cover loss, and NATs that open
only once both have sent. UDP goes first; framed TCP joins once UDP had its chance, since a kernel's TCP underneath adds its own
retransmissions to the inner ones. Where answers are known to take long, the owner says so, and the intervals are no shorter.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from userlan.wire.endpoint import TCP, Endpoint

OFFSETS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 3.5)
"""Seconds after the start at which a packet goes to each candidate; seven packets survive 40 % loss with 99.8 %."""
TCP_FROM = 2.0
"""Seconds after the start from which framed TCP is tried too (UDP needs one round trip; 2 s covers the worst links)."""
DURATION = 5.0
"""Seconds after which an attempt has failed; WireGuard's own retry interval (white paper, 6.1)."""
PATIENT_ROUNDS = 3
"""Packets that an attempt has time for at least, however long their answers take."""
MAX_DELAY = 3.0
"""Seconds. A start delay beyond it is cut: no honest mediator needs more than the slowest control link's one-way delay."""


class Attempt:
    """The schedule of one introduction to one peer. Times are monotonic seconds. ``patience``: seconds between two packets at least."""

    def __init__(self, endpoints: Sequence[Endpoint], now: float, delay: float = 0.0) -> None:
        self.datagram = tuple(endpoint for endpoint in endpoints if endpoint.transport != TCP)
        self.stream = tuple(endpoint for endpoint in endpoints if endpoint.transport == TCP)
        self.start = now + min(max(delay, 0.0), MAX_DELAY)
        self.patience = 0.0
        self._next = 0
        self._sent_at = -inf

    @property
    def failed_at(self) -> float:
        """The moment at which the attempt has failed if no session came of it."""
        return self.start + max(DURATION, PATIENT_ROUNDS * self.patience)

    def deadline(self) -> float:
        """When ``due`` has something to say next."""
        if self._next >= len(OFFSETS):
            return self.failed_at
        return min(max(self.start + OFFSETS[self._next], self._sent_at + self.patience), self.failed_at)

    def due(self, now: float) -> tuple[Endpoint, ...]:
        """The endpoints that get a fresh initiation now; empty between the scheduled moments."""
        if self._next >= len(OFFSETS) or now < max(self.start + OFFSETS[self._next], self._sent_at + self.patience):
            return ()
        self._sent_at = now
        while self._next < len(OFFSETS) and now >= self.start + OFFSETS[self._next]:
            self._next += 1
        if now - self.start >= TCP_FROM or not self.datagram:
            return self.datagram + self.stream
        return self.datagram

    def failed(self, now: float) -> bool:
        """Whether the attempt is over without success (the owner drops it on success)."""
        return now >= self.failed_at
