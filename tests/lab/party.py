"""A mediator, relays and members on the lab's Internet, each a real process."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.lab.network import Lab, Namespace, until
from tests.lab.sites import ONE_WAY, Site, World
from tests.lab.userlan_process import Mediator, Member, Relay, wait_for_line

MEDIATOR = ("44.0.0.1", "44.0.0.2", "2a00::1")
PORTS = (41414, 443)
"""Where mediator and relays listen: of two ports the second one passes where only HTTPS does."""
PATIENCE = 60.0
"""Seconds in which a pair must have met: many processes share two cores."""


class Party:
    """Everything of one test. ``relays``: how many there are at the start."""

    def __init__(self, lab: Lab, folder: Path, relays: int = 1, one_way: float = ONE_WAY) -> None:
        self.folder = folder
        self.world = World(lab, one_way)
        self.members: dict[str, Member] = {}
        site = self.world.public("mediator", MEDIATOR)
        hosts = [f"[{host}]" if ":" in host else host for host in MEDIATOR]
        self.mediator = Mediator(site.host, folder / "mediator", *(f"{host}:{port}" for host in hosts for port in PORTS))
        self.relays = [self.relay(number) for number in range(1, relays + 1)]

    def relay(self, number: int, one_way: float | None = None) -> Relay:
        """Another relay at 44.0.0.10 and following; ``one_way``: seconds to any site."""
        host = f"44.0.0.{9 + number}"
        site = self.world.public(f"relay{number}", (host,), one_way)
        return Relay(site.host, self.folder / f"relay{number}", self.mediator.url, *(f"{host}:{port}" for port in PORTS))

    def member(self, name: str, host: Namespace, config: str = "") -> Member:
        """A node that starts in a computer; :meth:`ready` waits for it."""
        member = self.members[name] = Member(host, self.folder / name, name, config)
        member.up("--mediator", self.mediator.url, wait=False)
        return member

    def ready(self) -> None:
        """Until all members run and have a link to the mediator."""
        for member in self.members.values():
            assert member.process is not None
            wait_for_line(member.log, "ready", member.process, patience=60)

    def network(self, name: str, members: Sequence[Member]) -> None:
        """All of them join one network, at the same moment but for the first one."""
        first, *others = members
        invite = first.call("create", network=name, password=None)["invite"]
        with ThreadPoolExecutor(len(others)) as pool:
            list(pool.map(lambda member: member.call("join", invite=invite, password=None), others))

    def met(self, one: Member, other: Member, states: Sequence[str] = ("direct",), patience: float = PATIENCE) -> dict[str, Any]:
        """Until both see each other in one of these states; how the first one sees the other."""
        for here, there in ((other, one), (one, other)):
            found = until(lambda here=here, there=there: sees(here, there, states), patience, f"{here.name} sees {there.name} {states}")
        result: dict[str, Any] = found
        return result


def sees(one: Member, other: Member, states: Sequence[str]) -> dict[str, Any] | None:
    """How a member sees another one, if in one of these states."""
    peer = next((peer for peer in one.call("status")["peers"] if peer["name"] == other.name), None)
    return peer if peer is not None and peer["state"] in states else None


def couple(lab: Lab, folder: Path, one: Any, two: Any, relays: int = 1) -> tuple[Party, Site, Site, Member, Member]:
    """anna behind a NAT of kind ``one`` and ben behind one of kind ``two``, in one network."""
    party = Party(lab, folder, relays)
    first, second = party.world.sites([one, two])
    anna, ben = party.member("anna", first.host), party.member("ben", second.host)
    party.ready()
    party.network("home", [anna, ben])
    return party, first, second, anna, ben
