"""Source filters as values: merging, changes that are still to be told, reports that are full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from userlan.stack.filters import ANYTHING, NOTHING, Change, Filter, current_sources, merged, reports_of
from userlan.wire.membership import Record, RecordType

GROUP = bytes((239, 1, 1, 1))
SOURCES = [bytes((10, 0, 0, number)) for number in range(6)]

filters = st.builds(Filter, st.booleans(), st.frozensets(st.sampled_from(SOURCES)))


@given(st.lists(filters, max_size=5))
def test_the_host_wants_what_any_of_its_sockets_wants(wishes: list[Filter]) -> None:
    """RFC 3376 3.2, RFC 3810 4.2."""
    state = merged(wishes)
    for source in SOURCES:
        assert state.admits(source) == any(wish.admits(source) for wish in wishes)
    stranger = bytes((10, 9, 9, 9))
    assert state.admits(stranger) == any(wish.exclude for wish in wishes)


def test_the_example_of_the_document() -> None:
    """RFC 3376 3.2: EXCLUDE {a, b, c, d}, EXCLUDE {b, c, d, e} and INCLUDE {d, e, f} make EXCLUDE {b, c}."""
    a, b, c, d, e, f = SOURCES
    wishes = [Filter(True, frozenset((a, b, c, d))), Filter(True, frozenset((b, c, d, e))), Filter(False, frozenset((d, e, f)))]
    assert merged(wishes) == Filter(True, frozenset((b, c)))
    assert merged(wishes[2:]) == wishes[2]
    assert merged([]) == NOTHING


class Router:
    """What a router makes of state change reports (RFC 3376 6.4, without timers)."""

    def __init__(self) -> None:
        self.state = NOTHING

    def hear(self, records: list[Record]) -> None:
        for kind, _, sources in records:
            named, known = frozenset(sources), self.state.sources
            if kind is RecordType.CHANGE_TO_EXCLUDE_MODE:
                self.state = Filter(True, named)
            elif kind is RecordType.CHANGE_TO_INCLUDE_MODE:
                self.state = Filter(False, named)
            elif (kind is RecordType.ALLOW_NEW_SOURCES) is self.state.exclude:
                self.state = Filter(self.state.exclude, known - named)
            else:
                self.state = Filter(self.state.exclude, known | named)


@given(
    st.lists(st.tuples(filters, st.integers(0, 3)), min_size=1, max_size=8),
    st.integers(1, 4),
    st.data(),
)
def test_a_router_that_misses_fewer_than_robustness_reports_in_a_row_is_right_in_the_end(
    steps: list[tuple[Filter, int]], robustness: int, data: st.DataObject
) -> None:
    """RFC 3376 5.1: each source, and a new mode, is in ``robustness`` reports, whatever changes meanwhile."""
    change, router, state, missed = Change(), Router(), NOTHING, 0

    def report(last: bool) -> None:
        nonlocal missed
        records = change.told(GROUP, state)
        if missed + 1 < robustness and not last and data.draw(st.booleans()):
            missed += 1
        else:
            missed = 0
            router.hear(records)

    for wanted, repeats in steps:
        before, state = state, wanted
        if before != state:
            change.note(before, state, robustness)
            report(False)
        for _ in range(repeats):
            if change.pending:
                report(False)
    while change.pending:
        report(False)
    assert router.state == state


def test_a_new_mode_is_told_before_sources_that_changed_since() -> None:
    """RFC 3376 5.1: the next reports hold the mode; what then is left of the sources follows."""
    change, one, two = Change(), SOURCES[0], SOURCES[1]
    states = [NOTHING, ANYTHING, Filter(True, frozenset((one,)))]
    change.note(states[0], states[1], 2)
    assert change.told(GROUP, states[1]) == [Record(RecordType.CHANGE_TO_EXCLUDE_MODE, GROUP)]
    change.note(states[1], states[2], 2)
    assert change.told(GROUP, states[2]) == [Record(RecordType.CHANGE_TO_EXCLUDE_MODE, GROUP, (one,))]
    assert change.told(GROUP, states[2]) == [Record(RecordType.BLOCK_OLD_SOURCES, GROUP, (one,))]
    assert not change.pending
    both = Filter(False, frozenset((one, two)))
    change.note(Filter(False, frozenset((one,))), both, 1)
    assert change.told(GROUP, both) == [Record(RecordType.ALLOW_NEW_SOURCES, GROUP, (two,))]


@given(filters, st.frozensets(st.sampled_from(SOURCES), min_size=1))
def test_the_answer_about_some_sources(state: Filter, asked: frozenset[bytes]) -> None:
    """RFC 3376 5.2: INCLUDE (A): A*B, EXCLUDE (A): B-A, and no answer when that is empty."""
    found = current_sources(GROUP, state, asked)
    expected = asked - state.sources if state.exclude else asked & state.sources
    if not expected:
        assert found is None
    else:
        assert found == Record(RecordType.MODE_IS_INCLUDE, GROUP, tuple(sorted(expected)))


many = st.lists(
    st.builds(
        lambda kind, number: Record(kind, GROUP, tuple(bytes((10, 0, place >> 8, place & 255)) for place in range(number))),
        st.sampled_from(RecordType),
        st.integers(0, 120),
    ),
    max_size=12,
)


@given(many, st.integers(16, 300))
def test_reports_are_split_where_they_are_full(records: list[Record], room: int) -> None:
    """RFC 3376 4.2.16: a record that is too long is split, one that excludes is cut; nothing else is lost."""
    reports = reports_of(records, room)
    assert all(0 < sum(record.length for record in report) <= room for report in reports)
    sent = [record for report in reports for record in report]
    for kind in RecordType:
        wanted = [source for record in records if record.type is kind for source in record.sources]
        got = [source for record in sent if record.type is kind for source in record.sources]
        if kind in (RecordType.MODE_IS_EXCLUDE, RecordType.CHANGE_TO_EXCLUDE_MODE):
            most = (room - 8) // 4
            wanted = [source for record in records if record.type is kind for source in record.sources[:most]]
            assert sum(record.type is kind for record in sent) == sum(record.type is kind for record in records)
        assert got == wanted
