"""The LAN's names as the resolver sees them: the real ones, over a roster without a node."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from tests.lan.test_roster import CARL, OWN, filled, member, state
from userlan.driver.lan import Lan
from userlan.lan.roster import Roster
from userlan.node.lookup import Lookup


class NoEngine:
    """Of a runner, ``Lan`` needs the reactor alone."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor


def named_lan(reactor: Any = None, roster: Roster | None = None) -> Lan:
    """``me`` in the networks home (anna, ben) and work (benjamin, who is ben, and carl)."""
    runner: Any = NoEngine(reactor or Clock())
    return Lan(runner, Lookup(roster or filled(), "me"))


def ambiguous_lan() -> Lan:
    """Anna in home, and carl, who is called anna in work."""
    roster = filled()
    roster.apply_network(state([member(OWN), member(CARL, "anna")], "work"))
    return named_lan(roster=roster)
