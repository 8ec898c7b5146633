"""SHA-256 over a file that is read or written anyway: octets that pass are hashed as they do; those from before are caught up with.

::

    0 ────────── position ─ ─ ─ ─ ─ ─ ─ begin ═══════════▶ passing now
      hashed               to catch up

After a restart of the program nothing is hashed, and the passing begins somewhere in the middle: each step that moves a block then also
reads some blocks behind, so that the file does not have to wait until all of it has been read once.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

CATCH_UP: Final = 4 << 20
"""Octets hashed behind for each step: some ms of a thread's time."""
_CHUNK = 1 << 20


class Hashing:
    """The hash of a file up to ``position``."""

    __slots__ = ("_hash", "position")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.position = 0

    def add(self, octets: memoryview, begin: int) -> None:
        """These octets of the file, from ``begin`` on, are at hand: what follows the hashed ones is hashed."""
        if begin <= self.position < begin + len(octets):
            self._hash.update(octets[self.position - begin :])
            self.position = begin + len(octets)

    def catch_up(self, descriptor: int, end: int) -> None:
        """Read and hash up to ``CATCH_UP`` octets more, not beyond ``end``. Raises OSError, EOFError."""
        left = min(CATCH_UP, end - self.position)
        while left > 0:
            os.lseek(descriptor, self.position, os.SEEK_SET)
            octets = os.read(descriptor, min(_CHUNK, left))
            if not octets:
                raise EOFError("the file is shorter than it was")
            self._hash.update(octets)
            self.position += len(octets)
            left -= len(octets)

    def hexdigest(self) -> str:
        """Of what has been hashed."""
        return self._hash.hexdigest()
