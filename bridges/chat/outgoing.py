"""A connection by which messages are brought to a member, sans-IO.

::

    greeting ── hello of the other ──▶ open: offer(messages) ──▶ taken ──▶ Delivered
        │                                │                   └─▶ refused ─▶ Rejected
        └── HELLO_TIMEOUT                └── ANSWER_TIMEOUT without an answer, IDLE_TIMEOUT with nothing to ask, no frame ──▶ Cut

At most ``WINDOW`` messages are without an answer. Only the recipient can answer here, and only for what was offered to him in this
connection: any other answer is passed over.
"""

from __future__ import annotations

from typing import NamedTuple

from bridges.chat.frames import VERSION, FrameError, Hello, Lines, Refused, Taken, Text, decode, encode
from bridges.chat.incoming import HELLO_TIMEOUT, Cut, Send
from bridges.chat.records import Message, network_of

WINDOW = 32
"""Messages without an answer: half of what a recipient takes before the disk has them."""

ANSWER_TIMEOUT = 90.0
"""Seconds without any answer while some are owed: a window of the longest messages at the rate that is allowed takes 60."""

STALLED = 3.0
"""Seconds without any answer after which a connection is given up when there is a new way to the member: TCP would wait for its own
timer, a minute at the worst."""

IDLE_TIMEOUT = 300.0
"""Seconds that a connection with nothing to ask is kept for what comes next."""

MAX_UNASKED = 256
"""Frames of one connection that answer nothing: a later version's, or a babbler's, which is cut."""


class Opened(NamedTuple):
    """Messages can be offered."""


class Delivered(NamedTuple):
    """The recipient has it on its disk."""

    seq: int


class Rejected(NamedTuple):
    """The recipient does not take it."""

    seq: int
    reason: str


Effect = Send | Cut | Opened | Delivered | Rejected


class Outgoing:
    """See the module."""

    def __init__(self, now: float) -> None:
        self._lines = Lines()
        self._open = False
        self._over = False
        self._asked: dict[str, int] = {}
        self._unasked = 0
        self._deadline = now + HELLO_TIMEOUT
        self._answered = now

    @property
    def room(self) -> int:
        """Messages that may be offered now."""
        return WINDOW - len(self._asked) if self._open and not self._over else 0

    @property
    def idle(self) -> bool:
        """Whether no answer is owed."""
        return self._open and not self._asked

    def stalled(self, now: float) -> bool:
        """Whether answers are owed and none has come for a while."""
        return (bool(self._asked) or not self._open) and now - self._answered >= STALLED

    def start(self) -> list[Effect]:
        """The connection is there."""
        return [Send(encode(Hello(VERSION)))]

    def offer(self, messages: list[Message], wall: float, now: float) -> list[Effect]:
        """Not more than there is ``room``; ``wall``: wall seconds."""
        if not messages:
            return []
        if not self._asked:
            self._answered = now
        frames = []
        for message in messages:
            self._asked[message.id] = message.seq
            frames.append(
                encode(Text(message.id, message.text, network_of(message.conversation), max(0.0, wall - message.time)))
            )
        self._deadline = self._answered + ANSWER_TIMEOUT
        return [Send(b"".join(frames))]

    def receive(self, data: bytes, now: float) -> list[Effect]:
        """More has arrived."""
        effects: list[Effect] = []
        try:
            self._lines.feed(data)
            while not self._over and (line := self._lines.take()) is not None:
                effects += self._handle(line, now)
        except FrameError as error:
            effects += self._cut(str(error))
        return effects

    def deadline(self) -> float | None:
        """When ``tick`` is due."""
        return None if self._over else self._deadline

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        if self._over or now < self._deadline:
            return []
        return self._cut("" if self.idle else "no answer came in time")

    def _handle(self, line: bytes, now: float) -> list[Effect]:
        frame = decode(line)
        if not self._open:
            if not isinstance(frame, Hello):
                raise FrameError("the first frame is no hello")
            self._open, self._answered, self._deadline = True, now, now + IDLE_TIMEOUT
            return [Opened()]
        seq = self._asked.pop(frame.id, None) if isinstance(frame, Taken | Refused) else None
        if seq is None:
            self._unasked += 1
            if self._unasked > MAX_UNASKED:
                raise FrameError("more answers than were asked for")
            return []
        self._answered = now
        self._deadline = now + (ANSWER_TIMEOUT if self._asked else IDLE_TIMEOUT)
        return [Rejected(seq, frame.reason) if isinstance(frame, Refused) else Delivered(seq)]

    def _cut(self, reason: str) -> list[Effect]:
        self._over = True
        return [Cut(reason)]
