"""Grants: a mediator lets a pair use a relay, and the relay knows it from the datagram alone.

Mediator and relay share a key (``PoolKey``), which follows from the mediator's own secret and the relay's public key: both may be
restarted, and one relay's key opens nothing at another. A grant is sealed with it and travels in the open::

     0        4            12         16                32                48                64
    +--------+------------+----------+-----------------+-----------------+-----------------+
    | key id | expiry (s) | rate     | tag of one end  | of the other    | seal            |        big-endian
    +--------+------------+----------+-----------------+-----------------+-----------------+

A tag is a keyed hash of an end's public key, the lower key's first: a relay counts what one client uses over all its channels and does
not learn who it is. What follows from a grant by the same key:

    channel   8 octets, of the two tags alone: an end with a renewed grant and one that has the older still meet
    secret    32 octets for each end, of the whole grant and its role: told to that end by the mediator, derived by the relay

Times are wall-clock seconds since 1970. A grant lasts ``LIFETIME``. A relay takes an expired one for ``GRACE`` more, but only while the
mediator that sealed it cannot be reached from the relay: then nobody can renew it, and pairs go on without the servers.

Why the channel does not follow from the whole grant: ends hear of a renewal at different moments, or one of them does not.
"""

from __future__ import annotations

import hmac
from hashlib import blake2s
from typing import Final, NamedTuple

LIFETIME: Final = 7 * 86_400.0
"""Seconds from a grant's sealing to its end: a week without any server."""
GRACE: Final = 23 * 86_400.0
"""Seconds for which an expired grant is still taken while its mediator is away: with its lifetime a month."""
KEY_SIZE: Final = 32
ID_SIZE: Final = 4
TAG_SIZE: Final = 16
SEAL_SIZE: Final = 16
CHANNEL_SIZE: Final = 8
GRANT_SIZE: Final = 64
_SEALED: Final = GRANT_SIZE - SEAL_SIZE
_RATE_LIMIT: Final = 2**32 - 1


class Grant(NamedTuple):
    """What a grant says. ``rate``: octets a second for the pair, 0: the relay's own rule. ``tags``: of both ends, lower key first."""

    key_id: bytes
    expiry: float
    rate: int
    tags: tuple[bytes, bytes]


class EndGrant(NamedTuple):
    """A pair's grant as one end is told of it."""

    grant: bytes
    channel: bytes
    secret: bytes


def _hash(key: bytes, what: bytes, *parts: bytes, size: int) -> bytes:
    """A keyed hash (RFC 7693), apart from all others of the same key by ``what`` (8 octets at most)."""
    return blake2s(b"".join(parts), key=key, person=what, digest_size=size).digest()


def secret_from(private_key: bytes) -> bytes:
    """The secret from which a mediator's pool keys follow; ``private_key``: its own, 32 octets."""
    return _hash(private_key, b"relays", size=KEY_SIZE)


def pool_key(secret: bytes, relay: bytes) -> bytes:
    """The key that a mediator shares with one relay; ``secret``: 32 octets of the mediator's own, ``relay``: its public key."""
    return _hash(secret, b"pool", relay, size=KEY_SIZE)


def key_id(key: bytes) -> bytes:
    """Which of its pool keys a relay has to look at."""
    return _hash(key, b"id", size=ID_SIZE)


def tag(key: bytes, end: bytes) -> bytes:
    """An end as the relay knows it; ``end``: its public key."""
    return _hash(key, b"tag", end, size=TAG_SIZE)


def role_of(own: bytes, peer: bytes) -> int:
    """0 for the end with the lower public key, 1 for the other."""
    return 0 if own < peer else 1


def seal(key: bytes, one: bytes, other: bytes, expiry: float, rate: int = 0) -> bytes:
    """A grant for two public keys, in either order. ValueError where they are the same."""
    if one == other:
        raise ValueError("a grant is for two ends")
    lower, higher = sorted((one, other))
    numbers = int(expiry).to_bytes(8, "big") + min(max(rate, 0), _RATE_LIMIT).to_bytes(4, "big")
    body = key_id(key) + numbers + tag(key, lower) + tag(key, higher)
    return body + _hash(key, b"seal", body, size=SEAL_SIZE)


def opened(key: bytes, grant: bytes) -> Grant | None:
    """What a grant says, or None where this key did not seal it."""
    if len(grant) != GRANT_SIZE:
        return None
    body = grant[:_SEALED]
    if not hmac.compare_digest(grant[_SEALED:], _hash(key, b"seal", body, size=SEAL_SIZE)):
        return None
    expiry, rate = int.from_bytes(body[4:12], "big"), int.from_bytes(body[12:16], "big")
    return Grant(body[:ID_SIZE], float(expiry), rate, (body[16:32], body[32:48]))


def channel_of(key: bytes, grant: Grant) -> bytes:
    """The channel of a pair."""
    return _hash(key, b"channel", *grant.tags, size=CHANNEL_SIZE)


def secret_of(key: bytes, grant: bytes, role: int) -> bytes:
    """An end's secret."""
    return _hash(key, b"secret", grant, bytes((role,)), size=KEY_SIZE)


def for_end(key: bytes, grant: bytes, role: int) -> EndGrant:
    """What the end with ``role`` is told. ValueError for what this key did not seal."""
    said = opened(key, grant)
    if said is None:
        raise ValueError("this key did not seal that grant")
    return EndGrant(grant, channel_of(key, said), secret_of(key, grant, role))
