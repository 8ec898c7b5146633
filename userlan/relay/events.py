"""What a relay tells the program around it."""

from __future__ import annotations

from typing import NamedTuple


class PoolJoined(NamedTuple):
    """A mediator took the relay into its pool and told it the key of its grants, which is to be saved at once (``key`` of ``mediator``)."""

    mediator: bytes
    key: bytes


class PoolLost(NamedTuple):
    """The session with a mediator ended, or could not be had; it goes on by itself. ``reason``: one line for people."""

    mediator: bytes
    reason: str


class TimestampReserved(NamedTuple):
    """A new floor for the handshake's timestamps, to be saved at once."""

    value: bytes


RelayEvent = PoolJoined | PoolLost | TimestampReserved
