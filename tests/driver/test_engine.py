"""The engine's schedule: pumps, timers, failures, shared ports; in virtual time, with scripted cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from tests.driver.memory import entropy_of
from tests.driver.ways import NothingKept
from userlan.driver import engine as engine_module
from userlan.driver.engine import Engine
from userlan.driver.runner import CoreRunner
from userlan.stack import Host
from userlan.wire.endpoint import UDP, Endpoint

SOURCE = Endpoint(UDP, "192.0.2.1", 1000)


class Scripted(NothingKept):
    """Notes what it is asked; its deadline and its events are the test's."""

    def __init__(self, mark: bytes = b"") -> None:
        self.host = Host(entropy=entropy_of(1))
        self.mark = mark
        self.calls: list[Any] = []
        self.due: float | None = None
        self.pending: list[Any] = []
        self.fails: set[str] = set()
        self.on_datagrams: Callable[[], None] = lambda: None

    def owns(self, data: Any) -> bool:
        return bytes(data[8:9]) == self.mark

    def receive(self, data: Any, segment: int, source: Endpoint, now: float) -> None:
        self._called("receive", bytes(data), segment)

    def datagrams(self, now: float) -> list[Any]:
        self._called("datagrams")
        self.on_datagrams()
        return []

    def deadline(self) -> float | None:
        return self.due

    def tick(self, now: float) -> None:
        self.due = None
        self._called("tick", now)

    def events(self) -> list[Any]:
        events, self.pending = self.pending, []
        return events

    def _called(self, name: str, *rest: Any) -> None:
        self.calls.append((name, *rest) if rest else name)
        if name in self.fails:
            raise ZeroDivisionError(name)


class Scene:
    def __init__(self, *marks: bytes) -> None:
        self.clock = Clock()
        reactor: Any = self.clock
        self.engine = Engine(reactor)
        self.cores = [Scripted(mark) for mark in marks or (b"",)]
        self.observed: list[Any] = []
        self.runners: list[CoreRunner] = [self.engine.add(core, self.observed.append) for core in self.cores]
        self.clock.advance(0)
        for core in self.cores:
            core.calls.clear()

    def deliver(self, *buffers: tuple[bytes, int]) -> None:
        """One wakeup of a socket."""
        for data, segment in buffers:
            self.engine.received(memoryview(data), segment, SOURCE, None)
        self.engine.pump()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_wakeup_is_one_pump(scene: Scene) -> None:
    scene.deliver((b"one", 3), (b"two", 3), (b"three", 5))
    assert scene.cores[0].calls == [
        ("receive", b"one", 3),
        ("receive", b"two", 3),
        ("receive", b"three", 5),
        "datagrams",
    ]
    assert scene.clock.getDelayedCalls() == []


def test_calls_of_a_turn_are_one_pump_at_its_end(scene: Scene) -> None:
    for _ in range(10):
        scene.runners[0].touch()
    assert scene.cores[0].calls == []
    scene.clock.advance(0)
    assert scene.cores[0].calls == ["datagrams"]


def test_what_an_events_handler_does_leaves_in_the_same_pump(scene: Scene) -> None:
    core, runner = scene.cores[0], scene.runners[0]
    core.pending = ["event"]
    done: list[str] = []

    def observe(event: Any) -> None:
        scene.observed.append(event)
        runner.touch()
        runner.soon(lambda: done.append("soon"))
        scene.engine.pump()

    runner._observer = observe
    runner.touch()
    scene.clock.advance(0)
    assert scene.observed == ["event"]
    assert done == ["soon"]
    assert core.calls == ["datagrams"]


def test_events_that_sending_makes_are_told_at_once(scene: Scene) -> None:
    core = scene.cores[0]
    core.on_datagrams = lambda: core.pending.append("late") if not scene.observed else None
    scene.runners[0].touch()
    scene.clock.advance(0)
    assert scene.observed == ["late"]


def test_long_work_is_shared_with_the_reactor(scene: Scene) -> None:
    core = scene.cores[0]
    rounds = engine_module.MAX_ROUNDS
    core.on_datagrams = lambda: scene.runners[0].touch() if len(core.calls) < 2 * rounds else None
    scene.runners[0].touch()
    scene.clock.callLater(0, core.calls.append, "somebody else's turn")
    scene.clock.advance(0)
    assert core.calls.index("somebody else's turn") == rounds
    assert core.calls.count("datagrams") >= 2 * rounds - 1
    assert scene.clock.getDelayedCalls() == []


def test_the_timer_follows_the_nearest_deadline() -> None:
    scene = Scene(b"a", b"b")
    first, second = scene.cores
    first.due, second.due = 5.0, 3.0
    scene.engine.pump()
    assert [call.getTime() for call in scene.clock.getDelayedCalls()] == [3.0]  # type: ignore[misc]  # zope
    scene.clock.advance(3.0)
    assert second.calls[0] == ("tick", 3.0)
    assert first.calls == []
    scene.clock.advance(2.0)
    assert first.calls[0] == ("tick", 5.0)


def test_a_deadline_that_moves_away_costs_no_new_timer(scene: Scene) -> None:
    core = scene.cores[0]
    core.due = 1.0
    scene.engine.pump()
    (call,) = scene.clock.getDelayedCalls()
    for _ in range(10):
        core.due += 0.5
        scene.deliver((b"x", 1))
    assert scene.clock.getDelayedCalls() == [call]
    scene.clock.advance(1.0)
    assert ("tick", 1.0) not in core.calls
    scene.clock.advance(5.0)
    assert core.calls[-2] == ("tick", 6.0)


class Unread:
    """A socket in which something waits."""

    version, via, owner, full = 4, 0, None, False

    def __init__(self, engine: Engine, *buffers: bytes) -> None:
        self.engine = engine
        self.buffers = list(buffers)

    def catch_up(self) -> None:
        while self.buffers:
            self.engine.received(memoryview(self.buffers.pop(0)), 3, SOURCE, None)


@pytest.mark.parametrize("late", [0.0, 2.0])
def test_what_waits_is_read_before_a_timer_that_is_late(scene: Scene, late: float) -> None:
    """The answer that a timer is about may wait in the own socket, if it was this process that was away."""
    core, socket = scene.cores[0], Unread(scene.engine, b"one", b"two")
    scene.engine.datagram_ports.append(socket)  # type: ignore[arg-type]  # all that is asked of one here
    core.due = scene.clock.seconds() + 1.0
    scene.runners[0].touch()
    scene.clock.advance(0)
    core.calls.clear()
    scene.clock.advance(1.0 + late)
    names = [call if isinstance(call, str) else call[0] for call in core.calls]
    assert names == (["receive", "receive", "datagrams", "tick", "datagrams"] if late else ["tick", "datagrams"])


def test_a_deadline_in_the_past_does_not_hang_the_reactor(scene: Scene) -> None:
    core = scene.cores[0]
    core.due = -5.0
    scene.engine.pump()
    assert core.calls == []
    scene.clock.advance(0)
    assert core.calls == [("tick", 0.0), "datagrams"]


@pytest.mark.parametrize("place", ["receive", "datagrams", "tick"])
def test_a_core_that_fails_is_counted_and_fed_again(scene: Scene, place: str, logged_failures: list[Any]) -> None:
    core = scene.cores[0]
    core.fails = {place}
    core.due = 1.0
    scene.deliver((b"x", 1))
    scene.clock.advance(1.0)
    core.fails = set()
    scene.deliver((b"y", 1))
    assert ("receive", b"y", 1) in core.calls
    assert scene.engine.counters[f"{place}-failed"] >= 1
    assert logged_failures
    logged_failures.clear()


def test_failing_handlers_do_not_stop_the_others(scene: Scene, logged_failures: list[Any]) -> None:
    runner = scene.runners[0]

    def fail(event: object = None) -> None:
        if event != "good":
            raise ZeroDivisionError
        scene.observed.append(event)

    runner._observer = fail
    scene.cores[0].pending = ["bad", "good"]
    done: list[int] = []
    runner.soon(fail)
    runner.soon(lambda: done.append(1))
    runner.touch()
    scene.clock.advance(0)
    assert scene.observed == ["good"]
    assert done == [1]
    assert len(logged_failures) == 2
    logged_failures.clear()


def message(mark: bytes, kind: int = 4, index: int = 1, size: int = 100) -> bytes:
    """A datagram of a kind for the core of that mark."""
    return bytes([kind, 0, 0, 0, index, 0, 0, 0]) + mark + bytes(size - 9)


def test_a_shared_port_splits_a_buffer_among_its_cores() -> None:
    scene = Scene(b"a", b"b")
    ours, others = message(b"a", index=1), message(b"b", index=2)
    stranger, initiation = message(b"?", index=9), message(b"b", kind=1)
    data = ours + ours + others + stranger + initiation + others + message(b"a", index=3, size=40)
    scene.deliver((data, 100))
    assert scene.cores[0].calls == [
        ("receive", ours + ours, 100),
        ("receive", message(b"a", index=3, size=40), 100),
        "datagrams",
    ]
    assert scene.cores[1].calls == [("receive", others, 100), ("receive", initiation + others, 100), "datagrams"]
    assert scene.engine.counters == {"unowned": 1}
    scene.deliver((message(b"b"), 100))
    assert scene.cores[1].calls[-2] == ("receive", message(b"b"), 100)


def test_a_removed_core_is_fed_no_more() -> None:
    scene = Scene(b"a", b"b")
    scene.engine.remove(scene.runners[0])
    scene.engine.remove(scene.runners[0])
    scene.deliver((message(b"a"), 100))
    assert scene.cores[0].calls == []
    assert scene.engine.owns(message(b"a")) is False
    assert scene.engine.owns(message(b"b")) is True


def test_an_inner_core_is_fed_by_no_socket(scene: Scene) -> None:
    """It has its place in the schedule; datagrams are the other's whatever they look like, and none is looked at."""
    inner = Scripted(b"x")
    runner = scene.runners[0].beside(inner, scene.observed.append)
    scene.engine.received(memoryview(message(b"x") * 3), 100, SOURCE, None)
    scene.engine.pump()
    assert ("receive", message(b"x") * 3, 100) in scene.cores[0].calls
    assert inner.calls == ["datagrams"]
    assert not scene.engine.owns(message(b"x"))
    inner.due = scene.clock.seconds() + 1
    inner.pending = ["happened"]
    runner.touch()
    scene.clock.advance(0)
    assert scene.observed == ["happened"]
    scene.clock.advance(1)
    assert ("tick", scene.clock.seconds()) in inner.calls
    runner.leave()
    runner.leave()
    inner.due = scene.clock.seconds() + 1
    calls = len(inner.calls)
    scene.clock.advance(5)
    assert len(inner.calls) == calls


def test_what_has_no_socket_is_counted(scene: Scene) -> None:
    from userlan.tunnel.endpoint import Burst

    core = scene.cores[0]
    sent = [Burst(b"x", 1, SOURCE)]
    core.datagrams = lambda now: [sent.pop()] if sent else []  # type: ignore[method-assign]  # scripted
    scene.runners[0].touch()
    scene.clock.advance(0)
    assert scene.engine.counters == {"no-socket": 1}
