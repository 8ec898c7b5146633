"""The relay's datagrams, octet by octet. Numbers are big-endian, MACs BLAKE2s keyed with the end's secret (RFC 7693).

::

    RELAY_DATA (4)  | channel (8) | a tunnel's datagram                                                             both ways
    RELAY_BIND (4)  | counter (8) | grant (64) | role (1) | zero (3) | cookie (16, or zeros) | MAC (16)             112, end → relay
    RELAY_BOUND (4) | channel (8) | counter (8) | status (1) | flags (1) | zero (2) | newest (8) | cookie (16) | MAC (16)      64, back

``counter``: grows with each BIND of an end, across its restarts too (it is taken from the wall clock); a BOUND repeats the one that it
answers. ``newest``: the greatest counter that the relay has seen of this end, so that one whose clock went back can go on.
"""

from __future__ import annotations

import hmac
from hashlib import blake2s
from typing import Final, NamedTuple

from userlan.control.grants import CHANNEL_SIZE, GRANT_SIZE
from userlan.traversal.kinds import RELAY_BIND, RELAY_BOUND, RELAY_DATA

HEADER_SIZE: Final = 4 + CHANNEL_SIZE
"""Octets before a tunnel's datagram."""
COOKIE_SIZE: Final = 16
NO_COOKIE: Final = bytes(COOKIE_SIZE)
_MAC_SIZE: Final = 16
BIND_SIZE: Final = 4 + 8 + GRANT_SIZE + 4 + COOKIE_SIZE + _MAC_SIZE
BOUND_SIZE: Final = 4 + CHANNEL_SIZE + 8 + 4 + 8 + COOKIE_SIZE + _MAC_SIZE

BOUND: Final = 0
"""The end is bound to the address from which the BIND came."""
STALE: Final = 1
"""The counter has been used: go on from ``newest``."""
EXPIRED: Final = 2
"""The grant is over and the mediator is there to renew it."""
FULL: Final = 3
"""No room for more channels."""

VALIDATED: Final = 1
"""Flag: the address is proven, the relay sends there what comes."""
PRESENT: Final = 2
"""Flag: the other end is bound."""
MOVED: Final = 4
"""Flag: this end was bound to another address before, and had not been validated at this one."""


class Bind(NamedTuple):
    """A BIND as it came; ``mac`` is over all before it."""

    counter: int
    grant: bytes
    role: int
    cookie: bytes


class Bound(NamedTuple):
    """A BOUND."""

    channel: bytes
    counter: int
    status: int
    flags: int
    newest: int
    cookie: bytes


def data_header(channel: bytes) -> bytes:
    """What stands before each datagram of a channel, in both directions."""
    return RELAY_DATA + channel


def _mac(secret: bytes, body: bytes) -> bytes:
    return blake2s(body, key=secret, digest_size=_MAC_SIZE).digest()


def authentic(secret: bytes, datagram: bytes) -> bool:
    """Whether a BIND or BOUND was made with this secret."""
    return hmac.compare_digest(datagram[-_MAC_SIZE:], _mac(secret, datagram[:-_MAC_SIZE]))


def encode_bind(bind: Bind, secret: bytes) -> bytes:
    """A BIND with its MAC."""
    body = RELAY_BIND + bind.counter.to_bytes(8, "big") + bind.grant + bytes((bind.role, 0, 0, 0)) + bind.cookie
    return body + _mac(secret, body)


def decode_bind(datagram: bytes) -> Bind | None:
    """What a BIND says (``authentic`` is asked apart), None for what is none."""
    if len(datagram) != BIND_SIZE or datagram[:4] != RELAY_BIND or datagram[76] > 1:
        return None
    return Bind(int.from_bytes(datagram[4:12], "big"), datagram[12:76], datagram[76], datagram[80:96])


def encode_bound(bound: Bound, secret: bytes) -> bytes:
    """A BOUND with its MAC."""
    body = b"".join(
        (
            RELAY_BOUND, bound.channel, bound.counter.to_bytes(8, "big"), bytes((bound.status, bound.flags, 0, 0)),
            bound.newest.to_bytes(8, "big"), bound.cookie,
        )
    )
    return body + _mac(secret, body)


def decode_bound(datagram: bytes) -> Bound | None:
    """What a BOUND says (``authentic`` is asked apart), None for what is none."""
    if len(datagram) != BOUND_SIZE or datagram[:4] != RELAY_BOUND:
        return None
    return Bound(
        datagram[4:12], int.from_bytes(datagram[12:20], "big"), datagram[20], datagram[21], int.from_bytes(datagram[24:32], "big"),
        datagram[32:48],
    )


def same_headers(data: bytes, segment: int) -> bool:
    """Whether every segment has the header of the first; a last one that is too short for a header has not."""
    count = -(-len(data) // segment)
    if segment < HEADER_SIZE or len(data) - (count - 1) * segment < HEADER_SIZE:
        return False
    return all(data[at::segment][:count] == data[at : at + 1] * count for at in range(HEADER_SIZE))


def runs(data: bytes, segment: int) -> list[tuple[int, int]]:
    """Stretches of neighbouring segments with one header: start and end octets."""
    found: list[tuple[int, int]] = []
    start = 0
    for offset in range(segment, len(data), segment):
        if not data.startswith(data[start : start + HEADER_SIZE], offset):
            found.append((start, offset))
            start = offset
    found.append((start, len(data)))
    return found
