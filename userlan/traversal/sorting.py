"""Which datagrams of a coalesced buffer are the tunnel's, and which are those of ``kinds``.

The kernel coalesces neighbouring datagrams of one sender and size whatever they are for (GRO), the last of a run may be shorter. What
``kinds`` names is small but for relayed data, so that a run of large datagrams is told from its first and its last one: the bulk path
pays for two looks, not for one each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from userlan.traversal import kinds
from userlan.wire.numbers import Buffer

TUNNEL: Final = b""
"""``Part.kind`` of all that is none of ``kinds``: it is the tunnel's, or nobody's."""

SMALL: Final = 160
"""Octets of the largest datagram of ``kinds`` but for relayed data and grants: runs of such sizes are looked at one by one."""

KINDS: Final = frozenset(value for name, value in vars(kinds).items() if name.isupper() and isinstance(value, bytes))


FIRST: Final = 0x20
"""The least first octet of ``kinds``; the tunnel's are below it."""


class Part(NamedTuple):
    """Datagrams of one kind, ``segment`` octets each, the last may be shorter."""

    kind: bytes
    data: Buffer
    segment: int


def kind_of(data: Buffer) -> bytes:
    """The first four octets of a datagram where ``kinds`` has them, else ``TUNNEL``."""
    if len(data) < 4 or data[0] < FIRST:
        return TUNNEL
    kind = bytes(data[:4])
    return kind if kind in KINDS else TUNNEL


def tunnel_alone(data: Buffer, segment: int) -> bool:
    """Whether a buffer is one part, the tunnel's, by the looks that ``parts`` takes where runs are large; False: ask ``parts``."""
    length = len(data)
    if length < 4 or data[0] >= FIRST:
        return False
    return 0 < length <= segment or (segment > SMALL and data[(length - 1) // segment * segment] < FIRST)


def parts(data: Buffer, segment: int) -> Iterator[Part]:
    """A buffer of datagrams as runs of one kind, in order."""
    length = len(data)
    if length <= segment or segment <= 0:
        yield Part(kind_of(data), data, max(segment, 1))
        return
    view = memoryview(data)
    last = (length - 1) // segment * segment
    if segment > SMALL:
        first_kind, last_kind = kind_of(view), kind_of(view[last:])
        if first_kind == last_kind:
            yield Part(first_kind, data, segment)
        else:
            yield Part(first_kind, view[:last], segment)
            yield Part(last_kind, view[last:], length - last)
        return
    start, kind = 0, kind_of(view)
    for offset in range(segment, length, segment):
        other = kind_of(view[offset:])
        if other != kind:
            yield Part(kind, view[start:offset], segment)
            start, kind = offset, other
    yield Part(kind, view[start:], segment)
