"""The two AEADs that a handshake and its session may use, and all that depends on the choice.

`CHACHA20_POLY1305` is WireGuard's own. `AES_256_GCM` is the same handshake under another Noise protocol name, between own nodes whose
processors have the instructions for it. Either name is hashed into the transcript first of all, so that no message of one suite
authenticates in the other, whatever its type says. Both may share the static keys, since they share the hash (Noise, revision 34,
section 14, static key reuse), the pre-shared keys, and one sequence of timestamps: what was said in one suite is a replay in the other.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from userlan.tunnel import messages, primitives
from userlan.tunnel.constants import (
    REJECT_AFTER_GCM_MESSAGES,
    REJECT_AFTER_MESSAGES,
    REKEY_AFTER_GCM_MESSAGES,
    REKEY_AFTER_MESSAGES,
)
from userlan.tunnel.primitives import CipherMaker

IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"


class Suite(NamedTuple):
    """One AEAD. Made by `_suite`; the same for every session.

    name: as `status` and members say it. types: of its messages. cipher: one direction from its 32-byte key. byteorder: of the 64-bit
    counter in the nonce (Noise, section 12) and in the message, so that the nonce is 4 zero bytes and the field as it travels.
    initial_chain, initial_hash: white paper, section 5.4.2. rekey_after, reject_after: messages sealed with one key.
    """

    name: str
    types: messages.Types
    cipher: CipherMaker
    byteorder: Literal["little", "big"]
    initial_chain: bytes
    initial_hash: bytes
    rekey_after: int
    reject_after: int


def _suite(
    name: str,
    types: messages.Types,
    cipher: CipherMaker,
    byteorder: Literal["little", "big"],
    construction: bytes,
    limits: tuple[int, int],
) -> Suite:
    chain = primitives.blake2s(construction)
    return Suite(name, types, cipher, byteorder, chain, primitives.blake2s(chain, IDENTIFIER), *limits)


CHACHA20_POLY1305 = _suite(
    "chacha20-poly1305",
    messages.CHACHA_TYPES,
    primitives.CHACHA20_POLY1305,
    "little",
    b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
    (REKEY_AFTER_MESSAGES, REJECT_AFTER_MESSAGES),
)
AES_256_GCM = _suite(
    "aes-256-gcm",
    messages.AES_TYPES,
    primitives.AES_256_GCM,
    "big",
    b"Noise_IKpsk2_25519_AESGCM_BLAKE2s",
    (REKEY_AFTER_GCM_MESSAGES, REJECT_AFTER_GCM_MESSAGES),
)
SUITES = (CHACHA20_POLY1305, AES_256_GCM)
