"""What a host tells multicast routers unasked and when asked, in virtual time (RFC 3376 5, RFC 3810 6)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stack.listening import FAMILIES, IPV4, IPV6, LINK_LOCAL, Family, Link, record
from tests.stack.packets import OURS4, OURS6, PEER4, packed, udp_packet
from userlan.stack import Host
from userlan.stack.reporter import MAX_ASKED_SOURCES
from userlan.wire import igmp, mld
from userlan.wire.membership import Query, RecordType, Report

BOTH = pytest.mark.parametrize("family", FAMILIES, ids=["igmp", "mld"])
IS_IN, IS_EX = RecordType.MODE_IS_INCLUDE, RecordType.MODE_IS_EXCLUDE
TO_IN, TO_EX = RecordType.CHANGE_TO_INCLUDE_MODE, RecordType.CHANGE_TO_EXCLUDE_MODE
ALLOW, BLOCK = RecordType.ALLOW_NEW_SOURCES, RecordType.BLOCK_OLD_SOURCES

# ---------------------------------------------------------------------- state changes (RFC 3376 5.1, RFC 3810 6.1)


@BOTH
def test_a_join_is_told_at_once_and_again_within_a_second(family: Family) -> None:
    """RFC 3376 5.1 and 8.11: Robustness Variable times in all, at random within the Unsolicited Report Interval."""
    gaps = []
    for seed in range(8):
        link = Link(family, seed)
        link.socket.join(family.groups[0])
        assert link.host.deadline() is not None
        first, second = link.run(60.0)
        expected = Report((record(TO_EX, family.groups[0]),))
        assert (first, second[1]) == ((0.0, expected), expected)
        gaps.append(second[0])
        assert link.host.deadline() is None
    assert all(0 <= gap <= 1.0 for gap in gaps)
    assert len(set(gaps)) == len(gaps)


@BOTH
def test_what_each_change_is_called(family: Family) -> None:
    """RFC 3376 5.1, the table of the differences between two states."""
    link, group, (a, b, c, *_) = Link(family), family.groups[0], family.sources
    steps: list[tuple[dict[str, list[bytes]], list[tuple[RecordType, list[bytes]]]]] = [
        ({"sources": [a, b]}, [(ALLOW, [a, b])]),
        ({"sources": [b, c]}, [(ALLOW, [c]), (BLOCK, [a])]),
        ({"exclude": [a]}, [(TO_EX, [a])]),
        ({"exclude": [b, c]}, [(ALLOW, [a]), (BLOCK, [b, c])]),
        ({"sources": [a]}, [(TO_IN, [a])]),
        ({"sources": []}, [(BLOCK, [a])]),
        ({}, [(TO_EX, [])]),
    ]
    for arguments, expected in steps:
        link.settled().socket.join(group, **arguments)
        wanted = [record(kind, group, *sources) for kind, sources in expected]
        assert link.records(60.0) == wanted * 2, "each of them, and each once more"
    link.socket.leave(group)
    assert link.records(60.0) == [record(TO_IN, group)] * 2


@BOTH
def test_the_state_of_the_host_is_told_not_that_of_its_sockets(family: Family) -> None:
    """RFC 3376 3.2 and 5.1: a wish that changes nothing for the host is not told."""
    link, group = Link(family), family.groups[0]
    link.socket.join(group)
    link.settled()
    other = link.bind(7)
    other.join(group, sources=[family.sources[0]])
    assert link.records(60.0) == []
    link.socket.leave(group)
    assert link.records(60.0) == [record(TO_IN, group, family.sources[0])] * 2


@BOTH
def test_a_change_before_all_is_told_joins_what_is_pending(family: Family) -> None:
    """RFC 3376 5.1: at once, merged: the new mode for all its reports, then what is left of the sources."""
    link, group, (a, *_) = Link(family), family.groups[0], family.sources
    link.socket.join(group)
    assert link.records() == [record(TO_EX, group)]
    link.socket.join(group, exclude=[a])
    assert link.records() == [record(TO_EX, group, a)]
    assert link.records(60.0) == [record(BLOCK, group, a)]
    link.socket.leave(group)
    link.records()
    link.socket.join(group)
    assert link.records(60.0) == [record(TO_EX, group)] * 2, "the farewell is not told again"


@BOTH
def test_changes_of_one_moment_make_one_report(family: Family) -> None:
    link = Link(family)
    for group in family.groups:
        link.socket.join(group)
    link.socket.leave(family.groups[0])
    first, second = link.run(60.0)
    assert first[1] == second[1] == Report(tuple(record(TO_EX, group) for group in family.groups[1:]))


@BOTH
def test_robustness_and_its_limits_are_the_queriers(family: Family) -> None:
    """RFC 3376 4.1.6, RFC 3810 5.1.8: the querier's variable; 0 tells nothing."""
    link, group = Link(family), family.groups[0]
    for robustness, times in ((5, 5), (0, 2), (1, 1)):
        link.ask(robustness=robustness)
        link.settled()
        link.socket.join(group)
        assert len(link.run(60.0)) == times
        link.socket.leave(group)
        link.settled()


@BOTH
def test_reports_that_do_not_fit_are_split(family: Family) -> None:
    """RFC 3376 4.2.16, RFC 3810 5.2.15: at 1,280 octets, which every link takes."""
    link = Link(family, max_memberships=1000, max_group_sources=100)
    many = [family.groups[0][:-2] + number.to_bytes(2, "big") for number in range(1, 300)]
    for group in many:
        link.socket.join(group)
    reports = link.drain()
    assert len(reports) > 1
    assert [one.group for report in reports if isinstance(report, Report) for one in report.records] == many
    assert all(packet.length <= 1280 for packet in link.packets)


# ---------------------------------------------------------------------- sources, destinations, silence


def test_where_reports_come_from() -> None:
    """RFC 3376 4.2.13: an own address or 0.0.0.0; RFC 3810 5.2.13: link-local or ::."""
    for family, own, nobody in ((IPV4, OURS4, "0.0.0.0"), (IPV6, LINK_LOCAL, "::")):
        link = Link(family)
        link.socket.join(family.groups[0])
        link.drain()
        assert link.packets[0].source == packed(own)
        for address in (OURS4, LINK_LOCAL):
            link.host.remove_address(packed(address))
        link.socket.join(family.groups[1])
        link.drain()
        assert link.packets[-1].source == packed(nobody)
    assert link.packets[0].destination == mld.ALL_REPORTS


@BOTH
def test_the_group_of_every_host_is_never_told(family: Family) -> None:
    """RFC 3376 5, RFC 3810 6: neither unasked nor asked."""
    link = Link(family)
    everybody = igmp.ALL_HOSTS if family is IPV4 else mld.ALL_NODES
    link.socket.join(everybody)
    assert link.run(60.0) == []
    link.ask()
    link.ask(everybody)
    assert link.run(60.0) == []
    assert link.host.deadline() is None


# ---------------------------------------------------------------------- answers (RFC 3376 5.2, RFC 3810 6.2 and 6.3)


def joined(family: Family, seed: int = 1, **options: int) -> Link:
    """A host with three states, all told: EXCLUDE {}, EXCLUDE {a}, INCLUDE {a, b}."""
    link = Link(family, seed, **options)
    one, two, three = family.groups[:3]
    link.socket.join(one)
    link.socket.join(two, exclude=family.sources[:1])
    link.socket.join(three, sources=family.sources[:2])
    return link.settled()


def everything(family: Family) -> Report:
    one, two, three = family.groups[:3]
    a, b = family.sources[:2]
    return Report((record(IS_EX, one), record(IS_EX, two, a), record(IS_IN, three, a, b)))


@BOTH
def test_a_general_query_is_answered_with_every_state(family: Family) -> None:
    """RFC 3376 5.2: after a delay chosen at random from the time that it allows."""
    delays = []
    for seed in range(8):
        link = joined(family, seed)
        link.ask(within=4000)
        ((at, said),) = link.run(60.0)
        assert said == everything(family)
        delays.append(at)
    assert all(0 <= delay <= 4.0 for delay in delays)
    assert max(delays) - min(delays) > 1.0


@BOTH
def test_the_allowed_time_may_be_long(family: Family) -> None:
    """RFC 3376 4.1.1, RFC 3810 5.1.3: written as floating point."""
    longest = max(joined_delay(family, seed) for seed in range(8))
    assert 200.0 < longest <= 800.0


def joined_delay(family: Family, seed: int) -> float:
    link = joined(family, seed)
    link.ask(within=800_000)
    ((at, _),) = link.run(1000.0)
    return at


@BOTH
def test_a_query_for_a_group_is_answered_with_that_group(family: Family) -> None:
    """RFC 3376 5.2: nothing about one that was not joined."""
    link = joined(family)
    for group, expected in zip(family.groups, everything(family).records, strict=False):
        link.ask(group, within=1000)
        assert link.records(1.0) == [expected]
    link.ask(family.groups[7])
    assert link.host.deadline() is None


@BOTH
def test_a_query_for_sources_is_answered_with_those_that_are_wanted(family: Family) -> None:
    """RFC 3376 5.2: INCLUDE (A): A*B, EXCLUDE (A): B-A, as IS_IN; when that is empty, no answer."""
    link = joined(family)
    one, two, three = family.groups[:3]
    a, b, c = family.sources[:3]
    for group, asked, expected in ((one, (a, c), (a, c)), (two, (a, b), (b,)), (three, (b, c), (b,))):
        link.ask(group, *asked)
        assert link.records(60.0) == [record(IS_IN, group, *expected)]
    link.ask(two, a)
    link.ask(three, c)
    assert link.records(60.0) == []


@BOTH
def test_queries_that_come_while_an_answer_is_due_share_it(family: Family) -> None:
    """RFC 3376 5.2, rules 3 to 5: sources add up; a query for the whole group, before or after, makes it whole."""
    one, a, b, c = family.groups[0], *family.sources[:3]
    for queries, expected in (
        (((a,), (b, c)), record(IS_IN, one, a, b, c)),
        (((a,), ()), record(IS_EX, one)),
        (((), (a,)), record(IS_EX, one)),
    ):
        link = joined(family)
        for sources in queries:
            link.ask(one, *sources)
        ((at, said),) = link.run(60.0)
        assert said == Report((expected,))
        link.ask(one, a)
        assert link.records(60.0) == [record(IS_IN, one, a)], "what was answered is forgotten"
        assert at <= 10.0


@BOTH
def test_a_general_answer_that_is_due_sooner_is_enough(family: Family) -> None:
    """RFC 3376 5.2, rules 1 and 2; one that is due later takes the new general query's time."""
    link = joined(family)
    link.ask(within=10)
    link.ask(family.groups[0], within=0xFF000)
    link.ask(within=0xFF000)
    assert [message for _, message in link.run(2000.0)] == [everything(family)]
    link.ask(within=0xFF000)
    link.ask(within=100)
    ((at, said),) = link.run(2000.0)
    assert (said, at <= 0.1) == (everything(family), True)


@BOTH
def test_answers_and_news_do_not_hinder_each_other(family: Family) -> None:
    link = joined(family)
    group = family.groups[5]
    link.ask(within=1000)
    link.socket.join(group)
    said = [message for _, message in link.run(60.0)]
    news = Report((record(TO_EX, group),))
    whole = Report((*everything(family).records, record(IS_EX, group)))
    assert sorted(said, key=str) == sorted([news, news, whole], key=str)


@BOTH
def test_a_group_that_was_left_is_not_answered_for(family: Family) -> None:
    """RFC 3376 5.2: when the timer runs out, only if there still is reception state."""
    link = joined(family)
    link.ask(family.groups[0], within=100_000)
    link.socket.leave(family.groups[0])
    assert {one.type for one in link.records(200.0)} == {TO_IN}


def test_queries_from_a_switch_without_address() -> None:
    """RFC 4541 2.1.1: 0.0.0.0 as the source of a query; nothing else may come from there."""
    link = joined(IPV4)
    link.hear(Query(3, bytes(4), 1000), bytes(4))
    assert link.records(60.0) == list(everything(IPV4).records)
    link.host.receive(udp_packet("0.0.0.0", OURS4, 1, 5000, b"x"), link.now)
    assert link.host.counters["source-martian"] == 1


def test_queries_to_an_own_address_count() -> None:
    """RFC 3376 4.1.12: any address of the interface."""
    link = joined(IPV4)
    query = igmp.build(Query(3, bytes(4), 1000), packed(PEER4))
    query = type(query)(query.header[:16] + packed(OURS4) + query.header[20:], query.payload, 0, True)
    link.host.receive(query, link.now)
    assert link.records(60.0) == list(everything(IPV4).records)


# ---------------------------------------------------------------------- hostile queries


@BOTH
def test_the_sources_that_queries_ask_for_are_bounded(family: Family) -> None:
    """Beyond the bound the answer is about the whole group."""
    link, group = joined(family), family.groups[0]
    link.run(60.0)
    sources = [family.sources[0][:-2] + number.to_bytes(2, "big") for number in range(MAX_ASKED_SOURCES + 1)]
    for start in range(0, len(sources), 50):
        link.ask(group, *sources[start : start + 50], within=100_000)
    assert link.records(200.0) == [record(IS_EX, group)]


@BOTH
def test_answers_are_bounded_in_number(family: Family) -> None:
    """A flood of queries that allow no delay: the burst, and then so many a second."""
    link = joined(family, group_answers_a_second=10, group_answer_burst=20)
    answers = 0
    for _ in range(1000):
        link.ask(family.groups[0], within=0 if family is IPV6 else 1)
        answers += len(link.run(0.005))
    assert 20 <= answers <= 20 + 50 + 1
    assert answers + link.host.counters["group-answer-limited"] == 1000


@BOTH
@given(data=st.data())
def test_no_message_raises_and_time_comes_to_an_end(family: Family, data: st.DataObject) -> None:
    """Any messages in any order, joins between them: everything pending is done within the longest time allowed."""
    link = joined(family)
    groups = st.sampled_from([family.everything, *family.groups[:4]])
    queries = st.builds(
        Query,
        st.integers(2, 3) if family is IPV4 else st.integers(1, 2),
        groups,
        st.integers(1, 300).map(lambda value: value * 100),
        st.booleans(),
        st.integers(0, 7),
        st.integers(0, 300),
        st.lists(st.sampled_from(family.sources), max_size=4).map(tuple),
    )
    for query in data.draw(st.lists(queries, max_size=8)):
        link.hear(query)
        link.run(data.draw(st.floats(0, 20)))
        if data.draw(st.booleans()):
            link.socket.join(family.groups[3])
    said = link.run(200.0)
    assert link.host.deadline() is None
    assert all(earlier <= later for (earlier, _), (later, _) in pairwise(said))


def test_malformed_messages_are_counted() -> None:
    link = joined(IPV4)
    link.host.receive(udp_packet(PEER4, "224.0.0.1", 1, 2, b""), link.now)
    wrong = igmp.build(Query(3, bytes(4), 100), packed(PEER4))
    for body, reason in ((b"\x11", "igmp-truncated"), (bytes((0x13, 0, 0xEC, 0xFF)) + bytes(4), "igmp-type")):
        link.host.receive(type(wrong)(wrong.header, body, 0, True), link.now)
        assert link.host.counters[reason] == 1
    link.hear(Report(()))
    assert link.host.counters["destination-not-ours"] == 1, "reports of others go to routers"
    six = Host(entropy=bytes)
    six.add_address(packed(OURS6))
    query = mld.build(Query(2, bytes(16), 100), packed("fd00::9"))
    six.receive(query, 0.0)
    assert six.counters["mld-source"] == 1
