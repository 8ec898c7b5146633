"""What a node tells its doctor, in virtual time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.node.lan import MEDIATOR_HOST, PORT, WALL, VirtualLan
from userlan.lan.addresses import key_text
from userlan.node import diagnosis
from userlan.node.node import Node

GROUP = bytes((239, 1, 2, 3))


class Pair:
    """Anna and ben, in one network and direct."""

    def __init__(self, folder: Path) -> None:
        self.lan = VirtualLan(folder)
        self.key = self.lan.world.entropy()(32)
        self.anna = self.lan.node("anna", self.lan.internet, "198.51.100.1", key=self.key)
        self.ben = self.lan.node("ben", self.lan.internet, "198.51.100.2")
        self.lan.ready(self.anna, self.ben)
        self.lan.network(self.anna, self.ben)
        self.lan.direct(self.anna, self.ben)

    def asked(self, written: str) -> dict[str, object]:
        told = diagnosis.peer(self.anna, written, self.lan.world.now, self.wall)
        assert json.loads(json.dumps(told)) == told
        return told

    @property
    def wall(self) -> float:
        return WALL + self.lan.world.now

    def touch(self, node: Node) -> None:
        self.lan.world.touch(next(one for one in self.lan.attachments.values() if one.core is node))


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_a_member_that_is_reached(pair: Pair) -> None:
    told = pair.asked("ben")
    assert (told["key"], told["name"], told["own"], told["online"]) == (key_text(pair.ben.key), "ben", False, True)
    assert f"udp 198.51.100.2:{PORT}" in str(told["tried"])
    assert isinstance(told["handshake"], float)
    assert isinstance(told["heard"], float)
    assert pair.wall - 60 < told["handshake"] <= told["heard"] <= pair.wall


def test_the_groups_that_a_member_listens_to(pair: Pair) -> None:
    assert "239.1.2.3" not in str(pair.asked("ben")["groups"])
    pair.ben.host.udp_bind(7_000).join(GROUP)
    pair.touch(pair.ben)
    pair.lan.world.run(0.5)
    assert "239.1.2.3" in str(pair.asked("ben")["groups"])


def test_a_name_that_means_nobody(pair: Pair) -> None:
    told = pair.asked("bne")
    assert (told["key"], told["nearest"], told["ambiguous"], told["elsewhere"]) == (None, ["ben"], False, [])
    assert pair.asked("ben.work")["elsewhere"] == ["home"]
    assert pair.asked("anna") == {"key": key_text(pair.anna.key), "name": "anna", "own": True}


def test_a_mediator_that_is_lost_and_comes_back(pair: Pair) -> None:
    def told() -> dict[str, object]:
        return diagnosis.mediator(pair.anna, pair.lan.world.now, pair.wall)

    assert told() == {"since": None, "clock": 0.0, "addresses": [f"{MEDIATOR_HOST}:{PORT}"]}
    pair.lan.kill_mediator()
    pair.lan.world.run(30)
    since = told()["since"]
    assert isinstance(since, float)
    assert 5 < pair.wall - since < 30
    pair.lan.world.run(30)
    assert told()["since"] == pytest.approx(since), "it is lost since then, however often it is tried"
    pair.lan.start_mediator()
    pair.lan.world.run(60)
    assert told()["since"] is None


def test_this_computers_clock_was_set_back(pair: Pair) -> None:
    assert diagnosis.mediator(pair.anna, pair.lan.world.now, pair.wall - 3600)["clock"] == 3600.0


def test_a_member_that_is_online_for_the_mediator_alone(pair: Pair) -> None:
    memory = pair.anna.save()
    pair.lan.kill("ben")
    pair.lan.kill("anna")
    again = pair.lan.node("anna", pair.lan.internet, "198.51.100.1", memory=memory, key=pair.key)
    pair.lan.world.run(5)
    told = diagnosis.peer(again, "ben", pair.lan.world.now, pair.wall)
    assert (told["online"], told["handshake"], told["heard"], told["groups"]) == (True, None, None, [])
    assert f"udp 198.51.100.2:{PORT}" in str(told["tried"])
