"""A new secret goes to those only who proved that they knew the old one: a mediator can list any key anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.lan import VirtualLan
from tests.sim.link import LinkProfile
from userlan.lan.secrets import NetworkSecret

FAR = LinkProfile(delay=0.02)


@pytest.fixture
def lan(tmp_path: Path) -> VirtualLan:
    return VirtualLan(tmp_path, mediator_profile=FAR)


def test_a_tunnel_of_one_network_proves_nothing_about_another(lan: VirtualLan) -> None:
    """spy shares "games" with anna for true; a hostile mediator lists it in "home" as well."""
    anna, ben, spy = (lan.node(name, lan.internet, f"203.0.113.{n}", profile=FAR) for n, name in enumerate(("anna", "ben", "spy"), 1))
    lan.ready(anna, ben, spy)
    lan.network(anna, ben, name="home")
    lan.network(anna, spy, name="games")
    lan.direct(anna, ben)
    lan.direct(anna, spy)
    network = lan.directory.network("home")
    assert network is not None
    lan.directory.add_member(network.identifier, spy.key, "spy", 0.0)
    lan.kill_mediator()
    lan.start_mediator()
    lan.world.run_until(lambda: "home" in anna.roster.peers[spy.key].networks, 90)
    lan.direct(anna, spy)
    lan.world.run(300)      # new handshakes, with both networks' secrets to choose from
    lan.finish(anna, anna.evict("home", ben.key, lan.world.now))
    lan.world.run(30)
    held = anna.keyring.get("home")
    assert held is not None
    assert held.eviction is not None
    assert spy.key not in held.eviction.sealed
    assert spy.key not in held.proven


def test_a_member_of_two_networks_proves_both(lan: VirtualLan) -> None:
    anna, ben, carla = (lan.node(name, lan.internet, f"203.0.113.{n}", profile=FAR) for n, name in enumerate(("anna", "ben", "carla"), 1))
    lan.ready(anna, ben, carla)
    lan.network(anna, ben, carla, name="games")
    lan.network(anna, ben, carla, name="home")
    lan.direct(anna, ben, carla)
    lan.world.run(30)
    lan.finish(anna, anna.evict("home", carla.key, lan.world.now))
    lan.world.run(30)
    mine, theirs = anna.keyring.get("home"), ben.keyring.get("home")
    assert mine is not None
    assert theirs is not None
    assert mine.secrets[0] == theirs.secrets[0]
    assert "home" in ben.roster.networks


def test_a_proof_is_for_one_pair_in_one_direction() -> None:
    secret, other = NetworkSecret(bytes(16)), NetworkSecret(bytes([1]) * 16)
    one, two = bytes(32), bytes([1]) * 32
    proof = secret.prove_membership(one, two)
    assert secret.verify_membership(proof, one, two)
    assert not secret.verify_membership(proof, two, one)
    assert not other.verify_membership(proof, one, two)
    assert not secret.verify_membership(b"", one, two)
