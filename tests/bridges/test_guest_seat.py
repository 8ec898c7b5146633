"""The guest's place in its companion: a real node without peers, in an engine without sockets."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from bridges import guest_record
from bridges.guest_record import Record
from bridges.guest_seat import LOOK_INTERVAL, GuestSeatBridge
from bridges.internet import Internet
from tests.driver.memory import entropy_of
from userlan.driver.bridge import BridgeStore, CommandError
from userlan.driver.engine import Engine
from userlan.driver.guest import GuestSeat, guest_keys
from userlan.driver.lan import Lan
from userlan.driver.link import AttachedError
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.wire.endpoint import UDP, Endpoint

OWN = bytes((25, 1, 2, 3))


class Scene:
    """A companion's folder, and its node."""

    def __init__(self, folder: Path) -> None:
        self.reactor: Any = MemoryReactorClock()  # type: ignore[no-untyped-call]  # Twisted's, without types
        self.node = Node(bytes(range(32)), Memory(), name="phone", entropy=entropy_of(1), now=0.0, wall_offset=1e9)
        self.node.roster.set_own("phone", OWN)
        self.node.host.add_address(OWN)
        self.lan = Lan(Engine(self.reactor).add(self.node, lambda event: None), self.node.lookup)
        self.folder = folder / "phone"
        self.keys = guest_keys(entropy_of(2))
        self.store = BridgeStore(self.folder / "guests.json")
        self.bridge = GuestSeatBridge(self.lan, None, self.store)

    def keep(self, **changed: Any) -> None:
        keys = {"private": self.keys.private, "public": self.keys.public, "preshared": self.keys.preshared}
        guest_record.save(self.folder, Record(**{"name": "phone", "port": 51820, **keys, **changed}))

    @property
    def public(self) -> bytes:
        return base64.b64decode(self.keys.public)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    (tmp_path / "guests").mkdir()
    return Scene(tmp_path / "guests")


def refused(scene: Scene) -> str:
    found: list[Any] = []
    scene.bridge.start().addErrback(found.append)
    assert isinstance(found[0].value, CommandError)
    return str(found[0].value)


def test_its_guest_is_a_stock_peer(scene: Scene) -> None:
    scene.keep(mtu=1300)
    scene.bridge.start()
    peer = scene.node.device.peer(scene.public)
    assert peer is not None
    assert peer.stock
    assert peer.preshared_keys == (base64.b64decode(scene.keys.preshared),)
    assert peer.ways.mtu == 1300
    status: Any = scene.bridge.status()
    assert (status["online"], status["endpoint"], status["handshake"]) == (False, None, None)
    assert scene.bridge.commands() == {}
    with pytest.raises(AttachedError, match="guest's"):
        scene.lan.attach_guest(GuestSeat(bytes(32), bytes(32), 1280))


def test_where_it_was_is_kept_and_it_is_called_there(scene: Scene) -> None:
    scene.keep()
    scene.bridge.start()
    scene.node.device.add_peer(scene.public, endpoint=Endpoint(UDP, "203.0.113.7", 9), stock=True)
    scene.reactor.advance(LOOK_INTERVAL)
    assert json.loads((scene.folder / "guests.json").read_text()) == ["203.0.113.7", 9]
    scene.bridge.stop()
    again = GuestSeatBridge(scene.lan, None, scene.store)
    again.start()
    peer = scene.node.device.peer(scene.public)
    assert peer is not None
    assert peer.endpoint == Endpoint(UDP, "203.0.113.7", 9)
    bursts = scene.node.datagrams(scene.reactor.seconds())
    sent = [(burst.data[0], len(burst.data), burst.endpoint.port) for burst in bursts]
    assert sent == [(1, 148, 9)], "an initiation (white paper, 5.4.2)"
    status: Any = again.status()
    assert status["endpoint"] == "203.0.113.7:9"


@pytest.mark.parametrize("saved", ["{", '"x"', "[1, 2]", '["host"]', '["a", 1, 2]'])
def test_where_it_was_may_be_damaged(scene: Scene, saved: str) -> None:
    scene.keep()
    (scene.folder / "guests.json").write_text(saved)
    scene.bridge.start()
    peer = scene.node.device.peer(scene.public)
    assert peer is not None
    assert peer.endpoint is None


def test_it_ends(scene: Scene) -> None:
    scene.keep()
    scene.bridge.start()
    for _ in range(2):
        scene.bridge.stop()
    assert scene.node.device.peer(scene.public) is None
    assert scene.node.host.unclaimed is None
    assert scene.bridge.status() is None
    scene.reactor.advance(0)
    assert [call for call in scene.reactor.getDelayedCalls() if call.getTime() <= LOOK_INTERVAL] == [], "nobody looks any more"


def test_one_that_was_removed_comes_no_more(scene: Scene) -> None:
    scene.keep(removed=True, private="", public="", preshared="")
    scene.bridge.start()
    assert scene.node.device.peers() == []
    assert scene.bridge.status() is None


def test_no_record_no_companion(scene: Scene) -> None:
    assert "guest list" in refused(scene)


@pytest.mark.parametrize("changed", [{"public": "AAAA"}, {"public": "!"}, {"preshared": "AAAA"}])
def test_damaged_keys(scene: Scene, changed: dict[str, str]) -> None:
    """One line that says what to do; nothing is shared with a kernel that is not there."""
    scene.keep(**changed)
    assert "guest remove phone" in refused(scene)
    assert scene.node.host.unclaimed is None


def test_other_names_are_asked_of_this_computers_resolvers(scene: Scene) -> None:
    """But nothing else of the Internet is reached."""
    assert Internet(scene.lan, False).server.upstream is None
    assert Internet(scene.lan, False, names=True).server.upstream is not None
