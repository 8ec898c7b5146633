"""HyStart++ (RFC 9406), with both algorithms."""

from __future__ import annotations

from math import inf

import pytest

from tests.stack.tcp.pair import Path, transfer
from userlan.stack.tcp.congestion import ALGORITHMS, CongestionControl

SEGMENT = 1368


@pytest.fixture(params=sorted(ALGORITHMS))
def congestion(request: pytest.FixtureRequest) -> CongestionControl:
    return ALGORITHMS[request.param](SEGMENT, 10)


def rounds(congestion: CongestionControl, times: list[float], acks: int = 8) -> int:
    """Each element is a round of so many ACKs with that round trip; returns the window after them."""
    una = 0
    for rtt in times:
        nxt = una + congestion.window
        step = congestion.window // acks
        for _ in range(acks):
            una += step
            congestion.acknowledged(step, rtt, rtt, una, nxt, 0.0)
        una = nxt
    return congestion.window


def test_without_a_growing_round_trip_slow_start_doubles(congestion: CongestionControl) -> None:
    assert rounds(congestion, [0.050] * 6) == pytest.approx(13_680 * 2**6, rel=0.05)
    assert congestion.threshold == inf


def test_a_growing_round_trip_slows_slow_start_and_then_ends_it(congestion: CongestionControl) -> None:
    """RFC 9406 4.2: a quarter of the growth, for five rounds."""
    before = rounds(congestion, [0.050, 0.050, 0.050, 0.060])
    assert congestion.conservative
    after = rounds(congestion, [0.061])
    assert after == pytest.approx(1.25 * before, rel=0.1)
    rounds(congestion, [0.062] * 6)
    assert congestion.threshold < inf
    assert not congestion.slow_start


def test_a_round_trip_that_shrinks_again_resumes_slow_start(congestion: CongestionControl) -> None:
    """RFC 9406 4.2."""
    rounds(congestion, [0.050, 0.050, 0.060, 0.050])
    assert not congestion.conservative
    assert congestion.slow_start


def test_jitter_below_four_milliseconds_is_nothing(congestion: CongestionControl) -> None:
    """RFC 9406 4.3: MIN_RTT_THRESH."""
    rounds(congestion, [0.001, 0.004, 0.001, 0.004, 0.002])
    assert not congestion.conservative


def test_slow_start_ends_before_the_queue_overflows() -> None:
    """100 Mbit/s, 20 ms, a queue of 50 ms: nothing is lost."""
    pair = transfer(20 << 20, Path(delay=0.010, rate=100e6, queue=625_000))
    assert pair.forward.counters["queue-full"] == 0
    assert pair.forward.longest_queue < 0.030
