"""The matrix of NAT traversal, cell by cell: both ends' punching through simulated boxes, with what a mediator plans for them.

Times are from the common start; packets are those of both sides, the measurement's included.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest

from tests.node.meeting import ONE_WAY, Pair, behaviour
from tests.sim.nat_behaviour import (
    ADDRESS,
    ADDRESS_INCREMENTAL,
    ADDRESS_RANDOM,
    CHUNKED_SYMMETRIC,
    FULL_CONE,
    HOME_ROUTER,
    INCREMENTAL_SYMMETRIC,
    MASQUERADE,
    REFUSING,
    RESTRICTED_CONE,
    SYMMETRIC,
    NatBehaviour,
)
from userlan.traversal.ends import achievable

BUSY = replace(INCREMENTAL_SYMMETRIC, load=50.0)
BY_TWO = replace(INCREMENTAL_SYMMETRIC, step=2, load=10.0)
DOWNWARDS = replace(INCREMENTAL_SYMMETRIC, step=-1)
FORGIVING = replace(ADDRESS_RANDOM, filtering=ADDRESS)

Cell = tuple[NatBehaviour, NatBehaviour, str, float, int]
CELLS: dict[str, Cell] = {
    "full cone, symmetric": (FULL_CONE, SYMMETRIC, "one-first", 0.09, 20),
    "restricted, symmetric": (RESTRICTED_CONE, SYMMETRIC, "one-first", 0.09, 20),
    "home, home": (HOME_ROUTER, HOME_ROUTER, "simultaneous", 0.09, 20),
    "home, masquerade": (HOME_ROUTER, MASQUERADE, "simultaneous", 0.09, 20),
    "masquerade, masquerade": (MASQUERADE, MASQUERADE, "simultaneous", 0.11, 20),
    "home, incremental": (HOME_ROUTER, INCREMENTAL_SYMMETRIC, "prediction", 0.09, 60),
    "home, busy incremental": (HOME_ROUTER, BUSY, "prediction", 0.1, 120),
    "home, by two": (HOME_ROUTER, BY_TWO, "prediction", 0.09, 80),
    "home, downwards": (HOME_ROUTER, DOWNWARDS, "prediction", 0.09, 60),
    "masquerade, incremental": (MASQUERADE, INCREMENTAL_SYMMETRIC, "prediction", 0.09, 60),
    "home, address-dependent incremental": (HOME_ROUTER, ADDRESS_INCREMENTAL, "prediction", 0.09, 60),
    "home, symmetric": (HOME_ROUTER, SYMMETRIC, "birthday", 0.6, 1000),
    "masquerade, symmetric": (MASQUERADE, SYMMETRIC, "birthday", 0.6, 1000),
    "home, block": (HOME_ROUTER, CHUNKED_SYMMETRIC, "chunked", 0.2, 250),
    "address-dependent, symmetric": (FORGIVING, SYMMETRIC, "birthday", 0.6, 1000),
    "incremental, incremental": (INCREMENTAL_SYMMETRIC, INCREMENTAL_SYMMETRIC, "both-incremental", 0.12, 210),
    "by two, downwards": (BY_TWO, DOWNWARDS, "both-incremental", 0.1, 250),
    "busy, busy": (BUSY, BUSY, "both-incremental", 0.15, 450),
    "address-dependent, incremental": (ADDRESS_INCREMENTAL, INCREMENTAL_SYMMETRIC, "both-incremental", 0.09, 150),
    "address-dependent twice": (ADDRESS_INCREMENTAL, ADDRESS_INCREMENTAL, "both-incremental", 0.09, 150),
    "address-dependent incremental, symmetric": (ADDRESS_INCREMENTAL, SYMMETRIC, "aimed-birthday", 1.2, 2200),
    "address-dependent incremental, block": (ADDRESS_INCREMENTAL, CHUNKED_SYMMETRIC, "aimed-birthday", 0.3, 500),
}


@pytest.mark.parametrize(("a", "b", "technique", "seconds", "packets"), CELLS.values(), ids=CELLS)
def test_a_workable_pair_meets(a: NatBehaviour, b: NatBehaviour, technique: str, seconds: float, packets: int) -> None:
    results = [Pair((a, b) if seed % 2 else (b, a), seed=seed).meet() for seed in range(6)]
    assert achievable(behaviour(a), behaviour(b)) > 0.97
    assert {result.verdict.technique for result in results} == {technique}
    assert all(result.met for result in results)
    assert median(result.since_start for result in results) <= seconds
    assert median(result.packets for result in results) <= packets


@pytest.mark.parametrize(
    ("a", "b"),
    [(SYMMETRIC, SYMMETRIC), (INCREMENTAL_SYMMETRIC, SYMMETRIC), (CHUNKED_SYMMETRIC, CHUNKED_SYMMETRIC), (ADDRESS_RANDOM, SYMMETRIC)],
)
def test_a_hopeless_pair_costs_a_handful_of_packets(a: NatBehaviour, b: NatBehaviour) -> None:
    result = Pair((a, b)).meet()
    assert not result.met
    assert result.verdict.technique == "relay"
    assert not result.verdict.possible
    assert achievable(behaviour(a), behaviour(b)) == 0.0
    assert result.packets < 50


@pytest.mark.parametrize("box", [MASQUERADE, REFUSING])
def test_a_start_that_is_late_by_less_than_the_way_does_no_harm(box: NatBehaviour) -> None:
    for skew in (0.0, 0.02, 0.035):
        assert Pair((box, box), skew=skew).meet().met


def test_losses_cost_time_but_not_the_meeting() -> None:
    pairs = [(HOME_ROUTER, HOME_ROUTER), (HOME_ROUTER, INCREMENTAL_SYMMETRIC), (HOME_ROUTER, SYMMETRIC)]
    results = [Pair(pair, seed=seed, loss=0.05).meet() for pair in pairs for seed in range(4)]
    assert all(result.met for result in results)
    assert median(result.since_start for result in results) < 6 * ONE_WAY


def test_a_nat_that_is_busier_than_it_was_thought_to_be_is_searched_further() -> None:
    busy = replace(INCREMENTAL_SYMMETRIC, load=200.0)
    quiet = behaviour(INCREMENTAL_SYMMETRIC)
    results = [Pair((HOME_ROUTER, busy), seed=seed, believed=(behaviour(HOME_ROUTER), quiet)).meet() for seed in range(8)]
    assert sum(result.met for result in results) >= 7
    assert max(result.packets for result in results) < 500
