"""Another password for a network: members stay, and have it; earlier invites are void; a mediator and members of any version obey it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.lan import VirtualLan
from tests.sim.link import LinkProfile
from userlan.lan.eviction import NOBODY
from userlan.lan.secrets import NetworkSecret
from userlan.node.events import RequestDone, RequestRefused
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.node.requests import RefusalError

FAR = LinkProfile(delay=0.02)
SECOND, THIRD = NetworkSecret(b"the second one.."), NetworkSecret(b"the third one...")


@pytest.fixture
def lan(tmp_path: Path) -> VirtualLan:
    return VirtualLan(tmp_path, mediator_profile=FAR)


def members(lan: VirtualLan, *names: str) -> list[Node]:
    nodes = [
        lan.node(name, lan.internet, f"203.0.113.{number}", profile=FAR, key=bytes([number]) * 32) for number, name in enumerate(names, 1)
    ]
    lan.ready(*nodes)
    return nodes


def change(lan: VirtualLan, owner: Node, secret: NetworkSecret) -> RequestDone | RequestRefused:
    now = lan.world.now
    return lan.finish(owner, owner.asked(owner.membership.owner.password("home", secret, now), now))


def newest(node: Node) -> NetworkSecret:
    held = node.keyring.get("home")
    assert held is not None
    return held.secrets[0]


def test_members_stay_and_have_it_and_the_old_one_lets_nobody_in(lan: VirtualLan) -> None:
    anna, ben, carla = members(lan, "anna", "ben", "carla")
    old = lan.network(anna, ben)
    lan.direct(anna, ben)
    assert isinstance(change(lan, anna, SECOND), RequestDone)
    lan.world.run_until(lambda: newest(ben) == SECOND, 10)
    assert anna.peers.shown(ben.key)[0] == "direct"
    refused = lan.finish(carla, carla.join("home", lan.mediator.public_key, old, lan.world.now))
    assert isinstance(refused, RequestRefused)
    assert refused.code == "wrong-secret"
    assert isinstance(lan.finish(carla, carla.join("home", lan.mediator.public_key, SECOND, lan.world.now)), RequestDone)
    lan.direct(anna, ben, carla)
    assert set(anna.roster.networks["home"].members) == {anna.key, ben.key, carla.key}
    lan.world.run(200)      # new keys under the new secret
    assert lan.ping(anna, ben.ipv6) < 0.2


def test_a_member_that_was_away_has_it_when_it_is_back(lan: VirtualLan) -> None:
    anna, ben, carla = members(lan, "anna", "ben", "carla")
    lan.network(anna, ben, carla)
    lan.direct(anna, ben, carla)
    memory = Memory.load(ben.save().dump())
    lan.kill("ben")
    for secret in (SECOND, THIRD):
        assert isinstance(change(lan, anna, secret), RequestDone)
    lan.world.run(30)
    back = lan.node("ben", lan.internet, "203.0.113.2", profile=FAR, key=bytes([2]) * 32, memory=memory)
    lan.world.run_until(lambda: newest(back) == THIRD, 60)
    lan.direct(anna, back, carla, seconds=60)


def test_an_eviction_after_it_and_it_after_an_eviction(lan: VirtualLan) -> None:
    """Whoever was evicted stays so: the newest document names all, and ``NOBODY`` where there was none."""
    anna, ben, carla = members(lan, "anna", "ben", "carla")
    lan.network(anna, ben, carla)
    lan.direct(anna, ben, carla)
    change(lan, anna, SECOND)
    assert anna.roster.evicted("home") == {NOBODY}
    lan.finish(anna, anna.evict("home", carla.key, lan.world.now))
    assert anna.roster.evicted("home") == {NOBODY, carla.key}
    lan.world.run(2)
    change(lan, anna, THIRD)
    lan.world.run_until(lambda: newest(ben) == THIRD, 10)
    assert ben.roster.evicted("home") == {NOBODY, carla.key}
    refused = lan.finish(carla, carla.join("home", lan.mediator.public_key, THIRD, lan.world.now))
    assert isinstance(refused, RequestRefused)
    assert refused.code == "evicted"
    assert anna.keyring.serial("home") == ben.keyring.serial("home") == 3


def test_a_password_that_was_there_before_is_refused(lan: VirtualLan) -> None:
    (anna,) = members(lan, "anna")
    first = lan.network(anna)
    change(lan, anna, SECOND)
    for secret in (first, SECOND):
        with pytest.raises(RefusalError, match="another one"):
            anna.membership.owner.password("home", secret, lan.world.now)


def test_nobody_is_no_key_of_anybody(lan: VirtualLan) -> None:
    """No tunnel comes of it (RFC 7748 6.1), and nothing is sealed to it."""
    (anna,) = members(lan, "anna")
    lan.network(anna)
    change(lan, anna, SECOND)
    held = anna.keyring.get("home")
    assert held is not None
    assert held.eviction is not None
    assert NOBODY not in held.eviction.sealed
    assert NOBODY not in anna.roster.peers
    assert anna.device.peer(NOBODY) is None
