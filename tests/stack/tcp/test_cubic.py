"""CUBIC (RFC 9438): the window as a function of time."""

from __future__ import annotations

import pytest

from userlan.stack.tcp.congestion import Cubic
from userlan.stack.tcp.congestion.cubic import ALPHA, BETA, MAX_GROWTH, C

SEGMENT = 1000
LONG, SHORT = 0.100, 0.001


class Avoiding:
    """A control in congestion avoidance, with a whole window delivered in each round trip."""

    def __init__(self, window: int, round_trip: float = LONG) -> None:
        self.congestion = Cubic(SEGMENT, 10)
        self.congestion.window = window * SEGMENT
        self.round_trip = round_trip
        self.now = 100.0

    @property
    def window(self) -> float:
        """Segments."""
        return self.congestion.window / SEGMENT

    def loss(self) -> None:
        self.congestion.loss(self.congestion.window)

    def pass_time(self, seconds: float, acks: int = 10) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9:
            octets = self.congestion.window // acks
            for _ in range(acks):
                self.now += self.round_trip / acks
                self.congestion.acknowledged(octets, None, self.round_trip, 0, 0, self.now)


def test_a_loss_keeps_seven_tenths() -> None:
    """RFC 9438 4.6."""
    path = Avoiding(1000)
    path.loss()
    assert path.window == 1000 * BETA
    assert path.congestion.threshold == path.congestion.window


def test_two_segments_are_the_least() -> None:
    """RFC 9438 4.6: max(ssthresh, 2)."""
    path = Avoiding(1)
    path.loss()
    assert path.window == 2


def test_the_window_comes_back_to_where_it_was_after_k() -> None:
    """RFC 9438 4.2: W_cubic(K) = W_max, K = cbrt((W_max - cwnd) / C), and it is flat there."""
    path = Avoiding(1000)
    path.loss()
    k = (1000 * (1 - BETA) / C) ** (1 / 3)
    path.pass_time(k / 2)
    assert path.window == pytest.approx(1000 - C * (k / 2 - path.round_trip) ** 3, rel=0.01)
    path.pass_time(k / 2)
    assert path.window == pytest.approx(1000, rel=0.002)
    path.pass_time(1.0)
    assert path.window < 1003


def test_beyond_it_growth_is_convex() -> None:
    """RFC 9438 4.5."""
    path = Avoiding(1000)
    path.loss()
    k = (1000 * (1 - BETA) / C) ** (1 / 3)
    path.pass_time(k + 5)
    before = path.window
    assert before == pytest.approx(1000 + C * 5**3, rel=0.01)
    path.pass_time(5)
    assert path.window == pytest.approx(1000 + C * 10**3, rel=0.01)


def test_growth_does_not_depend_on_the_round_trip() -> None:
    """RFC 9438 3: two flows of different round trips have the same window after the same time."""
    windows = []
    for round_trip in (0.05, 0.2):
        path = Avoiding(2000, round_trip)
        path.loss()
        path.pass_time(8.0)
        windows.append(path.window)
    assert windows[0] == pytest.approx(windows[1], rel=0.01)


def test_a_window_grows_by_half_in_a_round_trip_at_most() -> None:
    """RFC 9438 4.2: the target's upper bound."""
    path = Avoiding(20, 10.0)
    path.loss()
    for _ in range(10):
        before = path.window
        path.pass_time(path.round_trip, acks=1)
        assert path.window <= before * MAX_GROWTH + 0.01


def test_on_a_short_path_it_is_as_reno() -> None:
    """RFC 9438 4.3: W_est grows by alpha a round trip up to the former window, then by a segment."""
    path = Avoiding(100, SHORT)
    path.loss()
    path.pass_time(20 * SHORT)
    assert path.window == pytest.approx(70 + 20 * ALPHA, abs=0.5)
    rounds = round((100 - path.window) / ALPHA)
    path.pass_time(rounds * SHORT)
    before = path.window
    assert before == pytest.approx(100, abs=1.5)
    path.pass_time(20 * SHORT)
    assert path.window == pytest.approx(before + 20, abs=1.0)


def test_a_smaller_maximum_makes_room() -> None:
    """RFC 9438 4.7, fast convergence: W_max = cwnd x (1 + beta) / 2."""
    path = Avoiding(1000)
    path.loss()
    path.pass_time(0.5)
    second = path.window
    assert second < 1000
    path.loss()
    k = (second * ((1 + BETA) / 2 - BETA) / C) ** (1 / 3)
    path.pass_time(k)
    assert path.window == pytest.approx(second * (1 + BETA) / 2, rel=0.01)


def test_after_a_timeout_the_plateau_is_where_slow_start_ended() -> None:
    """RFC 9438 4.8: K = 0 and W_max = cwnd at the start of congestion avoidance."""
    path = Avoiding(1000)
    path.congestion.timeout(1_000_000, False)
    assert path.window == 1
    assert path.congestion.threshold == 700 * SEGMENT
    while path.congestion.slow_start:
        path.pass_time(path.round_trip)
    start = path.window
    path.pass_time(3.0)
    assert path.window == pytest.approx(start + C * 3**3, rel=0.03)


def test_a_spurious_congestion_event_leaves_no_trace() -> None:
    """RFC 9438 4.9: window, threshold, W_max, K, epoch and W_est come back."""
    paths = Avoiding(1000), Avoiding(1000)
    for path in paths:
        path.loss()
        path.pass_time(3.0)
    paths[1].loss()
    paths[1].congestion.undo()
    for path in paths:
        path.pass_time(6.0)
    assert paths[0].window == pytest.approx(paths[1].window, rel=0.001)


def test_time_without_use_of_the_window_does_not_count() -> None:
    """RFC 9438 4.2, 5.8: no leap after an application-limited period."""
    path = Avoiding(1000)
    path.loss()
    path.pass_time(3.0)
    before = path.window
    path.now += 60.0
    path.congestion.paused(60.0)
    path.pass_time(path.round_trip)
    assert path.window - before < 30


def test_slow_start_that_ended_without_a_loss_goes_on_from_a_plateau() -> None:
    """RFC 9438 4.10."""
    path = Avoiding(500)
    path.congestion.leave_slow_start()
    path.pass_time(2.0)
    assert path.window == pytest.approx(500 + C * 2**3, rel=0.05)


def test_another_segment_size_keeps_the_curve() -> None:
    """W_max and K are in segments; the window in octets stays (RFC 8201 5.3)."""
    path = Avoiding(1000)
    path.loss()
    path.pass_time(1.0)
    octets = path.congestion.window
    path.congestion.segment_changed(500)
    assert path.congestion.window == octets
    path.pass_time(1.0)
    assert octets < path.congestion.window < 1_000_000
