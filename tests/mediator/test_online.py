"""Presence as members see it, and introductions: who is told, at which moment, with which endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mediator.harness import MEDIATOR_ADDRESS, WALL_OFFSET, Client, Lab, states
from tests.sim.link import Link, LinkProfile
from tests.sim.nat import Nat
from userlan.control import refusals
from userlan.control.meeting import Introduce
from userlan.control.messages import (
    Bye,
    Candidate,
    Candidates,
    Challenge,
    Done,
    Join,
    Meet,
    MemberChanged,
    Observed,
    Prove,
    Refused,
    Welcome,
)
from userlan.lan.secrets import NetworkSecret
from userlan.mediator.events import NodeOffline, NodeOnline
from userlan.mediator.matchmaker import PAIR_INTERVAL, SLACK
from userlan.mediator.presence import PING_INTERVAL, SILENCE

SECRET = NetworkSecret(b"s" * 16)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.directory.close()


def home(lab: Lab, *clients: Client) -> None:
    """All in network ``home``, nothing left unread."""
    for client in clients:
        client.login()
    assert isinstance(clients[0].create("home", SECRET), Done)
    for client in clients[1:]:
        assert isinstance(client.join("home", SECRET), Done)
    lab.run(3.0)
    for client in clients:
        client.received.clear()


def presence(client: Client) -> list[tuple[bytes, bool]]:
    return [(changed.member.key, changed.member.online) for changed in client.take(MemberChanged)]


def starts(client: Client) -> list[tuple[float, Introduce]]:
    """When its first packets leave, for each introduction."""
    return [(time + message.delay, message) for time, message in client.received if isinstance(message, Introduce)]


# --- presence --------------------------------------------------------------------------------------------------------


def test_a_goodbye_is_told_at_once(lab: Lab) -> None:
    ann, bob = lab.client("ann"), lab.client("bob")
    home(lab, ann, bob)
    bob.bye()
    lab.run(0.01)
    (changed,) = ann.take(MemberChanged)
    assert (changed.member.key, changed.member.online, changed.member.name) == (bob.key, False, "bob")
    assert changed.member.last_seen == pytest.approx(WALL_OFFSET + lab.world.now, abs=1.0)


def test_a_reset_is_told_at_once(lab: Lab) -> None:
    ann, bob = lab.client("ann"), lab.client("bob")
    home(lab, ann, bob)
    assert bob.connection is not None
    bob.connection.abort(lab.world.now)
    lab.run(0.01)
    assert presence(ann) == [(bob.key, False)]


def test_silence_is_told_after_its_time(lab: Lab) -> None:
    ann, bob = lab.client("ann"), lab.client("bob")
    home(lab, ann, bob)
    bob.leave_quietly()
    lab.run(SILENCE - PING_INTERVAL - 1.0)
    assert presence(ann) == []
    lab.run(PING_INTERVAL + 2.0)
    assert presence(ann) == [(bob.key, False)]
    lab.run(60.0)
    assert presence(ann) == []


def test_an_idle_member_stays_online(lab: Lab) -> None:
    ann, bob = lab.client("ann"), lab.client("bob")
    home(lab, ann, bob)
    lab.run(300.0)
    assert presence(ann) == presence(bob) == []
    assert not ann.ended


def test_a_newer_session_takes_the_place_of_the_older_without_a_flicker(lab: Lab) -> None:
    ann, bob = lab.client("ann"), lab.client("bob")
    home(lab, ann, bob)
    old = bob.connection
    assert bob.login().networks == ("home",)
    lab.run(1.0)
    assert old is not None
    assert old.error == "reset"
    assert presence(ann) == []
    bob.bye()
    lab.run(0.1)
    assert presence(ann) == [(bob.key, False)]


def test_who_logs_in_later_knows_who_is_there_and_since_when_the_others_are_not(lab: Lab) -> None:
    ann, bob, carol = (lab.client(name) for name in ("ann", "bob", "carol"))
    home(lab, ann, bob, carol)
    gone = lab.world.now
    bob.bye()
    carol.bye()
    lab.run(3600.0)
    carol.received.clear()
    carol.login()
    lab.run(0.1)
    members = {member.key: member for member in states(carol)["home"].members}
    assert {key: member.online for key, member in members.items()} == {ann.key: True, bob.key: False, carol.key: True}
    assert members[bob.key].last_seen == pytest.approx(WALL_OFFSET + gone, abs=2.0)


def test_a_mediator_that_stops_says_goodbye_and_writes_down_who_was_there(lab: Lab) -> None:
    ann, bob = lab.client("ann"), lab.client("bob")
    home(lab, ann, bob)
    lab.run(500.0)
    lab.mediator.stop(lab.world.now)
    lab.run(0.5)
    for client in (ann, bob):
        assert len(client.take(Bye)) == 1
        assert client.ended
        node = lab.directory.node(client.key)
        assert node is not None
        assert node.last_seen == pytest.approx(WALL_OFFSET + lab.world.now, abs=PING_INTERVAL + 1.0)


def test_the_log_hears_of_comings_and_goings(lab: Lab) -> None:
    ann = lab.login("ann")
    ann.bye()
    lab.run(0.1)
    online, offline = (event for event in lab.attachment.events if isinstance(event, NodeOnline | NodeOffline))
    assert isinstance(online, NodeOnline)
    assert (online.key, online.name, online.endpoint.host) == (ann.key, "ann", ann.attachment.addresses[0])
    assert offline == NodeOffline(ann.key, "ann", "it said goodbye")


# --- introductions ---------------------------------------------------------------------------------------------------


def test_both_first_packets_leave_together_whatever_their_links(lab: Lab) -> None:
    ann = lab.client("ann", profile=LinkProfile(delay=0.004))
    bob = lab.client("bob", profile=LinkProfile(delay=0.150))
    home(lab, ann, bob)
    ann.send(Meet(bob.key))
    lab.run(2.0)
    ((ann_start, to_ann),), ((bob_start, to_bob),) = starts(ann), starts(bob)
    assert (to_ann.peer, to_bob.peer) == (bob.key, ann.key)
    assert to_ann.token == to_bob.token
    assert abs(ann_start - bob_start) < 0.002
    assert to_bob.delay == pytest.approx(SLACK, abs=0.001)
    assert to_ann.delay == pytest.approx(0.146 + SLACK, abs=0.002)


def test_links_slower_one_way_than_the_other_leave_a_skew_below_the_one_way_delay(lab: Lab) -> None:
    ann, bob = lab.client("ann"), lab.client("bob", profile=LinkProfile(delay=0.010))
    bob.attachment.down = Link(lab.world.clock, lab.world.random, LinkProfile(delay=0.070))
    home(lab, ann, bob)
    ann.send(Meet(bob.key))
    lab.run(2.0)
    ((ann_start, _),), ((bob_start, _),) = starts(ann), starts(bob)
    asymmetry = 0.070 - 0.010
    assert abs(ann_start - bob_start) == pytest.approx(asymmetry / 2, abs=0.002)
    assert abs(ann_start - bob_start) < 0.070


def test_a_congested_moment_does_not_change_the_delay(lab: Lab) -> None:
    ann, bob = lab.client("ann"), lab.client("bob", profile=LinkProfile(delay=0.020))
    home(lab, ann, bob)
    lab.run(20.0)
    for link in (bob.attachment.up, bob.attachment.down):
        link.profile = LinkProfile(delay=0.200)
    lab.run(20.0)
    for link in (bob.attachment.up, bob.attachment.down):
        link.profile = LinkProfile(delay=0.020)
    ann.send(Meet(bob.key))
    lab.run(2.0)
    ((ann_start, _),), ((bob_start, _),) = starts(ann), starts(bob)
    assert abs(ann_start - bob_start) < 0.002


def test_members_are_introduced_when_the_second_comes_online(lab: Lab) -> None:
    ann, bob = lab.client("ann"), lab.client("bob")
    home(lab, ann, bob)
    bob.bye()
    lab.run(5.0)
    came = lab.world.now
    bob.login()
    lab.run(1.0)
    ((start, message),) = starts(ann)
    assert start - came < 0.1
    assert message.candidates == (Candidate(bob.attachment.addresses[0], 41414, "udp", "observed"),)


def test_a_newcomer_to_the_network_is_introduced(lab: Lab) -> None:
    ann, bob = lab.client("ann"), lab.client("bob")
    home(lab, ann)
    bob.login()
    lab.run(3.0)
    assert starts(ann) == []
    assert isinstance(bob.join("home", SECRET), Done)
    lab.run(0.1)
    assert [message.peer for _, message in starts(ann)] == [bob.key]


def test_private_candidates_are_named_only_behind_one_public_address(lab: Lab) -> None:
    house = Nat(lab.internet, "198.51.100.1")
    ann, bob, carol = (lab.client(name, f"203.0.113.{n}") for n, name in enumerate(("ann", "bob", "carol"), start=1))
    for client, address in ((ann, "192.168.1.2"), (bob, "192.168.1.3")):
        client.attachment.plug(house.inside, address)
        client.candidates = (Candidate(address, 41414), Candidate(address, 41414, "tcp"))
    carol.candidates = (Candidate("192.168.1.9", 41414),)
    home(lab, ann, bob, carol)
    ann.send(Meet(bob.key), Meet(carol.key))
    carol.send(Meet(bob.key))
    lab.run(3.0)
    told = {
        (client.name, message.peer): message.candidates for client in (ann, bob, carol) for _, message in starts(client)
    }
    assert {candidate.host for candidate in told["ann", bob.key]} == {"198.51.100.1", "192.168.1.3"}
    assert {(candidate.host, candidate.transport) for candidate in told["bob", ann.key]} == {
        ("198.51.100.1", "udp"),
        ("192.168.1.2", "udp"),
        ("192.168.1.2", "tcp"),
    }
    assert {candidate.host for candidate in told["ann", carol.key]} == {"203.0.113.3"}
    assert {candidate.host for candidate in told["carol", ann.key]} == {"198.51.100.1"}
    assert told["carol", ann.key][0].port != told["carol", bob.key][0].port


def test_a_member_at_the_mediators_own_address_is_colocated(tmp_path: Path) -> None:
    lab = Lab(tmp_path, own_hosts=("192.0.2.77",))
    ann, bob = lab.client("ann", "192.0.2.77"), lab.client("bob")
    home(lab, ann, bob)
    bob.send(Meet(ann.key))
    lab.run(3.0)
    ((_, message),) = starts(bob)
    assert Candidate("", 41414, "udp", "colocated") in message.candidates
    assert MEDIATOR_ADDRESS not in {candidate.host for candidate in message.candidates}
    lab.directory.close()


def test_roaming_is_told_to_the_member_and_to_those_who_know_it(lab: Lab) -> None:
    ann, bob = lab.client("ann"), lab.client("bob")
    home(lab, ann, bob)
    assert bob.attachment.segment is not None
    bob.attachment.plug(bob.attachment.segment, "203.0.113.200")
    bob.device.initiate(bob.mediator_key, [bob.server], lab.world.now)
    lab.run(PING_INTERVAL + 1.0)
    assert [observed.observed.host for observed in bob.take(Observed)] == ["203.0.113.200"]
    assert [message.candidates[0].host for _, message in starts(ann)] == ["203.0.113.200"]
    assert presence(ann) == []


def test_changed_candidates_bring_a_new_introduction_at_a_bounded_rate(lab: Lab) -> None:
    ann, bob = lab.client("ann"), lab.client("bob")
    home(lab, ann, bob)
    for port in range(1, 60):
        bob.send(Candidates((Candidate("192.168.7.7", port),)))
        lab.run(0.1)
    assert 2 <= len(starts(ann)) <= 6 / PAIR_INTERVAL + 1


def test_meeting_strangers_is_refused(lab: Lab) -> None:
    ann, bob = lab.client("ann"), lab.client("bob")
    home(lab, ann)
    bob.login()
    for peer in (bob.key, b"x" * 32, ann.key):
        ann.send(Meet(peer))
        assert ann.expect(Refused).code == refusals.NO_SUCH_PEER
    lab.run(3.0)
    assert starts(bob) == []


def test_over_a_bad_line(lab: Lab) -> None:
    """A tenth of all datagrams lost, half a second of round trip: it takes longer, and works."""
    ann = lab.login("ann")
    assert isinstance(ann.create("home", SECRET), Done)
    bob = lab.client("bob", profile=LinkProfile(delay=0.25, loss=0.1, jitter=0.05))
    bob.connect()
    bob.expect(Welcome, seconds=30.0)
    bob.send(Join(1, "home"))
    challenge = bob.expect(Challenge, seconds=30.0)
    bob.send(Prove(1, SECRET.sign_admission(challenge.nonce, bob.key, "home", bob.mediator_key)))
    bob.expect(Introduce, seconds=30.0)
    lab.run(120.0)
    assert not bob.ended
    assert presence(ann) == [(bob.key, True)]


def test_idle_sessions_cost_no_work_but_their_pings(lab: Lab) -> None:
    clients = [lab.login(f"pc{number}") for number in range(20)]
    lab.run(5.0)
    peers = [client.device.peer(client.mediator_key) for client in clients]
    received = [peer.rx_bytes for peer in peers if peer is not None]
    lab.run(600.0)
    grown = [peer.rx_bytes - old for peer, old in zip(peers, received, strict=True) if peer is not None]
    # A ping and an acknowledgement every 10 s, of 120 to 160 octets each, and the tunnel's own handshakes.
    assert max(grown) < 600 / PING_INTERVAL * 400
