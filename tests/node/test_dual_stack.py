"""Members with both families: a session has one of them, peers are told of both, since the mediator has seen both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.node.lan import MEDIATOR_HOST, PORT, VirtualLan
from tests.sim.internet import Segment
from tests.sim.link import LinkProfile
from tests.sim.nat import Nat
from tests.sim.nat_behaviour import FULL_CONE, NONE, SYMMETRIC, NatBehaviour
from tests.sim.packet import Packet
from userlan.control.messages import Candidate, Observed
from userlan.mediator.matchmaker import PROVEN_FOR
from userlan.mediator.reach import Sight
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.node.sightings import HOLD, RENEW
from userlan.wire.endpoint import TCP, UDP, Endpoint

MEDIATOR6 = "2a00:99::1"
PROFILE = LinkProfile(delay=0.01)


class DualLan(VirtualLan):
    """The mediator has both families; an invite names one of them, ``known``."""

    known = MEDIATOR_HOST
    own_hosts = (MEDIATOR_HOST, MEDIATOR6)

    def start_mediator(self) -> None:
        super().start_mediator()
        self.mediator_attachment.plug(self.internet, MEDIATOR_HOST, MEDIATOR6)
        for host in ("0.0.0.0", "::"):
            self.mediator.listening(0, host, PORT)
            self.mediator.listening(1, host, PORT + 1)
        self.mediator_attachment.listen(PORT + 1, 1)

    def dual(self, name: str, segment: Segment, *hosts: str) -> Node:
        """A node with these addresses. It reaches the mediator by ``known``."""
        now = self.world.now
        node = Node(self.world.entropy()(32), Memory(), name=name, entropy=self.world.entropy(), now=now, wall_offset=1.7e9)
        link = node.links[node.mediators.add(self.url, now)]
        link.resolved(MEDIATOR_HOST, (self.known,), now)
        self.attachments[name] = segment.attach(node, *hosts, port=PORT, profile=PROFILE)
        node.set_local_endpoints(endpoints(*hosts), now)
        node.start(now)
        return node

    def home(self, name: str, number: int, behaviour: NatBehaviour = SYMMETRIC) -> tuple[Node, Nat]:
        """A node behind a NAT of its own, and behind a stateful firewall for IPv6."""
        nat = Nat(self.internet, f"198.51.100.{number}", PROFILE, behaviour)
        return self.dual(name, nat.inside, f"192.168.{number}.2", f"2a00:{number}::2"), nat

    def sight(self, node: Node) -> Sight:
        """Where the mediator sees a node."""
        return self.mediator._matchmaker._members[node.key].sight

    def beside(self, node: Node, *hosts: str, seconds: float = 5) -> None:
        """Until the mediator sees it there, too."""
        self.world.run_until(lambda: tuple(one.host for one in self.sight(node).beside) == hosts, seconds)


def endpoints(*hosts: str) -> list[Endpoint]:
    return [Endpoint(transport, host, PORT) for host in hosts for transport in (UDP, TCP)]


@pytest.fixture
def lan(tmp_path: Path) -> DualLan:
    return DualLan(tmp_path)


def path(node: Node, peer: Node) -> Endpoint:
    tunnel = node.device.peer(peer.key)
    assert tunnel is not None
    assert tunnel.endpoint is not None
    return tunnel.endpoint


def test_a_hopeless_pair_of_nats_meets_by_ipv6_through_both_firewalls(lan: DualLan) -> None:
    (anna, _), (ben, _) = lan.home("anna", 1), lan.home("ben", 2)
    lan.ready(anna, ben)
    assert {lan.sight(node).observed.host for node in (anna, ben)} == {"198.51.100.1", "198.51.100.2"}
    lan.network(anna, ben)
    before = lan.world.now
    lan.direct(anna, ben)
    assert lan.world.now - before < 0.5
    assert path(anna, ben) == Endpoint(UDP, "2a00:2::2", PORT)
    assert path(ben, anna) == Endpoint(UDP, "2a00:1::2", PORT)
    assert lan.ping(anna, ben.ipv6) < 0.1


def test_without_ipv6_they_do_not_meet(lan: DualLan) -> None:
    """What the test above shows is IPv6's doing."""
    (anna, _), (ben, _) = lan.home("anna", 1), lan.home("ben", 2, replace(SYMMETRIC, ipv6=NONE))
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.world.run(10)
    assert anna.peers.shown(ben.key)[0] != "direct"
    assert lan.sight(ben).beside == ()


def test_a_session_over_ipv6_has_the_nats_outside_endpoint_named(lan: DualLan) -> None:
    lan.known = MEDIATOR6
    node, nat = lan.home("anna", 1, FULL_CONE)
    lan.ready(node)
    lan.beside(node, nat.address)
    assert lan.sight(node).observed == Endpoint(UDP, "2a00:1::2", PORT)
    assert lan.sight(node).translated.host == nat.address


def test_an_old_session_over_ipv6_keeps_the_nats_mapping(lan: DualLan) -> None:
    lan.known = MEDIATOR6
    node, nat = lan.home("anna", 1, replace(FULL_CONE, timeout=HOLD + 5.0, allocation="random"))
    lan.ready(node)
    lan.beside(node, nat.address)
    seen = lan.sight(node).beside
    lan.world.run(4 * HOLD)
    assert lan.sight(node).beside == seen
    assert nat.counters["mappings"] < 30     # a fresh one for each measured socket; the main one's is the same all the time


def test_a_member_with_ipv4_alone_meets_one_whose_session_is_over_ipv6(lan: DualLan) -> None:
    ben = lan.dual("ben", Nat(lan.internet, "198.51.100.2", PROFILE).inside, "192.168.2.2")
    lan.known = MEDIATOR6
    anna, _ = lan.home("anna", 1, FULL_CONE)
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    assert path(anna, ben).host == "198.51.100.2"
    assert path(ben, anna).host == "198.51.100.1"


def test_two_behind_one_nat_know_it_though_their_sessions_differ(lan: DualLan) -> None:
    """So they try each other's private addresses, and not only the way by the Internet."""
    nat = Nat(lan.internet, "198.51.100.1", PROFILE, replace(FULL_CONE, ipv6=NONE))
    ben = lan.dual("ben", nat.inside, "192.168.1.3")
    lan.known = MEDIATOR6
    nat.behaviour = FULL_CONE
    anna = lan.dual("anna", nat.inside, "192.168.1.2", "2a00:1::2")
    lan.ready(anna, ben)
    lan.beside(anna, nat.address)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    lan.world.run(2)
    assert path(anna, ben).host == "192.168.1.3"
    assert path(ben, anna).host == "192.168.1.2"


def test_another_process_of_the_mediators_takes_no_old_proof_and_gets_a_new_one(lan: DualLan) -> None:
    node, _ = lan.home("anna", 1)
    lan.ready(node)
    lan.beside(node, "2a00:1::2")
    lan.kill_mediator()
    lan.world.run(20)
    lan.start_mediator()
    lan.world.run_until(lambda: node.key in lan.mediator._matchmaker._members, 60)
    lan.world.run_until(lambda: "2a00:1::2" in [one.host for one in lan.sight(node).seen], 5)
    assert lan.mediator.status()["counters"]["proofs-refused"] == 1  # type: ignore[index]


def test_a_session_that_moves_says_at_once_what_was_proved(lan: DualLan) -> None:
    """Before the new question is answered: who is introduced anew is introduced once."""
    node, _ = lan.home("anna", 1)
    lan.ready(node)
    lan.beside(node, "2a00:1::2")
    lan.internet.members.pop(MEDIATOR6)      # no question is answered any more
    lan.attachments["anna"].plug(Nat(lan.internet, "198.51.100.77", PROFILE).inside, "192.168.1.2", "2a00:1::2")
    node.links[lan.mediator.public_key].network_changed(lan.world.now)
    lan.world.run_until(lambda: lan.sight(node).observed.host == "198.51.100.77", 10)
    lan.beside(node, "2a00:1::2")


def test_lost_questions_are_asked_again(lan: DualLan) -> None:
    node, _ = lan.home("anna", 1)
    lan.attachments["anna"].up.profile = LinkProfile(delay=0.01, loss=0.4)
    lan.ready(node, seconds=60)
    lan.beside(node, "2a00:1::2", seconds=90)


def test_a_proof_is_renewed_as_long_as_the_session_lasts(lan: DualLan) -> None:
    node, _ = lan.home("anna", 1)
    lan.ready(node)
    lan.beside(node, "2a00:1::2")
    for _ in range(4):
        lan.world.run(PROVEN_FOR / 2)
        lan.mediator._matchmaker.due(lan.world.now)
        assert [one.host for one in lan.sight(node).beside] == ["2a00:1::2"]


def test_a_proof_that_is_not_renewed_is_forgotten(lan: DualLan) -> None:
    node, _ = lan.home("anna", 1)
    lan.ready(node)
    lan.beside(node, "2a00:1::2")
    node.reachability.sightings.forget(lan.mediator.public_key)
    lan.world.run(PROVEN_FOR + RENEW)
    lan.mediator._matchmaker.due(lan.world.now)
    assert lan.sight(node).beside == ()
    assert lan.mediator._matchmaker._proven == {}


def test_an_address_that_is_gone_is_named_no_more_and_a_new_one_is(lan: DualLan) -> None:
    node, nat = lan.home("anna", 1)
    lan.ready(node)
    lan.beside(node, "2a00:1::2")
    lan.attachments["anna"].plug(nat.inside, "192.168.1.2")
    node.set_local_endpoints(endpoints("192.168.1.2"), lan.world.now)
    lan.beside(node)
    lan.attachments["anna"].plug(nat.inside, "192.168.1.2", "2a00:1::77")
    node.set_local_endpoints(endpoints("192.168.1.2", "2a00:1::77"), lan.world.now)
    lan.beside(node, "2a00:1::77")


def test_a_mediator_that_takes_no_proofs_is_sent_none(lan: DualLan) -> None:
    desk = lan.mediator._desk
    told = desk.vantages
    assert told is not None
    desk.vantages = lambda: msgspec.structs.replace(told(), proofs=False)
    node, _ = lan.home("anna", 1)
    lan.ready(node)
    lan.world.run(2)
    assert node.reachability.sightings.deadline() is None
    assert lan.sight(node).beside == ()
    assert node.reachability.at is not None


def test_a_mediator_that_sees_us_elsewhere_all_the_time_gets_few_packets(lan: DualLan) -> None:
    node, _ = lan.home("anna", 1)
    lan.ready(node)
    lan.world.run(5)
    sent: list[Packet] = []
    lan.attachments["anna"].tap = sent.append
    for number in range(600):
        lan.mediator._desk.tell(node.key, Observed(Candidate(f"192.0.3.{number % 250}", 1, "udp", "observed")))
        lan.world.run(0.1)
    assert 5 < sum(packet.destination[0] == MEDIATOR6 for packet in sent) < 60       # the measurements' among them
