"""A network's secret: what knows it can prove it, nobody else can."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lan.keys import entropy, private, public
from userlan.lan import secrets
from userlan.lan.secrets import NetworkSecret, OwnerSigning, verify_admission, verify_signature

SECRET = NetworkSecret.generate(entropy("secret"))
OTHER = NetworkSecret.generate(entropy("other"))
NODE, MEDIATOR = public("node"), public("mediator")
CHALLENGE = bytes(range(32))


@pytest.fixture(scope="module")
def from_password() -> NetworkSecret:
    return NetworkSecret.from_password("correct horse", "home", MEDIATOR)


def test_a_password_gives_everybody_the_same_secret(from_password: NetworkSecret) -> None:
    assert NetworkSecret.from_password("correct horse", "HOME", MEDIATOR) == from_password


@pytest.mark.parametrize(
    ("password", "network", "mediator"),
    [("correct horsf", "home", MEDIATOR), ("correct horse", "home2", MEDIATOR), ("correct horse", "home", NODE)],
)
def test_password_network_and_mediator_each_change_the_secret(
    from_password: NetworkSecret, password: str, network: str, mediator: bytes
) -> None:
    other = NetworkSecret.from_password(password, network, mediator)
    assert other != from_password
    signature = other.sign_admission(CHALLENGE, NODE, "home", MEDIATOR)
    assert not verify_admission(from_password.admission_public, signature, CHALLENGE, NODE, "home", MEDIATOR)


def test_keyboards_agree_on_a_password(from_password: NetworkSecret) -> None:
    assert NetworkSecret.from_password("correct\u00a0horse", "home", MEDIATOR) == from_password
    composed = NetworkSecret.from_password("J\u00fcrgen", "home", MEDIATOR)
    assert NetworkSecret.from_password("Ju\u0308rgen", "home", MEDIATOR) == composed


@pytest.mark.parametrize(("password", "says"), [("", "empty"), ("x" * 1025, "too long"), ("\ud800", "Unicode")])
def test_a_password_that_cannot_be_is_refused(password: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        NetworkSecret.from_password(password, "home", MEDIATOR)


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_secret_has_sixteen_octets(size: int) -> None:
    with pytest.raises(ValueError, match="16 octets"):
        NetworkSecret(bytes(size))


def test_a_secret_is_not_shown() -> None:
    shown = f"{SECRET!r} {SECRET}"
    assert SECRET.value.hex() not in shown
    assert str(SECRET.value) not in shown
    assert repr(OwnerSigning(private("node"))) == "OwnerSigning(…)"


def test_equal_secrets_are_one() -> None:
    assert NetworkSecret(SECRET.value) == SECRET
    assert len({NetworkSecret(SECRET.value), SECRET, OTHER}) == 2
    assert not SECRET.__eq__(SECRET.value)


def test_an_admission_is_verified() -> None:
    signature = SECRET.sign_admission(CHALLENGE, NODE, "Home", MEDIATOR)
    assert len(signature) == secrets.SIGNATURE_SIZE
    assert verify_admission(SECRET.admission_public, signature, CHALLENGE, NODE, "home", MEDIATOR)


@pytest.mark.parametrize(
    "said",
    [
        (bytes(32), NODE, "home", MEDIATOR),
        (CHALLENGE, public("thief"), "home", MEDIATOR),
        (CHALLENGE, NODE, "work", MEDIATOR),
        (CHALLENGE, NODE, "home", public("other mediator")),
        (CHALLENGE + b"x", NODE, "home", MEDIATOR),
        (CHALLENGE, NODE[:-1], "home", NODE[-1:] + MEDIATOR),
    ],
)
def test_an_admission_is_good_for_nothing_else(said: tuple[bytes, bytes, str, bytes]) -> None:
    signature = SECRET.sign_admission(CHALLENGE, NODE, "home", MEDIATOR)
    assert not verify_admission(SECRET.admission_public, signature, *said)


def test_another_secret_s_admission_is_refused() -> None:
    signature = OTHER.sign_admission(CHALLENGE, NODE, "home", MEDIATOR)
    assert not verify_admission(SECRET.admission_public, signature, CHALLENGE, NODE, "home", MEDIATOR)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=40))
def test_any_bytes_are_no_signature(key: bytes, signature: bytes, message: bytes) -> None:
    assert not verify_signature(key, message, signature)
    assert not verify_admission(SECRET.admission_public, signature, message, NODE, "home", MEDIATOR)


def test_the_preshared_key_is_the_pair_s() -> None:
    a, b, c = public("a"), public("b"), public("c")
    assert SECRET.preshared_key(a, b) == SECRET.preshared_key(b, a)
    assert len(SECRET.preshared_key(a, b)) == 32
    assert len({SECRET.preshared_key(a, b), SECRET.preshared_key(a, c), OTHER.preshared_key(a, b)}) == 3


def test_an_owner_is_attested() -> None:
    signing = OwnerSigning(private("owner")).public
    attestation = SECRET.attest_owner("home", public("owner"), signing)
    assert SECRET.verify_owner(attestation, "HOME", public("owner"), signing)
    assert not SECRET.verify_owner(attestation, "work", public("owner"), signing)
    assert not SECRET.verify_owner(attestation, "home", public("thief"), signing)
    assert not SECRET.verify_owner(attestation, "home", public("owner"), public("thief"))
    assert not OTHER.verify_owner(attestation, "home", public("owner"), signing)
    assert not SECRET.verify_owner(b"", "home", public("owner"), signing)


def test_an_owner_s_signing_key_follows_from_the_node_s_private_key() -> None:
    signing = OwnerSigning(private("owner"))
    assert OwnerSigning(private("owner")).public == signing.public
    assert OwnerSigning(private("other")).public != signing.public
    assert verify_signature(signing.public, b"message", signing.sign(b"message"))
    assert not verify_signature(signing.public, b"massage", signing.sign(b"message"))
    with pytest.raises(ValueError, match="32 octets"):
        OwnerSigning(b"short")


def test_each_derivation_differs() -> None:
    derived = [
        SECRET.value,
        SECRET.admission_public,
        SECRET.preshared_key(NODE, MEDIATOR),
        SECRET.attest_owner("home", NODE, MEDIATOR),
        OwnerSigning(private("node")).public,
    ]
    assert len(set(derived)) == len(derived)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_different_lists_of_fields_never_have_the_same_bytes(one: list[bytes], other: list[bytes]) -> None:
    assert (secrets.fields(*one) == secrets.fields(*other)) == (one == other)
