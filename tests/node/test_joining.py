"""A network is asked for once more before the first answer has come: neither answer is taken for the other's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.lan import VirtualLan
from tests.sim.link import LinkProfile
from userlan.lan.secrets import NetworkSecret
from userlan.node.events import RequestDone, RequestRefused
from userlan.node.node import Node
from userlan.node.requests import RefusalError

WRONG = NetworkSecret(bytes(16))


class Scene:
    """anna has made ``home``; ben, some way from the mediator, is about to join it."""

    def __init__(self, folder: Path) -> None:
        self.lan = VirtualLan(folder)
        self.anna = self.lan.node("anna", self.lan.internet, "198.51.100.1")
        self.ben = self.lan.node("ben", self.lan.internet, "198.51.100.2", profile=LinkProfile(delay=0.05))
        self.lan.ready(self.anna, self.ben)
        self.secret = self.lan.network(self.anna)

    def join(self, secret: NetworkSecret, node: Node | None = None) -> int:
        return (node or self.ben).join("home", self.lan.mediator.public_key, secret, self.lan.world.now)

    def create(self, network: str, secret: NetworkSecret) -> int:
        return self.ben.create(network, self.lan.mediator.public_key, secret, self.lan.world.now)

    def end(self, number: int) -> RequestDone | RequestRefused:
        return self.lan.finish(self.ben, number)

    def holds(self, network: str, secret: NetworkSecret) -> bool:
        held = self.ben.keyring.get(network)
        return held is not None and held.confirmed and held.secrets == [secret]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.parametrize("later", [0.0, 0.02, 0.12, 0.18])
def test_who_joins_twice_by_one_secret_is_a_member_once(scene: Scene, later: float) -> None:
    """A challenge takes the place of the one before: a proof that answers the first would be refused, and the secret dropped."""
    first = scene.join(scene.secret)
    scene.lan.world.run(later)
    second = scene.join(scene.secret)
    assert isinstance(scene.end(second), RequestDone)
    assert scene.end(first) == RequestRefused(first, "superseded", "this node was asked to join home once more meanwhile")
    scene.lan.world.run(1.0)
    assert scene.holds("home", scene.secret)
    scene.lan.direct(scene.anna, scene.ben)


def test_two_networks_may_be_joined_at_once(scene: Scene) -> None:
    secret = scene.lan.network(scene.anna, name="work")
    numbers = [scene.join(scene.secret), scene.ben.join("work", scene.lan.mediator.public_key, secret, scene.lan.world.now)]
    assert [type(scene.end(number)) for number in numbers] == [RequestDone, RequestDone]
    assert scene.holds("home", scene.secret)
    assert scene.holds("work", secret)


@pytest.mark.parametrize("first", ["anna", "ben"])
def test_a_mediator_that_lost_its_directory_has_all_members_again_whoever_comes_first(scene: Scene, first: str) -> None:
    """The owner makes the networks again; who was there before, asks again. Four: more than a mediator lets fail in a row."""
    lan, names = scene.lan, ["home", "work", "club", "den"]
    assert isinstance(scene.end(scene.join(scene.secret)), RequestDone)
    for name in names[1:]:
        lan.network(scene.anna, scene.ben, name=name)
    later = lan.attachments["ben" if first == "anna" else "anna"]
    later.up.profile = later.down.profile = LinkProfile(loss=1.0)
    lan.kill_mediator()
    for file in lan.folder.glob("directory.sqlite*"):
        file.unlink()
    lan.start_mediator()
    lan.world.run(60.0)
    later.up.profile = later.down.profile = LinkProfile(delay=0.05)

    def listed() -> list[set[bytes]]:
        records = [lan.directory.network(name) for name in names]
        return [set() if one is None else {member.key for member in lan.directory.members(one.identifier)} for one in records]

    lan.world.run_until(lambda: listed() == [{scene.anna.key, scene.ben.key}] * len(names), 1200)


def test_another_secret_is_tried_when_the_first_has_its_answer(scene: Scene) -> None:
    first = scene.join(WRONG)
    with pytest.raises(RefusalError, match="'home' is just being made or joined"):
        scene.join(scene.secret)
    refused = scene.end(first)
    assert isinstance(refused, RequestRefused)
    assert refused.code == "wrong-secret"
    assert isinstance(scene.end(scene.join(scene.secret)), RequestDone)
    assert scene.holds("home", scene.secret)


def test_leaving_ends_the_first_attempt(scene: Scene) -> None:
    first = scene.join(WRONG)
    scene.ben.leave("home", scene.lan.world.now)
    second = scene.join(scene.secret)
    assert isinstance(scene.end(second), RequestDone)
    ended = scene.end(first)
    assert isinstance(ended, RequestRefused)
    assert ended.code == "left"
    assert scene.holds("home", scene.secret)


def test_a_network_is_made_once_and_has_the_secret_that_it_was_made_with(scene: Scene) -> None:
    secret = NetworkSecret(bytes(range(16)))
    made = scene.create("den", secret)
    for again in (secret, WRONG):
        with pytest.raises(RefusalError, match="'den' is just being made or joined"):
            scene.create("den", again)
    with pytest.raises(RefusalError, match="'den' is just being made or joined"):
        scene.ben.join("den", scene.lan.mediator.public_key, secret, scene.lan.world.now)
    assert isinstance(scene.end(made), RequestDone)
    assert scene.holds("den", secret)
    scene.join(scene.secret)
    with pytest.raises(RefusalError, match="'home' is just being made or joined"):
        scene.create("home", secret)
