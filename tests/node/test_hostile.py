"""What mediators, members and outsiders of ill will, and bad moments, do to a node: each was once harmful."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.lan import MEDIATOR_HOST, Sink, VirtualLan
from tests.node.test_network import two_homes
from tests.sim.nat import Nat
from userlan.control.frames import encode
from userlan.control.mediation import LinkState
from userlan.control.meeting import Introduce
from userlan.control.messages import (
    CONTROL_PORT,
    Bye,
    Candidate,
    Join,
    MemberChanged,
    MemberGone,
    MemberState,
    Message,
    NetworkGone,
    NetworkState,
    Observed,
    PeerHello,
    Refused,
    Welcome,
)
from userlan.lan.invite import Invite
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.node.peers import PeerState
from userlan.node.punching import TOTAL_BURST, TOTAL_RATE
from userlan.node.requests import Pending
from userlan.stack.events import TcpAccepted
from userlan.wire.endpoint import TCP, UDP, Endpoint


@pytest.fixture
def lan(tmp_path: Path) -> VirtualLan:
    return VirtualLan(tmp_path)


def test_new_addresses_during_an_attempt_do_not_spin(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    lan.kill("ben")
    link = anna.peers.links[ben.key]
    lan.world.run_until(lambda: link.state is PeerState.CONNECTING and link.attempt is not None, 60)
    anna.set_local_endpoints([Endpoint(UDP, "192.168.1.9", 41414)], lan.world.now)
    lan.world.settle()      # what the change of address makes due at once is done by this
    deadline = link.deadline()
    assert deadline is not None
    assert deadline > lan.world.now
    lan.world.run(30)


def test_a_peer_that_dies_during_an_introduction_does_not_spin(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    lan.kill("ben")
    lan.world.run(1)
    link = anna.peers.links[ben.key]
    assert link.state is PeerState.DIRECT
    link.introduce([Endpoint(TCP, "203.0.113.1", 1)], 3.0, lan.world.now)
    lan.world.run(60)
    assert anna.peers.shown(ben.key)[0] != "direct"


def say(lan: VirtualLan, node: Node, *messages: Message) -> None:
    """The mediator says whatever a hostile one would, over its real session with a node."""
    session = lan.mediator._sessions.ready(node.key)
    assert session is not None
    for message in messages:
        lan.mediator._desk._send(session, message)
    lan.world.run(0.3)


def failures(node: Node) -> dict[str, int]:
    return {**node.counters, **node.roster.counters}


@pytest.mark.parametrize("address", [b"\x08\x08\x08\x08", "of ben"])
def test_a_mediator_cannot_give_an_address_that_is_not_the_nodes(lan: VirtualLan, address: bytes | str) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    own = anna.roster.own_ipv4
    given = ben.roster.own_ipv4 if isinstance(address, str) else address
    anna.conductor.welcomed(lan.mediator.public_key, Welcome(1, "anna", given, "25.0.0.0/8", Candidate("198.51.100.1", 5)))
    assert anna.roster.own_ipv4 == own
    assert given not in anna.host.addresses
    assert own in anna.host.addresses


def test_a_second_welcome_changes_nothing(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    for last in range(1, 9):
        address = bytes((25, 9, 9, last))
        say(lan, anna, Welcome(1, "eve", address, "25.0.0.0/8", Candidate("198.51.100.1", 5)))
        assert address not in anna.host.addresses
    assert anna.roster.own_name == "anna"


def test_a_mediator_that_never_answers_does_not_fill_the_requests(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    welcome = Welcome(1, "anna", anna.roster.own_ipv4, "25.0.0.0/8", Candidate("198.51.100.1", 5))
    for _ in range(600):
        anna.membership.received(lan.mediator.public_key, welcome, anna, lan.world.now)
    assert len(anna.membership.requests.of(lan.mediator.public_key)) <= 2


def test_a_mediators_key_cannot_be_listed_as_a_member(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    key = lan.mediator.public_key
    say(lan, anna, MemberChanged("home", MemberState(key, "eve", bytes((25, 1, 1, 1)), True)), MemberGone("home", key))
    assert key not in anna.roster.peers
    assert anna.device.peer(key) is not None
    assert failures(anna)["key-reserved"] == 1


def test_rubbish_for_an_observed_host_is_not_kept(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    before = anna.membership.observed[lan.mediator.public_key]
    say(
        lan, anna, Observed(Candidate("\x1b[31mno host", 5)),
        Introduce(ben.key, (Candidate("192.168.1.77", 5),), 0.0, bytes(16)), MemberGone("home", ben.key),
    )
    assert anna.membership.observed[lan.mediator.public_key] == before
    assert ben.key not in anna.roster.peers     # what came behind it was carried out


def test_a_mediators_word_alone_does_not_take_the_secret(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    say(lan, ben, NetworkGone("home", "evicted"))
    assert "home" in ben.keyring
    assert ben.roster.evicted("home") == frozenset()


def test_a_mediator_does_not_reach_the_nodes_services(lan: VirtualLan) -> None:
    anna, _ = two_homes(lan)
    Sink(lan, anna, 80)
    listener = anna.host.tcp_listen(81)
    for port in (80, 81):
        lan.mediator.host.tcp_connect((anna.ipv6, port), lan.world.now)
    lan.mediator.host.ping(anna.ipv6, 1, 1, b"x", lan.world.now)
    lan.world.run(5)
    assert anna.counters["mediator-refused"] >= 3
    assert not [event for event in lan.events(anna) if isinstance(event, TcpAccepted) and event.listener is listener]
    assert anna.links[lan.mediator.public_key].state is LinkState.READY


def test_a_mediator_elsewhere_does_not_send_a_node_to_its_own_loopback(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    host = "198.51.100.1"
    own = [Candidate("127.0.0.1", port, "tcp") for port in (22, 631)]
    targets = (*own, Candidate(host, 4, "udp", "observed"))
    say(lan, anna, Observed(Candidate(host, 5)), Introduce(ben.key, targets, 0.0, bytes(16)))
    assert {endpoint.host for endpoint in anna.peers.links[ben.key].candidates} == {host}


def test_a_mediator_that_names_ever_new_targets_gets_a_bounded_number_of_packets(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    names = [(bytes([number, 9] * 16), f"eve{number}", bytes((25, 8, 1, number))) for number in range(1, 151)]
    say(lan, anna, *(MemberChanged("home", MemberState(key, name, ipv4, True)) for key, name, ipv4 in names))
    sent, rounds, table = 0, 20, anna.peers
    for number in range(rounds):
        now = lan.world.now + number * 0.03
        for key, _, ipv4 in names:
            targets = tuple(Candidate(f"9.{number}.{ipv4[3]}.{last}", 5) for last in range(1, 13))
            message = Introduce(key, targets, 0.0, key[:15] + bytes((number,)))
            usable = table.introduce(message, "198.51.100.1", MEDIATOR_HOST, now)
            anna.punching.introduce(message, usable, now)
        for wait in range(10):
            sent += len(anna.punching.datagrams(now + wait * 0.003))
    assert 1000 < sent < TOTAL_BURST + (rounds * 0.03 + 1) * TOTAL_RATE


def test_what_a_mediator_writes_is_safe_on_a_terminal(lan: VirtualLan) -> None:
    anna, _ = two_homes(lan)
    say(lan, anna, Bye("\x1b]0;owned\x07 \u202esgnihtemos\r\nroot# "))
    link = anna.links[lan.mediator.public_key]
    assert link.reason.isprintable()
    assert "owned" in link.reason


def test_a_refused_join_leaves_nobody_behind(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    secret = lan.network(anna)
    number = ben.join("home", lan.mediator.public_key, secret, lan.world.now)
    lan.world.run_until(lambda: anna.key in ben.peers.links, 5)
    ben.membership.requests.add(Pending(Join(number, "home"), lan.mediator.public_key, lan.world.now + 20, secret))
    held = ben.keyring.get("home")
    assert held is not None
    held.confirmed = False
    say(lan, ben, Refused(number, "gone", "changed my mind"))
    assert "home" not in ben.keyring
    assert anna.key not in ben.peers.links
    assert ben.device.peer(anna.key) is None
    assert not ben.switch.addresses(anna.key)


def test_a_stopped_node_stays_stopped(lan: VirtualLan) -> None:
    anna, _ = two_homes(lan)
    anna.stop(lan.world.now)
    lan.world.run(20)
    assert anna.links[lan.mediator.public_key].state is LinkState.STOPPED


def test_a_mediator_hears_of_its_own_networks_only(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    other = anna.mediators.add(Invite((("192.0.2.9", 1),), bytes(range(32))), lan.world.now)
    assert anna.hello(lan.mediator.public_key).evictions == {"home": 0}
    assert anna.hello(other).evictions == {}


def test_greetings_without_end_do_not_fill_the_memory(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    eve = lan.node("eve", Nat(lan.internet, "203.0.113.66").inside, "192.168.1.2")
    out = lan.node("out", Nat(lan.internet, "203.0.113.67").inside, "192.168.1.2")
    lan.ready(eve, out)
    lan.network(anna, ben, eve, out)
    lan.direct(anna, ben, eve)
    anna.evict("home", out.key, lan.world.now)
    lan.world.run(5)
    connection = eve.host.tcp_connect((anna.ipv6, CONTROL_PORT), lan.world.now)
    lan.world.run(1)
    connection.send(encode(PeerHello(1, {"home": 0})) * 2000, lan.world.now)
    lan.world.run(1)
    assert sum(len(talk.unsent) for talk in anna.gossip._talks.values()) < 300_000
    assert connection.error == "reset"
    assert anna.host.tcp_connect((ben.ipv6, 80), lan.world.now)


def test_an_evicted_member_does_not_come_back_with_another_key(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    carla = lan.node("carla", Nat(lan.internet, "203.0.113.66").inside, "192.168.1.2")
    eve = lan.node("eve", lan.internet, "203.0.113.77")
    lan.ready(carla, eve)
    old = lan.network(anna, ben, carla)
    lan.direct(anna, ben, carla)
    lan.finish(anna, anna.evict("home", carla.key, lan.world.now))
    known = anna.roster.networks["home"]
    eve.keyring.put("home", lan.mediator.public_key, old, confirmed=True)
    eve.roster.expect("home")
    own = MemberState(eve.key, "eve", eve.roster.own_ipv4, True)
    members = (own, MemberState(anna.key, "anna", anna.roster.own_ipv4, True), MemberState(ben.key, "ben", ben.roster.own_ipv4, True))
    attestation = old.attest_owner("home", anna.key, known.owner_signing_public)
    say(lan, eve, NetworkState("home", anna.key, known.owner_signing_public, attestation, members))
    for node in (anna, ben):
        say(lan, node, MemberChanged("home", own))
        say(lan, node, Introduce(eve.key, (Candidate("203.0.113.77", 41414, "udp", "observed"),), 0.0, bytes(16)))
    lan.world.run(10)
    assert [node.device.peer(eve.key).has_session(lan.world.now) for node in (anna, ben)] == [False, False]  # type: ignore[union-attr]
    held = eve.keyring.get("home")
    assert held is not None
    assert held.secrets == [old]


def test_a_member_that_was_away_during_evictions_still_comes_back(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    carla = lan.node("carla", Nat(lan.internet, "203.0.113.66").inside, "192.168.1.2")
    lan.ready(carla)
    lan.network(anna, ben, carla)
    lan.direct(anna, ben, carla)
    lan.kill_mediator()
    memory, key = ben.save(), ben.device._shared.identity.private
    lan.kill("ben")
    anna.evict("home", carla.key, lan.world.now)
    lan.world.run(40)
    again = lan.node("ben", Nat(lan.internet, "203.0.113.1").inside, "192.168.1.2", memory=Memory.load(memory.dump()), key=key)
    lan.until_state(again, anna, "direct", 60)
    lan.world.run(2)
    mine, theirs = again.keyring.get("home"), anna.keyring.get("home")
    assert mine is not None
    assert theirs is not None
    assert mine.secrets[0] == theirs.secrets[0]
