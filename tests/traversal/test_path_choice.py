"""The choice of a path: classes, bonus, hysteresis; and what holds for any paths."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userlan.traversal.path_choice import FRESH, GAIN, GAIN_SHARE, Path, better, bonus, choose, cost, order, rank
from userlan.wire.endpoint import RELAY, TCP, UDP, Endpoint

NOW = 1000.0
HOSTS = ("203.0.113.9", "198.51.100.4", "192.168.1.5", "169.254.7.7", "127.0.0.1", "2001:db8::9", "fe80::7", "::1", "100.64.3.3")

endpoints = st.builds(Endpoint, st.sampled_from((UDP, TCP, RELAY)), st.sampled_from(HOSTS), st.integers(1, 4), st.integers(0, 2))
paths = st.builds(
    Path, endpoints, st.none() | st.floats(0.0, 2.0), st.floats(NOW - 2 * FRESH, NOW) | st.just(float("-inf")), st.booleans()
)
path_lists = st.lists(paths, min_size=1, max_size=8, unique_by=lambda path: path.endpoint)


def path(transport: str = UDP, host: str = "203.0.113.9", rtt: float | None = 0.04, port: int = 1, doubted: bool = False) -> Path:
    return Path(Endpoint(transport, host, port), rtt, NOW, doubted)


def test_direct_udp_beats_tcp_beats_a_relay_however_slow() -> None:
    slow, stream, relay = path(UDP, rtt=1.5), path(TCP, rtt=0.05), path(RELAY, rtt=0.001)
    assert choose([relay, stream, slow], relay.endpoint, NOW) == slow.endpoint
    assert choose([relay, stream], relay.endpoint, NOW) == stream.endpoint
    assert choose([relay, stream, slow], slow.endpoint, NOW) == slow.endpoint


def test_a_path_of_a_better_class_is_taken_before_it_is_measured() -> None:
    relay, direct = path(RELAY), path(UDP, rtt=None)
    assert choose([relay, direct], relay.endpoint, NOW) == direct.endpoint


@pytest.mark.parametrize(
    ("host", "seconds"),
    [("127.0.0.1", 0.05), ("169.254.1.1", 0.03), ("fe80::1", 0.04), ("192.168.0.2", 0.02), ("100.64.0.1", 0.02), ("2001:db8::1", 0.01),
     ("::1", 0.06), ("fd00::1", 0.03), ("203.0.113.1", 0.0)],
)  # fmt: skip
def test_near_addresses_are_worth_round_trip(host: str, seconds: float) -> None:
    assert bonus(host) == pytest.approx(seconds)


def test_the_own_lan_wins_over_a_hairpin_of_the_same_delay() -> None:
    inside, hairpin = path(host="192.168.1.5", rtt=0.002), path(host="203.0.113.9", rtt=0.002)
    assert choose([inside, hairpin], hairpin.endpoint, NOW) == inside.endpoint


@pytest.mark.parametrize(("used", "other", "changes"), [
    (0.040, 0.031, False), (0.040, 0.029, True), (0.400, 0.385, False), (0.400, 0.335, True), (0.020, 0.0105, False),
])  # fmt: skip
def test_within_a_class_a_change_must_save_ten_milliseconds_and_fifteen_per_cent(used: float, other: float, changes: bool) -> None:
    current, candidate = path(rtt=used), path(rtt=other, port=2)
    assert (choose([current, candidate], current.endpoint, NOW) == candidate.endpoint) is changes


def test_a_doubted_path_is_left_at_once_relay_last() -> None:
    dead, relay, stream = path(doubted=True), path(RELAY, rtt=0.01), path(TCP, rtt=0.3)
    assert choose([dead, relay, stream], dead.endpoint, NOW) == stream.endpoint
    assert choose([dead, relay], dead.endpoint, NOW) == relay.endpoint
    assert choose([dead, path(TCP, doubted=True)], dead.endpoint, NOW) == dead.endpoint


def test_where_all_are_doubted_a_relay_is_tried_before_what_a_nat_may_have_forgotten() -> None:
    dead, relay = path(doubted=True), path(RELAY, doubted=True)
    assert choose([dead, relay], dead.endpoint, NOW) == relay.endpoint


def test_a_relay_that_was_never_heard_is_none_to_change_to_but_the_last_resort() -> None:
    bound = Path(Endpoint(RELAY, "192.0.2.7", 41414, 3))
    stream = path(TCP)
    assert choose([bound, stream], stream.endpoint, NOW) == stream.endpoint
    assert choose([bound, stream._replace(doubted=True)], stream.endpoint, NOW) == bound.endpoint


def test_a_path_long_unheard_is_none_to_change_to_but_one_to_stay_on() -> None:
    stale = path()._replace(heard_at=NOW - FRESH - 1)
    relay = path(RELAY)
    assert choose([stale, relay], relay.endpoint, NOW) == relay.endpoint
    assert choose([stale, relay], stale.endpoint, NOW) == stale.endpoint


@given(path_lists, st.none() | endpoints)
def test_the_choice_is_one_of_the_paths_and_does_not_depend_on_their_order(known: list[Path], current: Endpoint | None) -> None:
    chosen = choose(known, current, NOW)
    assert chosen in {one.endpoint for one in known}
    assert choose(reversed(known), current, NOW) == chosen


@given(path_lists)
def test_the_order_is_total(known: list[Path]) -> None:
    keys = [order(one) for one in known]
    assert len(set(keys)) == len(keys), "no two paths are equal"
    ranked = sorted(known, key=order)
    assert all(rank(one.endpoint) >= rank(two.endpoint) for one, two in pairwise(ranked))


@given(paths, paths)
def test_of_two_paths_at_most_one_is_better(one: Path, two: Path) -> None:
    assert not (better(one, two) and better(two, one))


@given(path_lists, st.none() | endpoints)
def test_without_news_the_choice_comes_to_rest(known: list[Path], current: Endpoint | None) -> None:
    """Each change is downhill, so no path is chosen twice; and it rests after as many changes as there are paths, at most."""
    seen = []
    for _ in range(len(known) + 1):
        following = choose(known, current, NOW)
        if following == current:
            break
        assert following not in seen
        seen.append(following)
        current = following
    assert choose(known, current, NOW) == current


@given(
    st.lists(st.floats(0.01, 0.5), min_size=2, max_size=6),
    st.lists(st.lists(st.floats(-GAIN / 2, GAIN / 2), min_size=6, max_size=6), min_size=1, max_size=60),
)
def test_noise_below_half_the_gain_changes_each_path_for_a_truly_better_one(means: list[float], noise: list[list[float]]) -> None:
    """However long it goes on: with n paths at most n - 1 changes, none of them back."""
    current: Endpoint | None = None
    visited = []
    for sample in noise:
        known = [path(rtt=mean + sample[place], port=place + 1) for place, mean in enumerate(means)]
        chosen = choose(known, current, NOW)
        if chosen != current:
            current = chosen
            assert current not in visited
            visited.append(current)
    assert len(visited) <= len(means)


@given(st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=80))
def test_changes_between_two_paths_are_bounded_by_how_far_their_difference_moves(differences: list[float]) -> None:
    """Each change back needs the difference to move by more than twice the gain."""
    current: Endpoint | None = None
    changes = -1
    for difference in differences:
        known = [path(rtt=0.2 + difference / 2), path(rtt=0.2 - difference / 2, port=2)]
        chosen = choose(known, current, NOW)
        changes += chosen != current
        current = chosen
    travelled = sum(abs(later - one) for one, later in pairwise(differences))
    assert changes <= 1 + ceil(travelled / (2 * GAIN))


@given(paths, paths)
def test_a_change_within_a_class_saves_what_it_must(one: Path, two: Path) -> None:
    if rank(one.endpoint) == rank(two.endpoint) and one.rtt is not None and two.rtt is not None and better(one, two):
        assert cost(two) - cost(one) > max(GAIN, GAIN_SHARE * two.rtt)
