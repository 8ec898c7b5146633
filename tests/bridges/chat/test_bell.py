"""When the desktop is told: in virtual time, with a store that takes its time."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from bridges.chat.bell import DELAY, Bell

ANNA = "peer:anna"


class Scene:
    """What the desktop shows, by conversation, and the words that are looked for."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.shown: dict[str, str] = {}
        self.asked: list[Deferred[Any]] = []
        notices: Any = self
        self.bell = Bell(notices, self.clock, self._ring)

    def tell(self, kind: str, title: str, text: str, subject: str, total: int) -> None:
        self.shown[subject] = f"{title}: {text} ({total})"

    def withdraw(self, subject: str) -> None:
        self.shown.pop(subject, None)

    def _ring(self, conversation: str) -> Deferred[Any]:
        self.asked.append(Deferred())
        return self.asked[-1]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_told_a_moment_later_and_withdrawn_when_it_is_read(scene: Scene) -> None:
    scene.bell.arrived(ANNA)
    scene.bell.arrived(ANNA)
    scene.clock.advance(DELAY)
    (asked,) = scene.asked
    asked.callback(("anna", "hello", 2))
    assert scene.shown == {ANNA: "anna: hello (2)"}
    scene.bell.silence(ANNA)
    assert scene.shown == {}


def test_what_arrives_while_the_words_are_looked_for_is_told_of(scene: Scene) -> None:
    """It may have come behind the look: nothing else would tell of it until the next one comes."""
    scene.bell.arrived(ANNA)
    scene.clock.advance(DELAY)
    scene.bell.arrived(ANNA)
    scene.asked[0].callback(("anna", "hello", 1))
    scene.clock.advance(DELAY)
    scene.asked[1].callback(("anna", "are you there?", 2))
    assert scene.shown == {ANNA: "anna: are you there? (2)"}


def test_what_is_read_while_the_words_are_looked_for_is_not_told(scene: Scene) -> None:
    """Nor when another message comes at once; that one is told of, and by its own words."""
    scene.bell.arrived(ANNA)
    scene.clock.advance(DELAY)
    scene.bell.silence(ANNA)
    scene.bell.arrived(ANNA)
    scene.asked[0].callback(("anna", "read already", 1))
    assert scene.shown == {}
    scene.clock.advance(DELAY)
    scene.asked[1].callback(("anna", "a new one", 1))
    assert scene.shown == {ANNA: "anna: a new one (1)"}


def test_of_two_looks_the_later_one_counts(scene: Scene) -> None:
    scene.bell.arrived(ANNA)
    scene.clock.advance(DELAY)
    scene.bell.arrived(ANNA)
    scene.clock.advance(DELAY)
    scene.asked[1].callback(("anna", "second", 2))
    scene.asked[0].callback(("anna", "first", 1))
    assert scene.shown == {ANNA: "anna: second (2)"}


def test_a_look_that_fails_keeps_nothing_from_the_next(scene: Scene) -> None:
    scene.bell.arrived(ANNA)
    scene.clock.advance(DELAY)
    scene.asked[0].errback(ValueError("the disk"))
    scene.bell.arrived(ANNA)
    scene.clock.advance(DELAY)
    scene.asked[1].callback(("anna", "hello", 1))
    assert scene.shown == {ANNA: "anna: hello (1)"}
    scene.bell.arrived(ANNA)
    scene.bell.stop()
    assert scene.shown == {}
    assert not scene.clock.getDelayedCalls()
