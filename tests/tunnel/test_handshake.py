"""The handshake against an independent Noise implementation, and its refusals."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from tests.tunnel import noise
from userlan.tunnel import handshake, messages, primitives
from userlan.tunnel.handshake import Consumed, Identity, InitiatorState

PROLOGUE = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
STATIC_A, STATIC_B = bytes(range(32)), bytes(range(32, 64))
EPHEMERAL_A, EPHEMERAL_B = bytes(range(64, 96)), bytes(range(96, 128))
PSK = bytes(range(128, 160))
TIMESTAMP = bytes.fromhex("400000000000000a00000000")
INDEX_A, INDEX_B = b"\x01\x02\x03\x04", b"\x05\x06\x07\x08"
A, B = Identity(STATIC_A), Identity(STATIC_B)
MACS = bytes(messages.MACS_SIZE)

# Vectors of cacophony (https://github.com/centromere/cacophony), Noise_NN_25519_ChaChaPoly_BLAKE2s.
VECTOR_PAYLOADS = [
    "4c756477696720766f6e204d69736573",
    "4d757272617920526f746862617264",
    "462e20412e20486179656b",
    "4361726c204d656e676572",
]
VECTOR_MESSAGES = [
    "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e204d69736573",
    "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
    "ff34a6759d06e7733c83aeb5556c15bc762b664b3ba0556b1e7eaea4168bb6",
    "79285da88da3535f52b07b70006c85706de7ddb1fd3dddac995b7e",
    "ffdad3a7f0db4c39077f223659c5c1d107666405566ecdf4ab53bf",
]


def initiation() -> tuple[bytes, InitiatorState]:
    secret = primitives.shared_secret(STATIC_A, B.public)
    return handshake.create_initiation(A, B.public, secret, EPHEMERAL_A, INDEX_A, TIMESTAMP)


def consumed(body: bytes) -> Consumed:
    opened = handshake.open_initiation(B, body + MACS)
    assert opened is not None
    assert opened.remote == A.public
    result = handshake.authenticate_initiation(opened, primitives.shared_secret(STATIC_B, opened.remote))
    assert result is not None
    return result


def test_the_independent_path_agrees_with_published_vectors() -> None:
    prologue = bytes.fromhex("4a6f686e2047616c74")
    ephemeral_a = bytes.fromhex("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a")
    ephemeral_b = bytes.fromhex("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b")
    alice = noise.Party("NN", True, prologue, ephemeral=ephemeral_a)
    bob = noise.Party("NN", False, prologue, ephemeral=ephemeral_b)
    first = alice.write(0, bytes.fromhex(VECTOR_PAYLOADS[0]))
    assert first.hex() == VECTOR_MESSAGES[0]
    bob.read(0, first)
    second = bob.write(1, bytes.fromhex(VECTOR_PAYLOADS[1]))
    assert second.hex() == VECTOR_MESSAGES[1]
    alice.read(1, second)
    assert alice.hash == bob.hash
    for number, key in enumerate(alice.split(), 2):
        sealed = ChaCha20Poly1305(key).encrypt(bytes(12), bytes.fromhex(VECTOR_PAYLOADS[number]), None)
        assert sealed.hex() == VECTOR_MESSAGES[number]


def test_both_messages_and_all_keys_equal_those_of_the_independent_path() -> None:
    alice = noise.Party("IKpsk2", True, PROLOGUE, STATIC_A, EPHEMERAL_A, noise.public(STATIC_B), PSK)
    bob = noise.Party("IKpsk2", False, PROLOGUE, STATIC_B, EPHEMERAL_B, b"", PSK)
    body, state = initiation()
    assert body == b"\x01\0\0\0" + INDEX_A + alice.write(0, TIMESTAMP)
    assert bob.read(0, body[8:]) == TIMESTAMP
    heard = consumed(body)
    assert heard.timestamp == TIMESTAMP
    assert heard.remote_index == INDEX_A
    response, keys_b = handshake.create_response(heard, PSK, EPHEMERAL_B, INDEX_B)
    assert response == b"\x02\0\0\0" + INDEX_B + INDEX_A + bob.write(1, b"")
    assert alice.read(1, response[12:]) == b""
    keys_a = handshake.consume_response(A, state, [PSK], response + MACS)
    assert keys_a is not None
    assert [keys_a.send, keys_a.receive] == alice.split()
    assert [keys_b.receive, keys_b.send] == bob.split()
    assert (keys_a.local_index, keys_a.remote_index, keys_a.initiator) == (INDEX_A, INDEX_B, True)
    assert (keys_b.local_index, keys_b.remote_index, keys_b.initiator) == (INDEX_B, INDEX_A, False)


def test_regression_of_fixed_keys() -> None:
    body, _ = initiation()
    response, keys = handshake.create_response(consumed(body), PSK, EPHEMERAL_B, INDEX_B)
    digest = hashlib.sha256(body + response + keys.send + keys.receive).hexdigest()
    assert digest == "0b0ed2d0423054993972a5223eb19f1821096a2f31876ed140ae3c4d3321021f"


def test_every_candidate_is_tried() -> None:
    body, state = initiation()
    response, keys = handshake.create_response(consumed(body), PSK, EPHEMERAL_B, INDEX_B)
    found = handshake.consume_response(A, state, [bytes(32), b"\x11" * 32, PSK], response + MACS)
    assert found is not None
    assert found.send == keys.receive
    assert handshake.consume_response(A, state, [bytes(32), b"\x11" * 32], response + MACS) is None


@pytest.mark.parametrize("place", [*range(8, 116, 7), 115])
def test_a_changed_initiation_does_not_authenticate(place: int) -> None:
    body = bytearray(initiation()[0])
    body[place] ^= 0x04
    opened = handshake.open_initiation(B, bytes(body) + MACS)
    if opened is not None:
        secret = primitives.shared_secret(STATIC_B, A.public)
        assert handshake.authenticate_initiation(opened, secret) is None


@pytest.mark.parametrize("place", [*range(12, 60, 5), 59])
def test_a_changed_response_does_not_authenticate(place: int) -> None:
    body, state = initiation()
    response = bytearray(handshake.create_response(consumed(body), PSK, EPHEMERAL_B, INDEX_B)[0])
    response[place] ^= 0x04
    assert handshake.consume_response(A, state, [PSK], bytes(response) + MACS) is None


def test_an_ephemeral_key_of_low_order_is_refused() -> None:
    body, state = initiation()
    with pytest.raises(primitives.LowOrderPointError):
        handshake.open_initiation(B, body[:8] + bytes(32) + body[40:] + MACS)
    response, _ = handshake.create_response(consumed(body), PSK, EPHEMERAL_B, INDEX_B)
    with pytest.raises(primitives.LowOrderPointError):
        handshake.consume_response(A, state, [PSK], response[:12] + bytes(32) + response[44:] + MACS)
