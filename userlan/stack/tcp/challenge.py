"""How often a connection answers what it did not expect (RFC 5961 7).

A challenge ACK, or an ACK for a segment out of the window without data, is an answer that a stranger, or a peer that
is just as confused, can provoke; two ends must not answer each other's answers for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from userlan.stack.tcp.connection import Connection

CHALLENGES = 5
INTERVAL = 1.0
"""So many in so many seconds (RFC 5961 7: "no more than X per Y", 10 in 5 s as an example). For one connection, not
for the host: a common limit is a side channel (CVE-2016-5696)."""


class ChallengeLimit:
    __slots__ = ("_count", "_since")

    def __init__(self) -> None:
        self._since = float("-inf")
        self._count = 0

    def allowed(self, now: float) -> bool:
        """Whether one more may be sent at ``now`` (s)."""
        if now - self._since >= INTERVAL:
            self._since = now
            self._count = 0
        self._count += 1
        return self._count <= CHALLENGES


def challenge(connection: Connection, now: float) -> None:
    """An ACK that a stranger cannot use and a confused peer can (RFC 5961), within the limit."""
    if connection.challenge.allowed(now):
        connection.challenge_due = True
        connection.counters["challenge-ack"] += 1
    else:
        connection.counters["challenge-suppressed"] += 1
