"""The runner: it feeds sans-IO cores, drains them and wakes them at their deadlines, all in virtual time.

::

    world = World(seed=7)
    alice, bob = pair(world, "10.0.0.1", "10.0.0.2", LinkProfile(delay=0.02, loss=0.01))     # tests.sim.lan
    connection = alice.core.tcp_connect((packed, 80), world.now)
    world.run_until(lambda: connection.state is State.ESTABLISHED)

Calls that a test makes on a core take effect in the next ``run``, ``run_until`` or ``settle``: each pumps every actor.
Events go to ``actor.handler`` when it is set, and are kept in ``actor.events`` otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TypeVar

from tests.sim.clock import Clock

MAX_PUMPS_AN_INSTANT = 20_000
"""Pumps of one actor without time moving on; more means a core whose deadline never leaves the past."""

A = TypeVar("A", bound="Actor")


class Actor:
    """One core in the world. Subclasses say how it is fed and drained."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events: list[object] = []
        self.handler: Callable[[object], None] | None = None
        self._armed: float | None = None
        self._instant = world.now
        self._pumps = 0

    def deadline(self) -> float | None:
        raise AssertionError("a subclass answers this")

    def tick(self, now: float) -> None:
        raise AssertionError("a subclass answers this")

    def exchange(self, now: float) -> list[object]:
        """Feed what has arrived, send what is due, return the events."""
        raise AssertionError("a subclass answers this")

    def pump(self) -> None:
        now = self.world.now
        self._watch(now)
        deadline = self.deadline()
        if deadline is not None and deadline <= now:
            self.tick(now)
        events = self.exchange(now)
        for event in events:
            if self.handler is None:
                self.events.append(event)
            else:
                self.handler(event)
        if events:
            self.world.touch(self)
        deadline = self.deadline()
        if deadline is not None and deadline != self._armed:
            self._armed = deadline
            self.world.clock.call_at(deadline, partial(self._wake, deadline))

    def take(self, kind: type[A] | type[object]) -> list[object]:
        """Remove and return the kept events of one type."""
        taken = [event for event in self.events if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return taken

    def _wake(self, deadline: float) -> None:
        if self._armed == deadline:
            self._armed = None
            self.world.touch(self)

    def _watch(self, now: float) -> None:
        if now > self._instant:
            self._instant, self._pumps = now, 0
        self._pumps += 1
        if self._pumps > MAX_PUMPS_AN_INSTANT:
            raise AssertionError(f"{self!r} spins at {now}: its deadline is {self.deadline()}")


class World:
    """A clock, one seeded source of chance, and the actors."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = Clock()
        self.seed = seed
        self.random = Random(seed)
        self.actors: list[Actor] = []
        self._touched: dict[Actor, None] = {}

    @property
    def now(self) -> float:
        return self.clock.now

    def entropy(self) -> Callable[[int], bytes]:
        """A fresh deterministic entropy source for one core."""
        return Random(self.random.getrandbits(64)).randbytes

    def add(self, actor: Actor) -> None:
        self.actors.append(actor)
        self.touch(actor)

    def remove(self, actor: Actor) -> None:
        """The process dies: it is not fed, ticked or drained any more."""
        self.actors.remove(actor)
        self._touched.pop(actor, None)

    def touch(self, actor: Actor) -> None:
        self._touched[actor] = None

    def settle(self) -> None:
        """Pump all actors until none has anything left to do at this instant."""
        for actor in self.actors:
            self.touch(actor)
        self._pump()

    def run(self, seconds: float) -> None:
        """Let ``seconds`` of virtual time pass."""
        self._run(self.now + seconds, lambda: False)

    def run_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Run until ``condition()``; AssertionError when it does not hold within ``seconds`` of virtual time."""
        if not self.reaches(condition, seconds):
            raise AssertionError(f"not reached within {seconds} s of virtual time")

    def reaches(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Run until ``condition()``, for ``seconds`` of virtual time at most; whether it holds."""
        return self._run(self.now + seconds, condition)

    def _run(self, end: float, condition: Callable[[], bool]) -> bool:
        self.settle()
        while not condition():
            time = self.clock.next_time()
            if time is None or time > end:
                self.clock.advance_to(end)
                self.settle()
                return condition()
            self.clock.step()
            self._pump()
        return True

    def _pump(self) -> None:
        while self._touched:
            touched, self._touched = self._touched, {}
            for actor in touched:
                if actor in self.actors:
                    actor.pump()
