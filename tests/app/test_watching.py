"""The command ``watch``: what is told, when, to whom, and what it costs with 500 members."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from userlan.app.watching import MAX_WATCHERS, STEP, Watching
from userlan.driver.bridge import CommandError
from userlan.driver.commands import Reply

MEMBERS = 500


def row(number: int, **more: Any) -> dict[str, Any]:
    """A peer as in ``status --json``."""
    return {
        "name": f"pc{number:03}",
        "key": f"{number:043}",
        "ipv4": f"25.0.{number // 256}.{number % 256}",
        "networks": ["home"],
        "state": "direct",
        "path": "udp",
        "endpoint": "192.0.2.1:41414",
        "rtt_ms": 1.5,
        "rx_bytes": 0,
        "tx_bytes": 0,
        "last_seen": 1.0,
    } | more


def status(members: int = 3) -> dict[str, Any]:
    """A status of so many peers."""
    return {"self": {"name": "nas"}, "networks": [], "bridges": {}, "peers": [row(number) for number in range(members)]}


class Told(Reply):
    """A client that writes down what it is told."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.cancel: Any = None

    def item(self, value: object) -> None:
        self.items.append(value)

    def done(self, value: object) -> None:
        self.items.append(("done", value))

    def refuse(self, text: str) -> None:
        self.items.append(("error", text))

    def on_cancel(self, action: Any) -> None:
        self.cancel = action


class Scene:
    def __init__(self, members: int = 3) -> None:
        self.clock = Clock()
        self.status = status(members)
        self.looks = 0
        self.watching = Watching(self.clock, self.look)

    def look(self) -> dict[str, Any]:
        """As the node does, new dictionaries each time."""
        self.looks += 1
        return {**self.status, "peers": [dict(peer) for peer in self.status["peers"]]}

    def watch(self, **arguments: Any) -> Told:
        told = Told()
        self.watching.watch(arguments, told)
        return told


def test_the_whole_then_what_changes() -> None:
    scene = Scene()
    told = scene.watch()
    assert told.items == [{"snapshot": scene.status}]
    scene.clock.advance(1.0)
    assert len(told.items) == 1, "nothing has changed"
    scene.status["peers"][1]["state"] = "relayed"
    scene.status["self"] = {"name": "new"}
    scene.clock.advance(1.0)
    assert told.items[1:] == [{"changes": {"self": {"name": "new"}, "peers": {row(1)["key"]: row(1, state="relayed")}}}]
    scene.clock.advance(1.0)
    assert len(told.items) == 2


def test_peers_come_and_go() -> None:
    scene = Scene()
    told = scene.watch()
    scene.status["peers"].append(row(7))
    gone = scene.status["peers"].pop(0)
    scene.clock.advance(1.0)
    assert told.items[1:] == [{"changes": {"peers": {gone["key"]: None, row(7)["key"]: row(7)}}}]
    scene.status["peers"].insert(0, gone)
    scene.clock.advance(1.0)
    assert told.items[2:] == [{"changes": {"peers": {gone["key"]: gone}}}]


def test_a_part_that_is_new() -> None:
    scene = Scene()
    told = scene.watch()
    scene.status["waiting"] = [{"network": "home"}]
    scene.clock.advance(1.0)
    assert told.items[1:] == [{"changes": {"waiting": [{"network": "home"}]}}]


def test_each_watcher_has_its_interval_and_misses_nothing() -> None:
    scene = Scene()
    quick, slow = scene.watch(interval=STEP), scene.watch(interval=10)
    for number in range(1, 41):
        scene.status["peers"][number % 3]["rx_bytes"] = number
        scene.clock.advance(STEP)
    assert len(quick.items) == 41
    assert slow.items[1:] == [{"changes": {"peers": {peer["key"]: peer for peer in scene.status["peers"]}}}]
    late = scene.watch()
    assert late.items == [{"snapshot": scene.status}]


def test_one_who_watches_seldom_hears_of_peers_that_went_in_between() -> None:
    scene = Scene()
    scene.watch(interval=STEP)
    slow = scene.watch(interval=5)
    gone = scene.status["peers"].pop()
    for _ in range(30):
        scene.clock.advance(STEP)
    assert slow.items[1:] == [{"changes": {"peers": {gone["key"]: None}}}]
    assert len(scene.watching._board._rows) == 2, "what everybody knows of is forgotten"


def test_nobody_watches_and_nothing_is_looked_at() -> None:
    scene = Scene()
    assert scene.clock.getDelayedCalls() == []
    told = [scene.watch() for _ in range(2)]
    looks = scene.looks
    told[0].cancel()
    scene.clock.advance(10.0)
    assert scene.looks > looks
    told[1].cancel()
    assert scene.clock.getDelayedCalls() == []
    scene.status["self"] = {"name": "new"}
    assert scene.watch().items == [{"snapshot": scene.status}]


def test_watchers_share_a_look() -> None:
    """Of twenty who came within a second, each is told within a second, by four looks and not by twenty."""
    scene = Scene()
    told = []
    for _ in range(20):
        told.append(scene.watch())
        scene.clock.advance(0.05)
    looks = scene.looks
    for number in range(100):
        scene.status["peers"][0]["rx_bytes"] = number + 1
        scene.clock.advance(0.1)
    assert scene.looks - looks <= 10 / STEP + 1
    assert all(len(one.items) >= 9 for one in told)


@pytest.mark.parametrize("interval", ["1", -1, 61, True, float("nan")])
def test_an_interval_that_is_none(interval: Any) -> None:
    with pytest.raises(CommandError, match="interval"):
        Scene().watch(interval=interval)


def test_an_interval_too_short_is_the_shortest() -> None:
    scene = Scene()
    told = scene.watch(interval=0)
    for number in range(100):
        scene.status["peers"][0]["rx_bytes"] = number + 1
        scene.clock.advance(0.01)
    assert len(told.items) - 1 <= 1 / STEP


def test_watchers_are_few() -> None:
    scene = Scene()
    told = [scene.watch() for _ in range(MAX_WATCHERS)]
    with pytest.raises(CommandError, match="already"):
        scene.watch()
    told[0].cancel()
    scene.watch()


def test_it_ends_with_the_node() -> None:
    scene = Scene()
    scene.watch()
    scene.watching.stop()
    assert scene.clock.getDelayedCalls() == []


def test_with_500_members_only_what_changed_is_told() -> None:
    scene = Scene(MEMBERS)
    told = [scene.watch() for _ in range(5)]
    scene.status["peers"][250]["rtt_ms"] = 2.5
    looks = scene.looks
    scene.clock.advance(1.0)
    assert scene.looks == looks + 1, "one look for all five"
    for one in told:
        assert one.items[1:] == [{"changes": {"peers": {row(250)["key"]: row(250, rtt_ms=2.5)}}}]
        assert one.items[1] is told[0].items[1] or one.items[1] == told[0].items[1]


def test_the_cost_of_a_look_grows_with_the_members_and_not_with_the_watchers() -> None:
    """Rows are compared once: counted, not timed."""
    compared = 0

    class Row(dict[str, Any]):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return dict.__eq__(self, other)

        def __ne__(self, other: object) -> bool:
            return not self == other

        __hash__ = None

    scene = Scene(MEMBERS)
    scene.watching = Watching(scene.clock, lambda: {**scene.status, "peers": [Row(peer) for peer in scene.status["peers"]]})
    for _ in range(50):
        scene.watch()
    compared = 0
    scene.clock.advance(1.0)
    assert compared == MEMBERS
