"""Token buckets, back-off after failures, and what counts as one source address."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.mediator.limits import Attempts, Buckets, TokenBucket, source_name


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=2.0, burst=3.0, now=100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.ready_at(100.0) == pytest.approx(100.5)
    assert not bucket.take(100.49)
    assert bucket.take(bucket.ready_at(100.49))
    assert bucket.full_at == pytest.approx(102.0, abs=0.01)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60), st.floats(0.1, 50), st.floats(1, 50))
@settings(deadline=None, max_examples=100)
def test_a_bucket_never_gives_more_than_rate_and_burst(steps: list[float], rate: float, burst: float) -> None:
    bucket = TokenBucket(rate, burst, 0.0)
    now = taken = 0.0
    for step in steps:
        now += step
        while bucket.take(now):
            taken += 1
        assert taken <= burst + rate * now + 1e-6
        now = bucket.ready_at(now)
        assert bucket.take(now)
        taken += 1


def test_buckets_are_apart_and_bounded() -> None:
    buckets = Buckets(rate=1.0, burst=1.0, cap=10)
    assert buckets.take(b"a", 0.0)
    assert not buckets.take(b"a", 0.0)
    assert buckets.take(b"b", 0.0)
    for number in range(1000):
        buckets.take(str(number).encode(), 0.5)
    assert len(buckets) <= 10
    assert buckets.take(b"z", 100.0)
    assert len(buckets) == 1  # the full ones are forgotten


def test_failures_cost_a_wait_that_doubles_up_to_its_greatest() -> None:
    attempts = Attempts(free=2, first=2.0, last=10.0, cap=100)
    waits = []
    now = 0.0
    for _ in range(7):
        attempts.failed(b"a", now)
        waits.append(attempts.wait(b"a", now))
        now += waits[-1]
    assert waits == [0.0, 0.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert attempts.wait(b"a", now - 1.0) == pytest.approx(1.0)
    assert attempts.wait(b"b", now) == 0.0


def test_failures_are_forgotten_by_success_and_by_time() -> None:
    attempts = Attempts(free=1, first=2.0, last=10.0, cap=100)
    for _ in range(3):
        attempts.failed(b"a", 0.0)
    attempts.succeeded(b"a")
    attempts.failed(b"a", 0.0)
    assert attempts.wait(b"a", 0.0) == 0.0
    attempts.failed(b"a", 21.0)
    assert attempts.wait(b"a", 21.0) == 0.0


def test_remembered_failures_are_bounded_and_the_oldest_goes_first() -> None:
    attempts = Attempts(free=0, first=2.0, last=10.0, cap=50)
    for number in range(500):
        attempts.failed(str(number).encode(), 0.0)
    assert len(attempts) == 50
    assert attempts.wait(b"499", 0.0) > 0
    assert attempts.wait(b"0", 0.0) == 0


def test_one_source_is_an_ipv4_address_or_an_ipv6_subscriber() -> None:
    assert source_name("192.0.2.1") == source_name("::ffff:192.0.2.1")
    assert source_name("192.0.2.1") != source_name("192.0.2.2")
    assert source_name("2001:db8:1:2::1") == source_name("2001:db8:1:2:ffff::9%eth0")
    assert source_name("2001:db8:1:2::1") != source_name("2001:db8:1:3::1")
