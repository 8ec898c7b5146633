"""What the host refuses to do for its own program (never raised by anything that a peer sends)."""

from __future__ import annotations

ADDRESS_IN_USE = "address-in-use"
NO_ADDRESS = "no-address"
NO_HOST = "no-host"
NO_PORT = "no-port"
TOO_MANY = "too-many"
TOO_LONG = "too-long"
NOT_CONNECTED = "not-connected"
CLOSED = "closed"
NOT_A_GROUP = "not-a-group"
NOT_A_MEMBER = "not-a-member"
"""Values of ``StackError.reason``."""


class StackError(OSError):
    """A call that cannot be carried out. ``reason`` is one of the slugs above; ``str(error)`` is one clear line."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
