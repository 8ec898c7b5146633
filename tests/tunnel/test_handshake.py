"""The handshake against an independent Noise implementation, and its refusals."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from tests.tunnel import noise
from userlan.tunnel import handshake, messages, primitives
from userlan.tunnel.handshake import Consumed, Identity, InitiatorState
from userlan.tunnel.session import Session
from userlan.tunnel.suites import AES_256_GCM, CHACHA20_POLY1305, SUITES, Suite

PROLOGUE = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
STATIC_A, STATIC_B = bytes(range(32)), bytes(range(32, 64))
EPHEMERAL_A, EPHEMERAL_B = bytes(range(64, 96)), bytes(range(96, 128))
PSK = bytes(range(128, 160))
TIMESTAMP = bytes.fromhex("400000000000000a00000000")
INDEX_A, INDEX_B = b"\x01\x02\x03\x04", b"\x05\x06\x07\x08"
A, B = Identity(STATIC_A), Identity(STATIC_B)
MACS = bytes(messages.MACS_SIZE)

NOISE_NAMES = {CHACHA20_POLY1305: "ChaChaPoly", AES_256_GCM: "AESGCM"}
both_suites = pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)

# Vectors of cacophony (https://github.com/centromere/cacophony), Noise_NN_25519_ChaChaPoly_BLAKE2s and Noise_NN_25519_AESGCM_BLAKE2s.
VECTOR_PAYLOADS = [
    "4c756477696720766f6e204d69736573",
    "4d757272617920526f746862617264",
    "462e20412e20486179656b",
    "4361726c204d656e676572",
]
VECTOR_MESSAGES = {
    "ChaChaPoly": [
        "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e204d69736573",
        "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
        "ff34a6759d06e7733c83aeb5556c15bc762b664b3ba0556b1e7eaea4168bb6",
        "79285da88da3535f52b07b70006c85706de7ddb1fd3dddac995b7e",
        "ffdad3a7f0db4c39077f223659c5c1d107666405566ecdf4ab53bf",
    ],
    "AESGCM": [
        "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e204d69736573",
        "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
        "5637c95d5175db82241df5bb90db690493dacfa51454f80512c3e223de17f7",
        "017e18dffa3706f97c3f08d9318fa68784302749e9389ff63a31b3",
        "ce88f443e45f17ada7021df6150b2dd590d985e2eae4ea17c47f5d",
    ],
}


def initiation(suite: Suite = CHACHA20_POLY1305) -> tuple[bytes, InitiatorState]:
    secret = primitives.shared_secret(STATIC_A, B.public)
    return handshake.create_initiation(A, B.public, secret, EPHEMERAL_A, INDEX_A, TIMESTAMP, suite)


def consumed(body: bytes, suite: Suite = CHACHA20_POLY1305) -> Consumed:
    opened = handshake.open_initiation(B, body + MACS, suite)
    assert opened is not None
    assert opened.remote == A.public
    result = handshake.authenticate_initiation(opened, primitives.shared_secret(STATIC_B, opened.remote))
    assert result is not None
    return result


@pytest.mark.parametrize("cipher", VECTOR_MESSAGES)
def test_the_independent_path_agrees_with_published_vectors(cipher: str) -> None:
    prologue = bytes.fromhex("4a6f686e2047616c74")
    ephemeral_a = bytes.fromhex("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a")
    ephemeral_b = bytes.fromhex("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b")
    alice = noise.Party("NN", True, prologue, ephemeral=ephemeral_a, cipher=cipher)
    bob = noise.Party("NN", False, prologue, ephemeral=ephemeral_b, cipher=cipher)
    first = alice.write(0, bytes.fromhex(VECTOR_PAYLOADS[0]))
    assert first.hex() == VECTOR_MESSAGES[cipher][0]
    bob.read(0, first)
    second = bob.write(1, bytes.fromhex(VECTOR_PAYLOADS[1]))
    assert second.hex() == VECTOR_MESSAGES[cipher][1]
    alice.read(1, second)
    assert alice.hash == bob.hash
    for number, key in enumerate(alice.split(), 2):
        sealed = noise.encrypt(cipher, key, 0, bytes.fromhex(VECTOR_PAYLOADS[number]))
        assert sealed.hex() == VECTOR_MESSAGES[cipher][number]


@both_suites
def test_both_messages_and_all_keys_equal_those_of_the_independent_path(suite: Suite) -> None:
    cipher = NOISE_NAMES[suite]
    alice = noise.Party("IKpsk2", True, PROLOGUE, STATIC_A, EPHEMERAL_A, noise.public(STATIC_B), PSK, cipher)
    bob = noise.Party("IKpsk2", False, PROLOGUE, STATIC_B, EPHEMERAL_B, b"", PSK, cipher)
    body, state = initiation(suite)
    assert body == suite.types.initiation + INDEX_A + alice.write(0, TIMESTAMP)
    assert bob.read(0, body[8:]) == TIMESTAMP
    heard = consumed(body, suite)
    assert heard.timestamp == TIMESTAMP
    assert heard.remote_index == INDEX_A
    response, keys_b = handshake.create_response(heard, PSK, EPHEMERAL_B, INDEX_B)
    assert response == suite.types.response + INDEX_B + INDEX_A + bob.write(1, b"")
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


@both_suites
def test_no_message_of_one_suite_authenticates_in_the_other(suite: Suite) -> None:
    (other,) = (one for one in SUITES if one is not suite)
    body, state = initiation(suite)
    assert handshake.open_initiation(B, other.types.initiation + body[4:] + MACS, other) is None
    response, _ = handshake.create_response(consumed(body, suite), PSK, EPHEMERAL_B, INDEX_B)
    assert handshake.consume_response(A, state._replace(suite=other), [PSK], response + MACS) is None


@both_suites
def test_transport_messages_are_those_of_noise(suite: Suite) -> None:
    """The counter is in the order of the suite's nonce, on the wire as well (Noise, sections 12.3 and 12.4)."""
    body, state = initiation(suite)
    response, keys_b = handshake.create_response(consumed(body, suite), PSK, EPHEMERAL_B, INDEX_B)
    keys_a = handshake.consume_response(A, state, [PSK], response + MACS)
    assert keys_a is not None
    sender, receiver = Session(keys_a, 0.0, suite), Session(keys_b, 0.0, suite)
    sender.send_counter = 0x0102_0304
    packets = [bytes([number]) * 48 for number in range(3)]
    data = sender.seal(packets, 1420)
    expected = [noise.encrypt(NOISE_NAMES[suite], keys_a.send, 0x0102_0304 + number, one) for number, one in enumerate(packets)]
    assert [data[start + 16 : start + 80] for start in range(0, len(data), 80)] == expected
    assert data[:16] == suite.types.transport + INDEX_B + (0x0102_0304).to_bytes(8, suite.byteorder)
    assert receiver.open_burst(data, 80) == packets
    assert receiver.replay.newest == 0x0102_0306
    counters: Counter[str] = Counter()
    assert receiver.open_burst(data, 80) is None
    assert receiver.open(data[:80], counters) is None
    assert counters == {"transport-replayed": 1}
    late = sender.seal([packets[0]], 1420)
    assert receiver.open(late, counters) == packets[0]


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
