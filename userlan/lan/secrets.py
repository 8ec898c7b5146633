"""A network's secret and all that follows from it; the owner's signing key.

::

    password ─Argon2id─┐                    ┌─ admission key pair (Ed25519): the mediator holds the public half,
    salt: network name,│                    │  a joiner signs its challenge
    mediator key       ├─ 16-octet secret ──┼─ pre-shared key of each pair's tunnel
    invite ────────────┘                    └─ attestation: which signing key is the owner's

    X25519 private key of a node ─ OwnerSigning (Ed25519): signs evictions

The secret never leaves the members: the mediator sees a public key, signatures and a keyed digest. So a hostile
mediator can neither join nor read, nor pass its own signing key off as the owner's. What it can do with the
admission key of a network made by password is to try passwords, each at the cost of one Argon2id; an invite's secret
has 128 bits.
Any member can make an attestation, since all members share the secret: whoever remembers the first one that it saw
(``userlan.lan.roster`` does) is safe from later ones.

Each derivation is BLAKE2b (RFC 7693) with a personalisation string of its own, so that no output serves for another.
Whatever is signed or digested is written as a list of length-prefixed fields: no two lists have the same bytes.

Python cannot reliably erase a secret from memory; none is ever shown by ``repr``.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Callable

from nacl import bindings, pwhash
from nacl.exceptions import BadSignatureError

#: Octets of a network's secret: 128 bits cannot be guessed, and fit into a link.
SECRET_SIZE = 16
#: Octets of a key of any kind used here.
KEY_SIZE = 32
#: Octets of an Ed25519 signature (RFC 8032 section 5.1.6).
SIGNATURE_SIZE = 64
#: Octets of an owner's attestation.
ATTESTATION_SIZE = 32
#: Memory of one Argon2id (RFC 9106), octets. libsodium's MODERATE takes 256 MiB, which would double a node's memory.
ARGON2_MEMORY = 32 * 1024 * 1024
#: Passes over that memory: 24 over 32 MiB write as much as MODERATE's 3 over 256 MiB. About 0.3 s, once a join.
ARGON2_PASSES = 24
#: Octets of a network's mark and of a member's tag in an announcement on the local network: what is wrongly taken for a member's costs
#: a handshake that fails, and 96 bits together are not hit by chance.
MARK_SIZE = 4
TAG_SIZE = 8
#: Greatest length of a password, characters: bounds the normalisation of whatever is piped in.
MAX_PASSWORD = 1024

#: Personalisation strings (at most 16 octets, RFC 7693 section 2.5), one for each use.
PERSON_SALT = b"ul password salt"
PERSON_ADMISSION = b"ul admission"
PERSON_PRESHARED = b"ul preshared key"
PERSON_ATTESTATION = b"ul attestation"
PERSON_OWNER = b"ul owner signing"
PERSON_MEMBERSHIP = b"ul membership"
PERSON_NEIGHBOUR = b"ul neighbour"
#: First field of what an admission signature covers; the signing key serves nothing else.
ADMISSION_CONTEXT = b"userlan admission 1"


class NetworkSecret:
    """A network's 16-octet secret. Immutable, compared in constant time, never printed."""

    __slots__ = ("_admission", "_value")

    def __init__(self, value: bytes) -> None:
        if len(value) != SECRET_SIZE:
            raise ValueError(f"a network's secret has {SECRET_SIZE} octets, not {len(value)}")
        self._value = bytes(value)
        seed = _digest(PERSON_ADMISSION, KEY_SIZE, self._value)
        self._admission: tuple[bytes, bytes] = bindings.crypto_sign_seed_keypair(seed)

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes]) -> NetworkSecret:
        """A fresh secret from ``entropy(16)``."""
        return cls(entropy(SECRET_SIZE))

    @classmethod
    def from_password(cls, password: str, network: str, mediator_key: bytes) -> NetworkSecret:
        """The secret that everybody who types this password gets for this network at this mediator.

        Takes about 0.3 s and 32 MiB. The password is normalised as RFC 8265 section 4.2 has it (NFC, one kind of
        space), so that keyboards agree. ValueError when it is empty or too long.
        """
        if not password:
            raise ValueError("the password is empty")
        if len(password) > MAX_PASSWORD:
            raise ValueError(f"the password is too long: {len(password)} characters, not more than {MAX_PASSWORD}")
        spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in password)
        salt = _digest(PERSON_SALT, pwhash.argon2id.SALTBYTES, fields(_name(network), mediator_key))
        try:
            typed = unicodedata.normalize("NFC", spaced).encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("the password holds characters that are not valid Unicode") from None
        return cls(pwhash.argon2id.kdf(SECRET_SIZE, typed, salt, opslimit=ARGON2_PASSES, memlimit=ARGON2_MEMORY))

    @property
    def value(self) -> bytes:
        """The 16 octets: for the invite and the state folder only."""
        return self._value

    @property
    def admission_public(self) -> bytes:
        """The Ed25519 public key (32 octets) that the mediator holds for the network."""
        return self._admission[0]

    def sign_admission(self, challenge: bytes, node_key: bytes, network: str, mediator_key: bytes) -> bytes:
        """Proves knowledge of the secret to the mediator: 64 octets, good for this node, network and mediator only."""
        message = _admission_message(challenge, node_key, network, mediator_key)
        return _sign(message, self._admission[1])

    def preshared_key(self, key_a: bytes, key_b: bytes) -> bytes:
        """The 32-octet pre-shared key of the tunnel between two members; the order of the two does not matter."""
        return _digest(PERSON_PRESHARED, KEY_SIZE, fields(*sorted((key_a, key_b))), key=self._value)

    def prove_membership(self, prover: bytes, verifier: bytes) -> bytes:
        """32 octets by which one node shows another that it knows this network's secret; good for this pair and direction only."""
        return _digest(PERSON_MEMBERSHIP, KEY_SIZE, fields(prover, verifier), key=self._value)

    def verify_membership(self, proof: bytes, prover: bytes, verifier: bytes) -> bool:
        """Whether ``prove_membership`` made the proof."""
        return hmac.compare_digest(proof, self.prove_membership(prover, verifier))

    def neighbour_mark(self, salt: bytes) -> bytes:
        """MARK_SIZE octets by which members know, in what a neighbour announces under a ``salt``, that it is of this network."""
        return _digest(PERSON_NEIGHBOUR, MARK_SIZE, fields(salt), key=self._value)

    def neighbour_tag(self, salt: bytes, key: bytes) -> bytes:
        """TAG_SIZE octets by which they know which member it is."""
        return _digest(PERSON_NEIGHBOUR, TAG_SIZE, fields(salt, key), key=self._value)

    def attest_owner(self, network: str, owner_key: bytes, owner_signing_public: bytes) -> bytes:
        """32 octets by which members know the owner's signing key from one that the mediator made up."""
        return _digest(
            PERSON_ATTESTATION,
            ATTESTATION_SIZE,
            fields(_name(network), owner_key, owner_signing_public),
            key=self._value,
        )

    def verify_owner(self, attestation: bytes, network: str, owner_key: bytes, owner_signing_public: bytes) -> bool:
        """Whether ``attest_owner`` made the attestation, with this secret, of exactly this."""
        return hmac.compare_digest(attestation, self.attest_owner(network, owner_key, owner_signing_public))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetworkSecret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self.admission_public)

    def __repr__(self) -> str:
        return "NetworkSecret(…)"


def verify_admission(
    public: bytes, signature: bytes, challenge: bytes, node_key: bytes, network: str, mediator_key: bytes
) -> bool:
    """Whether ``sign_admission`` of the secret behind ``public`` made the signature, of exactly this."""
    return verify_signature(public, _admission_message(challenge, node_key, network, mediator_key), signature)


class OwnerSigning:
    """The Ed25519 key pair of a node that owns networks, derived from its X25519 private key."""

    __slots__ = ("_private", "public")

    def __init__(self, private_key: bytes) -> None:
        if len(private_key) != KEY_SIZE:
            raise ValueError(f"a private key has {KEY_SIZE} octets, not {len(private_key)}")
        seed = _digest(PERSON_OWNER, KEY_SIZE, b"", key=private_key)
        #: The public half, 32 octets.
        self.public: bytes
        self.public, self._private = bindings.crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """A signature of 64 octets. Callers begin the message with a context of their own."""
        return _sign(message, self._private)

    def __repr__(self) -> str:
        return "OwnerSigning(…)"


def verify_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature holds; False, too, for keys and signatures of a wrong size."""
    if len(public) != KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public)
    except BadSignatureError:
        return False
    return True


def fields(*values: bytes) -> bytes:
    """Several byte strings as one, each behind its 4-octet big-endian length."""
    return b"".join(len(value).to_bytes(4, "big") + value for value in values)


def _admission_message(challenge: bytes, node_key: bytes, network: str, mediator_key: bytes) -> bytes:
    return fields(ADMISSION_CONTEXT, _name(network), node_key, mediator_key, challenge)


def _name(network: str) -> bytes:
    return network.lower().encode("utf-8", "surrogatepass")


def _sign(message: bytes, private: bytes) -> bytes:
    return bytes(bindings.crypto_sign(message, private)[:SIGNATURE_SIZE])


def _digest(person: bytes, size: int, data: bytes, key: bytes = b"") -> bytes:
    return hashlib.blake2b(data, digest_size=size, key=key, person=person).digest()
