"""mac1, mac2 and the cookie (white paper, sections 5.3, 5.4.4 and 5.4.7): no cost for forged addresses.

mac1 proves that the sender knows our public key, mac2 that it receives at its source address: it is keyed with a cookie
that was sent there, sealed, and that changes with a secret every 120 s.
"""

from __future__ import annotations

from collections.abc import Callable

from userlan.tunnel import messages, primitives
from userlan.tunnel.constants import COOKIE_LATENCY, COOKIE_LIFETIME, KEY_SIZE, REKEY_TIMEOUT, REKEY_TIMEOUT_JITTER
from userlan.tunnel.endpoint import Buffer, Endpoint

_LABEL_MAC1 = b"mac1----"
_LABEL_COOKIE = b"cookie--"
_GRACE = REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER  # a cookie must live until the retry that it was sent for


def _address_of(source: Endpoint) -> bytes:
    return f"{source.transport} {source.host} {source.port}".encode()


class CookieChecker:
    """The receiver's side, for all peers: checks mac1 and mac2, makes cookie replies."""

    def __init__(self, public_key: bytes, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._mac1_key = primitives.blake2s(_LABEL_MAC1, public_key)
        self._cookie_key = primitives.blake2s(_LABEL_COOKIE, public_key)
        self._secret = b""
        self._previous_secret = b""
        self._secret_time = 0.0

    def mac1_valid(self, message: Buffer) -> bool:
        """Whether an initiation or response, its macs at its end, was made by someone who knows our public key."""
        body = memoryview(message)
        mac1 = primitives.keyed_mac(self._mac1_key, body[: -messages.MACS_SIZE])
        return primitives.equal(mac1, body[-messages.MACS_SIZE : -messages.MAC_SIZE])

    def mac2_valid(self, message: bytes, source: Endpoint, now: float) -> bool:
        """Whether the sender has received a cookie at its source address lately."""
        self._rotate(now)
        secrets = [self._secret]
        if now - self._secret_time < _GRACE and self._previous_secret:
            secrets.append(self._previous_secret)
        address = _address_of(source)
        body, mac2 = message[: -messages.MAC_SIZE], message[-messages.MAC_SIZE :]
        valid = False
        for secret in secrets:
            cookie = primitives.keyed_mac(secret, address)
            valid |= primitives.equal(primitives.keyed_mac(cookie, body), mac2)
        return valid

    def reply(self, message: bytes, source: Endpoint, now: float) -> bytes:
        """The cookie reply (64 bytes) to an initiation or response whose mac1 is valid."""
        self._rotate(now)
        cookie = primitives.keyed_mac(self._secret, _address_of(source))
        nonce = self._entropy(primitives.XNONCE_SIZE)
        mac1 = message[-messages.MACS_SIZE : -messages.MAC_SIZE]
        sealed = primitives.xseal(self._cookie_key, nonce, cookie, mac1)
        return messages.COOKIE_REPLY_BODY.pack(messages.TYPE_COOKIE_REPLY, message[4:8], nonce, sealed)

    def _rotate(self, now: float) -> None:
        if self._secret and now - self._secret_time < COOKIE_LIFETIME:
            return
        overdue = now - self._secret_time >= COOKIE_LIFETIME + _GRACE
        self._previous_secret = b"" if overdue else self._secret
        self._secret = self._entropy(KEY_SIZE)
        self._secret_time = now


class CookieHolder:
    """The sender's side, for one peer: adds mac1 and, while a cookie of the peer is held, mac2."""

    __slots__ = ("_cookie", "_cookie_key", "_cookie_time", "_mac1_key")

    def __init__(self, remote: bytes) -> None:
        self._mac1_key = primitives.blake2s(_LABEL_MAC1, remote)
        self._cookie_key = primitives.blake2s(_LABEL_COOKIE, remote)
        self._cookie = b""
        self._cookie_time = 0.0

    def add_macs(self, body: bytes, now: float) -> bytes:
        """The message complete: body, mac1, mac2 (zero without a cookie)."""
        with_mac1 = body + primitives.keyed_mac(self._mac1_key, body)
        if self._cookie and now - self._cookie_time < COOKIE_LIFETIME - COOKIE_LATENCY:
            return with_mac1 + primitives.keyed_mac(self._cookie, with_mac1)
        self._cookie = b""
        return with_mac1 + bytes(messages.MAC_SIZE)

    def consume_reply(self, reply: bytes, mac1: bytes, now: float) -> bool:
        """Keep the cookie of a reply (64 bytes) to the message of this mac1; False when it does not authenticate."""
        _, _, nonce, sealed = messages.COOKIE_REPLY_BODY.unpack(reply)
        cookie = primitives.xunseal(self._cookie_key, nonce, sealed, mac1)
        if cookie is None:
            return False
        self._cookie, self._cookie_time = cookie, now
        return True
