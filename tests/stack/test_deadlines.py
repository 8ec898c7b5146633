"""The heap of deadlines against a plain dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from userlan.stack.deadlines import SLACK, Deadlines

MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 7), st.one_of(st.none(), st.integers(0, 100))),
        st.tuples(st.just("due"), st.integers(0, 100), st.none()),
    ),
    max_size=60,
)


@given(MOVES)
def test_agrees_with_a_dictionary(moves: list[tuple[str, int, int | None]]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    model: dict[int, float] = {}
    for kind, first, second in moves:
        if kind == "set":
            deadlines.set(first, second)
            model.pop(first, None)
            if second is not None:
                model[first] = second
        else:
            due = deadlines.due(first)
            assert sorted(due) == sorted(item for item, at in model.items() if at <= first)
            assert [model[item] for item in due] == sorted(model[item] for item in due)
            for item in due:
                del model[item]
        assert len(deadlines) == len(model)
        following = deadlines.next()
        assert (following is None) == (not model)
        assert following is None or following <= min(model.values())


def test_a_timer_that_moves_for_ever_takes_no_memory() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("other", 7000.0)
    for step in range(5000):
        deadlines.set("idle", step + 7200.0)
        deadlines.set("idle", step + 0.2)
        assert deadlines.due(step + 0.3) == ["idle"]
    assert deadlines.entries <= 2 * SLACK
