"""RACK (RFC 8985 6) on paths that lose and reorder; the exact segments are in ``scripts/rack.txt``."""

from __future__ import annotations

from math import inf

import pytest

from tests.stack.tcp.pair import Pair, Path, transfer
from userlan.stack.tcp.rack import PERSIST, Rack
from userlan.stack.tcp.scoreboard import Run, Scoreboard

MIB = 1 << 20
SEGMENT = 1000


def board(*ends: int) -> Scoreboard:
    made = Scoreboard()
    start = 0
    for index, end in enumerate(ends):
        made.sent(Run(start, end, float(index)))
        start = end
    return made


def test_the_window_is_a_quarter_of_the_shortest_round_trip() -> None:
    """RFC 8985 6.2, step 4."""
    assert Rack().window(board(1000), SEGMENT, False, 0.040, 0.050) == pytest.approx(0.010)


@pytest.mark.parametrize(("recovering", "sacked"), [(True, 1000), (False, 3000)])
def test_without_reordering_there_is_no_window_in_recovery_or_after_dupthresh(recovering: bool, sacked: int) -> None:
    """RFC 8985 6.2, step 4."""
    flight = board(1000, 10_000)
    flight.sack(1000, 1000 + sacked)
    rack = Rack()
    assert rack.window(flight, SEGMENT, recovering, 0.040, 0.050) == 0
    rack.reordering_seen = True
    assert rack.window(flight, SEGMENT, recovering, 0.040, 0.050) == pytest.approx(0.010)


def test_it_grows_once_for_a_round_trip_with_a_d_sack_up_to_the_smoothed_one() -> None:
    """RFC 8985 6.2, step 4: RACK.reo_wnd_mult, RACK.dsack_round."""
    rack = Rack()
    rack.duplicate(0, 1000)
    rack.duplicate(500, 1500)
    assert rack.multiplier == 2
    rack.duplicate(1000, 2000)
    assert rack.multiplier == 3
    for una in range(2000, 20_000, 1000):
        rack.duplicate(una, una + 1000)
    assert rack.window(board(1000), SEGMENT, False, 0.040, 0.050) == 0.050


def test_it_is_small_again_after_sixteen_recoveries_without() -> None:
    """RFC 8985 6.2, step 4: RACK.reo_wnd_persist."""
    rack = Rack()
    rack.duplicate(0, 1000)
    for _ in range(PERSIST - 1):
        rack.recovered()
    assert rack.multiplier == 2
    rack.recovered()
    assert rack.multiplier == 1


def test_the_timer_runs_for_the_last_that_may_be_lost() -> None:
    """RFC 8985 6.2, step 5: the longest of the remaining times."""
    rack = Rack()
    flight = board(1000, 2000, 3000, 4000)
    flight.begin(-inf)
    flight.sack(3000, 4000)
    assert flight.newest is not None
    rack.delivered(flight.newest, 10.0)
    assert rack.rtt == 7.0
    assert rack.detect(flight, 1.5, 10.0) == 2000
    assert rack.due == 2.0 + 7.0 + 1.5


def retransmitted(pair: Pair) -> int:
    assert pair.a.connection is not None
    return pair.a.connection.octets_retransmitted


@pytest.mark.parametrize("seed", range(4))
def test_of_a_super_segment_only_what_was_lost_is_sent_again(seed: int) -> None:
    """One percent of the wire segments, in bursts of up to 45: not the bursts."""
    pair = transfer(6 * MIB, Path(delay=0.002, loss=0.01, rate=400e6), seed=seed)
    assert retransmitted(pair) <= 1.2 * 1368 * pair.forward.counters["lost"] + 5 * 1368


def test_lost_retransmissions_need_no_timeout() -> None:
    """A twentieth of everything is lost, retransmissions and ACKs too."""
    pair = transfer(4 * MIB, Path(delay=0.005, loss=0.05))
    assert pair.a.connection is not None
    assert pair.a.connection.counters["timeout"] < pair.a.connection.counters["fast-retransmit"] / 8


def test_reordering_within_a_quarter_of_the_round_trip_costs_nothing_after_it_was_seen() -> None:
    """RFC 8985 3.3; counting (RFC 6675) would take each for a loss."""
    path = Path(delay=0.010, jitter=0.0, rate=100e6, reorder=0.02)
    pair = transfer(8 * MIB, path)
    assert pair.a.connection is not None
    assert retransmitted(pair) < 0.01 * 8 * MIB
    assert 8 * MIB * 8 / (pair.now - pair.started) > 60e6
