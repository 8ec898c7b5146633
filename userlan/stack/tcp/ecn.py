"""Explicit congestion notification (RFC 3168): routers mark packets instead of dropping them, and the peer tells.

::

    data with ECT(0) ──▶ router: queue grows ──▶ CE ──▶ receiver: ECE in every ACK, until CWR comes
    sender: reduces once for a window, as for a loss ◀── ECE
            CWR in the next new data ──────────────────▶ receiver: ECE ends

Agreed on when the SYN has ECE and CWR and the SYN-ACK has ECE alone (6.1.1; both set are what a broken host reflects).
A SYN that was not answered is sent again without (6.1.1.1), and then ECN is off, as it is when any SYN of the peer came
without. ECT(0) is on new data alone: not on SYNs, bare ACKs, RSTs, what is sent again (6.1.5) and window probes (6.1.6). RFC
8311 4.3 allows more to experiments; none of them is run here, and one response serves both losses and marks, as RFC
8311 4.1 lets it be.
"""

from __future__ import annotations

from userlan.wire.tcp import Flags

ECT0 = 2
CE = 3
"""Codepoints of the IP header (RFC 3168 5)."""

SETUP = Flags.ECE | Flags.CWR


class Ecn:
    """One connection's."""

    __slots__ = ("echo", "enabled")

    def __init__(self) -> None:
        self.enabled = False
        """Both ends agreed."""
        self.echo = False
        """CE came and CWR did not yet: every segment that leaves has ECE."""

    def asked(self, flags: int, wanted: bool) -> None:
        """A SYN without ACK, the first or another one."""
        self.enabled = wanted and flags & SETUP == SETUP

    def answered(self, flags: int, wanted: bool) -> None:
        """A SYN-ACK; ``wanted``: all of our SYNs asked for ECN."""
        self.enabled = wanted and flags & SETUP == Flags.ECE

    def arrived(self, flags: int, codepoint: int, data: bool) -> bool:
        """An acceptable segment (6.1.3). True: congestion was met for the first time, which is to be told at once."""
        before = self.echo
        if flags & Flags.CWR and data:
            self.echo = before = False
        if codepoint == CE and data:
            self.echo = True
        return self.echo and not before
