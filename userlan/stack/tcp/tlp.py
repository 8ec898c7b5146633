"""Tail loss probe (RFC 8985 7): when the last segments of a flight get no answer, one segment asks for one, long before
the retransmission timer.

A probe timeout (PTO) after the last transmission or ACK, the first unsent segment is sent, or without one the last
segment again. Its ACK tells by SACK what is missing, and RACK recovers it; when the probe itself filled the only hole,
that loss is recognized here, so that it counts as congestion (7.4).
"""

from __future__ import annotations

from userlan.stack.tcp.rtt import RttEstimator

MAX_ACK_DELAY = 0.2
"""Seconds: how long a peer may delay the ACK of a single segment (RFC 8985 7.2, TLP.max_ack_delay; Linux delays it
that long at most)."""

FIRST_PTO = 1.0
"""Seconds, before a round trip is known (RFC 8985 7.2)."""

MIN_PTO = 0.010
"""Seconds. On a LAN two round trips are less than a pause of an event loop; the probe would answer that (the drafts of
the loss probe had this bound)."""


class TailLossProbe:
    """TLP's variables (RFC 8985 7.1)."""

    __slots__ = ("_retransmission", "due", "end")

    def __init__(self) -> None:
        self.end: int | None = None
        """TLP.end_seq: SND.NXT when the probe left; None: none is out."""
        self.due = False
        """A probe is to leave."""
        self._retransmission = False
        """TLP.is_retrans."""

    @staticmethod
    def timeout(rtt: RttEstimator, flight: int, segment: int) -> float:
        """PTO (s), with ``flight`` octets outstanding (7.2)."""
        smoothed = rtt.smoothed
        if smoothed is None:
            return FIRST_PTO
        pto = 2 * smoothed
        if flight < 2 * segment:
            pto += MAX_ACK_DELAY
        return pto if pto > MIN_PTO else MIN_PTO

    def sent(self, nxt: int, retransmission: bool) -> None:
        """The probe left (7.3)."""
        self.due = False
        self.end = nxt
        self._retransmission = retransmission

    def cancel(self) -> None:
        """A timeout or a recovery makes the probe pointless."""
        self.due = False
        self.end = None

    def acknowledged(self, ack: int, advanced: bool, sacked: bool, duplicate: tuple[int, int] | None) -> bool:
        """Any ACK (7.4.2); ``sacked``: it has a SACK option, ``duplicate``: its D-SACK. True: the probe repaired a loss,
        which calls for a congestion response."""
        end = self.end
        if end is None or ack < end:
            return False
        if not self._retransmission or (duplicate is not None and duplicate[1] == end):
            self.end = None
        elif ack > end:
            self.end = None
            return True
        elif not advanced and not sacked:
            self.end = None
        return False
