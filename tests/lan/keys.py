"""Keys and entropy for the tests of the LAN: the same in every run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from nacl import bindings


def entropy(seed: str = "") -> Callable[[int], bytes]:
    """A source of bytes that gives the same sequence in every run."""
    count = 0

    def take(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{seed}/{count}".encode()).digest(size)

    return take


def private(name: str) -> bytes:
    """The X25519 private key of a node."""
    return hashlib.blake2b(name.encode(), digest_size=32).digest()


def public(name: str) -> bytes:
    """The X25519 public key of a node."""
    return bytes(bindings.crypto_scalarmult_base(private(name)))
