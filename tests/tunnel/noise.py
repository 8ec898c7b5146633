"""The Noise protocol framework, revision 34, straight from its text: an independent path to the handshake.

Only what IKpsk2 and NN with 25519, ChaChaPoly or AESGCM, and BLAKE2s need. Built on `cryptography` and `hmac` alone.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

PATTERNS: dict[str, tuple[list[str], list[list[str]]]] = {
    "NN": ([], [["e"], ["e", "ee"]]),
    "IKpsk2": (["s"], [["e", "es", "s", "ss"], ["e", "ee", "se", "psk"]]),
}

CIPHERS: dict[str, tuple[type[ChaCha20Poly1305] | type[AESGCM], Literal["little", "big"]]] = {
    "ChaChaPoly": (ChaCha20Poly1305, "little"),
    "AESGCM": (AESGCM, "big"),
}
"""Section 12.3 and 12.4: the cipher, and how it encodes the nonce after 32 zero bits."""


def encrypt(cipher: str, key: bytes, counter: int, data: bytes) -> bytes:
    """A transport message: ENCRYPT(k, n, "", plaintext)."""
    kind, order = CIPHERS[cipher]
    return kind(key).encrypt(bytes(4) + counter.to_bytes(8, order), data, b"")


def public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def exchange(private: bytes, remote: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(remote))


class Party:
    """One party of a handshake; static and ephemeral are private keys, remote_static the responder's public one."""

    def __init__(
        self,
        pattern: str,
        initiator: bool,
        prologue: bytes,
        static: bytes = b"",
        ephemeral: bytes = b"",
        remote_static: bytes = b"",
        psk: bytes = b"",
        cipher: str = "ChaChaPoly",
    ) -> None:
        name = f"Noise_{pattern}_25519_{cipher}_BLAKE2s".encode()
        self.cipher, self.order = CIPHERS[cipher]
        self.psk_mode = "psk" in pattern
        self.hash = name.ljust(32, b"\0") if len(name) <= 32 else hashlib.blake2s(name).digest()
        self.chain = self.hash
        self.key: bytes | None = None
        self.nonce = 0
        self.initiator, self.psk = initiator, psk
        self.local = {"s": static, "e": ephemeral}
        self.remote = {"s": remote_static, "e": b""}
        premessages, self.messages = PATTERNS[pattern]
        self.mix_hash(prologue)
        for _ in premessages:
            self.mix_hash(remote_static if initiator else public(static))

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.blake2s(self.hash + data).digest()

    def hkdf(self, data: bytes, count: int) -> list[bytes]:
        temporary = hmac.new(self.chain, data, hashlib.blake2s).digest()
        outputs: list[bytes] = []
        for number in range(1, count + 1):
            before = outputs[-1] if outputs else b""
            outputs.append(hmac.new(temporary, before + bytes([number]), hashlib.blake2s).digest())
        return outputs

    def mix_key(self, data: bytes) -> None:
        self.chain, self.key = self.hkdf(data, 2)
        self.nonce = 0

    def crypt(self, data: bytes, sealing: bool) -> bytes:
        if self.key is None:
            result = data
        else:
            nonce = bytes(4) + self.nonce.to_bytes(8, self.order)
            cipher = self.cipher(self.key)
            result = (cipher.encrypt if sealing else cipher.decrypt)(nonce, data, self.hash)
            self.nonce += 1
        self.mix_hash(result if sealing else data)
        return result

    def write(self, number: int, payload: bytes) -> bytes:
        message = b""
        for token in self.messages[number]:
            if token == "e":
                value = public(self.local["e"])
                message += value
                self.mix_hash(value)
                if self.psk_mode:
                    self.mix_key(value)
            elif token == "s":
                message += self.crypt(public(self.local["s"]), True)
            else:
                self.mix_token(token)
        return message + self.crypt(payload, True)

    def read(self, number: int, message: bytes) -> bytes:
        for token in self.messages[number]:
            if token == "e":
                self.remote["e"], message = message[:32], message[32:]
                self.mix_hash(self.remote["e"])
                if self.psk_mode:
                    self.mix_key(self.remote["e"])
            elif token == "s":
                size = 48 if self.key is not None else 32
                self.remote["s"], message = self.crypt(message[:size], False), message[size:]
            else:
                self.mix_token(token)
        return self.crypt(message, False)

    def mix_token(self, token: str) -> None:
        if token == "psk":
            self.chain, temporary, self.key = self.hkdf(self.psk, 3)
            self.nonce = 0
            self.mix_hash(temporary)
            return
        first, second = token[0], token[1]
        local, remote = (first, second) if self.initiator else (second, first)
        self.mix_key(exchange(self.local[local], self.remote[remote]))

    def split(self) -> list[bytes]:
        return self.hkdf(b"", 2)
