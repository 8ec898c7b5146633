"""Replay protection without bit shifting (RFC 6479): a ring of 64-bit blocks, marked after authentication.

The ring has as many blocks as counters have entered: a session that carries an echo now and then does not need the 1 KB of all.
"""

from __future__ import annotations

from userlan.tunnel.constants import REJECT_AFTER_MESSAGES, REPLAY_WINDOW_BITS

_BLOCK_BITS = 64
_BLOCK_SHIFT = 6
_BLOCKS = REPLAY_WINDOW_BITS // _BLOCK_BITS
_RING_MASK = _BLOCKS - 1
_FULL = (1 << _BLOCK_BITS) - 1
WINDOW = REPLAY_WINDOW_BITS - _BLOCK_BITS
"""How far behind the newest counter a counter may be: one block is always being filled."""


class ReplayWindow:
    """Which counters have been seen. `newest` is the highest one marked, -1 at first. limit: the first that the key is not good for."""

    __slots__ = ("_limit", "_ring", "newest")

    def __init__(self, limit: int = REJECT_AFTER_MESSAGES) -> None:
        self._limit = limit
        self.newest = -1
        self._ring: list[int] = []

    def fresh(self, counter: int) -> bool:
        """Whether a datagram of this counter may be accepted: not seen, not too old, below the limit of the key."""
        if counter > self.newest:
            return counter < self._limit
        if self.newest - counter > WINDOW:
            return False
        return not self._ring[counter >> _BLOCK_SHIFT & _RING_MASK] >> (counter & _BLOCK_BITS - 1) & 1

    def mark(self, counter: int) -> None:
        """Remember an authenticated counter that fresh() accepted."""
        self._advance(counter)
        self._ring[counter >> _BLOCK_SHIFT & _RING_MASK] |= 1 << (counter & _BLOCK_BITS - 1)

    def mark_run(self, first: int, count: int) -> None:
        """Remember `count` contiguous counters above `newest`: a block at a time (count is at least 1)."""
        last = first + count - 1
        self._advance(last)
        first = max(first, last - WINDOW)
        ring = self._ring
        block, last_block = first >> _BLOCK_SHIFT, last >> _BLOCK_SHIFT
        bits = _FULL << (first & _BLOCK_BITS - 1) & _FULL
        while block < last_block:
            ring[block & _RING_MASK] |= bits
            bits = _FULL
            block += 1
        ring[last_block & _RING_MASK] |= bits & _FULL >> (_BLOCK_BITS - 1 - (last & _BLOCK_BITS - 1))

    def _advance(self, counter: int) -> None:
        """Move `newest` up to counter and clear the blocks that are entered."""
        if counter <= self.newest:
            return
        block, last_block = (self.newest >> _BLOCK_SHIFT) + 1, counter >> _BLOCK_SHIFT
        if last_block - block >= _BLOCKS:
            block = last_block - _BLOCKS + 1
        ring = self._ring
        if len(ring) < _BLOCKS:
            ring.extend([0] * (min(last_block + 1, _BLOCKS) - len(ring)))
        while block <= last_block:
            ring[block & _RING_MASK] = 0
            block += 1
        self.newest = counter
