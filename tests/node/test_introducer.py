"""Members introduce members: with every mediator dead, who knows both brings them together."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.node.hostile import Tap
from tests.node.lan import PORT, VirtualLan
from tests.sim.link import LinkProfile
from tests.sim.nat import Nat
from userlan.control.frames import decode_datagram, encode_datagram
from userlan.control.meeting import Introduce, PeerSight
from userlan.control.messages import CONTROL_PORT, Candidate, Meet
from userlan.node.introducer import ASK_INTERVAL, GIVE_BURST, MAX_DATAGRAM
from userlan.node.node import Node
from userlan.traversal.candidates import is_private
from userlan.traversal.nat import NatBehaviour, Policy
from userlan.traversal.step import Plan, Step
from userlan.wire.endpoint import TCP, UDP, Endpoint

LINE = LinkProfile(delay=0.02)


@pytest.fixture
def lan(tmp_path: Path) -> VirtualLan:
    return VirtualLan(tmp_path)


def three(lan: VirtualLan) -> tuple[Node, Node, Node]:
    """anna and ben behind a NAT each, carl with an address of his own; all direct; the mediator dead."""
    anna = lan.node("anna", Nat(lan.internet, "198.51.100.1").inside, "192.168.1.2", key=bytes(range(32)), profile=LINE)
    ben = lan.node("ben", Nat(lan.internet, "203.0.113.1").inside, "192.168.1.2", profile=LINE)
    carl = lan.node("carl", lan.internet, "192.0.2.33", profile=LINE)
    lan.ready(anna, ben, carl)
    lan.network(anna, ben, carl)
    lan.direct(anna, ben, carl)
    lan.world.run(1)
    lan.kill_mediator()
    return anna, ben, carl


def move(lan: VirtualLan, name: str, node: Node, outside: str) -> None:
    """The computer comes to another site, with an address of that site."""
    attachment = lan.attachments[name]
    attachment.plug(Nat(lan.internet, outside).inside, "10.9.8.7")
    node.set_local_endpoints([Endpoint(UDP, "10.9.8.7", PORT), Endpoint(TCP, "10.9.8.7", PORT)], lan.world.now)


def test_a_member_that_knows_both_introduces_them(lan: VirtualLan) -> None:
    anna, ben, carl = three(lan)
    lan.world.run(15)      # the mediator's loss is noticed
    for name, node, outside in (("anna", anna, "198.51.100.77"), ("ben", ben, "203.0.113.77")):
        move(lan, name, node, outside)     # neither knows any more where the other one is
    moved = lan.world.now

    def together() -> bool:
        tunnels = (anna.device.peer(ben.key), ben.device.peer(anna.key))
        return all(one is not None and one.endpoint is not None and one.endpoint.host.endswith(".77") for one in tunnels)

    lan.world.run_until(together, 30)
    assert lan.ping(anna, ben.ipv6) < 1
    assert carl.introducer.counters["introductions"] >= 1
    print(f"both moved at once, found each other again after {1000 * (lan.world.now - moved):.0f} ms")


def test_a_restarted_node_is_introduced_by_a_member_to_one_that_has_moved(lan: VirtualLan) -> None:
    anna, ben, carl = three(lan)
    lan.world.run(15)
    memory, key = anna.save(), bytes(range(32))
    lan.kill("anna")
    lan.world.run(20)
    move(lan, "ben", ben, "203.0.113.99")
    lan.world.run(5)
    again = lan.node("anna", Nat(lan.internet, "198.51.100.55").inside, "192.168.1.9", memory=memory, key=key, profile=LINE)
    lan.direct(again, carl, seconds=5)
    lan.direct(again, ben, seconds=20)
    assert lan.ping(again, ben.ipv6) < 1


def test_who_shares_no_network_is_not_introduced(lan: VirtualLan) -> None:
    anna, _ben, carl = three(lan)
    assert not anna.introducer.ask(b"\7" * 32, lan.world.now)
    carl.introducer._introduce(anna.key, b"\7" * 32, lan.world.now)
    carl.introducer._introduce(anna.key, anna.key, lan.world.now)
    assert carl.introducer.counters["introductions"] == 0
    assert carl.introducer.counters["meetings-refused"] == 2


def test_a_member_that_asks_all_the_time_is_given_few_introductions(lan: VirtualLan) -> None:
    anna, ben, carl = three(lan)
    for _ in range(100):
        carl.introducer._introduce(anna.key, ben.key, lan.world.now)
    assert carl.introducer.counters["introductions"] == 1      # one pair in two seconds
    assert carl.introducer.counters["meetings-refused"] >= 90 - GIVE_BURST


def test_introductions_of_a_stranger_or_in_great_number_are_refused(lan: VirtualLan) -> None:
    anna, ben, carl = three(lan)
    stranger = Introduce(b"\7" * 32, (), 0.0, b"t" * 16)
    anna.introducer._hear(carl.key, stranger, lan.world.now)
    assert anna.introducer.introduced() == []
    for _ in range(100):
        anna.introducer._hear(carl.key, Introduce(ben.key, (), 0.0, b"t" * 16), lan.world.now)
    assert len(anna.introducer.introduced()) <= 20
    assert anna.introducer.counters["introductions-refused"] >= 80


def test_one_question_in_two_seconds(lan: VirtualLan) -> None:
    anna, ben, _ = three(lan)
    assert anna.introducer.ask(ben.key, lan.world.now)
    assert not anna.introducer.ask(ben.key, lan.world.now + ASK_INTERVAL / 2)
    assert anna.introducer.ask(ben.key, lan.world.now + ASK_INTERVAL)


@given(st.binary(max_size=200))
def test_any_datagram_is_a_message_or_none(data: bytes) -> None:
    decode_datagram(data)


def test_what_a_member_sends_that_is_no_message_is_counted(lan: VirtualLan) -> None:
    anna, _, carl = three(lan)
    before = anna.introducer.counters["unread"]
    for rubbish in (b"", b"rubbish", b"\x81" * 300, b"x" * (MAX_DATAGRAM + 1)):
        carl.introducer._socket.send(rubbish, (anna.ipv6, CONTROL_PORT), lan.world.now)
    lan.world.run(1)
    assert anna.introducer.counters["unread"] == before + 4


def test_the_longest_introduction_fits() -> None:
    candidates = tuple(Candidate(f"2001:db8:ffff:ffff:ffff:ffff:ffff:{n:x}", 65535) for n in range(16))
    for message in (PeerSight(candidates[0], candidates), Introduce(b"k" * 32, candidates, 1.0, b"t" * 16), Meet(b"k" * 32)):
        data = encode_datagram(message)
        assert decode_datagram(data) == message
        assert len(data) < MAX_DATAGRAM


def test_members_hear_of_another_behaviour_but_not_of_more_confidence(lan: VirtualLan) -> None:
    anna, ben, carl = three(lan)
    nat = NatBehaviour(translated=True, confidence=0.5, udp=Policy(mapping="endpoint-independent", allocation="preserving"))
    anna.reachability.nat = nat
    lan.world.run(6)
    assert carl.introducer._told[anna.key].nat == ben.introducer._told[anna.key].nat == nat
    anna.reachability.nat = replace(nat, confidence=0.9, udp=replace(nat.udp, lifetime=60.0))
    lan.world.run(6)
    assert carl.introducer._told[anna.key].nat == nat


def test_a_member_cannot_have_others_search_through_a_third_party(lan: VirtualLan) -> None:
    """One datagram to each member, and each would send thousands of packets to whatever it names."""
    anna, ben, carl = three(lan)
    victim = "198.51.100.200"
    tap = Tap(anna)
    steps = (Step(victim, 1024, 2048, last=65535, scattered=True, spacing=0.0, rounds=4),) * 4
    candidates = tuple(Candidate(victim, port, "udp", "observed") for port in range(1, 17))
    for number in range(10):
        message = Introduce(ben.key, candidates, 0.0, bytes([number]) * 16, Plan(steps=steps, give_up=30.0))
        carl.introducer._say(anna.key, message, lan.world.now)
        lan.world.run(1)
    assert anna.introducer.counters["plans-refused"] > 0
    print(f"{tap.of(victim)} packets a second for a datagram each")
    assert sum(tap.of(victim)) <= 10 * 12 * 11


@pytest.mark.parametrize("claimed", ["", "10.0.0.1", "127.0.0.1", "192.168.1.2", "203.0.113.5"])
def test_a_member_of_the_internet_cannot_have_others_send_into_their_own_network(lan: VirtualLan, claimed: str) -> None:
    """Nobody's word makes a private address one that means something here; least of all that of who says nothing."""
    anna, ben, carl = three(lan)
    lan.world.run(6)
    anna.introducer._told.clear()
    if claimed:
        carl.introducer._say(anna.key, PeerSight(Candidate(claimed, 1, "udp", "observed")), lan.world.now)
    carl.introducer._say(anna.key, Introduce(ben.key, (Candidate("192.168.1.77", 53),), 0.0, b"t" * 16), lan.world.now)
    before = anna.introducer.counters["introductions-refused"]
    lan.world.run(0.5)
    assert anna.introducer.counters["introductions-refused"] == before
    assert all(not is_private(one.host) for one in anna.peers.links[ben.key].candidates)
