"""The replay window equals a set of counters with a lower edge."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.tunnel.constants import REJECT_AFTER_MESSAGES
from userlan.tunnel.replay import WINDOW, ReplayWindow


class Model:
    def __init__(self) -> None:
        self.seen: set[int] = set()

    @property
    def newest(self) -> int:
        return max(self.seen, default=-1)

    def fresh(self, counter: int) -> bool:
        return counter not in self.seen and counter < REJECT_AFTER_MESSAGES and counter >= self.newest - WINDOW


steps = st.lists(
    st.tuples(
        st.one_of(
            st.integers(-200, 200),
            st.integers(-WINDOW - 130, WINDOW + 130),
            st.sampled_from([-WINDOW, -WINDOW - 1, -WINDOW + 1, 0, 1, 63, 64, 65, 8191, 8192, 8193, 10**6]),
        ),
        st.integers(1, 70),
    ),
    max_size=60,
)


@given(steps, st.sampled_from([0, 1, 2**32 - 3, 2**60]))
@settings(deadline=None, max_examples=200)
def test_it_equals_a_naive_set(jumps: list[tuple[int, int]], start: int) -> None:
    window, model = ReplayWindow(), Model()
    window.mark(start)
    model.seen.add(start)
    for jump, run in jumps:
        counter = max(window.newest + jump, 0)
        assert window.fresh(counter) == model.fresh(counter)
        if not window.fresh(counter):
            continue
        if counter > window.newest and run > 1:
            window.mark_run(counter, run)
            model.seen.update(range(counter, counter + run))
        else:
            window.mark(counter)
            model.seen.add(counter)
        assert window.newest == model.newest
        for probe in (counter - 1, counter, counter + run - 1, counter + run, model.newest - WINDOW):
            if probe >= 0:
                assert window.fresh(probe) == model.fresh(probe)


@pytest.mark.parametrize("run", [1, 63, 64, 65, 8127, 8128, 8129, 8192, 20000])
@pytest.mark.parametrize("start", [0, 1, 63, 64, 100_003])
def test_long_runs(start: int, run: int) -> None:
    window, model = ReplayWindow(), Model()
    window.mark_run(start, run)
    model.seen.update(range(start, start + run))
    newest = start + run - 1
    for counter in range(max(newest - WINDOW - 2, 0), newest + 3):
        assert window.fresh(counter) == model.fresh(counter)


def test_the_last_counters_are_refused() -> None:
    window = ReplayWindow()
    assert window.fresh(REJECT_AFTER_MESSAGES - 1)
    assert not window.fresh(REJECT_AFTER_MESSAGES)
    assert not window.fresh(2**64 - 1)
