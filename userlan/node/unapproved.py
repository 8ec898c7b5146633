"""Members that a mediator lists and a network's owner has not approved (``userlan.lan.approvals``): said once, if it lasts.

A member that was away hears the list before the owner's newest document, so that whoever was approved meanwhile is withheld for a moment.
"""

from __future__ import annotations

from math import inf

from userlan.control.mediation import printable
from userlan.lan.roster import Roster
from userlan.node.events import MemberUnapproved

GRACE = 10.0
"""Seconds in which the owner's document may come: as long as members talk about it at most."""
INTERVAL = 1.0
"""Seconds between two looks: a mediator can list thousands, and a node has much to do in a second."""
MAX_SAID = 64
"""Members of all networks that are told of in one run. A mediator can make up as many keys as it likes; the status counts them all."""


class Unapproved:
    """Of one node's networks."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._since: dict[tuple[str, bytes], float] = {}
        """When each was withheld first; the roster's caps bound it."""
        self._said: set[tuple[str, bytes]] = set()
        self._next = -inf

    def due(self, now: float) -> list[MemberUnapproved]:
        """Those who have been withheld for long."""
        if now < self._next:
            return []
        self._next = now + INTERVAL
        listed = self._roster.approvals.withheld
        withheld = {(network, key): one for network in self._roster.networks for key, one in listed(network).items()}
        self._since = {who: self._since.get(who, now) for who in withheld}
        late = [who for who, since in self._since.items() if now - since >= GRACE and who not in self._said]
        told = late[: MAX_SAID - len(self._said)]
        self._said.update(told)
        return [MemberUnapproved(network, key, printable(withheld[network, key].name)) for network, key in told]
