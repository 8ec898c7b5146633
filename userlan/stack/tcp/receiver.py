"""The receiving half of a connection: RCV.NXT, what arrived, the window, and when an ACK is due.

::

    irs    what was read     readable        RCV.NXT            advertised (right edge, never moves left)
     |-------------------|------------------|---[==]----[=]----|
                                             out of order         window = advertised - RCV.NXT

When an ACK is due (RFC 9293 3.8.6.3, RFC 5681 4.2): at once for two full segments or more, for what is out of order
or fills a gap, for octets that had arrived already, for a FIN, and for the end of a burst (PSH) when nothing was sent
lately on which it could ride; else after ``Config.delayed_ack``. "At once" means in the next ``transmit``: one ACK
for a batch.
"""

from __future__ import annotations

from math import inf

from userlan.stack.tcp.config import Config
from userlan.stack.tcp.memory import FLOOR, UNBOUNDED
from userlan.stack.tcp.reassembly import Reassembly
from userlan.stack.tcp.receive_buffer import ReceiveBuffer
from userlan.stack.tcp.receive_window import ReceiveWindow
from userlan.stack.tcp.send_buffer import Buffer, owned

MAX_WINDOW_FIELD = 65_535
"""The window field has 16 bits (RFC 9293 3.1)."""

MAX_SCALE = 14
"""RFC 7323 2.3."""

UPDATE = 128 * 1024
"""Octets: reading so many, or half a smaller window, is told at once; less would cost an ACK for every chunk."""

INTERACTIVE = 0.200
"""Seconds: data was sent so lately that an answer is likely soon, on which the ACK can ride."""


def window_shift(window: int) -> int:
    """The smallest window scale that can express ``window`` octets (RFC 7323 2.3)."""
    shift = 0
    while shift < MAX_SCALE and (MAX_WINDOW_FIELD << shift) < window:
        shift += 1
    return shift


class Receiver:
    """RFC 9293's RCV variables with their buffers. Positions are unwrapped."""

    __slots__ = (
        "_last_sent_at",
        "_unacknowledged",
        "ack_at",
        "ack_now",
        "ack_sent",
        "advertised",
        "buffer",
        "closed",
        "config",
        "consumed",
        "duplicates_due",
        "fin_at",
        "finished",
        "initial",
        "memory",
        "next",
        "reassembly",
        "sample_after",
        "scale",
        "scaled",
        "segment",
        "window",
    )

    def __init__(self, config: Config) -> None:
        self.config = config
        self.initial = 0
        """The position of the peer's SYN."""
        self.next = 0
        self.advertised = 0
        self.ack_sent = 0
        """Last.ACK.sent of RFC 7323 4.3."""
        self.scale = 0
        self.scaled = False
        """Both SYNs had the window scale option."""
        self.sample_after = 0.0
        self.segment = 536
        """The largest segment that came in, which is taken for the peer's (RFC 1122 4.2.2.6 gives the start)."""
        self.buffer = ReceiveBuffer()
        self.reassembly = Reassembly(config.reassembly_ranges)
        self.window = ReceiveWindow(config.receive_window, config.receive_window_max)
        self.memory = UNBOUNDED
        self.consumed = 0
        self.ack_now = False
        self.ack_at = inf
        self.duplicates_due = 0
        self.fin_at: int | None = None
        """The position of the peer's FIN, when it has been seen."""
        self.finished = False
        """The FIN has been reached: nothing follows."""
        self.closed = False
        """The application does not read any more."""
        self._unacknowledged = 0
        self._last_sent_at = -inf

    def start(self, initial: int, scaled: bool) -> None:
        """The peer's SYN with this position arrived; ``scaled``: windows that are told from now on are shifted."""
        if not scaled:
            self.window.bound(MAX_WINDOW_FIELD)
        self.initial = initial
        self.next = self.ack_sent = initial + 1
        self.advertised = self.next + min(self.limit, MAX_WINDOW_FIELD)
        self.scaled = scaled
        self.scale = window_shift(self.config.receive_window_max) if scaled else 0

    @property
    def limit(self) -> int:
        """Octets that may be buffered or under way to here: what the path needs, within the host's memory."""
        limit, share = self.window.limit, self.memory.share
        return limit if limit < share else share

    def has_memory(self) -> bool:
        """Whether segment text may be kept. With the host's memory exhausted only a little: then what is out of order
        goes first, and what was promised is dropped rather than kept (RFC 2018 8; the peer still has it)."""
        if not self.memory.exhausted or self.buffer.length + self.reassembly.length < FLOOR:
            return True
        self.reassembly.clear()
        return self.buffer.length < FLOOR

    def acceptable(self, start: int, length: int) -> bool:
        """The four cases of RFC 9293 3.10.7.4, first; ``length`` counts SYN and FIN.

        Beyond the letter of the RFC, a segment that begins before the window and ends behind it is acceptable too.
        """
        following = self.next
        edge = self.advertised
        if length == 0:
            return start == following or following <= start < edge
        if edge == following:
            return False
        return start < edge and start + length > following

    def take(self, start: int, data: Buffer, unit: int, now: float, push: bool) -> bool:
        """Segment text that passed the acceptability test, in wire segments of ``unit`` octets. True: octets became
        readable.

        It is trimmed to the window here; an ACK becomes due.
        """
        size = len(data)
        following = self.next
        if self.fin_at is not None and start + size > self.fin_at:
            size = max(0, self.fin_at - start)
            data = memoryview(data)[:size]
            self.ack_now = True
            if not size:
                return False
        if unit > self.segment:
            self.segment = min(unit, self.config.max_mss)
        if start != following:
            trimmed = self._trim(start, data)
            if trimmed is None:
                return False
            start, data = trimmed
            size = len(data)
        elif size > self.advertised - following:
            size = self.advertised - following
            data = owned(memoryview(data)[:size])
            self.ack_now = True
        if self.reassembly:
            self._fill(data, following + size)
            self.ack_now = True
        else:
            self.buffer.append(data)
            self.next = following + size
        self._unacknowledged += size
        if self.ack_now:
            return True
        if self._unacknowledged >= 2 * self.segment or (push and now - self._last_sent_at > INTERACTIVE):
            self.ack_now = True
        elif self.ack_at == inf:
            self.ack_at = now + self.config.delayed_ack
        return True

    def _fill(self, data: Buffer, end: int) -> None:
        """Octets at RCV.NXT, up to ``end``, while others lie behind it: what is there already is kept."""
        view = memoryview(data)
        reassembly = self.reassembly
        while self.next < end:
            stop = min(end, reassembly.start) if reassembly else end
            following = view[len(view) - (end - self.next) :]
            self.buffer.append(owned(following[: stop - self.next]))
            self.next = stop
            for chunk in reassembly.advance(stop):
                self.buffer.append(chunk)
                self.next += len(chunk)

    def _trim(self, start: int, data: Buffer) -> tuple[int, Buffer] | None:
        """Cut off what arrived before and what lies beyond the window; keep what is out of order. None: nothing is in
        order."""
        self.ack_now = True
        view = memoryview(data)
        following = self.next
        end = start + len(view)
        if start < following:
            self.reassembly.duplicate = (start, min(end, following))
            if end <= following:
                return None
            view = view[following - start :]
            start = following
        if end > self.advertised:
            view = view[: self.advertised - start]
        if not len(view):
            return None
        part = owned(view) if len(view) < len(data) else data
        if start == following:
            return start, part
        self.reassembly.insert(start, part)
        return None

    def note_fin(self, position: int) -> None:
        """A FIN stands at ``position``. The first one counts, and only behind everything that arrived (RFC 9293
        3.10.7.4)."""
        if self.fin_at is None and position >= max(self.next, self.reassembly.end):
            self.fin_at = position

    def reached_fin(self) -> bool:
        """Whether RCV.NXT has come to the FIN; it then moves over it, once."""
        if self.finished or self.fin_at is None or self.next < self.fin_at:
            return False
        self.next = self.fin_at + 1
        self.advertised = max(self.advertised, self.next)
        self.finished = True
        self.reassembly.clear()
        self.ack_now = True
        return True

    def read(self, limit: int) -> Buffer:
        """Take octets for the application; an ACK becomes due when the window opens enough to be worth telling."""
        data = self.buffer.take(limit)
        size = len(data)
        if size:
            self.consumed += size
            if not self.ack_now and not self.finished:
                limit = self.limit
                opened = self.next + limit - self.buffer.length - self.advertised
                remaining = self.advertised - self.next
                small = min(self.segment, limit // 2)
                if opened >= min(UPDATE, limit // 2) or (remaining < small and opened >= small):
                    self.ack_now = True
        return data

    def window_field(self, now: float) -> int:
        """The window to tell in a segment that is sent now; the right edge moves to it.

        The edge moves by a segment, or half the window, at least (RFC 9293 3.8.6.2.2), and never back (3.8.6) by more
        than the scale's rounding; what was told remains acceptable.
        """
        self.window.consumed(self.consumed, self.next + self.reassembly.length, now)
        limit = self.limit
        edge = self.next + limit - self.buffer.length
        if edge - self.advertised < min(self.segment, limit // 2):
            edge = self.advertised
        room = edge - self.next
        scale = self.scale
        field = room >> scale
        if field > MAX_WINDOW_FIELD:
            field = MAX_WINDOW_FIELD
        told = self.next + (field << scale)
        if told > self.advertised:
            self.advertised = told
        return field

    def ack_was_sent(self) -> None:
        """A segment with the present RCV.NXT left: nothing is due any more."""
        self.ack_now = False
        self.ack_at = inf
        self.ack_sent = self.next
        self._unacknowledged = 0

    def data_was_sent(self, now: float) -> None:
        self._last_sent_at = now

    def discard(self) -> None:
        """The application will not read: forget what is here."""
        self.closed = True
        self.buffer.clear()
        self.reassembly.clear()
