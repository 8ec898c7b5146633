"""Round trips (RFC 6298, RFC 7323), the flight limit, the receive window's size, timestamps and initial numbers."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stack.tcp.scene import LOCAL, REMOTE, entropy
from userlan.stack.tcp.flight_limit import FlightLimit
from userlan.stack.tcp.isn import InitialNumbers
from userlan.stack.tcp.receive_window import ReceiveWindow
from userlan.stack.tcp.rtt import RttEstimator
from userlan.stack.tcp.scoreboard import Run
from userlan.stack.tcp.timestamps import Timestamps

KIB = 1024

INITIAL_FLIGHT = 200_000
"""Octets in flight before a rate is known: what slow start would have."""


def estimator() -> RttEstimator:
    return RttEstimator(initial=1.0, minimum=0.2, maximum=60.0)


def test_the_first_sample_sets_smoothed_and_variation() -> None:
    """RFC 6298 2.2."""
    rtt = estimator()
    assert rtt.timeout == 1.0
    rtt.sample(0.5)
    assert (rtt.smoothed, rtt.variation) == (0.5, 0.25)
    assert rtt.timeout == 1.5


def test_later_samples_are_weighed_by_an_eighth_and_a_quarter() -> None:
    """RFC 6298 2.3."""
    rtt = estimator()
    rtt.sample(0.5)
    rtt.sample(0.9)
    assert rtt.variation == pytest.approx(0.75 * 0.25 + 0.25 * 0.4)
    assert rtt.smoothed == pytest.approx(0.875 * 0.5 + 0.125 * 0.9)


def test_many_samples_in_a_round_trip_weigh_less() -> None:
    """RFC 7323 appendix G."""
    rtt = estimator()
    rtt.sample(0.5)
    rtt.sample(0.9, samples_per_round=10)
    assert rtt.smoothed == pytest.approx(0.5 + 0.4 / 80)


def test_the_timeout_doubles_up_to_its_maximum_and_recovers_with_progress() -> None:
    """RFC 6298 2.5, 5.5."""
    rtt = estimator()
    rtt.sample(0.1)
    base = rtt.timeout
    for exponent in range(1, 12):
        rtt.back_off()
        assert rtt.timeout == min(base * 2**exponent, 60.0)
    rtt.progress()
    assert rtt.timeout == base


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True)))
def test_whatever_is_measured_the_timeout_stays_in_its_bounds(samples: list[float]) -> None:
    rtt = estimator()
    for sample in samples:
        rtt.sample(sample)
        assert 0.2 <= rtt.timeout <= 60.0


def test_an_echo_of_long_ago_measures_nothing() -> None:
    """The ACK of a retransmission that repeats a lost one echoes what was sent long before."""
    rtt = estimator()
    rtt.sample(0.1)
    assert rtt.answers(0.6)
    assert not rtt.answers(137.0)


def test_a_lost_syn_makes_the_first_data_timeout_three_seconds() -> None:
    """RFC 6298 5.7."""
    rtt = estimator()
    rtt.forget_handshake()
    assert rtt.timeout == 3.0


# ---------------------------------------------------------------------- flight limit


class Path:
    """An ideal pipe: ``rate`` octets/s, ``round_trip`` s, and a queue; one run of ``size`` octets after the other."""

    def __init__(self, rate: float, round_trip: float) -> None:
        self.flight = FlightLimit(floor=256 * KIB, queue_time=0.008)
        self.rate = rate
        self.round_trip = round_trip
        self.now = 10.0
        self.position = 0
        self._free_at = 0.0
        self._under_way: list[tuple[float, Run]] = []

    def transfer(self, seconds: float, window: float, gain: float = 1.0, size: int = 61_560) -> list[float]:
        """Keep min(window, limit) in flight; returns every round trip."""
        under_way = self._under_way
        times: list[float] = []
        end = self.now + seconds
        while self.now < end:
            flying = sum(run.end - run.start for _, run in under_way)
            allowed = min(window, self.flight.limit if self.flight.rate else INITIAL_FLIGHT)
            if flying + size <= allowed or not under_way:
                run = Run(self.position, self.position + size, self.now)
                self.flight.stamp(run, not under_way, self.now)
                self.position += size
                self._free_at = max(self._free_at, self.now) + size / self.rate
                under_way.append((self._free_at + self.round_trip, run))
                continue
            self.now, run = under_way.pop(0)
            times.append(self.now - run.sent_at)
            self.flight.acknowledged(run.end - run.start, run, times[-1], 0.0, gain, self.now)
        return times


def test_there_is_no_limit_before_a_rate_is_known() -> None:
    assert FlightLimit(256 * KIB, 0.008).limit == inf


def test_a_fast_path_keeps_a_queue_of_eight_milliseconds_and_twelve_in_a_trial() -> None:
    path = Path(rate=250e6, round_trip=0.0005)
    times = path.transfer(1.0, window=64e6)
    assert path.flight.rate == pytest.approx(250e6, rel=0.05)
    settled = sorted(times[len(times) // 2 :])
    assert settled[len(settled) // 2] < 0.0095
    assert settled[-1] < 0.0135


def test_a_long_path_is_not_throttled() -> None:
    path = Path(rate=12.5e6, round_trip=0.100)
    path.transfer(1.0, window=3e6, gain=2.9)
    path.transfer(2.0, window=3e6)
    before = path.position
    path.transfer(1.0, window=3e6)
    assert (path.position - before) / 12.5e6 > 0.95


def test_the_rate_grows_when_the_path_becomes_faster() -> None:
    path = Path(rate=10e6, round_trip=0.020)
    path.transfer(2.0, window=64e6)
    path.rate = 40e6
    path.transfer(4.0, window=64e6)
    assert path.flight.rate == pytest.approx(40e6, rel=0.1)


def test_slow_start_may_double() -> None:
    path = Path(rate=100e6, round_trip=0.050)
    path.transfer(0.060, window=200_000, gain=2.9)
    window = 400_000.0
    for _ in range(4):
        path.transfer(0.060, window=window, gain=2.9)
        assert path.flight.limit > 1.9 * window
        window *= 2


def test_the_floor_holds_on_a_slow_path() -> None:
    path = Path(rate=100e3, round_trip=0.010)
    path.transfer(20.0, window=1e6, size=10_000)
    assert path.flight.limit >= 64 * KIB


def test_a_path_that_became_longer_is_recognized() -> None:
    path = Path(rate=25e6, round_trip=0.010)
    path.transfer(2.0, window=64e6)
    assert path.flight.shortest == pytest.approx(0.010, abs=0.004)
    path.round_trip = 0.060
    path.transfer(25.0, window=64e6)
    assert path.flight.shortest == pytest.approx(0.060, abs=0.015)


def test_our_own_queue_is_not_taken_for_the_path() -> None:
    path = Path(rate=100e6, round_trip=0.010)
    path.transfer(60.0, window=64e6)
    assert path.flight.shortest < 0.013


def test_a_limited_application_does_not_lower_the_rate() -> None:
    path = Path(rate=50e6, round_trip=0.010)
    path.transfer(1.0, window=64e6)
    known = path.flight.rate
    for _ in range(50):
        path.flight.starved(0)
        run = Run(path.position, path.position + 1000, path.now)
        path.position += 1000
        path.flight.stamp(run, True, path.now)
        path.now += 0.011
        path.flight.acknowledged(1000, run, 0.011, 0.0, 1.0, path.now)
    assert path.flight.rate == known


# ---------------------------------------------------------------------- receive window


def test_the_window_grows_to_twice_what_is_consumed_in_a_round_trip() -> None:
    window = ReceiveWindow(1 << 20, 8 << 20)
    window.round_trip_sample(0.050, 0.0)
    for step in range(200):
        window.consumed(int(step * 0.010 * 50e6), int(step * 0.010 * 50e6), step * 0.010)
    assert window.limit == pytest.approx(2 * 50e6 * 0.050, rel=0.1)


def test_the_window_neither_shrinks_nor_exceeds_its_cap() -> None:
    window = ReceiveWindow(1 << 20, 8 << 20)
    window.round_trip_sample(0.500, 0.0)
    for step in range(10):
        window.consumed(step * 100_000_000, step * 100_000_000, step * 0.6)
    assert window.limit == 8 << 20
    window.consumed(1_000_000_001, 1_000_000_001, 100.0)
    assert window.limit == 8 << 20


def test_a_queue_in_the_path_does_not_feed_the_window() -> None:
    window = ReceiveWindow(1 << 20, 8 << 20)
    window.round_trip_sample(0.002, 0.0)
    for step in range(1, 100):
        window.round_trip_sample(0.200, step * 0.1)
        window.consumed(int(step * 0.1 * 12.5e6), int(step * 0.1 * 12.5e6), step * 0.1)
    assert window.limit == 1 << 20


def test_a_shortest_round_trip_is_forgotten_after_a_minute() -> None:
    window = ReceiveWindow(1 << 20, 8 << 20)
    window.round_trip_sample(0.001, 0.0)
    for second in range(1, 200):
        window.round_trip_sample(0.080, float(second))
    assert window.round_trip == 0.080


# ---------------------------------------------------------------------- timestamps


def test_stale_timestamps_are_those_before_the_latest_modulo_2_32() -> None:
    """RFC 7323 5.2."""
    stamps = Timestamps(0)
    stamps.keep(5, 0.0)
    assert stamps.is_stale(0xFFFFFFFF, 1.0)
    assert not stamps.is_stale(5, 1.0)
    assert not stamps.is_stale(6, 1.0)


def test_after_24_days_nothing_is_stale() -> None:
    """RFC 7323 5.5."""
    stamps = Timestamps(0)
    stamps.keep(5, 0.0)
    assert not stamps.is_stale(4, 25 * 86_400.0)


def test_an_echo_of_the_future_is_no_measurement() -> None:
    stamps = Timestamps(123)
    assert stamps.age(stamps.value(10.0), 10.5) == pytest.approx(0.5)
    assert stamps.age(stamps.value(11.0), 10.5) is None


# ---------------------------------------------------------------------- initial numbers


def test_initial_sequence_numbers_grow_with_the_clock_and_differ_between_endpoints() -> None:
    """RFC 6528 3."""
    numbers = InitialNumbers(entropy)
    first = numbers.numbers(LOCAL, REMOTE, 100.0)
    later = numbers.numbers(LOCAL, REMOTE, 101.0)
    assert (later.sequence - first.sequence) & 0xFFFFFFFF == 250_000
    assert later.timestamp_offset == first.timestamp_offset
    other = numbers.numbers(LOCAL, (REMOTE[0], REMOTE[1] + 1), 100.0)
    assert other.sequence != first.sequence
    assert other.timestamp_offset != first.timestamp_offset


def test_another_secret_gives_other_numbers() -> None:
    one = InitialNumbers(entropy).numbers(LOCAL, REMOTE, 1.0)
    two = InitialNumbers(lambda size: b"\x07" * size).numbers(LOCAL, REMOTE, 1.0)
    assert one != two
