"""What a sender calls off before it knows that its receiver has heard of it."""

from __future__ import annotations

import msgspec
import pytest

from bridges.files.correspondents import RETRY_MOST
from bridges.files.frames import Offer
from tests.bridges.files.test_exchange import Side, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("again", [False, True], ids=["in one run", "after a restart"])
def test_what_was_offered_is_called_off_though_the_answer_was_lost(world: World, again: bool) -> None:
    """The connection broke behind the offer: its receiver would be asked about it for a month, and accept what is not there."""
    world.up = False
    (sent,) = world.send()
    said = world.anna.core.news("ben")
    assert isinstance(said, Offer)
    world.ben.answers.heard("anna", "anna", said, world.now)
    world.anna.core.visit_ended("ben", False, True, world.now)
    if again:
        kept = msgspec.json.decode(msgspec.json.encode(world.anna.core.table.dump()))
        world.anna = Side(world, "anna", 5000)
        world.anna.core.load(kept, world.now)
        (sent,) = world.anna.core.table.shown()
    assert (world.anna.states(), world.ben.states()) == (["waiting"], ["offered"])
    world.anna.core.cancel(sent, world.now)
    world.up = True
    world.run(world.now + RETRY_MOST + 1)
    assert world.ben.states() == ["cancelled"]
    assert sent.told


def test_what_nobody_was_told_of_is_called_off_at_once(world: World) -> None:
    world.up = False
    (sent,) = world.send()
    world.anna.core.cancel(sent, world.now)
    world.anna.core.forget(sent, world.now)
    assert len(world.anna.core.table) == 0
