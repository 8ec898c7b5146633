"""Windows that were not used: RFC 7661, the restart after idle time of RFC 5681 4.1."""

from __future__ import annotations

from math import inf

import pytest

from tests.stack.tcp.scene import Scene, established
from userlan.stack.tcp import Config
from userlan.stack.tcp.flight_limit import FlightLimit
from userlan.stack.tcp.window_validation import NON_VALIDATED_PERIOD, SAMPLING_MINIMUM, WindowValidation


def test_pipe_ack_is_the_most_of_a_sampling_period() -> None:
    """RFC 7661 4.2 and 3: three round trips, one second at least."""
    validation = WindowValidation()
    validation.sample(10_000, 0.1, 0.0)
    validation.sample(4000, 0.1, 0.5)
    assert validation.pipe_ack == 10_000
    validation.sample(4000, 0.1, SAMPLING_MINIMUM)
    assert validation.pipe_ack == 10_000
    validation.sample(4000, 0.1, 2 * SAMPLING_MINIMUM)
    assert validation.pipe_ack == 4000


@pytest.mark.parametrize(("window", "validated"), [(20_000, True), (20_001, False), (5000, True)])
def test_half_of_the_window_validates_it(window: int, validated: bool) -> None:
    """RFC 7661 4.2: pipeACK >= 1/2 cwnd."""
    validation = WindowValidation()
    validation.sample(10_000, 0.1, 0.0)
    assert validation.validated(window) is validated


def test_the_period_without_validation_ends_after_five_minutes() -> None:
    """RFC 7661 3: NVP."""
    validation = WindowValidation()
    assert validation.unused(10.0) == 0
    assert not validation.expired(validation.unused(10.0 + NON_VALIDATED_PERIOD - 1), 10.0 + NON_VALIDATED_PERIOD - 1)
    assert validation.expired(validation.unused(10.0 + NON_VALIDATED_PERIOD), 10.0 + NON_VALIDATED_PERIOD)
    validation.used()
    assert validation.unused(1000.0) == 0


def trickle(scene: Scene, seconds: float, octets: int = 500) -> None:
    """The application sends little, and often enough not to be idle."""
    end = scene.now + seconds
    while scene.now < end:
        scene.send(bytes(octets))
        scene.now += 0.010
        scene.inject("A", ack=scene.connection.sender.nxt - scene.connection.initial - 1)
        scene.now += 0.090


def test_a_window_that_is_not_used_does_not_grow() -> None:
    """RFC 7661 4.4: in the non-validated phase; RFC 5681 3.1 as amended."""
    scene = established()
    scene.grow(60_000)
    trickle(scene, 3.0)
    before = scene.connection.sender.congestion.window
    trickle(scene, 10.0)
    assert scene.connection.sender.congestion.window == before


def test_a_window_in_use_grows_even_when_the_peers_window_is_the_smaller_one() -> None:
    """RFC 7661 4.3: up to twice what is acknowledged."""
    scene = established(window=30_000)
    scene.grow(600_000)
    assert 30_000 < scene.connection.sender.congestion.window <= 90_000


def test_a_loss_is_answered_from_what_was_in_use() -> None:
    """RFC 7661 4.4.1: from max(pipeACK, flight), not from a window that nobody tried."""
    scene = established(Config(congestion="newreno", pacing=False))
    scene.grow(60_000)
    trickle(scene, 3.0, 4000)
    window = scene.connection.sender.congestion.window
    assert window > 40_000
    base = scene.connection.sender.nxt - scene.connection.initial - 1
    scene.send(bytes(8000))
    scene.now += 0.010
    scene.inject("A", ack=base, sack=((base + 1000, base + 8000),))
    assert scene.connection.counters["fast-retransmit"] == 1
    assert scene.connection.sender.congestion.threshold == 4000


def test_after_five_minutes_half_of_the_window_is_left() -> None:
    """RFC 7661 4.4.3: and ssthresh remembers three quarters."""
    scene = established()
    scene.grow(60_000)
    congestion = scene.connection.sender.congestion
    congestion.threshold = 30_000
    window = congestion.window
    trickle(scene, 299.0)
    assert congestion.window == window
    trickle(scene, 5.0)
    assert congestion.window == window // 2
    assert congestion.threshold == window * 3 // 4


def test_after_idling_for_a_timeout_sending_restarts_with_the_initial_window() -> None:
    """RFC 5681 4.1."""
    scene = established()
    scene.grow(60_000)
    assert scene.connection.sender.congestion.window > 40_000
    scene.now += 1.0
    scene.send(bytes(60_000))
    assert scene.connection.sender.nxt - scene.connection.sender.una == 10_000
    assert scene.connection.sender.congestion.threshold == inf


def test_a_pause_shorter_than_the_timeout_is_no_idling() -> None:
    scene = established()
    scene.grow(60_000)
    scene.now += 0.15
    scene.send(bytes(60_000))
    assert scene.connection.sender.nxt - scene.connection.sender.una > 40_000


def test_a_full_pipe_that_was_seen_once_does_not_end_later_slow_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that restarts, after idling or a timeout, doubles again although the path's rate is known."""
    monkeypatch.setattr(FlightLimit, "full_pipe", True)
    scene = established(scale=4)
    scene.grow(300_000)
    congestion = scene.connection.sender.congestion
    congestion.threshold = 200_000
    scene.now += 1.0
    scene.send(bytes(150_000))
    for _ in range(4):
        scene.now += 0.010
        scene.inject("A", ack=scene.connection.sender.nxt - scene.connection.initial - 1)
    assert congestion.window > 100_000
    assert congestion.threshold > 200_000
