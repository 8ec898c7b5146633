"""Published vectors of every primitive."""

from __future__ import annotations

import pytest

from userlan.tunnel import primitives

PLAINTEXT = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
PLAINTEXT += b"sunscreen would be it."
KEY = bytes(range(0x80, 0xA0))
ASSOCIATED = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")

# Canonical and non-canonical encodings of points of low order (https://cr.yp.to/ecdh.html#validate).
LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def test_x25519_of_rfc_7748() -> None:
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    alice_public = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert primitives.public_key(bob).hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = primitives.shared_secret(bob, alice_public)
    assert shared.hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


@pytest.mark.parametrize("point", LOW_ORDER)
def test_points_of_low_order_are_refused(point: str) -> None:
    with pytest.raises(primitives.LowOrderPointError):
        primitives.shared_secret(b"\x55" * 32, bytes.fromhex(point))


def test_clamping_changes_no_public_key() -> None:
    private = bytes(range(255, 223, -1))
    clamped = primitives.clamp(private)
    assert clamped[0] & 7 == 0
    assert clamped[31] & 0xC0 == 0x40
    assert primitives.public_key(clamped) == primitives.public_key(private)


def test_blake2s_of_rfc_7693() -> None:
    digest = primitives.blake2s(b"a", b"bc")
    assert digest.hex() == "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"


@pytest.mark.parametrize(
    ("key", "data", "outputs"),
    [
        (
            "746573742d6b6579",
            "746573742d696e707574",
            [
                "6f0e5ad38daba1bea8a0d213688736f19763239305e0f58aba697f9ffc41c633",
                "df1194df20802a4fe594cde27e92991c8cae66c366e8106aaa937a55fa371e8a",
                "fac6e2745a325f5dc5d11a5b165aad08b0ada28e7b4e666b7c077934a4d76c24",
            ],
        ),
        (
            "776972656775617264",
            "776972656775617264",
            [
                "491d43bbfdaa8750aaf535e334ecbfe5129967cd64635101c566d4caefda96e8",
                "1e71a379baefd8a79aa4662212fcafe19a23e2b609a3db7d6bcba8f560e3d25f",
                "31e1ae48bddfbe5de38f295e5452b1909a1b4e38e183926af3780b0c1e1f0160",
            ],
        ),
        (
            "",
            "",
            [
                "8387b46bf43eccfcf349552a095d8315c4055beb90208fb1be23b894bc2ed5d0",
                "58a0e5f6faefccf4807bff1f05fa8a9217945762040bcec2f4b4a62bdfe0e86e",
                "0ce6ea98ec548f8e281e93e32db65621c45eb18dc6f0a7ad94178610a2f7338e",
            ],
        ),
    ],
)
def test_key_derivation_of_wireguard_go(key: str, data: str, outputs: list[str]) -> None:
    for count in (1, 2, 3):
        derived = primitives.derive(bytes.fromhex(key), bytes.fromhex(data), count)
        assert [output.hex() for output in derived] == outputs[:count]


def test_chacha20_poly1305_of_rfc_8439() -> None:
    nonce = bytes.fromhex("070000004041424344454647")
    cipher = primitives.CHACHA20_POLY1305(KEY)
    sealed = cipher.encrypt(nonce, PLAINTEXT, ASSOCIATED)
    assert sealed[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"
    assert sealed[:16].hex() == "d31a8d34648e60db7b86afbc53ef7ec2"
    assert cipher.decrypt(nonce, sealed, ASSOCIATED) == PLAINTEXT


def test_aes_256_gcm_of_the_specification() -> None:
    """McGrew and Viega, The Galois/Counter Mode of Operation, test case 16."""
    cipher = primitives.AES_256_GCM(bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2))
    text = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    nonce, associated = bytes.fromhex("cafebabefacedbaddecaf888"), bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    sealed = cipher.encrypt(nonce, text, associated)
    assert sealed[:16].hex() == "522dc1f099567d07f47f37a32a84427d"
    assert sealed[-16:].hex() == "76fc6ece0f4e1768cddf8853bb2d551b"
    assert cipher.decrypt(nonce, sealed, associated) == text


def test_xchacha20_poly1305_of_the_draft() -> None:
    nonce = bytes(range(0x40, 0x58))
    sealed = primitives.xseal(KEY, nonce, PLAINTEXT, ASSOCIATED)
    assert sealed[-16:].hex() == "c0875924c1c7987947deafd8780acf49"
    assert primitives.xunseal(KEY, nonce, sealed, ASSOCIATED) == PLAINTEXT
    assert primitives.xunseal(KEY, nonce, sealed, b"other") is None


def test_a_changed_tag_is_refused() -> None:
    sealed = primitives.seal(primitives.CHACHA20_POLY1305, KEY, b"text", ASSOCIATED)
    assert primitives.unseal(primitives.CHACHA20_POLY1305, KEY, sealed, ASSOCIATED) == b"text"
    assert primitives.unseal(primitives.CHACHA20_POLY1305, KEY, sealed[:-1] + bytes([sealed[-1] ^ 1]), ASSOCIATED) is None
    assert primitives.unseal(primitives.CHACHA20_POLY1305, KEY, sealed, b"other") is None
