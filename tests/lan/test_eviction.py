"""Evictions: made by the owner, opened by who stays, believed from nobody else."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lan.keys import entropy, private, public
from userlan.lan import eviction
from userlan.lan.eviction import Eviction, EvictionError
from userlan.lan.secrets import NetworkSecret, OwnerSigning

OWNER = OwnerSigning(private("owner"))
SECRET = NetworkSecret.generate(entropy("new secret"))
MEMBERS = [public(name) for name in ("owner", "anna", "ben", "carl")]


def made(
    evicted: tuple[str, ...] = ("carl",), serial: int = 1, signing: OwnerSigning = OWNER, members: list[bytes] = MEMBERS
) -> Eviction:
    out = [public(name) for name in evicted]
    return Eviction.make("home", serial, out, SECRET, members, public("owner"), signing, entropy("boxes"))


DOCUMENT = made().to_bytes()


@settings(deadline=None, max_examples=30)
@given(
    st.sets(st.sampled_from(["anna", "ben", "carl", "dora", "emil"]), min_size=1),
    st.integers(1, 2**63 - 1),
)
def test_who_stays_opens_the_new_secret_and_who_is_out_does_not(out: set[str], serial: int) -> None:
    document = made(tuple(out), serial).to_bytes()
    read = Eviction.from_bytes(document)
    assert read.to_bytes() == document
    assert read.verify(OWNER.public)
    assert (read.network, read.owner, read.serial) == ("home", public("owner"), serial)
    assert read.evicted == {public(name) for name in out}
    assert read.admission_public == SECRET.admission_public
    assert SECRET.verify_owner(read.attestation, "home", public("owner"), OWNER.public)
    for name in ("owner", "anna", "ben", "carl"):
        assert read.open(private(name)) == (None if name in out else SECRET)
    assert read.open(private("stranger")) is None


def test_only_the_owner_s_signature_counts() -> None:
    thief = OwnerSigning(private("thief"))
    assert not Eviction.from_bytes(DOCUMENT).verify(thief.public)
    assert not made(signing=thief).verify(OWNER.public)


def test_no_octet_can_be_altered() -> None:
    for place in range(len(DOCUMENT)):
        altered = DOCUMENT[:place] + bytes([DOCUMENT[place] ^ 1]) + DOCUMENT[place + 1 :]
        try:
            read = Eviction.from_bytes(altered)
        except EvictionError:
            continue
        assert not read.verify(OWNER.public), place


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300) | st.integers(0, len(DOCUMENT) - 1).map(lambda length: DOCUMENT[:length]))
def test_any_bytes_are_no_document(data: bytes) -> None:
    with pytest.raises(EvictionError) as caught:
        Eviction.from_bytes(data)
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    "change",
    [
        {"network": "Home"},
        {"network": ""},
        {"network": "../x"},
        {"serial": 0},
        {"serial": "1"},
        {"evicted": []},
        {"evicted": [b"short"]},
        {"evicted": [public("owner")]},
        {"sealed": {public("anna"): b"short"}},
        {"owner": None},
    ],
)
def test_a_body_with_a_wrong_field_is_malformed_even_when_signed(change: dict[str, object]) -> None:
    body, _ = msgspec.msgpack.decode(DOCUMENT)
    fields = msgspec.msgpack.decode(body, type=dict[str, object]) | change
    written = msgspec.msgpack.encode(fields)
    document = msgspec.msgpack.encode([written, OWNER.sign(written)])
    with pytest.raises(EvictionError, match="no eviction"):
        Eviction.from_bytes(document)


def test_a_document_too_large_is_not_parsed() -> None:
    with pytest.raises(EvictionError, match="octets"):
        Eviction.from_bytes(bytes(eviction.MAX_DOCUMENT + 1))


def test_the_largest_document_keeps_the_limit() -> None:
    out = [number.to_bytes(32, "big") for number in range(1 << 64, (1 << 64) + eviction.MAX_EVICTED)]
    members = [b"\x09" + number.to_bytes(30, "big") + b"\x01" for number in range(eviction.MAX_SEALED)]
    largest = Eviction.make("x" * 63, 2**62, out, SECRET, members, public("owner"), OWNER, entropy("boxes"))
    assert len(largest.sealed) == eviction.MAX_SEALED
    assert len(largest.to_bytes()) <= eviction.MAX_DOCUMENT
    assert Eviction.from_bytes(largest.to_bytes()).verify(OWNER.public)


def test_a_member_s_key_that_nobody_can_hold_does_not_stop_an_eviction() -> None:
    document = made(members=[*MEMBERS, bytes(32), b"\x01" + bytes(31)])
    assert set(document.sealed) == {public(name) for name in ("owner", "anna", "ben")}
    assert document.open(private("anna")) == SECRET


@pytest.mark.parametrize(
    ("evicted", "members", "serial", "reason"),
    [
        ([public("owner")], MEMBERS, 1, "own-key"),
        ([], MEMBERS, 1, "evicted"),
        ([b"short"], MEMBERS, 1, "evicted"),
        ([number.to_bytes(32, "big") for number in range(4097)], MEMBERS, 1, "evicted"),
        ([public("carl")], [number.to_bytes(32, "big") for number in range(1025)], 1, "members"),
        ([public("carl")], MEMBERS, 0, "serial"),
        ([public("carl")], MEMBERS, 2**63, "serial"),
    ],
)
def test_what_cannot_be_made(evicted: list[bytes], members: list[bytes], serial: int, reason: str) -> None:
    with pytest.raises(EvictionError) as caught:
        Eviction.make("home", serial, evicted, SECRET, members, public("owner"), OWNER, entropy())
    assert caught.value.reason == reason


def test_a_box_that_holds_another_secret_is_an_error() -> None:
    body, _ = msgspec.msgpack.decode(DOCUMENT)
    fields = msgspec.msgpack.decode(body, type=dict[str, object])
    other = NetworkSecret.generate(entropy("another secret"))
    swapped = Eviction.make("home", 1, [public("carl")], other, MEMBERS, public("owner"), OWNER, entropy())
    for sealed in (dict(swapped.sealed), {public("anna"): bytes(eviction.SEALED_SIZE)}):
        written = msgspec.msgpack.encode(fields | {"sealed": sealed})
        document = Eviction.from_bytes(msgspec.msgpack.encode([written, OWNER.sign(written)]))
        with pytest.raises(EvictionError) as caught:
            document.open(private("anna"))
        assert caught.value.reason == "sealed"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_private_key_has_32_octets(size: int) -> None:
    with pytest.raises(ValueError, match="32 octets"):
        made().open(bytes(size))
