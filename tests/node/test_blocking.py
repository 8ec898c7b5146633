"""A member that is blocked is heard nowhere and reached nowhere, whoever helps it, until it is unblocked."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.node.acquainted import memories
from tests.node.hostile import Tap, say
from tests.node.lan import VirtualLan
from tests.sim.link import LinkProfile
from userlan.control.meeting import Introduce
from userlan.control.messages import Candidate, MemberState
from userlan.lan.addresses import key_text
from userlan.lan.secrets import NetworkSecret
from userlan.node.blocking import MAX_BLOCKED, Blocked, BlockedError
from userlan.node.events import PeerChanged
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.node.status import snapshot
from userlan.stack.events import EchoReply
from userlan.tunnel.primitives import public_key
from userlan.wire.endpoint import RELAY, UDP, Endpoint

FAR = LinkProfile(delay=0.02)


@pytest.fixture
def lan(tmp_path: Path) -> VirtualLan:
    return VirtualLan(tmp_path, mediator_profile=FAR)


def node(lan: VirtualLan, name: str, number: int, memory: Memory | None = None) -> Node:
    return lan.node(name, lan.internet, f"203.0.113.{number}", profile=FAR, key=bytes([number]) * 32, memory=memory)


def friends(lan: VirtualLan) -> tuple[Node, Node, Node]:
    """Three members who see each other."""
    anna, ben, carla = (node(lan, name, number) for number, name in enumerate(("anna", "ben", "carla"), 1))
    lan.ready(anna, ben, carla)
    lan.network(anna, ben, carla)
    lan.direct(anna, ben, carla)
    return anna, ben, carla


def pinged(lan: VirtualLan, node: Node, other: Node, seconds: float = 10) -> bool:
    """Whether an echo request is answered within some seconds, the packet waiting for a tunnel if need be."""
    events = lan.events(node)
    events[:] = [event for event in events if not (isinstance(event, EchoReply) and event.identifier == 9)]
    node.host.ping(other.ipv6, 9, 1, b"x", lan.world.now)
    lan.world.run(seconds)
    return any(isinstance(event, EchoReply) and event.identifier == 9 for event in lan.events(node))


def row(lan: VirtualLan, node: Node, name: str) -> dict[str, object]:
    return next(one for one in snapshot(node, lan.world.now)["peers"] if one["name"] == name)


def test_a_blocked_peer_is_offline_at_once_and_the_others_are_not(lan: VirtualLan) -> None:
    anna, ben, carla = friends(lan)
    anna.blocking.block(ben.key, lan.world.now)
    assert (row(lan, anna, "ben")["state"], row(lan, anna, "ben")["blocked"]) == ("offline", True)
    assert (row(lan, anna, "carla")["state"], row(lan, anna, "carla")["blocked"]) == ("direct", False)
    changed = [event for event in lan.events(anna) + anna.events() if isinstance(event, PeerChanged) and event.key == ben.key]
    assert changed[-1].state == "offline"
    assert anna.device.peer(ben.key) is None
    lan.until_state(ben, anna, "connecting", 60)
    lan.world.run(300)
    assert row(lan, anna, "ben")["state"] == "offline"
    assert not pinged(lan, anna, ben)
    assert not pinged(lan, ben, anna)
    assert pinged(lan, carla, anna)
    assert pinged(lan, ben, carla)


def test_nothing_leaves_for_a_blocked_peer_whoever_introduces_it(lan: VirtualLan) -> None:
    """Neither what the mediator says, nor a member, nor an announcement on the own link, nor packets from above."""
    anna, ben, _ = friends(lan)
    anna.blocking.block(ben.key, lan.world.now)
    lan.world.run(1)
    tap = Tap(anna)
    plan = Introduce(ben.key, (Candidate("203.0.113.2", 41414, "udp", "observed"),), 0.0, b"t" * 16)
    say(lan, anna, plan, seconds=2)
    anna.neighbour_found(ben.key, [Endpoint(UDP, "192.168.1.9", 41414)], lan.world.now)
    anna.conductor._introduce(plan, b"", "203.0.113.1", None, lan.world.now)
    for address in (*ben.roster.own_addresses,):
        anna.host.ping(address, 9, 1, b"x", lan.world.now)
    lan.world.run(120)
    assert tap.of("203.0.113.2", "192.168.1.9") == []
    assert not anna.punching._of(ben.key)


def test_broadcasts_pass_a_blocked_peer_by_both_ways(lan: VirtualLan) -> None:
    anna, ben, carla = friends(lan)
    anna.blocking.block(ben.key, lan.world.now)
    sockets = {one.name: one.host.udp_bind(5000) for one in (anna, ben, carla)}
    broadcast = anna.roster.address_range.broadcast
    for sender in (anna, ben):
        sockets[sender.name].send(sender.name.encode(), (broadcast, 5000), lan.world.now)
    lan.world.run(2)
    heard: dict[str, set[bytes]] = {}
    for name, socket in sockets.items():
        heard[name] = set()
        while (received := socket.receive()) is not None:
            heard[name].add(bytes(received.payload))
        heard[name].discard(name.encode())
    assert heard == {"anna": set(), "ben": set(), "carla": {b"anna", b"ben"}}


def test_a_block_is_remembered_and_an_unblocked_peer_is_back_at_once(lan: VirtualLan) -> None:
    anna, ben, _ = friends(lan)
    anna.blocking.block(ben.key, lan.world.now)
    memory = Memory.load(anna.save().dump())
    assert memory.blocked == {key_text(ben.key): "ben"}
    assert memory.endpoints[key_text(ben.key)] == [("udp", "203.0.113.2", 41414)]
    lan.kill("anna")
    again = node(lan, "anna", 1, memory)
    lan.ready(again)
    lan.world.run(60)
    assert row(lan, again, "ben") | {"state": "offline", "blocked": True} == row(lan, again, "ben")
    again.blocking.unblock(ben.key, lan.world.now)
    began = lan.world.now
    lan.direct(again, ben)
    assert lan.world.now - began < 1.0
    assert pinged(lan, again, ben)
    assert pinged(lan, ben, again)
    assert again.save().blocked == {}


def test_a_block_outlives_the_membership(lan: VirtualLan) -> None:
    anna, ben, _ = friends(lan)
    anna.blocking.block(ben.key, lan.world.now)
    held = ben.keyring.get("home")
    assert held is not None
    secret = held.secrets[0]
    lan.finish(ben, ben.leave("home", lan.world.now))
    lan.world.run_until(lambda: ben.key not in anna.roster.peers, 10)
    assert anna.blocking.blocked.find("ben") == ben.key
    lan.finish(ben, ben.join("home", lan.mediator.public_key, secret, lan.world.now))
    lan.world.run(30)
    assert row(lan, anna, "ben")["blocked"] is True
    assert not pinged(lan, ben, anna)


def test_what_cannot_be_blocked(lan: VirtualLan) -> None:
    anna, ben, _ = friends(lan)
    now = lan.world.now
    for stranger in (bytes(32), lan.mediator.public_key, anna.key):
        with pytest.raises(BlockedError, match="member"):
            anna.blocking.block(stranger, now)
    with pytest.raises(BlockedError, match="not blocked"):
        anna.blocking.unblock(ben.key, now)
    anna.blocking.block(ben.key, now)
    anna.blocking.block(ben.key, now)
    assert list(anna.blocking.blocked) == [ben.key]


def test_the_list_is_capped_and_reads_what_it_wrote() -> None:
    blocked = Blocked()
    for number in range(MAX_BLOCKED):
        blocked.add(number.to_bytes(32, "big"), f"pc{number}")
    blocked.add(bytes(32), "again")
    with pytest.raises(BlockedError, match="unblock one"):
        blocked.add(b"k" * 32, "one-more")
    again = Blocked(blocked.save() | {"no key": "x"})
    assert len(again) <= MAX_BLOCKED
    assert again.find("pc7") == (7).to_bytes(32, "big")
    assert again.find(key_text((7).to_bytes(32, "big"))) == (7).to_bytes(32, "big")
    assert again.find("nobody") is None


PRIVATE = [bytes([number]) * 32 for number in range(1, 5)]
PLACES = [Endpoint(UDP, f"203.0.113.{number}", 41414) for number in range(1, 5)]
KINDS = ("block", "unblock", "online", "offline", "introduce", "relay", "neighbour", "ping", "moved", "time")
STEPS = st.tuples(st.sampled_from(KINDS), st.integers(1, 3))


@given(st.lists(STEPS, min_size=1, max_size=40))
@settings(deadline=None, max_examples=60)
def test_whatever_happens_nothing_leaves_for_whoever_is_blocked(steps: list[tuple[str, int]]) -> None:
    """Of three peers known from the day before, each is in any state when it is blocked, unblocked, introduced, seen, wanted."""
    entropy = Random(1).randbytes
    memory = memories(PRIVATE, PLACES, NetworkSecret(bytes(16)))[0]
    anna = Node(PRIVATE[0], memory, name="anna", entropy=entropy, now=0.0, wall_offset=1.7e9)
    keys = [public_key(private) for private in PRIVATE]
    now, blocked = 1.0, set[int]()
    anna.start(now)
    anna.datagrams(now)
    for step, number in steps:
        now += 0.05
        key, place = keys[number], PLACES[number]
        match step:
            case "block":
                anna.blocking.block(key, now)
                blocked.add(number)
            case "unblock" if number in blocked:
                anna.blocking.unblock(key, now)
                blocked.discard(number)
            case "online" | "offline":
                state = MemberState(key, f"n{number}", bytes((25, 1, 1, number + 1)), step == "online")
                anna.roster_changed(anna.roster.apply_member("home", state), now)
            case "introduce":
                candidates = (Candidate(place.host, place.port, "udp", "observed"),)
                anna.conductor._introduce(Introduce(key, candidates, 0.0, entropy(16)), b"", None, None, now)
            case "relay":
                anna.peers.relay_bound(key, Endpoint(RELAY, place.host, place.port), now)
            case "neighbour":
                anna.neighbour_found(key, [Endpoint(UDP, f"192.168.1.{number}", 41414)], now)
            case "ping":
                anna.host.ping(anna.roster.peers[key].ipv6, 9, 1, b"x", now)
            case "moved":
                anna.peers.network_changed(now)
            case "time":
                now += 30.0
        anna.tick(now)
        anna.events()
        targets = {burst.endpoint.host for burst in anna.datagrams(now)}
        for number in blocked:
            assert targets.isdisjoint({PLACES[number].host, f"192.168.1.{number}"})
        for number, key in enumerate(keys[1:], 1):
            assert (anna.device.peer(key) is None) is (number in blocked)
            assert anna.peers.links[key].blocked is (number in blocked)
            assert number not in blocked or anna.peers.shown(key) == ("offline", "none")
    saved = Memory.load(anna.save().dump())
    assert set(saved.blocked) == {key_text(keys[number]) for number in blocked}
    assert all(saved.endpoints[key_text(key)] for key in keys[1:])
