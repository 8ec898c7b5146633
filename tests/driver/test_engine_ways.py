"""The engine and full sockets: answers leave before events, backlogs after the sockets were read, holds reach every core."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.driver.memory import entropy_of
from tests.driver.ways import Unnumbered
from userlan.driver.engine import Engine
from userlan.stack import Host
from userlan.tunnel.endpoint import Burst
from userlan.wire.endpoint import TCP, UDP, Endpoint

FAR = Endpoint(UDP, "192.0.2.1", 1000)
WAY = Endpoint(TCP, "192.0.2.1", 1000)


class Core(Unnumbered):
    """Notes in ``calls`` what happens when."""

    def __init__(self) -> None:
        self.host = Host(entropy=entropy_of(1))
        self.calls: list[Any] = []
        self.to_answer: list[Burst] = []
        self.pending: list[Any] = []
        self.more = 0

    @property
    def backlog(self) -> bool:
        return self.more > 0

    def owns(self, data: Any) -> bool:
        return True

    def receive(self, data: Any, segment: int, source: Endpoint, now: float) -> None:
        self.calls.append("receive")

    def answers(self, now: float) -> list[Burst]:
        answers, self.to_answer = self.to_answer, []
        return answers

    def datagrams(self, now: float) -> list[Burst]:
        self.calls.append("datagrams")
        if self.more:
            self.more -= 1
            return [Burst(b"bulk", 4, FAR)]
        return []

    def events(self) -> list[Any]:
        events, self.pending = self.pending, []
        return events

    def hold(self, way: Endpoint | str, now: float) -> None:
        self.calls.append(("hold", way, now))

    def release(self, way: Endpoint | str) -> None:
        self.calls.append(("release", way))

    def way_opened(self, endpoint: Endpoint) -> None:
        self.calls.append(("opened", endpoint))

    def way_lost(self, endpoint: Endpoint) -> None:
        self.calls.append(("lost", endpoint))

    def way_lossy(self, endpoint: Endpoint) -> None:
        self.calls.append(("lossy", endpoint))

    def deadline(self) -> float | None:
        return None

    def tick(self, now: float) -> None: ...


class Socket:
    """A datagram port of the engine's that is as full as the test says."""

    version = 4
    via = 0
    owner = None
    full = False

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls

    def send(self, data: Any, segment: int, endpoint: Endpoint, whole: bool = False, ttl: int = 0) -> None:
        self.calls.append((bytes(data), whole))


class Scene:
    def __init__(self) -> None:
        self.clock = Clock()
        reactor: Any = self.clock
        self.engine = Engine(reactor)
        self.core = Core()
        self.calls = self.core.calls
        self.sockets = [Socket(self.calls), Socket(self.calls)]
        ports: Any = self.sockets
        self.engine.datagram_ports = ports
        core: Any = self.core
        self.runner = self.engine.add(core, lambda event: self.calls.append(("event", event)))
        self.clock.advance(0)
        self.calls.clear()

    def deliver(self) -> None:
        self.engine.received(memoryview(b"x"), 1, FAR, None)
        self.engine.pump()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_answers_leave_before_events_are_told(scene: Scene) -> None:
    """An echo must not wait for what programs make of the data that came with it."""
    scene.core.to_answer = [Burst(b"echo", 4, FAR), Burst(b"probe", 5, FAR, True)]
    scene.core.pending = ["data"]
    scene.deliver()
    assert scene.calls == ["receive", (b"echo", False), (b"probe", True), ("event", "data"), "datagrams"]


def test_a_backlog_waits_for_the_sockets_to_be_read_again(scene: Scene) -> None:
    """Each turn of the reactor sends one call's worth, so that what arrives is not kept waiting."""
    scene.core.more = 3
    scene.deliver()
    assert scene.calls.count("datagrams") == 1
    for turn in (2, 3):
        scene.deliver()
        assert scene.calls.count("datagrams") == turn
    assert scene.calls.count((b"bulk", False)) == 3
    scene.clock.advance(0)
    assert scene.clock.getDelayedCalls() == []
    scene.core.more = 5
    scene.deliver()
    for _ in range(10):
        scene.clock.advance(0)
    assert scene.calls.count((b"bulk", False)) == 8, "and it needs no other occasion"


def test_words_about_ways_reach_the_core_and_are_followed_up(scene: Scene) -> None:
    scene.clock.advance(5.0)
    scene.engine.hold(WAY)
    scene.engine.release(WAY)
    scene.engine.way_opened(WAY)
    scene.engine.way_lossy(WAY)
    scene.engine.way_lost(WAY)
    assert scene.calls == [("hold", WAY, 5.0), ("release", WAY), ("opened", WAY), ("lossy", WAY), ("lost", WAY)]
    scene.clock.advance(0)
    assert scene.calls[-1] == "datagrams", "what waited may leave now"


def test_udp_is_released_once_no_socket_is_full(scene: Scene) -> None:
    """The cores know UDP as one way: IPv4 and IPv6 together."""
    scene.engine.hold(UDP)
    scene.sockets[1].full = True
    scene.engine.release(UDP)
    assert ("release", UDP) not in scene.calls
    scene.sockets[1].full = False
    scene.engine.release(UDP)
    assert ("release", UDP) in scene.calls
