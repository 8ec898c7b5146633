"""Who may be on a roster where a network's owner approves new members, and who is listed without that.

::

    the owner's signed document names keys ──▶ obey ──▶ from now on nobody else is on the roster, whatever a mediator says
    a mediator's claim on another key ──▶ withhold ──▶ no member here: no name, no address, no tunnel; the claim waits
    a newer document names that key ──▶ obey gives the claim back, to be judged as any other

Whoever waits for an owner's word has the invite, and so the network's secret: that a tunnel comes up says nothing of the owner's word. A
mediator keeps the members' list, so that it alone could let such a one in, were the word not signed.

That a network needs approval at all is known from the first such document on, and remembered: a mediator cannot take it back. The owner
needs none, and a node's own entry is always shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from userlan.lan.members import MemberClaim

#: Claims that wait, of one network: as many as one has members.
MAX_WITHHELD = 1024
#: Claims that wait, of all networks: as many as there are memberships on a roster, and about as large.
MAX_WITHHELD_IN_ALL = 16_384


class Approvals:
    """Of all of one node's networks."""

    def __init__(self, own_key: bytes) -> None:
        self._own_key = own_key
        self._approved: dict[str, frozenset[bytes]] = {}
        self._withheld: dict[str, dict[bytes, MemberClaim]] = {}

    def needed(self, network: str) -> bool:
        """Whether its owner has said, by a signed document, who its members are."""
        return network in self._approved

    def allows(self, network: str, key: bytes, owner: bytes) -> bool:
        """Whether a key may be on the roster."""
        approved = self._approved.get(network)
        return approved is None or key in approved or key in (owner, self._own_key)

    def confirms(self, network: str, key: bytes) -> bool:
        """Whether the owner has approved a key, this node's own, too; True where no approval is needed."""
        return key in self._approved.get(network, (key,))

    def withheld(self, network: str) -> Mapping[bytes, MemberClaim]:
        """Whom the mediator lists and the owner has not approved, by key."""
        return self._withheld.get(network, {})

    def obey(self, network: str, approved: Iterable[bytes]) -> list[MemberClaim]:
        """The owner's word, which replaces what it said before; the claims that are good now. The caller has verified the document."""
        self._approved[network] = allowed = frozenset(approved)
        waiting = self._withheld.get(network, {})
        good = [key for key in waiting if key in allowed]
        return [waiting.pop(key) for key in good]

    def withhold(self, network: str, claim: MemberClaim) -> None:
        """Keep a claim until the owner's word comes; beyond the caps it is the mediator that has to say it again."""
        waiting = self._withheld.setdefault(network, {})
        if claim.key in waiting or (len(waiting) < MAX_WITHHELD and sum(map(len, self._withheld.values())) < MAX_WITHHELD_IN_ALL):
            waiting[claim.key] = claim

    def release(self, network: str, keys: Iterable[bytes]) -> None:
        """These are listed no more."""
        waiting = self._withheld.get(network, {})
        for key in keys:
            waiting.pop(key, None)

    def unlist(self, network: str) -> None:
        """Nobody is listed any more; the owner's word stands."""
        self._withheld.pop(network, None)

    def forget(self, network: str) -> None:
        """The node has left the network."""
        self.unlist(network)
        self._approved.pop(network, None)
