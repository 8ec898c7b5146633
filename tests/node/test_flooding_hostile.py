"""What a member of ill will can do with broadcasts, multicasts and reports: nothing to others, and little to its victims."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.test_flooding import DIRECTED, GROUP, GROUP6, LIMITED, Site, Watcher, packet_of
from userlan.lan.listeners import MAX_GROUPS
from userlan.wire import igmp, mld
from userlan.wire.endpoint import UDP, Endpoint
from userlan.wire.membership import Leave, Member, Message, Query, Record, RecordType, Report
from userlan.wire.superpacket import SuperPacket

STRANGER = {4: bytes((25, 9, 9, 9)), 16: bytes.fromhex("fd756c616e00") + bytes(10)}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Mallory is a member, too."""
    made = Site(tmp_path, "anna", "ben", "mallory")
    made.lan.world.run(2)
    return made


def inject(site: Site, *packets: SuperPacket, to: str = "anna", seconds: float = 0.5) -> None:
    """Mallory's program sends what it likes through its tunnel."""
    mallory, target = site.nodes["mallory"], site.nodes[to]

    def send() -> None:
        for packet in packets:
            mallory.device.send(target.key, packet, site.lan.world.now)

    site.act("mallory", send, seconds)


def join_report(*groups: bytes, source: bytes) -> SuperPacket:
    """One that reports groups of one family."""
    records = tuple(Record(RecordType.CHANGE_TO_EXCLUDE_MODE, group) for group in groups)
    return built(Report(records), source)


def built(message: Message, source: bytes) -> SuperPacket:
    """Of the source's family."""
    return igmp.build(message, source) if len(source) == 4 else mld.build(message, source)


@pytest.mark.parametrize("group", [LIMITED, DIRECTED, GROUP, GROUP6])
@pytest.mark.parametrize("of", ["another member", "the victim", "nobody", "unspecified"])
def test_a_forged_source_is_not_believed(site: Site, group: bytes, of: str) -> None:
    site.join("anna", GROUP)
    site.join("anna", GROUP6)
    ben, anna = site.nodes["ben"], site.nodes["anna"]
    source = {
        "another member": ben.roster.own_ipv4 if len(group) == 4 else ben.ipv6,
        "the victim": anna.roster.own_ipv4 if len(group) == 4 else anna.ipv6,
        "nobody": STRANGER[len(group)],
        "unspecified": bytes(len(group)),
    }[of]
    before = anna.switch.counters["source-forged"]
    inject(site, packet_of(site, "mallory", group, source=source))
    assert site.heard() == {}
    assert anna.switch.counters["source-forged"] == before + 1


def test_a_flood_is_stopped_by_each_victim_and_takes_nothing_from_the_others(site: Site) -> None:
    anna = site.nodes["anna"]
    inject(site, *(packet_of(site, "mallory", LIMITED, b"%d" % number) for number in range(3_000)))
    dropped = sum(anna.flooding.storms.counters.values())
    assert 700 < len(site.heard()["anna"]) == 3_000 - dropped <= 800, "whole units are dropped"
    site.say("ben", LIMITED, b"still here")
    assert site.heard() == {"anna": [b"still here"], "mallory": [b"still here"]}


def test_a_loop_is_stopped(site: Site) -> None:
    """The same packet over and over, as two computers make it that bridge the LAN to one network."""
    for _ in range(100):
        inject(site, packet_of(site, "mallory", LIMITED), seconds=0.005)
    assert site.heard() == {"anna": [b"x"] * 60}
    assert site.nodes["anna"].flooding.storms.counters == {"repeated": 40}
    inject(site, *[packet_of(site, "mallory", DIRECTED)] * 400)
    assert site.heard() == {}


def test_ten_thousand_groups_fill_a_small_table_of_the_sender_s_own(site: Site) -> None:
    anna, mallory = site.nodes["anna"], site.nodes["mallory"]
    site.join("ben", GROUP)
    names = [bytes((239, 9, number >> 8, number & 255)) for number in range(10_000)]
    source = mallory.roster.own_ipv4
    inject(site, *(join_report(*names[start : start + 100], source=source) for start in range(0, 10_000, 100)))
    assert len(anna.flooding.listeners.groups(mallory.key, site.lan.world.now)) == MAX_GROUPS
    site.join("ben", GROUP6)
    assert anna.flooding.listeners.groups(site.nodes["ben"].key, site.lan.world.now) == tuple(sorted((GROUP, GROUP6)))
    site.lan.world.run(600)
    assert anna.flooding.listeners.groups(mallory.key, site.lan.world.now) == ()


@pytest.mark.parametrize("group", [GROUP, GROUP6])
def test_a_report_counts_for_the_tunnel_that_it_came_by(site: Site, group: bytes) -> None:
    """Nobody joins or leaves for another: not with another's address, nor without any."""
    anna, ben = site.nodes["anna"], site.nodes["ben"]
    site.join("ben", group)
    source = ben.roster.own_ipv4 if len(group) == 4 else ben.ipv6
    away = Report((Record(RecordType.CHANGE_TO_INCLUDE_MODE, group),))
    inject(site, built(away, source), built(away, bytes(len(group))))
    assert anna.flooding.listeners.hearers(group, source, site.lan.world.now) == (ben.key,)
    inject(site, join_report(group, source=bytes(len(group))))
    assert anna.flooding.listeners.hearers(group, source, site.lan.world.now) == (ben.key, site.nodes["mallory"].key)


def test_reports_and_farewells_of_older_versions_are_snooped_and_silence_nobody(site: Site) -> None:
    """RFC 4541 2.1.1: a host that heard another's report would keep its own to itself (RFC 2236 3)."""
    anna, mallory = site.nodes["anna"], site.nodes["mallory"]
    site.join("anna", GROUP)
    own = mallory.roster.own_ipv4
    inject(site, igmp.build(Query(2, bytes(4), 100), own), igmp.build(Member(2, GROUP), own))
    assert anna.flooding.listeners.groups(mallory.key, site.lan.world.now) == (GROUP,)
    assert mallory.flooding.listeners.groups(anna.key, site.lan.world.now) == (GROUP,)
    assert site.nodes["ben"].flooding.listeners.groups(anna.key, site.lan.world.now) == (GROUP,)
    inject(site, igmp.build(Leave(GROUP), own))
    assert anna.flooding.listeners.groups(mallory.key, site.lan.world.now) == ()


def test_who_asks_all_the_time_makes_nobody_tell_all_the_time(site: Site) -> None:
    """RFC 3376 9: a forged query is far smaller than what it would call forth."""
    site.join("anna", GROUP)
    watcher = Watcher(site.nodes["anna"], every=True)
    ask = igmp.build(Query(3, bytes(4), 0), site.nodes["mallory"].roster.own_ipv4)
    for _ in range(120):
        inject(site, *[ask] * 5, seconds=0.5)
    answers = [seen for seen in watcher.seen if seen[0] == "out" and seen[2] == igmp.ALL_REPORTS]
    assert len(answers) <= 2 * (100 + 60 * 2) + 4      # to two members: the burst, two a second, a refresh or two


def test_malformed_reports_are_counted_and_go_nowhere(site: Site) -> None:
    anna, source = site.nodes["anna"], site.nodes["mallory"].roster.own_ipv4
    whole = join_report(GROUP, source=source)
    watcher = Watcher(anna, every=True)
    payload = bytes(whole.payload)
    inject(site, SuperPacket(whole.header, payload[:9], 0, True), SuperPacket(whole.header, b"\x99" + payload[1:]))
    assert anna.flooding.listeners.groups(site.nodes["mallory"].key, site.lan.world.now) == ()
    assert sum(anna.flooding.counters.values()) == 2
    assert all(reason for direction, _, _, reason in watcher.seen if direction == "in")


def test_a_member_that_is_put_out_is_forgotten(site: Site) -> None:
    anna, mallory = site.nodes["anna"], site.nodes["mallory"]
    inject(site, join_report(GROUP, source=mallory.roster.own_ipv4), packet_of(site, "mallory", LIMITED))
    assert len(anna.flooding.listeners) == 1
    site.lan.finish(anna, anna.evict("home", mallory.key, site.lan.world.now))
    assert len(anna.flooding.listeners) == 0
    site.heard()
    site.say("anna", LIMITED)
    assert site.heard() == {"ben": [b"hello"]}


def test_a_mediator_is_no_member(site: Site) -> None:
    """It hears none of it, and has no say in groups."""
    anna, key = site.nodes["anna"], site.lan.mediator.public_key
    watcher = Watcher(anna)
    site.say("anna", LIMITED)
    assert key not in {seen[1] for seen in watcher.seen}
    (own,) = [address for address in site.lan.mediator.host.addresses if len(address) == 16]
    came_by = Endpoint(UDP, "192.0.2.1", 41414)
    for packet in (join_report(GROUP6, source=own), packet_of(site, "anna", GROUP6, source=own)):
        assert anna.intake.receive(key, packet, came_by, site.lan.world.now) == "mediator-refused"
    assert len(anna.flooding.listeners) == 0
