"""Sequence numbers (RFC 9293 3.4): modulo 2**32 on the wire, growing integers inside.

Inside this package every place in a stream is a *position*: an ordinary integer that never wraps and whose low 32
bits are the number on the wire. What arrives is placed beside a position that is known, so that comparisons are ``<``
and nothing else::

    wire number    … fffffffe ffffffff 00000000 00000001 …
    position       … fffffffe ffffffff 100000000 100000001 …
"""

from __future__ import annotations

SEQUENCE_MASK = 0xFFFFFFFF
"""Sequence numbers, and timestamps, have 32 bits (RFC 9293 3.1, RFC 7323 3.2)."""

_HALF = 0x80000000


def on_wire(position: int) -> int:
    """The 32-bit number of a position."""
    return position & SEQUENCE_MASK


def near(number: int, reference: int) -> int:
    """The position with this wire number that lies nearest to ``reference`` (from 2**31 before it to 2**31 - 1 after
    it)."""
    return reference + ((number - reference + _HALF) & SEQUENCE_MASK) - _HALF


def is_older(number: int, than: int) -> bool:
    """Whether one 32-bit number, a timestamp say, comes before another, modulo 2**32 (RFC 7323 3.2). Equal ones do
    not."""
    return ((number - than) & SEQUENCE_MASK) > _HALF
