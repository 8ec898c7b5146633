"""Whether the last reduction of the window had a reason: Eifel by timestamps (RFC 3522) and D-SACK (RFC 3708). The
response is RFC 4015's, in :mod:`.recovery`; F-RTO (RFC 5682), the third way, is in :mod:`.frto`.

- Eifel: the first ACK that advances after a retransmission echoes a timestamp of before it. So it answers the original,
  which was late and not lost.
- D-SACK: every octet that was sent again in the episode is reported as a duplicate. So all originals had arrived, or
  what is reported missing was only late.

Both are cheap and complete each other: Eifel is the faster one, D-SACK needs no timestamps.
"""

from __future__ import annotations


class Undo:
    """What was sent again since the last reduction."""

    __slots__ = ("_left", "_reduced_at", "_retransmitted", "_right")

    def __init__(self) -> None:
        self._reduced_at: float | None = None
        """For Eifel, until the first ACK that advances."""
        self._left = self._right = 0
        self._retransmitted = 0
        """Octets sent again and not reported as duplicates."""

    def begin(self, una: int, nxt: int, now: float) -> None:
        """The window is reduced with these positions in flight."""
        self._reduced_at = now
        self._left, self._right = una, nxt
        self._retransmitted = 0

    def again(self, octets: int) -> None:
        """Octets of the episode were sent again."""
        self._retransmitted += octets

    def end(self) -> None:
        """It is decided, or the reduction counts in any case."""
        self._reduced_at = None
        self._left = self._right = 0
        self._retransmitted = 0

    def by_echo(self, echo_sent_at: float | None) -> bool:
        """An ACK advanced; the latest that what it echoes can have been sent is ``echo_sent_at`` (RFC 3522 3.2)."""
        reduced_at, self._reduced_at = self._reduced_at, None
        return reduced_at is not None and echo_sent_at is not None and echo_sent_at < reduced_at

    def by_duplicate(self, left: int, right: int) -> bool:
        """The octets from ``left`` to ``right`` came twice: True when they were the last of those sent again (RFC 3708
        3)."""
        left, right = max(left, self._left), min(right, self._right)
        if left >= right or not self._retransmitted:
            return False
        self._retransmitted -= min(right - left, self._retransmitted)
        return not self._retransmitted
