"""The eviction document: puts members out of a network, and hands the others its new secret.

::

    document (msgpack)  = [body, signature]         signature: Ed25519 by the owner, over a context and the body's bytes
    body (msgpack)      = {network, owner, serial, evicted, admission, attestation, sealed}
      evicted           every key ever evicted from the network, so that the newest document replaces all older ones
      serial            1, 2, 3 …; of two documents the one with the higher serial counts
      admission         public admission key of the new secret: the mediator replaces the old one by it
      attestation       of the owner's signing key, made with the new secret
      sealed            member's key → sealed box of the new secret (libsodium's: X25519, XSalsa20-Poly1305)
      approved          where the owner approves members: the keys that it has approved beside those in ``sealed``, who are, too

The signature covers the body as it was sent, byte by byte, so nothing depends on how a reader would write it again.
Peers pass the document on to each other and honour it without the mediator; a mediator can withhold it, not alter it.
The same replaces a secret alone, where the owner wants another password: then ``NOBODY`` is evicted.
And the same carries the owner's approvals: then the secret is the one before, too, and, where it was never replaced, sealed to nobody.

Why approvals are in here: members and mediators of all versions keep the newest document, hand it on octet by octet, and pass over a field
that they do not know. Those who know it let nobody else in (``userlan.lan.approvals``).
A member that was away through several evictions needs the newest document alone.

Whom to seal to: only members whose tunnel with the owner came up with the old secret's pre-shared key. A key that is
merely in the mediator's roster has proved nothing: a hostile mediator could have made it up to be handed the secret.

Limits: 4096 evicted keys, 1024 approved ones or sealed secrets, 256 KiB; the largest document that ``make`` makes has about 240 KB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta
from nacl import bindings
from nacl.exceptions import CryptoError

from userlan.lan.labels import check_network
from userlan.lan.secrets import (
    KEY_SIZE,
    SECRET_SIZE,
    SIGNATURE_SIZE,
    NetworkSecret,
    OwnerSigning,
    fields,
    verify_signature,
)

#: Evicted where nobody is: a network gets a new secret, and all stay.
#:
#: Why: readers of all versions want at least one evicted key in a document, so that one which only replaces the secret needs a key that
#: belongs to nobody. This is the point of order two of the curve, and no public key: X25519 gives it for no private key (RFC 7748, 5 and
#: 6.1), a handshake with it ends in zeros, which a tunnel refuses, and nothing can be sealed to it.
NOBODY = bytes(32)
#: Keys that may be evicted from one network in its life: more, and the owner makes a new network.
MAX_EVICTED = 4096
#: Members that a new secret is sealed to: a network has no more.
MAX_SEALED = 1024
#: Members that a document approves, those included to whom it is sealed: a network has no more.
MAX_APPROVED = MAX_SEALED
#: Octets of a document, as the control protocol carries it. Bounds what is parsed before a signature is checked.
MAX_DOCUMENT = 256 * 1024
#: Octets of a sealed secret: an ephemeral public key, an authenticator, the secret.
SEALED_SIZE = KEY_SIZE + 16 + SECRET_SIZE
#: Octets of the nonce of XSalsa20-Poly1305.
NONCE_SIZE = 24
#: First field of what an eviction's signature covers.
EVICTION_CONTEXT = b"userlan eviction 1"

_Key = Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
_Sealed = Annotated[bytes, Meta(min_length=SEALED_SIZE, max_length=SEALED_SIZE)]


class EvictionError(ValueError):
    """A document cannot be made, read or believed; ``str`` is one line. ``reason``: a slug such as ``signature``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is signed. A document without approvals has the octets that the first version gave it."""

    network: Annotated[str, Meta(min_length=1, max_length=63)]
    owner: _Key
    serial: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    evicted: Annotated[tuple[_Key, ...], Meta(min_length=1, max_length=MAX_EVICTED)]
    admission: _Key
    attestation: _Key
    sealed: Annotated[dict[_Key, _Sealed], Meta(max_length=MAX_SEALED)]
    approved: Annotated[tuple[_Key, ...], Meta(max_length=MAX_APPROVED)] | None = None


class _Signed(msgspec.Struct, frozen=True, array_like=True):
    """The document."""

    body: Annotated[bytes, Meta(max_length=MAX_DOCUMENT)]
    signature: Annotated[bytes, Meta(min_length=SIGNATURE_SIZE, max_length=SIGNATURE_SIZE)]


class Eviction:
    """One document. ``from_bytes`` reads without believing; ``verify`` says whether the owner signed it.

    ``network``, ``owner`` (key), ``serial``, ``evicted`` (keys), ``admission_public``, ``attestation`` are the body's;
    ``to_bytes`` gives the whole, as it was read.
    """

    __slots__ = ("_body", "_document", "_signed", "evicted")

    def __init__(self, document: bytes, signed: _Signed, body: _Body) -> None:
        self._document = document
        self.evicted = frozenset(body.evicted)
        self._signed = signed
        self._body = body

    @classmethod
    def make(
        cls,
        network: str,
        serial: int,
        evicted: Iterable[bytes],
        secret: NetworkSecret,
        members: Iterable[bytes],
        owner: bytes,
        signing: OwnerSigning,
        entropy: Callable[[int], bytes],
        approved: Iterable[bytes] | None = None,
    ) -> Eviction:
        """Evicts ``evicted`` (all keys so far, ``NOBODY`` where there were none); seals the new ``secret`` to ``members`` but for those.

        A member's key to which nothing can be sealed (no point of the curve's large group, RFC 7748 section 6.1) is
        left out: nobody holds it. ``approved``: all members that the owner has approved, None where it approves nobody; a secret is
        sealed to no other then. EvictionError when a limit is exceeded or the owner would evict itself.
        """
        network = check_network(network)
        out = tuple(sorted(set(evicted)))
        allowed = None if approved is None else {*approved, owner} - set(out)
        remaining = sorted(set(members) - set(out) if allowed is None else (set(members) & allowed))
        if owner in out:
            raise EvictionError("own-key", "the owner of a network cannot be evicted from it")
        if not 1 <= len(out) <= MAX_EVICTED or any(len(key) != KEY_SIZE for key in (*out, *remaining, owner)):
            raise EvictionError("evicted", f"a document evicts 1 to {MAX_EVICTED} keys of {KEY_SIZE} octets")
        if len(remaining) > MAX_SEALED:
            raise EvictionError("members", f"a network has not more than {MAX_SEALED} members")
        if allowed is not None and (len(allowed) > MAX_APPROVED or any(len(key) != KEY_SIZE for key in allowed)):
            raise EvictionError("approved", f"a network has not more than {MAX_APPROVED} members")
        if not 1 <= serial < 2**63:
            raise EvictionError("serial", "the serial of an eviction counts from 1")
        boxes = {key: _seal(secret.value, key, entropy) for key in remaining}
        body = _Body(
            network=network,
            owner=owner,
            serial=serial,
            evicted=out,
            admission=secret.admission_public,
            attestation=secret.attest_owner(network, owner, signing.public),
            sealed={key: box for key, box in boxes.items() if box is not None},
            approved=None if allowed is None else tuple(sorted(allowed - {key for key, box in boxes.items() if box is not None})),
        )
        written = msgspec.msgpack.encode(body)
        signed = _Signed(written, signing.sign(fields(EVICTION_CONTEXT, written)))
        return cls(msgspec.msgpack.encode(signed), signed, body)

    @classmethod
    def from_bytes(cls, document: bytes) -> Eviction:
        """Reads a document, whoever signed it. EvictionError when it is none, with ``reason`` ``malformed``."""
        if len(document) > MAX_DOCUMENT:
            raise EvictionError("malformed", f"an eviction has not more than {MAX_DOCUMENT} octets")
        try:
            signed = msgspec.msgpack.decode(document, type=_Signed)
            body = msgspec.msgpack.decode(signed.body, type=_Body)
            if check_network(body.network) != body.network:
                raise ValueError("the network's name is not in lower case")
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise EvictionError("malformed", f"this is no eviction: {error}") from None
        if body.owner in body.evicted:
            raise EvictionError("malformed", "this is no eviction: it evicts the network's owner")
        return cls(document, signed, body)

    def to_bytes(self) -> bytes:
        """The document, to be stored and passed on."""
        return self._document

    @property
    def network(self) -> str:
        """Canonical name of the network."""
        return self._body.network

    @property
    def owner(self) -> bytes:
        """Public key of the network's owner."""
        return self._body.owner

    @property
    def serial(self) -> int:
        """Counts from 1; the highest counts."""
        return self._body.serial

    @property
    def admission_public(self) -> bytes:
        """Admission key of the new secret, 32 octets."""
        return self._body.admission

    @property
    def attestation(self) -> bytes:
        """Of the owner's signing key, by the new secret."""
        return self._body.attestation

    @property
    def sealed(self) -> Mapping[bytes, bytes]:
        """Member's key → sealed box of the new secret."""
        return self._body.sealed

    @property
    def approved(self) -> frozenset[bytes] | None:
        """The members that the owner has approved; None where the document says nothing of that."""
        return None if self._body.approved is None else frozenset((*self._body.approved, *self._body.sealed)) - self.evicted

    def verify(self, owner_signing_public: bytes) -> bool:
        """Whether the holder of this signing key made the document, unaltered."""
        covered = fields(EVICTION_CONTEXT, self._signed.body)
        return verify_signature(owner_signing_public, covered, self._signed.signature)

    def open(self, private_key: bytes) -> NetworkSecret | None:
        """The new secret, for the holder of a member's X25519 private key; None when it is not sealed to that one.

        Call it for a document that ``verify`` accepts. EvictionError when the box holds something else than the
        secret that the document announces.
        """
        if len(private_key) != KEY_SIZE:
            raise ValueError(f"a private key has {KEY_SIZE} octets, not {len(private_key)}")
        try:
            public_key = bindings.crypto_scalarmult_base(private_key)
            box = self._body.sealed.get(public_key)
            if box is None:
                return None
            secret = NetworkSecret(bindings.crypto_box_seal_open(box, public_key, private_key))
        except (CryptoError, TypeError, ValueError):
            raise EvictionError("sealed", "the new secret in this eviction cannot be opened") from None
        if secret.admission_public != self._body.admission:
            raise EvictionError("sealed", "the secret in this eviction is not the one that it announces")
        return secret


def _seal(value: bytes, public_key: bytes, entropy: Callable[[int], bytes]) -> bytes | None:
    """libsodium's crypto_box_seal with the ephemeral key from ``entropy``; None for a key of small order."""
    ephemeral_public, ephemeral_private = bindings.crypto_box_seed_keypair(entropy(KEY_SIZE))
    nonce = hashlib.blake2b(ephemeral_public + public_key, digest_size=NONCE_SIZE).digest()
    try:
        return bytes(ephemeral_public + bindings.crypto_box(value, nonce, public_key, ephemeral_private))
    except CryptoError:
        return None
