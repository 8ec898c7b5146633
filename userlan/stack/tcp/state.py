"""The states of a connection (RFC 9293 3.3.2) and the events that it reports."""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    """RFC 9293 3.3.2. LISTEN has no connection here: see :class:`userlan.stack.tcp.listener.Listener`."""

    CLOSED = "CLOSED"
    LISTEN = "LISTEN"
    SYN_SENT = "SYN-SENT"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN-WAIT-1"
    FIN_WAIT_2 = "FIN-WAIT-2"
    CLOSE_WAIT = "CLOSE-WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST-ACK"
    TIME_WAIT = "TIME-WAIT"

    __hash__ = object.__hash__
    """By identity: Enum's own is written in Python, and sets of states are asked for every segment."""


class Events:
    """Bits of :meth:`userlan.stack.tcp.connection.Connection.take_events`."""

    CONNECTED: Final = 1
    """The handshake is complete."""
    READABLE: Final = 2
    """Octets arrived that can be received."""
    WRITABLE: Final = 4
    """There is room again after ``send`` took less than it was offered."""
    EOF: Final = 8
    """The peer's FIN arrived; the stream ends with the octets that are already readable."""
    URGENT: Final = 32
    """The peer marked octets as urgent, further than was known; see ``Connection.urgent_left``."""
    CLOSED: Final = 16
    """The connection is over, see ``error``; octets that are readable stay so. Comes once, and last."""


HANDSHAKE = frozenset({State.SYN_SENT, State.SYN_RECEIVED})
"""Not synchronized yet."""

SENDING = frozenset({State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK})
"""Data or a FIN may be sent, or sent again."""

RECEIVING = frozenset({State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2})
"""Segment text is taken (RFC 9293 3.10.7.4, seventh)."""

OPEN_FOR_SENDING = frozenset({State.SYN_SENT, State.SYN_RECEIVED, State.ESTABLISHED, State.CLOSE_WAIT})
"""The application may still queue data."""
