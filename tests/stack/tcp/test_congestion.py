"""NewReno's window (RFC 5681, RFC 6582, RFC 6928) and HyStart++ (RFC 9406)."""

from __future__ import annotations

from math import inf

import pytest

from userlan.stack.tcp.congestion import NewReno

SEGMENT = 1368


def control() -> NewReno:
    return NewReno(SEGMENT, 10)


@pytest.mark.parametrize(("segment", "window"), [(1368, 13_680), (1460, 14_600), (8960, 17_920), (536, 5360)])
def test_the_initial_window(segment: int, window: int) -> None:
    """RFC 6928 2."""
    assert NewReno(segment, 10).window == window


def test_slow_start_grows_by_what_is_acknowledged() -> None:
    """RFC 5681 3.1, without RFC 3465's limit, since one ACK covers a super-segment."""
    congestion = control()
    congestion.acknowledged(61_560, None, 61_560, 100_000, 0.0)
    assert congestion.window == 13_680 + 61_560


def test_congestion_avoidance_grows_by_a_segment_a_round_trip() -> None:
    """RFC 5681 3.1."""
    congestion = control()
    congestion.window = 200_000
    congestion.loss(200_000, 0.0)
    window = congestion.window
    assert window == 100_000
    for _ in range(4):
        congestion.acknowledged(window // 4, None, 0, 0, 0.0)
    assert congestion.window == pytest.approx(window + SEGMENT, abs=40)


def test_a_loss_halves_what_is_in_flight_but_leaves_two_segments() -> None:
    """RFC 5681 3.1, equation 4."""
    congestion = control()
    congestion.loss(1000, 0.0)
    assert congestion.window == congestion.threshold == 2 * SEGMENT


def test_a_timeout_leaves_one_segment_and_counts_once() -> None:
    """RFC 5681 3.1: the threshold is not reduced again for the same octets."""
    congestion = control()
    congestion.timeout(100_000, False, 0.0)
    assert (congestion.window, congestion.threshold) == (SEGMENT, 50_000)
    congestion.timeout(1000, True, 0.0)
    assert (congestion.window, congestion.threshold) == (SEGMENT, 50_000)


def test_undoing_restores_window_and_threshold() -> None:
    """RFC 4015 3.2."""
    congestion = control()
    congestion.window = 300_000
    congestion.timeout(300_000, False, 0.0)
    congestion.undo()
    assert (congestion.window, congestion.threshold) == (300_000, inf)


def test_after_idling_the_window_is_the_initial_one_at_most() -> None:
    """RFC 5681 4.1."""
    congestion = control()
    congestion.window = 300_000
    congestion.idle()
    assert congestion.window == 13_680


def rounds(congestion: NewReno, times: list[float], acks: int = 8) -> int:
    """Each element is a round of so many ACKs with that round trip; returns the window after them."""
    una = 0
    for rtt in times:
        nxt = una + congestion.window
        step = congestion.window // acks
        for _ in range(acks):
            una += step
            congestion.acknowledged(step, rtt, una, nxt, 0.0)
        una = nxt
    return congestion.window


def test_without_a_growing_round_trip_slow_start_doubles() -> None:
    congestion = control()
    assert rounds(congestion, [0.050] * 6) == pytest.approx(13_680 * 2**6, rel=0.05)
    assert congestion.threshold == inf


def test_a_growing_round_trip_slows_slow_start_and_then_ends_it() -> None:
    """RFC 9406 4.2: a quarter of the growth, for five rounds."""
    congestion = control()
    before = rounds(congestion, [0.050, 0.050, 0.050, 0.060])
    assert congestion.conservative
    after = rounds(congestion, [0.061])
    assert after == pytest.approx(1.25 * before, rel=0.1)
    rounds(congestion, [0.062] * 6)
    assert congestion.threshold < inf
    assert not congestion.slow_start


def test_a_round_trip_that_shrinks_again_resumes_slow_start() -> None:
    """RFC 9406 4.2."""
    congestion = control()
    rounds(congestion, [0.050, 0.050, 0.060, 0.050])
    assert not congestion.conservative
    assert congestion.slow_start


def test_jitter_below_four_milliseconds_is_nothing() -> None:
    """RFC 9406 4.3: MIN_RTT_THRESH."""
    congestion = control()
    rounds(congestion, [0.001, 0.004, 0.001, 0.004, 0.002])
    assert not congestion.conservative
