"""Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (white paper, sections 5.4.2 to 5.4.5): the two messages, without their macs.

With another suite than WireGuard's (`suites.py`) the AEAD, its part of the protocol's name and the messages' types are other ones.

Pure functions over values: the initiator's state lives from message 1 to message 2, the responder's for one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from userlan.tunnel import messages, primitives
from userlan.tunnel.suites import CHACHA20_POLY1305, Suite


class Identity:
    """The device's own static key pair."""

    __slots__ = ("private", "public")

    def __init__(self, private: bytes) -> None:
        self.private = private
        self.public = primitives.public_key(private)


class Keys(NamedTuple):
    """What a completed handshake yields: a key a direction, and the index each side chose (4 bytes as on the wire)."""

    send: bytes
    receive: bytes
    local_index: bytes
    remote_index: bytes
    initiator: bool


class InitiatorState(NamedTuple):
    """The initiator's state between message 1 and message 2."""

    suite: Suite
    remote: bytes
    local_index: bytes
    ephemeral: bytes
    chain: bytes
    transcript: bytes


class Opened(NamedTuple):
    """Message 1 as far as it goes without knowing the peer: who claims to have sent it."""

    suite: Suite
    remote: bytes
    remote_index: bytes
    ephemeral: bytes
    chain: bytes
    transcript: bytes
    sealed_timestamp: bytes


class Consumed(NamedTuple):
    """Message 1, authenticated: the responder's state for message 2."""

    suite: Suite
    remote: bytes
    remote_index: bytes
    ephemeral: bytes
    chain: bytes
    transcript: bytes
    timestamp: bytes


def create_initiation(
    identity: Identity,
    remote: bytes,
    static_secret: bytes,
    ephemeral: bytes,
    local_index: bytes,
    timestamp: bytes,
    suite: Suite = CHACHA20_POLY1305,
) -> tuple[bytes, InitiatorState]:
    """Message 1 without its macs (116 bytes), and the state that waits for message 2.

    static_secret: X25519 of both static keys. ephemeral: a fresh private key. Raises LowOrderPointError.
    """
    ephemeral_public = primitives.public_key(ephemeral)
    transcript = primitives.blake2s(suite.initial_hash, remote)
    transcript = primitives.blake2s(transcript, ephemeral_public)
    (chain,) = primitives.derive(suite.initial_chain, ephemeral_public, 1)
    chain, key = primitives.derive(chain, primitives.shared_secret(ephemeral, remote), 2)
    sealed_static = primitives.seal(suite.cipher, key, identity.public, transcript)
    transcript = primitives.blake2s(transcript, sealed_static)
    chain, key = primitives.derive(chain, static_secret, 2)
    sealed_timestamp = primitives.seal(suite.cipher, key, timestamp, transcript)
    transcript = primitives.blake2s(transcript, sealed_timestamp)
    body = messages.INITIATION_BODY.pack(
        suite.types.initiation, local_index, ephemeral_public, sealed_static, sealed_timestamp
    )
    return body, InitiatorState(suite, remote, local_index, ephemeral, chain, transcript)


def open_initiation(identity: Identity, message: bytes, suite: Suite = CHACHA20_POLY1305) -> Opened | None:
    """The sender's static key out of message 1 (148 bytes, mac1 checked); None when it does not authenticate.

    One Diffie-Hellman. Raises LowOrderPointError.
    """
    body = message[: messages.INITIATION_BODY.size]
    _, remote_index, ephemeral, sealed_static, sealed_timestamp = messages.INITIATION_BODY.unpack(body)
    transcript = primitives.blake2s(suite.initial_hash, identity.public)
    transcript = primitives.blake2s(transcript, ephemeral)
    (chain,) = primitives.derive(suite.initial_chain, ephemeral, 1)
    chain, key = primitives.derive(chain, primitives.shared_secret(identity.private, ephemeral), 2)
    remote = primitives.unseal(suite.cipher, key, sealed_static, transcript)
    if remote is None:
        return None
    transcript = primitives.blake2s(transcript, sealed_static)
    return Opened(suite, remote, remote_index, ephemeral, chain, transcript, sealed_timestamp)


def authenticate_initiation(opened: Opened, static_secret: bytes) -> Consumed | None:
    """Prove that the sender holds the static key, and read its timestamp; None when it does not."""
    chain, key = primitives.derive(opened.chain, static_secret, 2)
    timestamp = primitives.unseal(opened.suite.cipher, key, opened.sealed_timestamp, opened.transcript)
    if timestamp is None:
        return None
    transcript = primitives.blake2s(opened.transcript, opened.sealed_timestamp)
    return Consumed(opened.suite, opened.remote, opened.remote_index, opened.ephemeral, chain, transcript, timestamp)


def create_response(
    consumed: Consumed, preshared_key: bytes, ephemeral: bytes, local_index: bytes
) -> tuple[bytes, Keys]:
    """Message 2 without its macs (60 bytes) and the session's keys. Two Diffie-Hellman. Raises LowOrderPointError."""
    ephemeral_public = primitives.public_key(ephemeral)
    transcript = primitives.blake2s(consumed.transcript, ephemeral_public)
    (chain,) = primitives.derive(consumed.chain, ephemeral_public, 1)
    (chain,) = primitives.derive(chain, primitives.shared_secret(ephemeral, consumed.ephemeral), 1)
    (chain,) = primitives.derive(chain, primitives.shared_secret(ephemeral, consumed.remote), 1)
    chain, temporary, key = primitives.derive(chain, preshared_key, 3)
    transcript = primitives.blake2s(transcript, temporary)
    sealed_nothing = primitives.seal(consumed.suite.cipher, key, b"", transcript)
    receive, send = primitives.derive(chain, b"", 2)
    body = messages.RESPONSE_BODY.pack(
        consumed.suite.types.response, local_index, consumed.remote_index, ephemeral_public, sealed_nothing
    )
    return body, Keys(send, receive, local_index, consumed.remote_index, initiator=False)


def consume_response(
    identity: Identity, state: InitiatorState, preshared_keys: Sequence[bytes], message: bytes
) -> Keys | None:
    """The session's keys out of message 2 (92 bytes, mac1 checked); None when no pre-shared key fits.

    Two Diffie-Hellman, however many candidates there are. Raises LowOrderPointError.
    """
    body = message[: messages.RESPONSE_BODY.size]
    _, remote_index, _, ephemeral, sealed_nothing = messages.RESPONSE_BODY.unpack(body)
    transcript = primitives.blake2s(state.transcript, ephemeral)
    (chain,) = primitives.derive(state.chain, ephemeral, 1)
    (chain,) = primitives.derive(chain, primitives.shared_secret(state.ephemeral, ephemeral), 1)
    (chain,) = primitives.derive(chain, primitives.shared_secret(identity.private, ephemeral), 1)
    for preshared_key in preshared_keys:
        mixed, temporary, key = primitives.derive(chain, preshared_key, 3)
        if primitives.unseal(state.suite.cipher, key, sealed_nothing, primitives.blake2s(transcript, temporary)) is None:
            continue
        send, receive = primitives.derive(mixed, b"", 2)
        return Keys(send, receive, state.local_index, remote_index, initiator=True)
    return None
