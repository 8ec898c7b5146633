"""How a run of equal datagrams travels as one buffer, and where to (`userlan.wire.burst`, `userlan.wire.endpoint`)."""

from __future__ import annotations

from userlan.wire.burst import Burst
from userlan.wire.endpoint import Endpoint
from userlan.wire.numbers import Buffer

__all__ = ["Buffer", "Burst", "Endpoint"]
