"""NewReno's window: halve on loss, a segment for each round trip (RFC 5681 3.1, RFC 6582)."""

from __future__ import annotations

from userlan.stack.tcp.congestion.control import CongestionControl


class NewReno(CongestionControl):
    """The interface's reduction by half, and additive increase."""

    __slots__ = ("_credit",)

    name = "newreno"

    def __init__(self, segment: int, initial_segments: int) -> None:
        super().__init__(segment, initial_segments)
        self._credit = 0
        """Octets acknowledged that did not make a whole octet of growth yet, times the segment."""

    def _avoid(self, octets: int, round_trip: float, now: float) -> None:
        """SMSS x octets / window for each ACK: one segment a round trip (RFC 5681 3.1, equation 3)."""
        grown, self._credit = divmod(self._credit + self.segment * octets, self.window)
        self.window += grown
