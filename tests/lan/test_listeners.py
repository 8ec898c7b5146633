"""Who hears what: the rules of routers for reports (RFC 3376 6.4, RFC 3810 7.4), times, and what one member can fill."""

from __future__ import annotations

import ipaddress
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.lan import listeners as limits
from userlan.lan.listeners import MAX_SOURCES, MEMBERSHIP_INTERVAL, Listeners, for_everybody
from userlan.stack.filters import NOTHING, Change, Filter, current_state
from userlan.wire.membership import Leave, Member, Query, Record, RecordType, Report

ANNA, BEN, CARL = (bytes([number]) * 32 for number in (1, 2, 3))
GROUP = bytes((239, 1, 2, 3))
GROUP6 = bytes.fromhex("ff15" + 27 * "0" + "1")
SOURCES = tuple(bytes((25, 1, 1, last)) for last in range(1, 5))
NOW = 1000.0


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def report(kind: RecordType, *sources: bytes, group: bytes = GROUP) -> Report:
    return Report((Record(kind, group, sources),))


def admitted(table: Listeners, now: float = NOW, member: bytes = ANNA) -> set[bytes]:
    """Which of the sources a member hears."""
    return {source for source in SOURCES if member in table.hearers(GROUP, source, now)}


@pytest.mark.parametrize(
    ("group", "everybody"),
    [
        ("224.0.0.1", True),
        ("224.0.0.22", True),
        ("224.0.0.250", True),
        ("224.0.0.251", False),
        ("224.0.0.252", False),
        ("224.0.1.1", False),
        ("239.255.255.250", False),
        ("ff02::1", True),
        ("ff02::16", True),
        ("ff02::6a", True),
        ("ff02::fb", False),
        ("ff02::1:3", False),
        ("ff02::1:ff00:1", False),
        ("ff05::1", False),
        ("ff15::1", False),
    ],
)
def test_the_groups_by_which_links_are_run_are_heard_by_everybody(group: str, everybody: bool) -> None:
    """RFC 4541 2.1.2 (2) and 3; not those of programs, which are reported: multicast DNS and LLMNR."""
    assert for_everybody(packed(group)) is everybody


@pytest.mark.parametrize("group", [GROUP, GROUP6])
@pytest.mark.parametrize("joining", ["new", "state", "older"])
def test_a_group_is_heard_from_the_report_to_the_farewell(group: bytes, joining: str) -> None:
    table = Listeners()
    kinds = {"new": RecordType.CHANGE_TO_EXCLUDE_MODE, "state": RecordType.MODE_IS_EXCLUDE}
    table.heard(ANNA, Member(2, group) if joining == "older" else report(kinds[joining], group=group), NOW)
    table.heard(BEN, report(RecordType.CHANGE_TO_EXCLUDE_MODE, group=group), NOW)
    assert table.hearers(group, b"anybody", NOW) == (ANNA, BEN)
    assert (table.groups(ANNA, NOW), table.groups(CARL, NOW)) == ((group,), ())
    table.heard(ANNA, Leave(group) if joining == "older" else report(RecordType.CHANGE_TO_INCLUDE_MODE, group=group), NOW)
    assert table.hearers(group, b"anybody", NOW) == (BEN,)
    table.forget(BEN)
    assert (table.hearers(group, b"anybody", NOW), len(table)) == ((), 0)


def test_who_is_silent_for_the_membership_interval_is_forgotten() -> None:
    """RFC 3376 8.4: 260 s; a report begins them anew."""
    table = Listeners()
    table.heard(ANNA, report(RecordType.MODE_IS_EXCLUDE), NOW)
    table.heard(ANNA, report(RecordType.MODE_IS_EXCLUDE), NOW + 200)
    assert admitted(table, NOW + 459)
    assert not admitted(table, NOW + 460)
    assert table.deadline() == NOW + MEMBERSHIP_INTERVAL
    table.tick(NOW + MEMBERSHIP_INTERVAL)
    assert len(table) == 1
    later = table.deadline()
    assert later is not None
    table.tick(later)
    assert (len(table), table.deadline()) == (0, None)


IN, EX = RecordType.MODE_IS_INCLUDE, RecordType.MODE_IS_EXCLUDE
TO_IN, TO_EX = RecordType.CHANGE_TO_INCLUDE_MODE, RecordType.CHANGE_TO_EXCLUDE_MODE
ALLOW, BLOCK = RecordType.ALLOW_NEW_SOURCES, RecordType.BLOCK_OLD_SOURCES


@pytest.mark.parametrize(
    ("first", "second", "heard"),
    [
        ((TO_IN, 0, 1), (ALLOW, 2), {0, 1, 2}),
        ((TO_IN, 0, 1), (IN, 2), {0, 1, 2}),
        ((TO_IN, 0, 1), (BLOCK, 1, 2), {0}),
        ((TO_IN, 0, 1), (TO_IN, 2), {2}),
        ((TO_IN, 0, 1), (TO_EX, 1), {0, 2, 3}),
        ((TO_IN, 0, 1), (EX, 3), {0, 1, 2}),
        ((TO_EX, 0, 1), (ALLOW, 1), {1, 2, 3}),
        ((TO_EX, 0, 1), (IN, 1), {1, 2, 3}),
        ((TO_EX, 0, 1), (BLOCK, 2), {3}),
        ((TO_EX, 0, 1), (TO_IN, 0), {0}),
        ((TO_EX, 0, 1), (TO_EX, 2), {0, 1, 3}),
        ((TO_EX, 0, 1), (EX,), {0, 1, 2, 3}),
        ((BLOCK, 0), (BLOCK, 1), set()),
        ((TO_IN,), (IN,), set()),
    ],
)
def test_what_a_record_makes_of_the_state(
    first: tuple[RecordType | int, ...], second: tuple[RecordType | int, ...], heard: set[int]
) -> None:
    """RFC 3376 6.4.1 and 6.4.2, with one host behind the port."""
    table = Listeners()
    for kind, *numbers in (first, second):
        table.heard(ANNA, report(RecordType(kind), *(SOURCES[number] for number in numbers)), NOW)
    assert admitted(table) == {SOURCES[number] for number in heard}
    assert bool(len(table)) is bool(heard)


def test_sources_have_times_of_their_own() -> None:
    """RFC 3376 6.2.2: what was told once goes, what is told again stays; also where the mode was EXCLUDE before."""
    table = Listeners()
    table.heard(ANNA, report(EX), NOW)
    table.heard(ANNA, report(IN, SOURCES[0], SOURCES[1]), NOW + 100)
    table.heard(ANNA, report(IN, SOURCES[0]), NOW + 200)
    assert admitted(table, NOW + 259) == set(SOURCES)
    assert admitted(table, NOW + 261) == {SOURCES[0], SOURCES[1]}
    assert admitted(table, NOW + 361) == {SOURCES[0]}
    assert admitted(table, NOW + 461) == set()


def test_queries_and_groups_of_everybody_are_not_kept() -> None:
    table = Listeners()
    table.heard(ANNA, Query(3, bytes(4)), NOW)
    table.heard(ANNA, report(EX, group=packed("224.0.0.5")), NOW)
    table.heard(ANNA, Member(1, packed("ff02::2")), NOW)
    assert (len(table), table.deadline()) == (0, None)


def test_nobody_speaks_for_another() -> None:
    """A farewell is its sender's alone: no other behind the same port has to be asked (RFC 3376 6.4.2)."""
    table = Listeners()
    table.heard(ANNA, report(EX), NOW)
    table.heard(BEN, Leave(GROUP), NOW)
    table.heard(BEN, report(BLOCK, *SOURCES), NOW)
    assert admitted(table) == set(SOURCES)


# ------------------------------------------------------------------ what a member can fill


def test_the_groups_of_one_member_are_bounded_and_harm_no_other() -> None:
    table = Listeners()
    table.heard(BEN, report(EX), NOW)
    for number in range(10_000):
        table.heard(ANNA, report(EX, group=bytes((239, 9, number >> 8, number & 255))), NOW)
    assert len(table.groups(ANNA, NOW)) == limits.MAX_GROUPS
    assert table.counters == {"groups-excess": 10_000 - limits.MAX_GROUPS}
    table.heard(BEN, report(EX, group=GROUP6), NOW)
    assert table.groups(BEN, NOW) == tuple(sorted((GROUP, GROUP6)))


def test_many_members_cannot_take_all_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ALL_GROUPS", 2_000)
    table = Listeners()
    for member in (ANNA, BEN):
        for number in range(1_024):
            table.heard(member, report(EX, group=bytes((239, 9, number >> 8, number & 255))), NOW)
    for number in range(100):
        table.heard(CARL, report(EX, group=bytes((239, 9, 0, number))), NOW)
    assert len(table.groups(CARL, NOW)) == limits.LEAST_GROUPS
    assert len(table) == 2_000 + limits.LEAST_GROUPS


def sources(count: int) -> list[bytes]:
    return [bytes((25, 7, number >> 8, number & 255)) for number in range(count)]


def test_sources_of_one_member_are_bounded() -> None:
    """An inclusion that is too long is nothing; of an exclusion the sources are left out: more is heard, as RFC 3376 4.2.16 has it."""
    table = Listeners()
    table.heard(ANNA, report(TO_IN, *sources(MAX_SOURCES)), NOW)
    assert table.hearers(GROUP, sources(1)[0], NOW) == (ANNA,)
    table.heard(ANNA, report(TO_IN, SOURCES[0], group=bytes((239, 1, 1, 1))), NOW)
    assert table.hearers(bytes((239, 1, 1, 1)), SOURCES[0], NOW) == ()
    table.heard(ANNA, report(TO_EX, *sources(MAX_SOURCES + 1)), NOW)
    assert table.hearers(GROUP, sources(1)[0], NOW) == (ANNA,)
    assert table.counters == {"sources-excess": 2}
    table.heard(ANNA, report(TO_EX, *sources(MAX_SOURCES)), NOW)
    assert table.hearers(GROUP, sources(1)[0], NOW) == ()


FILTERS = st.builds(Filter, st.booleans(), st.frozensets(st.sampled_from(SOURCES)))


@settings(deadline=None, max_examples=200)
@given(st.lists(FILTERS, max_size=8))
def test_the_table_is_what_the_host_wants_when_its_changes_arrive(wanted: list[Filter]) -> None:
    """The two sides of RFC 3376: what a host tells of its changes (5.1), and what is made of it (6.4)."""
    table, state, change = Listeners(), NOTHING, Change()
    for number, after in enumerate(wanted):
        if after != state:
            change.note(state, after, 2)
            state = after
            table.heard(ANNA, Report(tuple(change.told(GROUP, state))), NOW + number)
        assert admitted(table, NOW + number) == {source for source in SOURCES if state.admits(source)}


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(FILTERS, st.booleans()), max_size=6))
def test_the_table_is_what_the_host_wants_in_the_end_whatever_is_lost(wanted: list[tuple[Filter, bool]]) -> None:
    """What was lost is mended by the tellings of all groups, two of which fall in the membership interval."""
    table, state, change = Listeners(), NOTHING, Change()
    for after, arrives in wanted:
        change.note(state, after, 1)
        state = after
        records = tuple(change.told(GROUP, state))
        if arrives:
            table.heard(ANNA, Report(records), NOW)
    now = NOW
    for _ in range(4):
        now += 125
        if state != NOTHING:
            table.heard(ANNA, Report((current_state(GROUP, state),)), now)
    table.tick(now)
    assert admitted(table, now) == {source for source in SOURCES if state.admits(source)}


RECORDS = st.builds(
    Record,
    st.sampled_from(RecordType),
    st.sampled_from([bytes((239, 0, 0, last)) for last in range(6)]),
    st.lists(st.sampled_from(SOURCES), max_size=4).map(tuple),
)
STEPS = st.lists(
    st.tuples(st.sampled_from((ANNA, BEN, CARL)), st.lists(RECORDS, max_size=3), st.sampled_from((0.0, 1.0, 130.0, 300.0)), st.booleans()),
    max_size=30,
)


@settings(deadline=None, max_examples=200)
@given(STEPS)
def test_any_reports_leave_a_table_that_empties_itself(steps: list[tuple[bytes, list[Record], float, bool]]) -> None:
    table, now = Listeners(), NOW
    for member, records, pause, gone in steps:
        now += pause
        table.heard(member, Report(tuple(records)), now)
        if gone:
            table.forget(member)
            assert table.groups(member, now) == ()
        table.tick(now)
        assert sum(len(table.groups(one, now)) for one in (ANNA, BEN, CARL)) <= len(table) <= 18
    for _ in range(2):
        deadline = table.deadline()
        if deadline is not None:
            table.tick(deadline)
    assert (len(table), table.deadline()) == (0, None)


@pytest.mark.parametrize("before", [RecordType.ALLOW_NEW_SOURCES, RecordType.CHANGE_TO_EXCLUDE_MODE])
def test_a_report_of_many_records_costs_no_more_than_its_length(before: RecordType) -> None:
    """However much is known already of the group that they all are about: else a few packets a second stop a node."""
    sources = tuple(number.to_bytes(4, "big") for number in range(MAX_SOURCES))
    many = Report((Record(RecordType.BLOCK_OLD_SOURCES, GROUP, sources[-1:]),) * 5_000)
    spent = {2: math.inf, MAX_SOURCES: math.inf}        # the least: some runs collect garbage of the tests before
    for known in (2, MAX_SOURCES) * 5:
        table = Listeners()
        table.heard(ANNA, report(before, *sources[:known]), NOW)
        begin = time.thread_time()
        table.heard(ANNA, many, NOW)
        spent[known] = min(spent[known], time.thread_time() - begin)
    assert spent[MAX_SOURCES] < 3 * spent[2]
