"""A node measures its own NAT through its mediator's vantage points, tells it, and measures again when it may have changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.node.lan import MEDIATOR_HOST, PORT, VirtualLan
from tests.sim.nat import Nat
from tests.sim.nat_behaviour import FULL_CONE, HOME_ROUTER, INCREMENTAL_SYMMETRIC, WITHOUT_UDP, NatBehaviour
from userlan.control.mediation import LinkState
from userlan.control.meeting import Measure, RelayInfo, RelayPool, ServerEndpoint, Vantages
from userlan.node.node import Node
from userlan.node.reachability import DOUBTED_BETWEEN, EVERY, LEAST_BETWEEN, MAX_POINTS, placed
from userlan.wire.endpoint import TCP, UDP, Endpoint

SECOND = "192.0.2.2"
HOME = "198.51.100.1"


class Lan(VirtualLan):
    """The mediator listens on two ports of two addresses."""

    def start_mediator(self) -> None:
        super().start_mediator()
        self.internet.hops = 3
        self.mediator.listening(0, MEDIATOR_HOST, PORT)
        self.internet.members[SECOND] = self.mediator_attachment
        self.mediator_attachment.addresses += (SECOND,)
        for via, (host, port) in enumerate([(MEDIATOR_HOST, PORT + 1), (SECOND, PORT), (SECOND, PORT + 1)], 1):
            self.mediator_attachment.listen(port, via, host)
            self.mediator.listening(via, host, port)


@pytest.fixture
def lan(tmp_path: Path) -> Lan:
    return Lan(tmp_path)


def at_home(lan: VirtualLan, behaviour: NatBehaviour = HOME_ROUTER) -> tuple[Node, Nat]:
    nat = Nat(lan.internet, HOME, behaviour=behaviour)
    return lan.node("alice", nat.inside, "192.168.1.2"), nat


def measured(lan: VirtualLan, node: Node, seconds: float = 10) -> None:
    before = node.reachability.at
    lan.world.run_until(lambda: node.reachability.at not in (None, before), seconds)


def told(lan: Lan, node: Node) -> object:
    """What the mediator knows of the node's NAT."""
    return lan.mediator._matchmaker._members[node.key].nat


@pytest.mark.parametrize("behaviour", [HOME_ROUTER, FULL_CONE, replace(INCREMENTAL_SYMMETRIC, step=2)])
def test_the_nat_is_measured_after_the_welcome_and_told(lan: Lan, behaviour: NatBehaviour) -> None:
    node, _ = at_home(lan, behaviour)
    measured(lan, node)
    assert node.reachability.nat.udp.mapping == behaviour.mapping
    assert node.reachability.nat.udp.allocation == behaviour.allocation
    lan.world.run(0.5)
    assert told(lan, node) == node.reachability.nat


def test_its_sockets_are_given_back(lan: Lan) -> None:
    node, _ = at_home(lan)
    measured(lan, node)
    lan.world.run(1)
    assert len(node.sockets) == 0
    assert lan.attachments["alice"].sockets.opened == 0


def test_it_is_measured_every_half_hour(lan: Lan) -> None:
    node, nat = at_home(lan)
    measured(lan, node)
    nat.behaviour = FULL_CONE
    measured(lan, node, EVERY + 10)
    assert node.reachability.nat.udp.filtering == "endpoint-independent"


def test_a_changed_network_is_measured_at_once(lan: Lan) -> None:
    node, _ = at_home(lan)
    measured(lan, node)
    began = lan.world.now
    other = Nat(lan.internet, "203.0.113.9", behaviour=FULL_CONE)
    lan.attachments["alice"].plug(other.inside, "10.0.0.2")
    node.set_local_endpoints([Endpoint(UDP, "10.0.0.2", PORT), Endpoint(TCP, "10.0.0.2", PORT)], lan.world.now)
    assert node.reachability.nat.udp.mapping == "unknown"
    measured(lan, node)
    assert node.reachability.nat.udp.filtering == "endpoint-independent"
    assert lan.world.now - began < 5.0


class OneAddress(VirtualLan):
    """The mediator listens on two ports of its only address."""

    def start_mediator(self) -> None:
        super().start_mediator()
        for via, port in enumerate([PORT, PORT + 1]):
            if via:
                self.mediator_attachment.listen(port, via, MEDIATOR_HOST)
            self.mediator.listening(via, MEDIATOR_HOST, port)


@pytest.mark.parametrize("host", [MEDIATOR_HOST, "127.0.0.1"])
def test_a_relay_on_the_mediators_machine_is_no_other_host(tmp_path: Path, host: str) -> None:
    """It cannot answer as one, and an answer that never was sent is no evidence of a filter."""
    lan = OneAddress(tmp_path)
    node, _ = at_home(lan, FULL_CONE)
    relay = RelayInfo(bytes(32), "beside", (ServerEndpoint(host, PORT + 2, UDP),))
    node.reachability.relay_pool(lan.mediator.public_key, RelayPool((relay,)), lan.world.now)
    measured(lan, node)
    found = node.reachability.classification
    assert found is not None
    assert "no other host could be asked: it may be endpoint-independent" in found.evidence["filtering"]


def test_a_punch_that_contradicts_lowers_the_confidence_and_measures_again(lan: Lan) -> None:
    node, _ = at_home(lan)
    measured(lan, node)
    lan.world.run(DOUBTED_BETWEEN)
    before = node.reachability.nat.confidence
    node.reachability.contradicted(lan.world.now)
    assert node.reachability.nat.confidence == pytest.approx(before / 2)
    measured(lan, node)
    assert node.reachability.nat.confidence == pytest.approx(before)


def test_nobody_makes_it_measure_oftener(lan: Lan) -> None:
    node, _ = at_home(lan)
    measured(lan, node)
    first = node.reachability.at
    assert first is not None
    for _ in range(100):
        node.reachability.contradicted(lan.world.now)
        node.reachability.measure(lan.world.now)
        lan.world.run(0.02)
    assert node.reachability.at == first
    measured(lan, node, LEAST_BETWEEN + 3)


def test_udp_blocked_is_told_over_tcp(lan: Lan) -> None:
    node, _ = at_home(lan, WITHOUT_UDP)
    measured(lan, node, 20)
    assert node.reachability.nat.udp.passes is False
    assert node.reachability.nat.tcp.passes is True


def test_the_lifetime_is_learnt_and_told(lan: Lan) -> None:
    node, _ = at_home(lan, replace(HOME_ROUTER, timeout=60.0))
    lan.world.run(2 * 3600)
    assert 50 <= node.reachability.nat.udp.lifetime <= 60.1
    assert 20 <= node.reachability.lifetime.keepalive <= 25.0
    assert told(lan, node) == node.reachability.nat


def test_a_mediators_restart_alone_is_no_reason_to_measure(lan: Lan) -> None:
    node, _ = at_home(lan)
    measured(lan, node)
    first = node.reachability.at
    lan.kill_mediator()
    lan.world.run(20)
    lan.start_mediator()
    lan.world.run(60)
    assert all(link.state is LinkState.READY for link in node.links.values())
    assert node.reachability.at == first
    assert told(lan, node) == node.reachability.nat


def test_a_hostile_mediator_cannot_name_whom_it_likes(lan: Lan) -> None:
    """Private addresses, multicast and floods of endpoints are refused; what is asked is bounded."""
    node, _ = at_home(lan)
    measured(lan, node)
    (key,) = node.links
    named = [ServerEndpoint(host, 53) for host in ("192.168.1.1", "224.0.0.251", "127.0.0.1", "255.255.255.255", "10.1.2.3")]
    node.reachability.vantages(key, Vantages(tuple(named)), lan.world.now)
    assert node.reachability._points() == []
    many = tuple(ServerEndpoint(f"198.18.0.{number}", 53) for number in range(1, 100))
    node.reachability.vantages(key, Vantages(many), lan.world.now)
    assert len(node.reachability._points()) <= MAX_POINTS


def test_a_wildcard_stands_for_where_the_mediator_is_reached() -> None:
    listed = (ServerEndpoint("0.0.0.0", 41414), ServerEndpoint("::", 41415), ServerEndpoint("192.0.2.9", 7, "tcp"))
    found = placed(listed, ("198.51.100.3", "203.0.113.1"))
    assert found == [Endpoint(UDP, "198.51.100.3", 41414), Endpoint(TCP, "192.0.2.9", 7)]


def test_an_order_to_measure_names_the_mediator_by_where_it_is_reached(lan: Lan) -> None:
    node, _ = at_home(lan)
    measured(lan, node)
    (key,) = node.links
    order = Measure(b"t" * 16, 4, (ServerEndpoint("0.0.0.0", PORT + 1),))
    assert node.reachability.placed(key, order).vantages == (ServerEndpoint(MEDIATOR_HOST, PORT + 1),)


def test_two_members_behind_short_lived_mappings_stay_direct_with_few_signs_of_life(lan: Lan) -> None:
    """30 s is the shortest lifetime of home gateways; keepalives are adapted to it, and nothing is lost when a packet comes after all."""
    nodes = [
        lan.node(name, Nat(lan.internet, host, behaviour=replace(HOME_ROUTER, timeout=30.0)).inside, "192.168.1.2")
        for name, host in (("alice", HOME), ("ben", "198.51.100.2"))
    ]
    lan.ready(*nodes)
    lan.network(*nodes)
    lan.direct(*nodes)
    lan.world.run(3600)
    assert [10 <= node.reachability.keepalive(5.0) <= 15 for node in nodes] == [True, True]
    for _ in range(5):
        lan.world.run(300)
        assert lan.ping(nodes[0], nodes[1].roster.own_ipv4, seconds=0.5) < 0.5
