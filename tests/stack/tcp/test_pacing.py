"""Pacing (RFC 9002 7.7): a window leaves over the round trip, in bursts of a millisecond."""

from __future__ import annotations

from math import inf

import pytest

from tests.stack.tcp.pair import Path, transfer
from tests.stack.tcp.scene import Scene, established
from userlan.stack.tcp import Config
from userlan.stack.tcp.pacing import GAIN, LATE, SLOW_START_GAIN, Pacer

SEGMENT = 1000
UNIT = 45 * SEGMENT


def run(pacer: Pacer, window: int, round_trip: float, seconds: float, slow_start: bool = False) -> list[int]:
    """Send as often as it lets; returns the bursts."""
    bursts = []
    now, end = 100.0, 100.0 + seconds
    while now < end:
        burst = min(pacer.burst(window, round_trip, slow_start, SEGMENT, 10 * SEGMENT, now), UNIT)
        if burst:
            pacer.sent(burst)
            bursts.append(burst)
        else:
            assert now < pacer.blocked < inf
            now = pacer.blocked
    return bursts


@pytest.mark.parametrize(("slow_start", "gain"), [(True, SLOW_START_GAIN), (False, GAIN)])
def test_the_rate_is_the_window_over_the_round_trip_times_the_gain(slow_start: bool, gain: float) -> None:
    bursts = run(Pacer(), 1_000_000, 0.100, 2.0, slow_start)
    assert sum(bursts) / 2.0 == pytest.approx(gain * 1_000_000 / 0.100, rel=0.02)


def test_a_burst_is_a_milliseconds_worth() -> None:
    bursts = run(Pacer(), 1_000_000, 0.100, 1.0)
    assert set(bursts[5:]) == {12_000}


def test_a_burst_has_two_segments_at_least() -> None:
    bursts = run(Pacer(), 20_000, 0.100, 1.0)
    assert set(bursts[5:]) == {2000}


def test_after_a_pause_the_initial_window_leaves_at_once() -> None:
    """RFC 9002 7.7: bursts of the initial window need no pacing."""
    pacer = Pacer()
    assert pacer.burst(10_000, 0.100, True, SEGMENT, 10_000, 50.0) == 10_000


def test_a_late_timer_costs_no_rate() -> None:
    """A timer that wakes every three milliseconds, as event loops do, sends three milliseconds' worth each time."""
    pacer = Pacer()
    sent, now = 0, 100.0
    while now < 102.0:
        while burst := pacer.burst(1_000_000, 0.100, False, SEGMENT, 10_000, now):
            pacer.sent(burst)
            sent += burst
        now += 0.003
    assert LATE > 0.003
    assert sent / 2.0 == pytest.approx(GAIN * 1_000_000 / 0.100, rel=0.02)


def test_what_was_sent_again_counts() -> None:
    pacer = Pacer()
    pacer.burst(100_000, 0.100, False, SEGMENT, 10_000, 100.0)
    pacer.sent(50_000)
    assert pacer.burst(100_000, 0.100, False, SEGMENT, 10_000, 100.0) == 0
    assert pacer.blocked == pytest.approx(100.0 + 40_000 / (GAIN * 1_000_000), rel=1e-6)


def paced(round_trip: float) -> Scene:
    """Slow start has opened the window to some 60 segments; the handshake took ``round_trip``."""
    scene = Scene(Config(), scale=4)
    scene.drain()
    scene.now += round_trip
    scene.inject("SA", at=-1)
    data = bytes(60_000)
    scene.send(data)
    for _ in range(60):
        scene.wait(round_trip)
        scene.inject("A", ack=scene.connection.sender.nxt - scene.connection.initial - 1)
        if not scene.connection.sender.board and not scene.connection.unsent:
            break
    assert not scene.connection.unsent
    return scene


def test_a_window_leaves_over_half_a_round_trip_in_slow_start() -> None:
    scene = paced(0.050)
    scene.connection.send(bytes(50_000), scene.now)
    start = scene.now
    times = []
    sent = 0
    while sent < 50_000:
        scene.drain()
        sent += sum(len(segment.payload) for segment in scene.last)
        times.append(scene.now - start)
        deadline = scene.connection.deadline()
        assert deadline is not None
        scene.now = deadline
        scene.connection.tick(scene.now)
    assert len(times) > 10
    assert 0.008 < times[-1] < 0.050


def test_a_short_path_is_not_paced() -> None:
    """Below 5 ms nothing waits, and no timer but the probe's is set."""
    scene = paced(0.002)
    assert not scene.connection.sender.pacer.on
    scene.send(bytes(50_000))
    assert sum(len(segment.payload) for segment in scene.last) == 50_000


def test_it_can_be_switched_off() -> None:
    scene = established(Config(pacing=False))
    assert not scene.connection.sender.pacer.on
    assert established(Config()).connection.sender.pacer.on


def test_a_short_queue_does_not_end_slow_start_early() -> None:
    """100 Mbit/s, 40 ms, and a queue of 44 segments: a window that leaves at once does not fit in it, long before the
    path is full."""
    seconds = {}
    for pacing in (True, False):
        pair = transfer(4 << 20, Path(delay=0.020, rate=100e6, queue=60_000), config=Config(pacing=pacing))
        seconds[pacing] = pair.now - pair.started
    assert seconds[True] < seconds[False] / 2


def test_the_unit_stays_the_super_segment_on_a_fast_path() -> None:
    """1 Gbit/s and 10 ms: a millisecond is more than a super-segment."""
    total = 100 << 20
    pair = transfer(total, Path(delay=0.005, rate=1e9, queue=4 << 20))
    assert pair.backward.counters["sent"] < total / 61_560 * 1.6
    assert total * 8 / (pair.now - pair.started) > 850e6
