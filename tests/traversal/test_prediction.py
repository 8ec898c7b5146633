"""Windows, combs and blocks: they hold what they say, against NATs that draw their ports as they say."""

from __future__ import annotations

from random import Random
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sim.nat_allocation import poisson
from userlan.traversal.prediction import (
    BLOCKS,
    BLOCKS_WOVEN,
    FIRST_PORT,
    LAST_PORT,
    Forecast,
    Window,
    block,
    comb,
    forecast,
    forecast_paused,
    rows,
    runs,
    step_of,
    weave,
)
from userlan.traversal.sides import Sighting


def sightings(*ports: int, spacing: float = 0.0001) -> list[Sighting]:
    return [Sighting(number, "203.0.113.1", port, 10.0 + number * spacing) for number, port in enumerate(ports)]


class Box:
    """An incremental NAT: each mapping takes the next slot, others take theirs."""

    def __init__(self, random: Random, rate: float, noise: float) -> None:
        self.random, self.rate, self.noise = random, rate, noise
        self.slot = 0
        self.at = 0.0

    def mapping(self, now: float) -> int:
        for _ in range(poisson(self.random, self.rate * (now - self.at))):
            self._next()
        self.at = now
        return self._next()

    def _next(self) -> int:
        self.slot += 1
        while self.random.random() < self.noise / (1 + self.noise):
            self.slot += 1
        return self.slot


@pytest.mark.parametrize(("rate", "noise"), [(0.0, 0.0), (5.0, 0.0), (48.0, 0.0), (266.0, 0.0), (100.0, 0.3), (4.0, 1.0)])
def test_the_first_mapping_of_the_punch_lies_in_the_window_and_the_comb_hits_its_row(rate: float, noise: float) -> None:
    random = Random(f"{rate} {noise}")
    runs_, inside, hit = 600, 0, 0
    for _ in range(runs_):
        box = Box(random, rate, noise)
        seen = [box.mapping(number * 0.0001) for number in range(16)]
        ahead = forecast(sightings(*(20_000 + 2 * slot for slot in seen)), step=2, rate=rate)
        assert ahead is not None
        window = ahead.window(0.2, own=0)
        row = [box.mapping(0.2 + number * 0.0001) for number in range(16)]
        slots = [slot - seen[-1] for slot in row]
        inside += window.first <= slots[0] <= window.last
        hit += bool(set(slots) & set(comb(window, 16, ahead.noise)))
    assert inside / runs_ > (0.985 if noise < 1 else 0.9)       # a noisy step is estimated from 15 gaps
    assert hit / runs_ > 0.975


QUIET, NOISY, BUSY, BUSIEST = (0.3, 0.0), (4.0, 0.4), (100.0, 0.0), (266.0, 0.0)


@pytest.mark.parametrize(
    ("near", "far", "least"),
    [(QUIET, QUIET, 0.99), (QUIET, NOISY, 0.98), (NOISY, NOISY, 0.95), (NOISY, BUSY, 0.98), (BUSY, BUSY, 0.99), (BUSIEST, BUSIEST, 0.99)],
)  # fmt: skip
def test_two_incremental_nats_meet_in_the_blocks_that_both_draw(near: tuple[float, float], far: tuple[float, float], least: float) -> None:
    random = Random(f"{near} {far}")
    met, spacing, pause, times = 0, 0.0005, 0.07, 300
    for _ in range(times):
        boxes = [Box(random, *near), Box(random, *far)]
        ahead, last = [], []
        for box in boxes:
            seen = [box.mapping(number * 0.0001) for number in range(32)]
            found = forecast(sightings(*(20_000 + slot for slot in seen)), step=1, rate=box.rate)
            assert found is not None
            ahead.append(found)
            last.append(seen[-1])
            for _ in range(random.randint(0, 2)):       # the computer's own, meanwhile
                box.mapping(0.02)
        blocks = weave(ahead[0], ahead[1], (pause, pause), spacing, 1200)
        aims = [[slot for one in side for slot in random.sample(range(one.first, one.first + one.size), one.packets)] for side in blocks]
        made = [
            [box.mapping(pause + number * spacing) - slot for number in range(len(aims[0]))] for box, slot in zip(boxes, last, strict=True)
        ]
        there = {slot: number for number, slot in enumerate(made[1])}
        met += any(aim in there and aims[1][there[aim]] == slot for aim, slot in zip(aims[0], made[0], strict=True))
    assert met / times >= least


def paused(random: Random, rate: float, noise: float) -> tuple[Forecast, Box, int]:
    """A box of which 32 mappings were seen, half of them after a pause; what is thought of it; and the last of them."""
    box = Box(random, rate, noise)
    at = [number // 8 * 0.002 + (0.25 if number >= 16 else 0.0) for number in range(32)]
    slots = [box.mapping(time) for time in at]
    seen = [
        Sighting(number, "203.0.113.1", 20_000 + 2 * slot, 10.0 + time) for number, (slot, time) in enumerate(zip(slots, at, strict=True))
    ]
    found = forecast_paused(seen, step=2, rate=rate * 2 + 30)         # its own are taken for others'
    assert found is not None
    return found, box, slots[-1]


@pytest.mark.parametrize(("rate", "noise"), [QUIET, NOISY, BUSY, BUSIEST])
def test_a_pause_tells_what_others_take_from_what_the_nat_leaves_out(rate: float, noise: float) -> None:
    random = Random(f"pause {rate} {noise}")
    found = [paused(random, rate, noise)[0] for _ in range(200)]
    assert mean(one.rate for one in found) == pytest.approx(rate, rel=0.15, abs=5.0)
    assert mean(one.noise for one in found) == pytest.approx(noise, abs=0.1)
    near = [abs(one.rate - rate) <= 2 * one.doubt**0.5 for one in found]
    assert mean(near) > 0.9, "the doubt is as great as it is said to be"


@pytest.mark.parametrize(
    ("near", "far", "least"), [(QUIET, QUIET, 0.97), (QUIET, NOISY, 0.85), (NOISY, NOISY, 0.7), (NOISY, BUSY, 0.75), (BUSY, BUSY, 0.79)]
)
def test_two_rows_meet_as_often_as_theory_says(near: tuple[float, float], far: tuple[float, float], least: float) -> None:
    random = Random(f"rows {near} {far}")
    met, times = 0, 150
    for _ in range(times):
        ends = [paused(random, *one) for one in (near, far)]
        start = 0.25 + 0.006 + 0.14
        aims = rows(ends[0][0], ends[1][0], (0.14, 0.14), 0.00025, 64, 32)
        made: list[dict[int, int]] = []
        for (_, box, last), side in zip(ends, aims, strict=True):
            for _ in range(random.choice((0, 0, 1))):       # the computer's own, meanwhile
                box.mapping(start - 0.05)
            targets = [row.slot for row in side for _ in range(row.sockets)]
            made.append({box.mapping(start + number // 8 * 0.002) - last: slot for number, slot in enumerate(targets)})
        met += any(made[1].get(aim) == slot for slot, aim in made[0].items())
    assert met / times >= least


@given(st.integers(0, 1000), st.integers(0, 266), st.floats(0, 3), st.floats(0, 2), st.integers(32, 64), st.integers(1, 32))
def test_rows_follow_one_another_within_their_caps(
    near_rate: int, far_rate: int, noise: float, pause: float, most: int, sockets: int
) -> None:
    near, far = Forecast(20_000, 1, near_rate, near_rate, noise, noise, 31), Forecast(30_000, 1, far_rate, far_rate)
    sides = rows(near, far, (pause, pause), 0.00025, most, sockets)
    assert len(sides[0]) == len(sides[1]) >= 1
    for side in sides:
        assert sum(row.sockets for row in side) <= most
        assert all(1 <= row.sockets <= sockets and row.slot >= 1 for row in side)
        assert [row.sent for row in side] == [sum(row.sockets for row in side[:number]) for number in range(len(side))]


@given(st.integers(0, 266), st.integers(0, 266), st.floats(0, 3), st.floats(0, 1), st.integers(1, 1200))
def test_both_sides_draw_the_same_number_at_the_same_time_and_no_more_than_allowed(
    near_rate: int, far_rate: int, noise: float, pause: float, most: int
) -> None:
    near, far = Forecast(20_000, 1, near_rate, near_rate, noise, noise, 31), Forecast(30_000, 1, far_rate, far_rate)
    here, there = weave(near, far, (pause, pause), 0.0005, most)
    assert [(one.packets, one.sent) for one in here] == [(one.packets, one.sent) for one in there]
    assert len(here) <= BLOCKS_WOVEN
    assert sum(one.packets for one in here) <= most
    assert all(one.packets <= one.size for one in (*here, *there))


@given(st.integers(1, 40), st.integers(0, 60), st.integers(1, 64), st.floats(0, 4))
def test_without_noise_a_comb_misses_no_row(first: int, size: int, sockets: int, noise: float) -> None:
    window = Window(first, first + size)
    teeth = set(comb(window, sockets))
    assert all(teeth & set(range(start, start + sockets)) for start in range(window.first, window.last + 1))
    assert set(comb(window, sockets, noise)) <= set(range(window.first, window.last + 2 * sockets * 5 + 2))


@given(st.integers(-8, 8).filter(bool), st.integers(2000, 60000), st.lists(st.integers(0, 3), min_size=8, max_size=16))
def test_the_step_is_found_between_others_mappings(step: int, start: int, others: list[int]) -> None:
    others[: len(others) // 2 + 1] = [0] * (len(others) // 2 + 1)
    ports, port = [start], start
    for between in others:
        port += step * (1 + between)
        ports.append(port)
    assert step_of(sightings(*ports)) == step


def test_without_two_ports_in_order_there_is_no_forecast_but_with_a_known_step() -> None:
    assert forecast([]) is None
    assert forecast(sightings(4000)) is None
    ahead = forecast(sightings(4000), step=1)
    assert ahead is not None
    assert ahead.port(1) == 4001


@given(st.integers(FIRST_PORT, LAST_PORT), st.integers(-300, 300).filter(bool), st.integers(1, 2000))
def test_slots_wrap_round_the_range(last: int, step: int, slot: int) -> None:
    ahead = Forecast(last, step)
    assert FIRST_PORT <= ahead.port(slot) <= LAST_PORT
    assert (ahead.port(slot) - last - slot * step) % (LAST_PORT - FIRST_PORT + 1) == 0


@given(st.lists(st.integers(1, 65535), max_size=40))
def test_runs_are_the_same_ports_in_the_same_order(ports: list[int]) -> None:
    again = [run.first + run.stride * number for run in runs(ports) for number in range(run.length)]
    assert again == ports


@given(st.sampled_from(BLOCKS), st.integers(1, 15), st.lists(st.floats(0, 0.999), min_size=2, max_size=8))
def test_a_block_holds_what_was_seen_and_is_aligned(size: int, number: int, places: list[float]) -> None:
    ports = [number * size + int(place * size) for place in places]
    low, high = block(ports)
    assert low <= min(ports) <= max(ports) <= high
    assert number * size <= low or low % (high - low + 1) == 0
    assert high - low + 1 <= size
