"""Whole nodes behind one NAT that counts, and a whole mediator: they come at one moment, and none spoils another's prediction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.lan import MEDIATOR_HOST, PORT
from tests.relay.lan import RelayedLan
from tests.sim.link import PERFECT, LinkProfile
from tests.sim.nat import Nat
from tests.sim.nat_behaviour import CHUNKED_SYMMETRIC, HOME_ROUTER, INCREMENTAL_SYMMETRIC, NatBehaviour
from userlan.node.node import Node

LINE = LinkProfile(delay=0.020, jitter=0.002)
"""Of each router: half of the way between two members."""
SERVER_LINE = LinkProfile(delay=0.010, jitter=0.001)
CLASSIFYING = 6.0
"""Seconds in which all have seen what their NATs do."""


class Household:
    """Members behind one box, one outside of it behind another, and servers."""

    def __init__(self, folder: Path, box: NatBehaviour, number: int) -> None:
        self.lan = RelayedLan(folder)
        mediator = self.lan.mediator
        mediator.listening(0, MEDIATOR_HOST, PORT)
        self.lan.mediator_attachment.listen(PORT + 1, 1)
        mediator.listening(1, MEDIATOR_HOST, PORT + 1)
        self.lan.relay("relay", "203.0.113.9")
        for attachment in (self.lan.mediator_attachment, self.lan.relays["relay"][1]):
            attachment.up.profile = attachment.down.profile = SERVER_LINE
        self.lan.world.run(2.0)
        inner = Nat(self.lan.internet, "198.51.100.7", LINE, box).inside
        other = Nat(self.lan.internet, "198.51.101.7", LINE, HOME_ROUTER).inside
        self.inside = [self.lan.node(f"in{n}", inner, f"192.168.1.{10 + n}", profile=PERFECT) for n in range(number)]
        self.outside = self.lan.node("out", other, "192.168.2.2", profile=PERFECT)
        self.lan.ready(*self.inside, self.outside)
        self.lan.world.run(CLASSIFYING)

    def join(self) -> None:
        """All at one moment."""
        secret = self.lan.network(self.outside)
        for node in self.inside:
            node.join("home", self.lan.mediator.public_key, secret, self.lan.world.now)

    def direct(self, node: Node) -> bool:
        """Whether both ends show the pair as direct."""
        return all(
            two.key in one.peers.links and one.peers.shown(two.key)[0] == "direct"
            for one, two in ((node, self.outside), (self.outside, node))
        )


@pytest.fixture
def households(tmp_path: Path) -> Iterator[list[Household]]:
    made: list[Household] = []
    yield made
    for household in made:
        household.lan.directory.close()


@pytest.mark.parametrize(
    ("box", "number"), [(INCREMENTAL_SYMMETRIC, 2), (INCREMENTAL_SYMMETRIC, 6), (CHUNKED_SYMMETRIC, 3)], ids=["two", "six", "block"]
)
def test_those_who_join_at_one_moment_all_meet_at_the_first_try(
    tmp_path: Path, households: list[Household], box: NatBehaviour, number: int
) -> None:
    household = Household(tmp_path, box, number)
    households.append(household)
    household.join()
    lan = household.lan
    assert lan.world.reaches(lambda: all(household.direct(node) for node in household.inside), 1.0 + number)
    lan.world.run(1.0)
    found = lan.mediator.status()["counters"]
    assert isinstance(found, dict)
    assert found["measurements"] == number
    assert found["locks-waited-for"] >= number - 1
    assert "failed" not in found
    assert "measurements-missed" not in found
