"""Which relay a pair gets: the sum of both delays, spread by load where that makes no difference, and no fluttering."""

from __future__ import annotations

from collections import Counter

import pytest

from userlan.mediator.relay_ranking import UNKNOWN, UNMEASURED, Known, estimated, ranked

NEAR, MIDDLE, FAR = (Known(bytes([number]) * 32, region, 0.0) for number, region in ((1, "eu"), (2, "us"), (3, "asia")))
POOL = [FAR, MIDDLE, NEAR]


def delays(near: float, middle: float, far: float) -> dict[bytes, float]:
    return {NEAR.key: near, MIDDLE.key: middle, FAR.key: far}


def first(a: dict[bytes, float], b: dict[bytes, float], current: bytes | None = None) -> bytes:
    return ranked(POOL, a, b, b"pair", current)[0][0]


def test_the_least_sum_of_both_delays_is_first_and_all_follow_in_order() -> None:
    order = ranked(POOL, delays(0.02, 0.05, 0.2), delays(0.11, 0.05, 0.02), b"pair")
    assert [key for key, _ in order] == [MIDDLE.key, NEAR.key, FAR.key]
    assert [cost for _, cost in order] == pytest.approx([0.10, 0.13, 0.22])


def test_it_is_neither_ends_own_nearest_one_where_the_sum_says_otherwise() -> None:
    assert first(delays(0.010, 0.040, 0.150), delays(0.150, 0.040, 0.010)) == MIDDLE.key


def test_near_equal_relays_share_the_pairs_and_a_pair_always_gets_the_same() -> None:
    a, b = delays(0.02, 0.021, 0.2), delays(0.02, 0.021, 0.2)
    pairs = [number.to_bytes(4, "big") for number in range(2000)]
    counts = Counter(ranked(POOL, a, b, pair)[0][0] for pair in pairs)
    assert counts[NEAR.key] + counts[MIDDLE.key] == 2000
    assert 850 < counts[NEAR.key] < 1150
    assert all(ranked(POOL, a, b, pair) == ranked(POOL[::-1], a, b, pair) for pair in pairs[:50])


@pytest.mark.parametrize(("load", "share"), [(0.5, 1 / 3), (0.8, 1 / 5), (1.0, 0.02 / 1.02)])
def test_a_relay_with_more_load_gets_fewer_pairs(load: float, share: float) -> None:
    pool = [NEAR._replace(load=load), MIDDLE]
    even = {NEAR.key: 0.02, MIDDLE.key: 0.02}
    wins = sum(ranked(pool, even, even, number.to_bytes(4, "big"))[0][0] == NEAR.key for number in range(3000))
    assert wins / 3000 == pytest.approx(share, abs=0.03)


def test_a_relay_that_comes_moves_only_the_pairs_that_it_gets() -> None:
    even = {one.key: 0.02 for one in POOL}
    for number in range(300):
        pair = number.to_bytes(4, "big")
        before, after = ranked(POOL[:2], even, even, pair)[0][0], ranked(POOL, even, even, pair)[0][0]
        assert after in (before, NEAR.key)


@pytest.mark.parametrize(
    ("better", "moves"),
    [(0.100, False), (0.0905, False), (0.0895, False), (0.086, False), (0.084, True), (0.05, True)],
)
def test_a_pair_moves_for_more_than_ten_milliseconds_and_fifteen_per_cent(better: float, moves: bool) -> None:
    a, b = delays(better / 2, 0.05, 0.2), delays(better / 2, 0.05, 0.2)
    assert (first(a, b, MIDDLE.key) == NEAR.key) is moves


def test_fifteen_per_cent_of_little_do_not_move_a_pair() -> None:
    assert first(delays(0.001, 0.005, 0.2), delays(0.001, 0.005, 0.2), MIDDLE.key) == MIDDLE.key


def test_an_overloaded_relay_does_not_keep_its_pairs() -> None:
    pool = [NEAR, MIDDLE._replace(load=0.97)]
    even = {NEAR.key: 0.02, MIDDLE.key: 0.02}
    moved = sum(ranked(pool, even, even, number.to_bytes(4, "big"), MIDDLE.key)[0][0] == NEAR.key for number in range(100))
    assert moved > 90


def test_a_delay_that_was_not_measured_is_that_of_the_region_or_worse_than_all_that_was() -> None:
    alike = Known(b"\x04" * 32, "eu", 0.0)
    own = {NEAR.key: 0.03, FAR.key: 0.2}
    assert estimated(alike, own, [*POOL, alike]) == pytest.approx(0.03)
    assert estimated(MIDDLE, own, POOL) == pytest.approx(0.2 + UNMEASURED)
    assert estimated(MIDDLE, {}, POOL) == UNKNOWN


def test_there_may_be_no_relay() -> None:
    assert ranked([], {}, {}, b"pair") == []
