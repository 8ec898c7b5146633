"""Whatever breaks, in whatever order: in the end everybody has everything that was said to them, once, and in each author's order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from bridges.chat.allowance import BURST
from tests.bridges.chat.party import DELAY, Party

NAMES = ("anna", "ben", "eve")
names = st.sampled_from(NAMES)
moments = st.sampled_from([1, 3, 3, 5, 9, 9, 14])
"""Halves of ``DELAY``: after 3 a message has arrived, and its answer has not; after 9 where the connection is new."""
places = st.sampled_from([*NAMES, "home"])


class Weather(RuleBasedStateMachine):
    """Three members; connections die, members vanish and restart, disks are full for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.folder: Any = tempfile.TemporaryDirectory()
        self.said: dict[tuple[str, str, str], list[str]] = {}
        self.count = 0

    @initialize()
    def begin(self) -> None:
        self.party = Party(Path(self.folder.name), *NAMES)
        for name in NAMES:
            self.party.open(name)

    @rule(author=names, to=places, count=st.integers(1, 40))
    def say(self, author: str, to: str, count: int) -> None:
        person = self.party.persons[author]
        if author == to or person.worker.full or self.count + count > BURST:
            return
        for _ in range(count):
            self.count += 1
            person.send(to, str(self.count))
            for other in NAMES if to == "home" else (to,):
                if other != author:
                    place = "network:home" if to == "home" else f"peer:{self.party.key(author)}"
                    self.said.setdefault((other, place, author), []).append(str(self.count))

    @rule(seconds=st.sampled_from([0.03, 0.12, 0.17, 1.0, 30.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.party.run(seconds)

    @rule(name=names)
    def vanish(self, name: str) -> None:
        self.party.away.add(name)

    @rule(name=names)
    def come_back(self, name: str) -> None:
        self.party.away.discard(name)
        for other in NAMES:
            if other != name:
                self.party.reach(name, other)

    @rule(name=names, seconds=st.sampled_from([0.0, 5.0, 400.0]))
    def restart(self, name: str, seconds: float) -> None:
        self.party.close(name)
        self.party.run(seconds)
        self.party.open(name)
        self.come_back(name)

    @rule(author=names, to=places, count=st.integers(1, 40), steps=moments, name=names, what=st.integers(0, 2))
    def break_in_the_middle(self, author: str, to: str, count: int, steps: int, name: str, what: int) -> None:
        """Something is said, and not all of it has arrived, or was answered, when something breaks."""
        self.say(author, to, count)
        self.party.run(steps * DELAY / 2)
        if what == 0:
            self.vanish(name)
        elif what == 1:
            self.restart(name, 0.0)
        else:
            self.reset(0)

    @rule(name=names)
    def fill_or_free_the_disk(self, name: str) -> None:
        worker = self.party.persons[name].worker
        worker.full = not worker.full

    @rule(which=st.integers(0, 20))
    def reset(self, which: int) -> None:
        for end in self.party.connections[-1 - which : len(self.party.connections) - which]:
            for side in end:
                side.close(ConnectionResetError())

    def teardown(self) -> None:
        for name in NAMES:
            self.party.persons[name].worker.full = False
        self.party.away.clear()
        for name in NAMES:
            for other in NAMES:
                if name < other:
                    self.party.reach(name, other)
        self.party.run(2000)
        heard: dict[tuple[str, str, str], list[str]] = {}
        for name in NAMES:
            person = self.party.persons[name]
            for conversation in person.ask("chat-conversations"):
                for message in person.history(conversation["id"]):
                    if message["own"]:
                        assert message["state"] == "delivered"
                    else:
                        heard.setdefault((name, message["conversation"], message["name"]), []).append(message["text"])
        assert heard == self.said
        for name in NAMES:
            self.party.close(name)
        self.party.run(1)
        assert self.party.clock.getDelayedCalls() == []
        self.folder.cleanup()


TestWeather = Weather.TestCase
TestWeather.settings = settings(
    max_examples=30, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
