"""Proportional rate reduction (RFC 6937): how much may be sent in fast recovery for each ACK.

While more is in flight than the threshold, ``threshold / RecoverFS`` octets leave for each octet delivered, so that at
the end of the episode the threshold is in flight, without a pause of half a round trip and without a burst. When less is
in flight (many losses, or an application without data), what was delivered is replaced: by no more than that when
the ACK tells of further losses (CRB), and by up to a segment more for each ACK when it advances and tells of none
(SSRB). RFC 6937 3 leaves the choice of bound open; an ACK that is good news is what RFC 9937 and Linux go by.
"""

from __future__ import annotations


class Prr:
    """One episode's counts, in octets."""

    __slots__ = ("_delivered", "_flight", "_out")

    def __init__(self) -> None:
        self._delivered = 0
        """prr_delivered."""
        self._out = 0
        """prr_out."""
        self._flight = 1
        """RecoverFS."""

    def begin(self, flight: int) -> None:
        """Fast recovery begins with ``flight`` octets between SND.UNA and SND.NXT."""
        self._delivered = self._out = 0
        self._flight = max(flight, 1)

    def sent(self, octets: int) -> None:
        """New or lost octets left."""
        self._out += octets

    def allowance(self, delivered: int, pipe: int, threshold: int, segment: int, good: bool) -> int:
        """sndcnt: the octets that may leave now. ``delivered`` by this ACK; ``good``: it advances, and tells of no
        loss."""
        self._delivered += delivered
        if pipe > threshold:
            allowed = -(-self._delivered * threshold // self._flight) - self._out
        else:
            allowed = self._delivered - self._out
            if good:
                allowed = max(allowed, delivered) + segment
            allowed = min(threshold - pipe, allowed)
        return allowed if allowed > 0 else 0
