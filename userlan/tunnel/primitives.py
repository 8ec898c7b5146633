"""The cryptographic primitives, and the only imports of cryptographic libraries.

X25519 (RFC 7748) and XChaCha20-Poly1305 come from libsodium by PyNaCl, ChaCha20-Poly1305 (RFC 8439) and AES-256-GCM (SP 800-38D) from
OpenSSL by `cryptography` (half of libsodium's cost a datagram), BLAKE2s (RFC 7693) from hashlib, HKDF (RFC 5869) is built on it.
Python cannot reliably erase keys: dropping the last reference is all that is done.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from nacl import bindings
from nacl.exceptions import CryptoError

from userlan.tunnel.constants import KEY_SIZE, TAG_SIZE
from userlan.tunnel.endpoint import Buffer

AuthenticationError = InvalidTag
"""What a cipher's decrypt() raises when the tag does not match."""

XNONCE_SIZE = 24  # bytes: XChaCha20's nonce
_ZERO_NONCE = bytes(12)
_ALL_ZERO = bytes(KEY_SIZE)


class LowOrderPointError(ValueError):
    """The public key has a low order: the shared secret is all zero and proves nothing (RFC 7748, section 6.1)."""


class Cipher(Protocol):
    """One direction of a session's AEAD: 12-byte nonce, 16-byte tag at the end; decrypt raises AuthenticationError."""

    def encrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None, /) -> bytes: ...

    def decrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None, /) -> bytes: ...


CipherMaker = Callable[[bytes], Cipher]
"""Makes one direction's cipher from its 32-byte key."""
CHACHA20_POLY1305: CipherMaker = ChaCha20Poly1305
AES_256_GCM: CipherMaker = AESGCM


def public_key(private: bytes) -> bytes:
    """The public key (32 bytes) of a private key (32 bytes, clamped when used)."""
    return bindings.crypto_scalarmult_base(private)


def shared_secret(private: bytes, public: bytes) -> bytes:
    """X25519; raises LowOrderPointError where the result would be all zero."""
    try:
        secret = bindings.crypto_scalarmult(private, public)
    except (CryptoError, RuntimeError) as error:
        raise LowOrderPointError("the public key has a low order") from error
    if hmac.compare_digest(secret, _ALL_ZERO):
        raise LowOrderPointError("the public key has a low order")
    return secret


def clamp(private: bytes) -> bytes:
    """A private key with the fixed bits of RFC 7748, section 5, as the wg tools show it."""
    return bytes([private[0] & 248]) + private[1:31] + bytes([private[31] & 127 | 64])


def blake2s(*parts: Buffer) -> bytes:
    """BLAKE2s, 32 bytes."""
    state = hashlib.blake2s()
    for part in parts:
        state.update(part)
    return state.digest()


def keyed_mac(key: bytes, *parts: Buffer) -> bytes:
    """Keyed BLAKE2s, 16 bytes: mac1, mac2 and the cookie."""
    state = hashlib.blake2s(key=key, digest_size=TAG_SIZE)
    for part in parts:
        state.update(part)
    return state.digest()


def equal(left: Buffer, right: Buffer) -> bool:
    """Comparison in constant time."""
    return hmac.compare_digest(left, right)


def derive(key: bytes, data: bytes, outputs: int) -> tuple[bytes, ...]:
    """HKDF with HMAC-BLAKE2s: `outputs` (1 to 3) keys of 32 bytes (white paper, section 5.4: KDF1 to KDF3)."""
    secret = hmac.digest(key, data, hashlib.blake2s)
    result: list[bytes] = []
    block = b""
    for number in range(1, outputs + 1):
        block = hmac.digest(secret, block + bytes((number,)), hashlib.blake2s)
        result.append(block)
    return tuple(result)


def seal(cipher: CipherMaker, key: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """An AEAD with nonce 0, as every key of the handshake is used once."""
    return cipher(key).encrypt(_ZERO_NONCE, plaintext, associated_data)


def unseal(cipher: CipherMaker, key: bytes, ciphertext: bytes, associated_data: bytes) -> bytes | None:
    """The plaintext, or None when the tag does not match."""
    try:
        return cipher(key).decrypt(_ZERO_NONCE, ciphertext, associated_data)
    except InvalidTag:
        return None


def xseal(key: bytes, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """XChaCha20-Poly1305 with a 24-byte nonce: the cookie reply."""
    return bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associated_data, nonce, key)


def xunseal(key: bytes, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes | None:
    """The plaintext, or None when the tag does not match."""
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, associated_data, nonce, key)
    except CryptoError:
        return None
