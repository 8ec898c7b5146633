"""What every congestion control has in common, and NewReno's window (RFC 5681, RFC 6582, RFC 6928)."""

from __future__ import annotations

from math import inf

import pytest

from tests.stack.tcp.scene import established
from userlan.stack.tcp import Config
from userlan.stack.tcp.congestion import ALGORITHMS, CongestionControl, NewReno

SEGMENT = 1368
ROUND_TRIP = 0.050


def control() -> NewReno:
    return NewReno(SEGMENT, 10)


@pytest.mark.parametrize(("segment", "window"), [(1368, 13_680), (1460, 14_600), (8960, 17_920), (536, 5360)])
def test_the_initial_window(segment: int, window: int) -> None:
    """RFC 6928 2."""
    assert NewReno(segment, 10).window == window


def test_slow_start_grows_by_what_is_acknowledged() -> None:
    """RFC 5681 3.1, without RFC 3465's limit, since one ACK covers a super-segment."""
    congestion = control()
    congestion.acknowledged(61_560, None, ROUND_TRIP, 61_560, 100_000, 0.0)
    assert congestion.window == 13_680 + 61_560


def test_congestion_avoidance_grows_by_a_segment_a_round_trip() -> None:
    """RFC 5681 3.1."""
    congestion = control()
    congestion.window = 200_000
    congestion.loss(200_000)
    window = congestion.window
    assert window == 100_000
    for _ in range(4):
        congestion.acknowledged(window // 4, None, ROUND_TRIP, 0, 0, 0.0)
    assert congestion.window == pytest.approx(window + SEGMENT, abs=40)


def test_a_loss_halves_what_is_in_flight_but_leaves_two_segments() -> None:
    """RFC 5681 3.1, equation 4."""
    congestion = control()
    congestion.loss(1000)
    assert congestion.window == congestion.threshold == 2 * SEGMENT


def test_a_timeout_leaves_one_segment_and_counts_once() -> None:
    """RFC 5681 3.1: the threshold is not reduced again for the same octets."""
    congestion = control()
    congestion.timeout(100_000, False)
    assert (congestion.window, congestion.threshold) == (SEGMENT, 50_000)
    congestion.timeout(1000, True)
    assert (congestion.window, congestion.threshold) == (SEGMENT, 50_000)


def test_undoing_restores_window_and_threshold() -> None:
    """RFC 4015 3.2."""
    congestion = control()
    congestion.window = 300_000
    congestion.timeout(300_000, False)
    congestion.undo()
    assert (congestion.window, congestion.threshold) == (300_000, inf)


def test_after_idling_the_window_is_the_initial_one_at_most() -> None:
    """RFC 5681 4.1."""
    congestion = control()
    congestion.window = 300_000
    congestion.idle()
    assert congestion.window == 13_680


def test_after_idling_three_quarters_are_remembered() -> None:
    """RFC 7661 4.4.3: slow start leads back there."""
    congestion = control()
    congestion.window = 300_000
    congestion.threshold = 100_000
    congestion.idle()
    assert (congestion.window, congestion.threshold) == (13_680, 225_000)


def test_congestion_that_was_experienced_is_not_undone() -> None:
    """RFC 3168: a mark is no guess."""
    congestion = control()
    congestion.window = 300_000
    congestion.congestion_experienced(300_000)
    congestion.undo()
    assert congestion.window == 150_000


def test_growth_of_less_than_an_octet_is_not_lost() -> None:
    """RFC 5681 3.1 wants a segment for each round trip, in however many ACKs."""
    congestion = control()
    congestion.threshold = congestion.window = 10_000_000
    for _ in range(10_000):
        congestion.acknowledged(1000, None, ROUND_TRIP, 0, 0, 0.0)
    assert congestion.window == pytest.approx(10_000_000 + SEGMENT, abs=2)


# ---------------------------------------------------------------------- chosen for each connection


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_is_one_interface(name: str) -> None:
    congestion = ALGORITHMS[name](SEGMENT, 10)
    assert isinstance(congestion, CongestionControl)
    assert congestion.name == name
    congestion.loss(100_000)
    assert 2 * SEGMENT <= congestion.window < 100_000
    congestion.undo()
    assert congestion.threshold == inf


def test_the_configuration_chooses_and_cubic_is_the_default() -> None:
    assert established().connection.congestion == "cubic"
    assert established(Config(congestion="newreno")).connection.congestion == "newreno"


def test_an_application_chooses_on_the_way_and_the_window_stays() -> None:
    scene = established(scale=3)
    scene.window = 60_000
    scene.grow(300_000)
    window = scene.connection.sender.congestion.window
    scene.connection.congestion = "newreno"
    assert scene.connection.congestion == "newreno"
    assert scene.connection.sender.congestion.window == window
    scene.connection.send(bytes(800_000), scene.now)
    scene.drain()
    scene.now += 0.010
    scene.inject("A", ack=300_000, sack=((301_000, 330_000),))
    assert scene.connection.counters["fast-retransmit"] == 1
    flight = scene.connection.sender.nxt - scene.connection.sender.una
    assert scene.connection.sender.congestion.threshold in (window // 2, flight // 2)


def test_a_name_that_is_not_known_is_refused() -> None:
    with pytest.raises(KeyError):
        established().connection.congestion = "vegas"
