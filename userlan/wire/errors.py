"""The one exception that the parsers of this package raise."""

from __future__ import annotations


class WireError(ValueError):
    """Bytes that are not what they claim to be.

    `reason` is a short slug ("ipv4-truncated") that serves as the name of a counter; `str(error)` is one clear line.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
