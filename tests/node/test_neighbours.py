"""Members recognise each other in what is announced on the local network; to everybody else it is chance."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.node.lan import VirtualLan
from tests.sim.internet import Segment
from tests.sim.nat import Nat
from userlan.lan.secrets import NetworkSecret
from userlan.node.keyring import Keyring
from userlan.node.memory import Memory
from userlan.node.neighbours import ENTRY_SIZE, MAX_SEEN, ROUND_UP, Neighbours
from userlan.node.node import Node
from userlan.wire.endpoint import UDP, Endpoint

HERE = (Endpoint(UDP, "192.168.1.7", 41414),)


BEN_KEY = bytes(range(32))


@pytest.fixture
def lan(tmp_path: Path) -> VirtualLan:
    return VirtualLan(tmp_path)


@pytest.fixture
def home(lan: VirtualLan) -> Segment:
    """One house behind a router."""
    return Nat(lan.internet, "198.51.100.1").inside


@pytest.fixture
def pair(lan: VirtualLan, home: Segment) -> tuple[Node, Node]:
    """Two members of one network, in one house, who know each other."""
    anna = lan.node("anna", home, "192.168.1.2")
    ben = lan.node("ben", home, "192.168.1.3", key=BEN_KEY)
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    return anna, ben


def test_a_member_is_recognised_and_which(pair: tuple[Node, Node]) -> None:
    anna, ben = pair
    name, properties = ben.neighbours.announcement()
    assert anna.neighbours.seen(name, dict(properties), HERE) == [(ben.key, HERE)]
    assert ben.neighbours.seen(name, dict(properties), HERE) == [], "oneself is no neighbour"


def test_strangers_see_chance(pair: tuple[Node, Node]) -> None:
    _, ben = pair
    stranger = lonely()
    announced = [ben.neighbours.announcement() for _ in range(2)]
    for name, properties in announced:
        assert stranger.neighbours.seen(name, dict(properties), HERE) == []
        assert ben.key not in b"".join(properties.values())
        assert b"home" not in b"".join(properties.values())
        assert len(properties[b"t0"]) == ROUND_UP * ENTRY_SIZE, "how many networks is not told exactly"
        assert all(len(value) <= 252 for value in properties.values())
    (one, first), (two, second) = announced
    assert one != two
    entries = [{properties[b"t0"][at : at + ENTRY_SIZE] for at in range(0, 48, ENTRY_SIZE)} for properties in (first, second)]
    assert not entries[0] & entries[1], "nothing links two announcements"


def test_a_salt_cannot_be_exchanged(pair: tuple[Node, Node]) -> None:
    anna, ben = pair
    name, properties = ben.neighbours.announcement()
    changed = properties | {b"s": bytes(16)}
    assert anna.neighbours.seen(name, dict(changed), HERE) == []


def test_who_becomes_known_later_is_recognised_then(pair: tuple[Node, Node], lan: VirtualLan, home: Segment) -> None:
    anna, _ = pair
    held = anna.keyring.get("home")
    assert held is not None
    carol = lan.node("carol", home, "192.168.1.4")
    lan.ready(carol)
    keyring = Keyring(carol.key, bytes(32))
    keyring.put("home", held.mediator, held.secrets[0], True)
    name, properties = Neighbours(carol.key, carol.roster, keyring, lan.world.entropy()).announcement()
    assert anna.neighbours.seen(name, dict(properties), HERE) == []
    lan.finish(carol, carol.join("home", held.mediator, held.secrets[0], lan.world.now))
    lan.world.run(1)
    assert anna.neighbours.again() == [(carol.key, HERE)]
    anna.neighbours.forget()
    assert anna.neighbours.again() == []


def test_the_memberships_decide_when_to_announce_anew(pair: tuple[Node, Node]) -> None:
    anna, _ = pair
    before = anna.neighbours.revision
    assert anna.neighbours.revision == before
    for number in range(70):
        anna.keyring.put(f"net{number}", b"m" * 32, NetworkSecret(number.to_bytes(16, "big")), True)
    assert anna.neighbours.revision != before
    _, properties = anna.neighbours.announcement()
    assert sum(len(value) for key, value in properties.items() if key.startswith(b"t")) == 64 * ENTRY_SIZE
    assert all(len(value) <= 252 for value in properties.values())


def test_what_is_kept_is_bounded(pair: tuple[Node, Node]) -> None:
    anna, ben = pair
    _, properties = ben.neighbours.announcement()
    for number in range(MAX_SEEN + 50):
        anna.neighbours.seen(str(number), dict(properties), HERE)
    assert len(anna.neighbours.again()) == MAX_SEEN


@given(st.dictionaries(st.sampled_from([b"v", b"s", b"t0", b"t1", b"x"]), st.one_of(st.none(), st.binary(max_size=255))))
def test_any_announcement_is_read(properties: dict[bytes, bytes | None]) -> None:
    assert lonely().neighbours.seen("x", {b"v": b"1", b"s": bytes(16), **properties}, HERE) == []


def lonely() -> Node:
    """Of no network."""
    return Node(b"k" * 32, Memory(), name="lonely", entropy=bytes, now=0.0, wall_offset=0.0)


def test_a_neighbour_is_found_without_a_mediator(pair: tuple[Node, Node], lan: VirtualLan, home: Segment) -> None:
    """He has restarted at another address and remembers no endpoint; the mediator is gone for good."""
    anna, ben = pair
    memory = ben.save()
    memory.endpoints = {}
    lan.kill_mediator()
    lan.kill("ben")
    again = lan.node("ben", home, "192.168.1.77", memory=Memory.load(memory.dump()), key=BEN_KEY, mediator=False)
    lan.world.run(15)
    assert again.peers.shown(anna.key)[0] != "direct"
    there = Endpoint(UDP, "192.168.1.77", 41414)
    [(key, endpoints)] = anna.neighbours.seen(*_announced(again), (there,))
    anna.neighbour_found(key, endpoints, lan.world.now)
    lan.direct(anna, again, seconds=2)
    assert anna.peers.shown(ben.key) == ("direct", "lan")
    sent = lan.world.now
    anna.neighbour_found(key, endpoints, sent)
    assert anna.peers.links[key].attempt is None, "who is reached just there is left alone"


def _announced(node: Node) -> tuple[str, dict[bytes, bytes | None]]:
    name, properties = node.neighbours.announcement()
    return name, dict(properties)


def test_only_private_addresses_are_tried(pair: tuple[Node, Node], lan: VirtualLan) -> None:
    anna, ben = pair
    before = anna.peers.links[ben.key].candidates
    others = [Endpoint(UDP, host, 53) for host in ("8.8.8.8", "127.0.0.1", "224.0.0.1", "255.255.255.255")]
    anna.neighbour_found(ben.key, others, lan.world.now)
    anna.neighbour_found(b"?" * 32, HERE, lan.world.now)
    assert anna.peers.links[ben.key].candidates == before
    anna.neighbour_found(ben.key, HERE, lan.world.now)
    assert anna.peers.links[ben.key].candidates == (*HERE, *before)
