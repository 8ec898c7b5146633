"""One control connection: messages in at a bounded rate, messages out with a bounded queue."""

from __future__ import annotations

import enum
from typing import NamedTuple

from userlan.control.frames import Undecodable, encode, mediator_framer
from userlan.control.messages import MAX_DOCUMENT, Message
from userlan.control.vocabulary import FromNode
from userlan.mediator.limits import Limits, TokenBucket
from userlan.stack.tcp.connection import Connection

#: Octets taken from a connection at once; what they decode to is all that waits for its turn.
READ_SIZE = 16 * 1024
#: Octets of the greatest message of a node that greeted: an eviction with its frame.
MAX_MESSAGE = MAX_DOCUMENT + 1024

#: Octets offered to a connection at once.
WRITE_SIZE = 64 * 1024
#: Octets that wait for a session's connection from which on its requests wait too: who does not read gets no answers.
HIGH_WATER = 64 * 1024


class Phase(enum.Enum):
    """Where a session stands."""

    GREETING = "greeting"  # connected, ``Hello`` is awaited
    READY = "ready"  # greeted
    ENDED = "ended"  # closed, aborted or superseded


class Untold(NamedTuple):
    """A network whose state a session has still to be told. ``known``: serial of the newest eviction it knows."""

    network: str
    evicted: bool
    known: int


class Session:
    """The control connection of one key.

    A session that sends faster than ``limits.message_rate`` is read more slowly: its TCP window fills and closes, so a
    flood costs its sender, and the others nothing.
    """

    __slots__ = (
        "_bucket",
        "_framer",
        "_outgoing",
        "_pending",
        "_rubbish",
        "connection",
        "key",
        "opened",
        "phase",
        "ping_sent",
        "ping_token",
        "stalled",
        "untold",
    )

    def __init__(self, key: bytes, connection: Connection, limits: Limits, now: float) -> None:
        self.key = key
        self.connection = connection
        self.phase = Phase.GREETING
        self.opened = now
        #: Token of the ping that is under way (0: none) and when it left.
        self.ping_token = 0
        self.ping_sent = 0.0
        #: Whether ``next_message`` waits until the connection has taken what is ``waiting``.
        self.stalled = False
        #: The next one last. Told as the connection takes it: a login to 64 full networks must not lie in memory.
        self.untold: list[Untold] = []
        self._framer = mediator_framer(limits.greeting_frame)
        self._pending: list[FromNode | Undecodable] = []  # the next one last; a deque costs 600 octets
        self._outgoing = bytearray()
        self._bucket = TokenBucket(limits.message_rate, limits.message_burst, now)
        self._rubbish = TokenBucket(limits.rubbish_rate, limits.rubbish_burst, now)

    def greeted(self) -> None:
        """``Hello`` was accepted: longer messages are let in."""
        self.phase = Phase.READY
        self._framer.limit = MAX_MESSAGE

    def next_message(self, now: float) -> FromNode | Undecodable | None:
        """The next message whose turn it is; None: nothing has come, it is too fast (``resume_at``), or does not read.

        Raises:
            ControlError: the framing is broken; the session has to be aborted.
        """
        self.stalled = self.crowded
        if self.stalled:
            return None
        while not self._pending:
            data = self.connection.receive(READ_SIZE)
            if not data:
                return None
            self._pending = self._framer.feed(data)[::-1]
        if not self._bucket.take(now):
            return None
        return self._pending.pop()

    def resume_at(self, now: float) -> float | None:
        """When ``next_message`` goes on with what waits; None when nothing waits, or for room in the connection."""
        return self._bucket.ready_at(now) if self._pending and not self.crowded else None

    def rubbish(self, now: float) -> bool:
        """Counts a frame that held no message; False when there were too many."""
        return self._rubbish.take(now)

    def send(self, message: Message) -> None:
        """Queues a message; ``flush`` lets it out."""
        self.send_frame(encode(message))

    def send_frame(self, frame: bytes) -> None:
        """Queues a message that is encoded already, as it is when it goes to many; ``flush`` lets it out."""
        if self.phase is not Phase.ENDED:
            self._outgoing += frame

    def flush(self, now: float) -> None:
        """Hands the connection what it takes; offers more than that, so that it tells when there is room again."""
        while self._outgoing and self.phase is not Phase.ENDED:
            offered = bytes(self._outgoing[:WRITE_SIZE])
            taken = self.connection.send(offered, now)
            del self._outgoing[:taken]
            if taken < len(offered):
                return

    @property
    def crowded(self) -> bool:
        """Whether so much waits for the connection that nothing but pushes is added."""
        return len(self._outgoing) > HIGH_WATER

    @property
    def waiting(self) -> int:
        """Octets that the connection has not taken yet."""
        return len(self._outgoing)

    def close(self, now: float) -> None:
        """An orderly end: what the connection took is still delivered, then its FIN."""
        if self.phase is not Phase.ENDED:
            self.flush(now)
            self._end()
            self.connection.shutdown(now)

    def abort(self, now: float) -> None:
        """A hard end: RST, nothing more is delivered."""
        if self.phase is not Phase.ENDED:
            self._end()
            self.connection.abort(now)

    def _end(self) -> None:
        self.phase = Phase.ENDED
        self._pending.clear()
        self.untold.clear()
        self._outgoing = bytearray()
