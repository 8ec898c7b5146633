"""One budget for the octets that all connections of a host buffer: not acknowledged, not read, out of order.

Theory
------
Windows and send buffers grow as far as their path needs (:mod:`.receive_window`, :class:`.sender.Sender`); that a
thousand connections do so at once must not be a thousand times the memory. Each may hold, and promise, up to what is
*free* (dynamic thresholds, Choudhury and Hahne, 1998)::

    share = max(FLOOR, limit - used)

So one busy connection gets half of the budget, two get a third each, n get limit/(n + 1): nobody has to count them, the
last part is never taken, and who comes later finds room. A share that falls stops growth: a window that was told is not
taken back (RFC 9293 3.8.6), its right edge only does not move any more, and ``send`` takes less. With nothing free at
all, every connection still has ``FLOOR``, so that none starves, and text beyond it that arrives in spite of that, since
it was promised before, is dropped: what is out of order first, whose sender has to keep it (RFC 2018 8).

What is out of order can be held by a peer alone, without a program that does not read: when memory is ``scarce``, the owner
drops it where the hole in front of it stays (``TcpDemux``).

Octets count for what holds them: a range out of order for ``RANGE_COST`` more, and a small part of a large segment is
copied (:func:`.send_buffer.owned`). What is counted lags behind by what one batch of segments brings, and the last
super-segment within ``FLOOR`` may be as long as it is.
"""

from __future__ import annotations

FLOOR = 16 * 1024
"""Octets that each connection may hold in each direction whatever others hold: a few segments, so that it moves."""


RANGE_COST = 256
"""Octets that a range out of order takes beside its own (objects of CPython): a peer could make ranges of one octet."""


class Memory:
    """``limit`` octets for all; ``used`` are held; ``share`` is what one connection may hold in one direction."""

    __slots__ = ("limit", "share", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.share = max(FLOOR, limit)

    def change(self, octets: int) -> None:
        """So many octets are held more, or (negative) less."""
        self.used += octets
        free = self.limit - self.used
        self.share = free if free > FLOOR else FLOOR

    @property
    def scarce(self) -> bool:
        """Less than an eighth is free."""
        return self.used * 8 > self.limit * 7

    @property
    def exhausted(self) -> bool:
        """Nothing is free."""
        return self.used >= self.limit


UNBOUNDED = Memory(1 << 62)
"""For a connection without a host: it counts and limits nothing that matters."""
