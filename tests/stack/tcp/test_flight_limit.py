"""The bound of what is in flight, by hand: what a measurement of the shortest round trip costs."""

from __future__ import annotations

import pytest

from userlan.stack.tcp.flight_limit import LONGEST_PROBE, FlightLimit
from userlan.stack.tcp.scoreboard import Run

FLOOR = 192 * 1024
RATE, TRIP = 100e6, 0.02


def steady(limit: FlightLimit, start: float, seconds: float, trip: float = TRIP) -> float:
    """Deliver at a constant rate; the time at the end."""
    now = start
    while now < start + seconds:
        run = Run(0, 0, now)
        limit.stamp(run, False, now)
        now += trip
        limit.acknowledged(int(RATE * trip), run, trip, 0.0, 1.0, now)
    return now


@pytest.mark.parametrize("outage", [13.0, 60.0])
def test_an_outage_is_no_round_trip_to_be_measured_for_as_long(outage: float) -> None:
    """RFC 7323 4.1: what is acknowledged after an outage gives a sample as long as that. The limit is half a product for a
    second at most (BBR's ProbeRTT: 200 ms and a round trip), then full again."""
    limit = FlightLimit(FLOOR, 0.008)
    now = steady(limit, 0.0, 2.0)
    usual = limit.limit
    now += outage
    limit.round_trip(outage, now)
    now = steady(limit, now, LONGEST_PROBE + 2 * TRIP)
    assert limit.limit == pytest.approx(usual, rel=0.3)
