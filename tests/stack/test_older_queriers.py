"""Beside an older querier a host speaks its version (RFC 3376 7, RFC 3810 8, RFC 2236, RFC 1112 appendix I, RFC 2710)."""

from __future__ import annotations

import pytest

from tests.stack.listening import FAMILIES, IPV4, IPV6, Family, Link, record
from userlan.wire import igmp, mld
from userlan.wire.membership import Leave, Member, Message, RecordType, Report

BOTH = pytest.mark.parametrize("family", FAMILIES, ids=["igmp", "mld"])
VERSIONS = pytest.mark.parametrize(
    ("family", "version"), [(IPV4, 1), (IPV4, 2), (IPV6, 1)], ids=["igmp-1", "igmp-2", "mld-1"]
)
PRESENT = 2 * 125 + 10
"""Seconds of the Older Version Querier Present Timeout with every default (RFC 3376 8.12, RFC 3810 9.12)."""

JOINED = RecordType.CHANGE_TO_EXCLUDE_MODE


def beside(family: Family, version: int, **options: int) -> Link:
    """A host with three groups, one with sources, that has heard an older querier and answered it."""
    link = Link(family, **options)
    one, two, three = family.groups[:3]
    link.socket.join(one)
    link.socket.join(two, exclude=family.sources[:1])
    link.socket.join(three, sources=family.sources[:2])
    link.settled()
    asked(link, version)
    link.run(20.0)
    return link


def asked(link: Link, version: int, group: bytes | None = None, within: int = 10_000) -> None:
    link.ask(group, version=version, within=0 if (link.family, version) == (IPV4, 1) else within)


def said(link: Link, seconds: float) -> list[Message]:
    return [message for _, message in link.run(seconds)]


@VERSIONS
def test_its_query_is_answered_group_by_group(family: Family, version: int) -> None:
    """RFC 2236 3, RFC 2710 4: a timer for each group, at random; sources are not spoken of (RFC 3376 7.2.1)."""
    link = beside(family, version)
    asked(link, version)
    answers = link.run(20.0)
    assert sorted(message.group for _, message in answers if isinstance(message, Member)) == sorted(family.groups[:3])
    assert {message.version for _, message in answers if isinstance(message, Member)} == {version}
    instants = [at for at, _ in answers]
    assert len(set(instants)) == 3
    assert all(0 <= at <= 10.0 for at in instants), "version 1 of IGMP allows 10 s, though it writes 0"


@VERSIONS
def test_joins_and_leaves_are_told_in_its_words(family: Family, version: int) -> None:
    """RFC 2236 3 and 8.10, RFC 2710 7.10: a report at once and again within 10 s; version 1 of IGMP knows no leave."""
    link = beside(family, version)
    group = family.groups[5]
    link.socket.join(group, sources=family.sources[:1])
    (first, _), (second, message) = link.run(20.0)
    assert (first, message) == (0.0, Member(version, group))
    assert 0.0 <= second <= 10.0
    link.socket.join(group)
    assert said(link, 20.0) == [], "still a member"
    link.socket.leave(group)
    assert said(link, 20.0) == ([] if (family, version) == (IPV4, 1) else [Leave(group)])
    destination = igmp.ALL_ROUTERS if family is IPV4 else mld.ALL_ROUTERS
    assert [packet.destination for packet in link.packets[-2:]] == (
        [group, group] if version == 1 and family is IPV4 else [group, destination]
    )


@VERSIONS
def test_the_newest_version_returns_when_it_was_not_heard_for_long(family: Family, version: int) -> None:
    """RFC 3376 7.2.1 and 8.12, RFC 3810 8.2.1 and 9.12."""
    for silence, expected in ((PRESENT - 25.0, Member(version, family.groups[5])), (PRESENT + 0.1, None)):
        link = beside(family, version)
        link.run(silence - 20.0)
        link.socket.join(family.groups[5])
        (first, *_) = said(link, 0.0)
        assert first == (expected or Report((record(JOINED, family.groups[5]),)))


@BOTH
def test_how_long_it_is_remembered_follows_the_newest_queriers_variables(family: Family) -> None:
    """RFC 3376 8.12: robustness × interval + response; an interval beyond what is believed counts as 600 s."""
    for robustness, interval, present in ((3, 20, 70), (2, 0, PRESENT), (7, 30_000, 7 * 600 + 10)):
        for offset, older in ((-0.5, True), (0.5, False)):
            link = Link(family)
            link.ask(robustness=robustness, interval=interval)
            asked(link, family.newest - 1)
            link.run(present + offset)
            link.socket.join(family.groups[0])
            assert isinstance(said(link, 0.0)[0], Member) is older


def test_the_oldest_of_several_is_spoken_to() -> None:
    """RFC 3376 7.2.1: version 1's timer goes before version 2's; a query for one group of version 2 sets none."""
    link = Link(IPV4)
    link.socket.join(IPV4.groups[0])
    link.settled()
    link.ask(IPV4.groups[0], version=2, within=1000)
    assert said(link, 60.0) == [Report((record(RecordType.MODE_IS_EXCLUDE, IPV4.groups[0]),))]
    for version in (1, 2):
        asked(link, version)
        link.run(0.0)
        link.socket.join(IPV4.groups[version])
        assert said(link, 0.0) == [Member(1, IPV4.groups[version])]
    link.run(PRESENT - 10.0)
    asked(link, 2)
    link.run(20.0)
    link.socket.join(IPV4.groups[3])
    assert said(link, 0.0) == [Member(2, IPV4.groups[3])]


@VERSIONS
def test_a_change_of_version_cancels_what_is_pending(family: Family, version: int) -> None:
    """RFC 3376 7.2.1, RFC 3810 8.2.1: responses and retransmissions."""
    link = Link(family)
    link.socket.join(family.groups[0])
    link.ask(within=100_000)
    assert len(said(link, 0.0)) == 1
    asked(link, version)
    assert said(link, 200.0) == [Member(version, family.groups[0])], "the older query's answer alone"


@VERSIONS
def test_another_members_report_is_enough_there(family: Family, version: int) -> None:
    """RFC 2236 3, RFC 2710 4: the timer of that group stops; in the newest version each reports for itself."""
    link = beside(family, version)
    asked(link, version)
    link.hear(Member(version, family.groups[0]))
    assert {message.group for message in said(link, 20.0) if isinstance(message, Member)} == set(family.groups[1:2]) | {
        family.groups[2]
    }
    link.socket.join(family.groups[5])
    link.run(0.0)
    link.hear(Member(version, family.groups[5]))
    assert said(link, 20.0) == []
    newest = Link(family)
    newest.socket.join(family.groups[0])
    newest.settled()
    newest.ask()
    newest.hear(Member(version, family.groups[0]))
    assert len(said(newest, 20.0)) == 1


@pytest.mark.parametrize(("family", "version"), [(IPV4, 2), (IPV6, 1)], ids=["igmp-2", "mld-1"])
def test_a_timer_that_runs_is_set_anew_only_where_it_would_be_late(family: Family, version: int) -> None:
    """RFC 2236 3, RFC 2710 4; version 1 of IGMP always allows 10 s."""
    link = beside(family, version)
    asked(link, version, within=20_000)
    asked(link, version, family.groups[0], within=100)
    ((at, first), *others) = link.run(30.0)
    assert (at <= 0.1, first) == (True, Member(version, family.groups[0]))
    assert len(others) == 2


@pytest.mark.parametrize(("family", "version"), [(IPV4, 2), (IPV6, 1)], ids=["igmp-2", "mld-1"])
def test_its_answers_are_bounded_too(family: Family, version: int) -> None:
    """A flood that allows a tenth of a second: the burst, and then so many a second."""
    link = beside(family, version, group_answers_a_second=1, group_answer_burst=5)
    answers = 0
    for _ in range(100):
        asked(link, version, within=100)
        answers += len(link.run(0.1))
    assert 10 <= answers <= 5 + 10 + 1
    assert link.host.counters["group-answer-limited"] == 300 - answers
