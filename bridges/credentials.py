"""A user and a password, compared so that the time taken tells nothing."""

from __future__ import annotations

import base64
import binascii
import hmac

MAX_CREDENTIAL = 255
"""Bytes of a user name or password (RFC 1929, section 2: one byte holds the length)."""


class Credentials:
    """What a client of the proxy must present."""

    def __init__(self, user: str, password: str) -> None:
        """ValueError when one of them is empty or longer than 255 bytes, or the user name holds a colon (RFC 7617,
        section 2)."""
        self.user = user.encode()
        self.password = password.encode()
        if not (1 <= len(self.user) <= MAX_CREDENTIAL and 1 <= len(self.password) <= MAX_CREDENTIAL):
            raise ValueError(f"user and password must have 1 to {MAX_CREDENTIAL} bytes each")
        if b":" in self.user:
            raise ValueError("the user name must not hold a colon: HTTP could not carry it")

    def match(self, user: bytes, password: bytes) -> bool:
        """Whether both are right."""
        right_user = hmac.compare_digest(user, self.user)
        right_password = hmac.compare_digest(password, self.password)
        return right_user and right_password

    def match_basic(self, value: bytes) -> bool:
        """Whether the value of a ``Proxy-Authorization`` header is right (RFC 7617)."""
        scheme, _, token = value.partition(b" ")
        if scheme.lower() != b"basic":
            return False
        try:
            user, colon, password = base64.b64decode(token.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        return bool(colon) and self.match(user, password)
