"""Token buckets: the rate holds in the long run for any size of burst, and nobody's share is another's."""

from __future__ import annotations

import pytest

from userlan.relay.quota import BURST_SECONDS, LEAST_PACKET, Quota, Rates

RATE = 1_000_000.0


@pytest.mark.parametrize("size", [300, 1_400, 65_000])
def test_in_the_long_run_the_rate_is_what_passes(size: int) -> None:
    quota, passed, now = Quota(RATE, 0.0), 0, 0.0
    while now < 20.0:
        now += size / (3 * RATE)        # three times the rate is offered
        passed += size * quota.take(size, 1, now)
    assert passed == pytest.approx(RATE * (20.0 + BURST_SECONDS), rel=0.01, abs=size)
    assert quota.dropped > 0


def test_small_datagrams_meet_the_limit_of_packets() -> None:
    quota, passed = Quota(RATE, 0.0), 0
    for step in range(100_000):
        passed += quota.take(50, 1, step / 10_000)
    assert passed == pytest.approx(RATE / LEAST_PACKET * (10.0 + BURST_SECONDS), rel=0.01)


def test_zero_is_no_limit_and_a_lower_rate_holds_from_then_on() -> None:
    quota = Quota(0.0, 0.0)
    assert all(quota.take(65_000, 45, 0.0) for _ in range(1_000))
    quota.rate = 1_000.0
    assert not quota.take(100, 1, 0.0)
    assert quota.take(100, 1, 1.0)


def test_a_clock_that_stands_still_gives_nothing() -> None:
    quota = Quota(1_000.0, 5.0)
    assert quota.take(250, 1, 5.0)
    assert not quota.take(1, 1, 5.0)
    assert not quota.take(1, 1, 4.0)


def test_each_name_has_its_own_rate_and_the_longest_unused_is_forgotten() -> None:
    rates = Rates(1.0, 2.0, 2)
    assert [rates.allow(b"a", 0.0) for _ in range(3)] == [True, True, False]
    assert rates.allow(b"b", 0.0)
    assert not rates.allow(b"a", 0.5)
    assert rates.allow(b"a", 1.5)
    assert rates.allow(b"c", 1.5)
    assert rates.allow(b"b", 1.5)
