"""What is taken of a member whose files are taken unasked: so much and no more."""

from __future__ import annotations

import pytest

from bridges.files.effects import Announce
from bridges.files.frames import State
from tests.bridges.files.test_exchange import DAY, World, offer


@pytest.fixture
def world() -> World:
    return World()


def taken(world: World, *sizes: int, key: str = "eve") -> list[str]:
    """How ben answers offers of so many octets."""
    first = len(world.ben.core.table)
    said = [world.ben.answers.heard(key, key, offer(first + number, size), world.now) for number, size in enumerate(sizes)]
    return [one.state for one in said if isinstance(one, State)]


def test_no_more_than_so_much_is_taken_unasked_of_one_member(world: World) -> None:
    """What goes beyond waits for the user; a day later there is room again, and others have theirs all the while."""
    ben = world.ben
    ben.policy = True
    assert taken(world, 600, 500, 400, 1) == ["accepted", "offered", "accepted", "offered"]
    assert len(ben.core.table) == 4
    assert taken(world, 1000, key="dora") == ["accepted"]
    assert [one.transfer.size for one in ben.core.effects() if isinstance(one, Announce)] == [500, 1], "the user is told of those"
    for one in ben.core.table.of_peer("eve"):
        ben.core.decline(one, 0.0)
    assert taken(world, 500) == ["offered"], "whoever withdraws, or is declined, begins not anew"
    world.now = DAY / 2
    ben.core.tick(world.now)
    assert taken(world, 501, 500, 1) == ["offered", "accepted", "offered"]
    world.now = 3 * DAY
    assert taken(world, *[1] * 6) == ["accepted"] * 5 + ["offered"], "so many files, however small"
    assert ben.answers.counters == {"offers too many to take unasked": 6}


def test_the_disk_is_never_filled_unasked(world: World) -> None:
    """At most half of what is left, all that was accepted and has yet to come included."""
    ben = world.ben
    ben.policy, ben.room = True, 1000
    assert taken(world, 501, 300) == ["offered", "accepted"]
    assert taken(world, 201, 200, key="dora") == ["offered", "accepted"]
    ben.room = 0
    assert taken(world, 1, key="fay") == ["offered"]
    assert ben.answers.counters == {"offers too large to take unasked": 3}
