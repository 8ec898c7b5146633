"""A mediator of the first version serves a node of this one, which makes no open network where one with approval was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.control.first_version import first_mediator_framer
from tests.node.lan import VirtualLan
from tests.sim.link import LinkProfile
from userlan.lan.secrets import NetworkSecret
from userlan.node.events import RequestDone, RequestRefused

FAR = LinkProfile(delay=0.02)
SECRET, OTHER = NetworkSecret(b"the secret: home"), NetworkSecret(b"another secret..")


@pytest.fixture
def lan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VirtualLan:
    """Its mediator reads only what the first one did."""
    monkeypatch.setattr("userlan.mediator.session.mediator_framer", first_mediator_framer)
    return VirtualLan(tmp_path, mediator_profile=FAR)


def test_a_network_with_approval_is_refused_in_one_line_and_made_nowhere(lan: VirtualLan) -> None:
    anna = lan.node("anna", lan.internet, "203.0.113.1", profile=FAR)
    lan.ready(anna)
    refused = lan.finish(anna, anna.create("home", lan.mediator.public_key, SECRET, lan.world.now, approval=True))
    assert isinstance(refused, RequestRefused)
    assert refused.code == "unknown-message"
    assert "older version" in refused.text
    assert "\n" not in refused.text
    assert lan.directory.network("home") is None
    assert "home" not in anna.keyring
    assert isinstance(lan.finish(anna, anna.create("home", lan.mediator.public_key, SECRET, lan.world.now)), RequestDone)


def test_locks_passwords_and_blocks_work_there(lan: VirtualLan) -> None:
    names = ("anna", "ben", "carla")
    anna, ben, carla = (lan.node(name, lan.internet, f"203.0.113.{number}", profile=FAR) for number, name in enumerate(names, 1))
    lan.ready(anna, ben, carla)
    old = lan.network(anna, ben)
    lan.direct(anna, ben)
    owner, now = anna.membership.owner, lan.world.now
    assert isinstance(lan.finish(anna, anna.asked(owner.lock("home", True, now), now)), RequestDone)
    refused = lan.finish(carla, carla.join("home", lan.mediator.public_key, old, lan.world.now))
    assert isinstance(refused, RequestRefused)
    assert refused.code == "locked"
    assert isinstance(lan.finish(anna, anna.asked(owner.lock("home", False, now), now)), RequestDone)
    assert isinstance(lan.finish(anna, anna.asked(owner.password("home", OTHER, lan.world.now), lan.world.now)), RequestDone)
    lan.world.run_until(lambda: ben.keyring.get("home").secrets[0] == OTHER, 10)  # type: ignore[union-attr]
    assert isinstance(lan.finish(carla, carla.join("home", lan.mediator.public_key, OTHER, lan.world.now)), RequestDone)
    lan.direct(anna, ben, carla)
    anna.blocking.block(ben.key, lan.world.now)
    assert anna.peers.shown(ben.key) == ("offline", "none")
