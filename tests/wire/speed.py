"""What the hot path of the wire formats costs: `python -m tests.wire.speed` prints microseconds, best of several."""

from __future__ import annotations

import timeit
from collections import Counter
from collections.abc import Callable
from functools import partial

from tests.wire.examples import PAIRS, super_segment
from userlan.wire import tcp
from userlan.wire.superpacket import cut, join, parse
from userlan.wire.tcp import Flags

SEGMENT_SIZE = 1368
"""Octets: what a LAN of MTU 1420 leaves for TCP with timestamps."""

SEGMENTS = 45


def microseconds(call: Callable[[], object], number: int = 200) -> float:
    """The best of nine averages."""
    return min(timeit.repeat(call, number=number, repeat=9)) / number * 1e6


def main() -> None:
    payload = bytes(range(256)) * (SEGMENTS * SEGMENT_SIZE // 256 + 1)
    counters: Counter[str] = Counter()
    for addresses in PAIRS:
        packet = super_segment(payload[: SEGMENTS * SEGMENT_SIZE], SEGMENT_SIZE, addresses, flags=Flags.ACK | Flags.PSH)
        plain, checked = cut(packet, False), cut(packet, True)
        assert len(plain) == SEGMENTS
        segment = tcp.parse_segment(packet)
        acknowledgement = cut(super_segment(b"", 0, addresses), False)
        rows: tuple[tuple[str, Callable[[], object]], ...] = (
            (f"cut of {SEGMENTS}", partial(cut, packet, False)),
            (f"join of {SEGMENTS}", partial(join, plain, True, counters)),
            (f"cut of {SEGMENTS} with checksums", partial(cut, packet, True)),
            (f"join of {SEGMENTS} with checksums", partial(join, checked, False, counters)),
            ("build", partial(tcp.build, segment, *addresses)),
            ("parse", partial(parse, acknowledgement[0], True)),
            ("parse_segment", partial(tcp.parse_segment, packet)),
            ("join of one acknowledgement", partial(join, acknowledgement, True, counters)),
        )
        for name, call in rows:
            print(f"IPv{packet.version}  {name:32} {microseconds(call):8.2f} µs")


if __name__ == "__main__":
    main()
