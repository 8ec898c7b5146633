"""TAI64N timestamps (https://cr.yp.to/libtai/tai64.html): what makes an initiation impossible to replay.

12 bytes, big-endian: 2^62 + 10 + seconds since 1970 (8), nanoseconds (4); comparing the bytes compares the times.
"""

from __future__ import annotations

from userlan.tunnel.constants import TIMESTAMP_RESERVE, TIMESTAMP_SIZE

_BASE = (1 << 62) + 10  # TAI was 10 s ahead of UTC in 1970
_NANOSECONDS = 1_000_000_000
_WHITENING = ~((1 << 24) - 1)  # drops the lowest 16.8 ms: the precise clock is nobody's business (wireguard-go)


def encode(nanoseconds: int) -> bytes:
    """The stamp of a time in nanoseconds since 1970 (not negative)."""
    seconds, rest = divmod(nanoseconds, _NANOSECONDS)
    return (_BASE + seconds).to_bytes(8, "big") + rest.to_bytes(4, "big")


def decode(stamp: bytes) -> int:
    """Nanoseconds since 1970 of a stamp of 12 bytes; ValueError for any other size."""
    if len(stamp) != TIMESTAMP_SIZE:
        raise ValueError(f"a TAI64N timestamp has {TIMESTAMP_SIZE} bytes, not {len(stamp)}")
    return (int.from_bytes(stamp[:8], "big") - _BASE) * _NANOSECONDS + int.from_bytes(stamp[8:], "big")


class StampSource:
    """Strictly increasing stamps, across restarts too.

    `floor` is the last value that `reserved` had in the previous run: no stamp of this run is at or below it, even if
    the clock was set back in between. `reserved` runs ahead of what is used, so that it changes rarely: whoever
    persists it before the next datagram leaves is safe against a crash.
    """

    def __init__(self, wall_offset: float, floor: bytes = b"") -> None:
        self._wall_offset = wall_offset
        self._last = max(decode(floor), 0) if floor else 0
        self.reserved = floor

    def next(self, now: float) -> bytes:
        """The stamp for `now` (monotonic seconds), later than every one before."""
        wall = max(int((now + self._wall_offset) * _NANOSECONDS), 0)
        nanoseconds = wall - wall % _NANOSECONDS + (wall % _NANOSECONDS & _WHITENING)
        self._last = max(nanoseconds, self._last + 1)
        stamp = encode(self._last)
        if stamp > self.reserved:
            self.reserved = encode(self._last + int(TIMESTAMP_RESERVE * _NANOSECONDS))
        return stamp
