"""A port that waits for connections (RFC 9293 3.10.7.2), with a bounded number of half-open ones.

A SYN makes a connection in SYN-RECEIVED, which holds a place in the backlog until the handshake is complete or
``Config.half_open_timeout`` is over. When all places are taken, the oldest of the remote address that holds most of
them is given up: whoever floods loses places to those who do not. (A peer's address is authenticated by its tunnel;
that makes SYN cookies, which cost options, unnecessary.)
"""

from __future__ import annotations

from collections import Counter

from userlan.stack.tcp.config import Config
from userlan.stack.tcp.connection import Connection, Endpoint
from userlan.stack.tcp.handshake import take_syn
from userlan.stack.tcp.isn import InitialNumbers
from userlan.stack.tcp.resets import reset_reply
from userlan.stack.tcp.state import State
from userlan.wire.tcp import Flags, Segment

MAX_BACKLOG = 1024
"""Half-open connections of one listener, whatever is asked for: about 4 KB each."""


class Listener:
    """``local`` is the (address or None for every one, port) that it stands for; ``context`` is the owner's."""

    def __init__(
        self, local: tuple[bytes | None, int], config: Config, numbers: InitialNumbers, backlog: int = 128
    ) -> None:
        self.local = local
        self.config = config
        self.context: object = None
        self.counters: Counter[str] = Counter()
        self._limit = max(1, min(backlog, MAX_BACKLOG))
        self._numbers = numbers
        self._half_open: dict[tuple[Endpoint, Endpoint], Connection] = {}
        self._closed = False

    def __len__(self) -> int:
        """How many connections are half open."""
        return len(self._half_open)

    def segment_arrived(
        self, segment: Segment, local: Endpoint, remote: Endpoint, mtu: int, now: float
    ) -> Connection | Segment | None:
        """A segment to this port that belongs to no connection (RFC 9293 3.10.7.2).

        Returns a new connection, whose SYN-ACK is due and whose CONNECTED comes later; or the RST to answer with; or
        None.
        """
        flags = segment.flags
        if flags & Flags.RST:
            return None
        if flags & Flags.ACK or self._closed:
            return reset_reply(segment)
        if not flags & Flags.SYN:
            self.counters["no-syn"] += 1
            return None
        half_open = self._half_open
        if len(half_open) >= self._limit:
            self._evict()
        connection = Connection(local, remote, self.config, self._numbers.numbers(local, remote, now), mtu, now)
        connection.state = State.SYN_RECEIVED
        connection.sender.nxt = connection.initial + 1
        take_syn(connection, segment, now)
        connection.handshake_due = True
        connection.passive = True
        connection.listener = self
        half_open[local, remote] = connection
        return connection

    def left(self, connection: Connection) -> None:
        """A connection of this listener's is half open no more."""
        key = (connection.local, connection.remote)
        if self._half_open.get(key) is connection:
            del self._half_open[key]

    def _evict(self) -> None:
        half_open = self._half_open
        places = Counter(remote[0] for _, remote in half_open)
        heaviest = places.most_common(1)[0][0]
        victim = next(connection for (_, remote), connection in half_open.items() if remote[0] == heaviest)
        self.counters["backlog-full"] += 1
        victim.end("aborted")

    def close(self, now: float) -> None:
        """Listen no more: half-open connections are reset; those that are established go on."""
        self._closed = True
        for connection in list(self._half_open.values()):
            connection.abort(now)
