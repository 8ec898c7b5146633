"""TIME-WAIT (RFC 9293 3.6.1, 3.10.7.4): what remains of a connection for 2 MSL, in a few hundred octets.

It acknowledges the peer's FIN again, keeps old duplicates out of a new connection between the same endpoints, and
gives way to such a one when its SYN is certainly newer (RFC 6191). A RST does not end it (RFC 1337 3, F1): an old
duplicate, answered with our ACK, would draw one from the peer, and the next old duplicate would find a new connection.
It has the stack side of a connection, so a host may put it in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from userlan.stack.tcp.challenge import ChallengeLimit
from userlan.stack.tcp.seq import SEQUENCE_MASK, is_older, near
from userlan.stack.tcp.state import State
from userlan.wire.tcp import Flags, Segment

if TYPE_CHECKING:
    from userlan.stack.tcp.connection import Connection


class TimeWait:
    """``state`` is TIME_WAIT until the time is over, then CLOSED: the owner forgets it."""

    __slots__ = (
        "_ack_due",
        "_challenge",
        "_duration",
        "_expires",
        "_next",
        "_sequence",
        "_takes_timestamps",
        "_timestamps",
        "_window",
        "local",
        "remote",
        "state",
    )

    def __init__(self, connection: Connection, now: float) -> None:
        self.local = connection.local
        self.remote = connection.remote
        self.state = State.TIME_WAIT
        self._sequence = connection.sender.nxt
        self._next = connection.receiver.next
        self._window = connection.receiver.window_field(now)
        self._timestamps = connection.timestamps
        self._takes_timestamps = connection.config.timestamps
        self._challenge = ChallengeLimit()
        self._duration = connection.config.time_wait
        self._expires = now + self._duration
        self._ack_due = connection.receiver.ack_now

    def segment_arrived(self, segment: Segment, now: float) -> None:
        """A segment between the same endpoints. First ask :meth:`gives_way` when it is a SYN."""
        flags = segment.flags
        seq = near(segment.seq, self._next)
        timestamp = segment.timestamp
        stale = self._timestamps.enabled and timestamp is not None and self._timestamps.is_stale(timestamp[0], now)
        if flags & Flags.RST:
            return
        if flags & Flags.SYN or stale:
            self._answer(now)
        elif flags & Flags.FIN and seq + len(segment.payload) + 1 == self._next:
            self._ack_due = True
            self._expires = now + self._duration
        elif segment.payload or flags & Flags.FIN or seq != self._next:
            self._answer(now)

    def _answer(self, now: float) -> None:
        if self._challenge.allowed(now):
            self._ack_due = True

    def gives_way(self, segment: Segment) -> bool:
        """Whether a SYN begins a new connection, so that the owner is to forget this one and ask the listener (RFC
        6191 2).

        A newer timestamp says so; or timestamps where there were none, since old duplicates have none; else a higher
        sequence number.
        """
        if segment.flags & (Flags.SYN | Flags.ACK | Flags.RST) != Flags.SYN:
            return False
        timestamps = self._timestamps
        if self._takes_timestamps and segment.timestamp is not None:
            if not timestamps.enabled:
                return True
            if segment.timestamp[0] != timestamps.recent:
                return is_older(timestamps.recent, segment.timestamp[0])
        return near(segment.seq, self._next) > self._next

    def transmit(self, now: float) -> list[Segment]:
        """The ACK, when one is due."""
        if not self._ack_due:
            return []
        self._ack_due = False
        return [
            Segment(
                self.local[1],
                self.remote[1],
                self._sequence & SEQUENCE_MASK,
                self._next & SEQUENCE_MASK,
                Flags.ACK,
                self._window,
                timestamp=self._timestamps.option(now),
            )
        ]

    def deadline(self) -> float | None:
        """When it is over."""
        return self._expires if self.state is State.TIME_WAIT else None

    def tick(self, now: float) -> None:
        if now >= self._expires:
            self.state = State.CLOSED
