"""Every server dead: what goes on, what a node reaches that restarts or moves, and what happens when a mediator comes back.

Real nodes, mediators, relays and NAT boxes in virtual time; each figure is printed in milliseconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.node.lan import PORT, WALL, Sink
from tests.relay.lan import SYMMETRIC, RelayedLan
from tests.sim.link import LinkProfile
from tests.sim.nat import Nat
from tests.sim.nat_behaviour import HOME_ROUTER, RANDOM_PORT_CONE, NatBehaviour
from userlan.control.grants import ID_SIZE
from userlan.control.mediation import LinkState
from userlan.lan.addresses import key_text
from userlan.lan.secrets import NetworkSecret
from userlan.node.events import RequestDone, RequestRefused
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.wire.endpoint import TCP, UDP, Endpoint

DAY = 86_400.0
SHORT = 30.0
"""Seconds: the shortest mapping of home routers, refreshed by packets outwards alone."""


class Street:
    """Members behind a box each, and relays; then no server is left."""

    def __init__(self, folder: Path, behaviour: NatBehaviour, *names: str, relays: int = 2) -> None:
        self.lan = RelayedLan(folder, behaviour=behaviour)
        self.world = self.lan.world
        for number in range(relays):
            self.lan.relay(f"relay{number}", f"203.0.113.{number + 1}", 0.01 + 0.02 * number)
        self.world.run(2.0)
        self.nodes: dict[str, Node] = {}
        for number, name in enumerate(names, 1):
            self.nodes[name] = self.lan.member(name, number)
        self.lan.ready(*self.nodes.values())
        self.world.run(6.0)
        self.secret = self.lan.network(*self.nodes.values())

    def until(self, one: str, other: str, *states: str, seconds: float = 30.0) -> float:
        """Until both see each other in one of these states; the milliseconds that it took."""
        began = self.world.now
        a, b = self.nodes[one], self.nodes[other]
        self.world.run_until(lambda: all(self.state(*pair) in states for pair in ((a, b), (b, a))), seconds)
        return 1000 * (self.world.now - began)

    @staticmethod
    def state(node: Node, peer: Node) -> str:
        return node.peers.shown(peer.key)[0] if peer.key in node.peers.links else "unknown"

    def kill_mediator(self, seconds: float = 15.0) -> None:
        """kill -9, and long enough for everybody to notice."""
        self.lan.kill_mediator()
        self.world.run(seconds)

    def down(self, *names: str) -> dict[str, Memory]:
        """These processes die; what they had saved."""
        memories = {name: Memory.load(self.nodes[name].save().dump()) for name in names}
        for name in names:
            self.lan.kill(name)
        return memories

    def up(self, memories: dict[str, Memory]) -> None:
        """They start again."""
        for name, memory in memories.items():
            number = list(self.nodes).index(name) + 1
            self.nodes[name] = self.lan.member(name, number, memory=memory, key=self.lan.keys[name])

    def move(self, name: str, host: str, behaviour: NatBehaviour) -> None:
        """A computer comes to another site."""
        box = Nat(self.lan.internet, host, behaviour=behaviour)
        self.lan.boxes[name] = box
        self.lan.attachments[name].plug(box.inside, "10.9.8.7")
        self.nodes[name].set_local_endpoints([Endpoint(UDP, "10.9.8.7", PORT), Endpoint(TCP, "10.9.8.7", PORT)], self.world.now)

    def reached(self, one: str, other: str, seconds: float = 30.0) -> float:
        """Milliseconds until a datagram of ``one`` is at ``other``, written every 20 ms."""
        began = self.world.now
        a, b = self.nodes[one], self.nodes[other]
        sender, receiver = a.host.udp_bind(9000), b.host.udp_bind(9001)
        try:
            while receiver.receive() is None:
                assert self.world.now < began + seconds
                sender.send(b"x", (b.ipv6, 9001), self.world.now)
                self.world.run(0.02)
        finally:
            sender.close()
            receiver.close()
        return 1000 * (self.world.now - began)


# --- what goes on


@pytest.mark.parametrize("behaviour", [HOME_ROUTER, SYMMETRIC], ids=["direct", "relayed"])
def test_tunnels_go_on_through_new_keys_and_short_mappings(tmp_path: Path, behaviour: NatBehaviour) -> None:
    street = Street(tmp_path, replace(behaviour, timeout=SHORT), "anna", "ben")
    state = "relayed" if behaviour is SYMMETRIC else "direct"
    street.until("anna", "ben", state)
    street.world.run(5.0)
    street.kill_mediator()
    anna, ben = street.nodes["anna"], street.nodes["ben"]
    tunnel = anna.device.peer(ben.key)
    assert tunnel is not None
    seen: set[str] = set()
    keys: set[float | None] = set()
    for _ in range(60):
        street.world.run(20.0)
        seen |= {street.state(anna, ben), street.state(ben, anna)}
        keys.add(tunnel.last_handshake)
    assert seen == {state}
    assert len(keys) > 5
    assert street.lan.ping(anna, ben.ipv6) < 0.2


def test_grants_last_for_days_and_are_remembered(tmp_path: Path) -> None:
    """What was offered when the mediator was there binds until it ends."""
    street = Street(tmp_path, SYMMETRIC, "anna", "ben")
    street.until("anna", "ben", "relayed")
    ben = street.nodes["ben"].key
    offers = street.nodes["anna"].relays.client.save()[ben]
    ends = [int.from_bytes(offer.grant[ID_SIZE : ID_SIZE + 8], "big") for offer in offers]
    assert min(ends) > WALL + street.world.now + 6 * DAY
    assert Memory.load(street.nodes["anna"].save().dump()).relays[key_text(ben)] == list(offers)


def test_a_direct_pair_needs_no_relay(tmp_path: Path) -> None:
    street = Street(tmp_path, HOME_ROUTER, "anna", "ben")
    street.until("anna", "ben", "direct")
    street.kill_mediator()
    street.lan.kill_relay("relay0")
    street.lan.kill_relay("relay1")
    for _ in range(30):
        street.world.run(5.0)
        assert street.state(street.nodes["anna"], street.nodes["ben"]) == "direct"
    assert street.reached("anna", "ben") < 100


def test_the_relay_in_use_dies_too_and_the_next_one_carries_on_within_three_seconds(tmp_path: Path) -> None:
    street = Street(tmp_path, SYMMETRIC, "anna", "ben", relays=3)
    street.until("anna", "ben", "relayed")
    street.world.run(5.0)
    street.kill_mediator()
    anna, ben = street.nodes["anna"], street.nodes["ben"]
    used = street.lan.relay_of(anna, ben)
    sink = Sink(street.lan, ben, 80)
    connection = anna.host.tcp_connect((ben.ipv6, 80), street.world.now)
    street.world.run(2.0)
    longest, last, count, sent = 0.0, street.world.now, 0, 0
    street.lan.kill_relay(used)
    for _ in range(500):
        sent += connection.send(bytes(2_500), street.world.now)
        street.world.run(0.01)
        if len(sink.data) > count:
            longest, last, count = max(longest, street.world.now - last), street.world.now, len(sink.data)
    street.world.run_until(lambda: len(sink.data) == sent, 30)
    print(f"no mediator, and the relay in use dies: {1000 * longest:.0f} ms")
    assert longest < 3.0
    assert street.lan.relay_of(anna, ben) not in ("", used)


# --- who restarts


@pytest.mark.parametrize("who", [("anna",), ("ben",), ("anna", "ben")], ids="+".join)
@pytest.mark.parametrize("behaviour", [HOME_ROUTER, SYMMETRIC], ids=["direct", "relayed"])
def test_who_restarts_reaches_its_peers_by_what_it_remembers(tmp_path: Path, behaviour: NatBehaviour, who: tuple[str, ...]) -> None:
    street = Street(tmp_path, behaviour, "anna", "ben")
    state = "relayed" if behaviour is SYMMETRIC else "direct"
    street.until("anna", "ben", state)
    street.world.run(5.0)
    street.kill_mediator()
    memories = street.down(*who)
    street.world.run(20.0)
    street.up(memories)
    took = street.until("anna", "ben", state)
    print(f"{' and '.join(who)} again, {state}: {took:.0f} ms")
    assert took < 1000


@pytest.mark.parametrize("who", [("anna",), ("ben",), ("anna", "ben")], ids="+".join)
def test_who_restarts_elsewhere_comes_by_the_relay_that_it_remembers(tmp_path: Path, who: tuple[str, ...]) -> None:
    """A direct pair: neither is where the other one knows it to be."""
    street = Street(tmp_path, HOME_ROUTER, "anna", "ben")
    street.until("anna", "ben", "direct")
    street.world.run(5.0)
    street.kill_mediator()
    memories = street.down(*who)
    for number, name in enumerate(who):
        street.lan.boxes[name] = Nat(street.lan.internet, f"198.51.100.{77 + number}", behaviour=RANDOM_PORT_CONE)
    street.world.run(5.0)
    street.up(memories)
    took = street.until("anna", "ben", "direct", "relayed")
    print(f"{' and '.join(who)} elsewhere: {took:.0f} ms")
    assert took < 3000


# --- whose address changes


@pytest.mark.parametrize("who", [("anna",), ("ben",), ("anna", "ben")], ids="+".join)
def test_who_moves_is_reached_by_the_relay(tmp_path: Path, who: tuple[str, ...]) -> None:
    street = Street(tmp_path, HOME_ROUTER, "anna", "ben")
    street.until("anna", "ben", "direct")
    street.world.run(5.0)
    street.kill_mediator()
    for number, name in enumerate(who):
        street.move(name, f"198.51.100.{77 + number}", RANDOM_PORT_CONE)
    there, back = street.reached("anna", "ben"), street.reached("ben", "anna")
    print(f"{' and '.join(who)} moved: {there:.0f} ms there, {back:.0f} ms back")
    assert there + back < 3000


@pytest.mark.parametrize("gap", [0.0, 0.1, 0.5, 1.5, 2.5])
def test_two_that_move_one_after_the_other_are_introduced_by_the_third(tmp_path: Path, gap: float) -> None:
    """No relay either. Who moves second asks at once, and is told of a pair that was introduced a moment ago."""
    street = Street(tmp_path, HOME_ROUTER, "anna", "ben", relays=0)
    lan = street.lan
    carl = street.nodes["carl"] = lan.node("carl", lan.internet, "192.0.2.33", profile=LinkProfile(delay=0.02))
    lan.ready(carl)
    lan.finish(carl, carl.join("home", lan.mediator.public_key, street.secret, street.world.now))
    for one, other in (("anna", "carl"), ("ben", "carl"), ("anna", "ben")):
        street.until(one, other, "direct")
    street.world.run(8.0)
    street.kill_mediator()
    street.move("anna", "198.51.100.77", RANDOM_PORT_CONE)
    street.world.run(gap)
    street.move("ben", "198.51.100.78", RANDOM_PORT_CONE)
    took = street.reached("anna", "ben")
    print(f"{1000 * gap:.0f} ms after each other: {took:.0f} ms")
    assert took < 3000
    assert street.reached("ben", "anna") < 100


# --- what the owner revokes, and who is new


def test_an_eviction_goes_from_peer_to_peer_over_relayed_tunnels(tmp_path: Path) -> None:
    """ben is away when anna evicts carl, and the mediator is dead when he comes back: he has an old secret, with which nobody answers him,
    so that it is anna who has to look for him, at the relay and by herself."""
    street = Street(tmp_path, SYMMETRIC, "anna", "ben", "carl")
    anna, carl = street.nodes["anna"], street.nodes["carl"]
    for one, other in (("anna", "ben"), ("ben", "carl"), ("anna", "carl")):
        street.until(one, other, "relayed")
    street.world.run(5.0)
    memories = street.down("ben")
    assert isinstance(street.lan.finish(anna, anna.evict("home", carl.key, street.world.now)), RequestDone)
    street.kill_mediator()
    street.up(memories)
    ben = street.nodes["ben"]
    assert carl.key in ben.roster.peers
    street.world.run_until(lambda: carl.key not in ben.roster.peers, 70)
    assert street.state(ben, anna) == "relayed"


def test_only_who_is_new_waits_and_is_told_in_one_line(tmp_path: Path) -> None:
    street = Street(tmp_path, HOME_ROUTER, "anna", "ben")
    street.until("anna", "ben", "direct")
    street.kill_mediator()
    anna = street.nodes["anna"]
    number = anna.join("other", street.lan.mediator.public_key, NetworkSecret.generate(street.world.entropy()), street.world.now)
    refused = street.lan.finish(anna, number, 60)
    assert isinstance(refused, RequestRefused)
    print(refused.text)
    assert "mediator" in refused.text
    assert refused.text.count("\n") == 0
    assert street.state(anna, street.nodes["ben"]) == "direct"


# --- a mediator that comes back


@pytest.mark.parametrize("behaviour", [HOME_ROUTER, SYMMETRIC], ids=["direct", "relayed"])
def test_a_mediator_that_comes_back_interrupts_nobody_and_is_not_stormed(tmp_path: Path, behaviour: NatBehaviour) -> None:
    names = [f"node{number}" for number in range(8)]
    street = Street(tmp_path, behaviour, *names)
    state = "relayed" if behaviour is SYMMETRIC else "direct"
    street.until(names[0], names[1], state)
    street.world.run(5.0)
    street.kill_mediator(120.0)
    sender, receiver = street.nodes[names[0]].host.udp_bind(9000), street.nodes[names[1]].host.udp_bind(9001)
    sent, arrived = 0, Counter[int]()
    street.lan.start_mediator()
    came: list[float] = []
    began = street.world.now
    while street.world.now < began + 45:
        assert sender.send(sent.to_bytes(4, "big"), (street.nodes[names[1]].ipv6, 9001), street.world.now)
        sent += 1
        street.world.run(0.05)
        while (received := receiver.receive()) is not None:
            arrived[int.from_bytes(received.payload, "big")] += 1
        ready = sum(link.state is LinkState.READY for node in street.nodes.values() for link in node.links.values())
        came += [street.world.now - began] * (ready - len(came))
    street.world.run(1.0)
    while (received := receiver.receive()) is not None:
        arrived[int.from_bytes(received.payload, "big")] += 1
    assert len(came) == len(names), "everybody is back"
    assert max(came) < 20
    assert max(came) - min(came) > 5, "not all at one moment"
    assert arrived == Counter(dict.fromkeys(range(sent), 1))
    assert all(node.roster.peers[street.nodes[names[0]].key].online for name, node in street.nodes.items() if name != names[0])
