"""Networks whose owner approves new members: for which of them this node waits, and who waits for this node's word.

::

    join ──▶ Applied, Refused(waiting) ──▶ waiting ──NetworkState, or Done──▶ a member, by itself
                                            │  ▲ Join, in each session; the secret is in the keyring, not yet confirmed
                                            └──┴─ApplicationEnded, or Refused(denied …)──▶ refused: told why, all forgotten

The application itself is the mediator's: it stands while both ends are away. What this node remembers is the secret that it proved, so that
it is a member at the owner's word, without being asked for the password again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import attrs

from userlan.control import refusals
from userlan.control.mediation import printable
from userlan.control.messages import ApplicantState, Applied
from userlan.lan.labels import check_nick
from userlan.lan.roster import Roster
from userlan.lan.secrets import NetworkSecret
from userlan.node.events import ApplicantCame, ApplicantGone
from userlan.node.keyring import Keyring
from userlan.node.memory import SavedApplication

MAX_REFUSED = 16
"""Refusals that are shown: what people asked for lately."""
ENDING = frozenset((refusals.DENIED, refusals.EVICTED, refusals.WRONG_SECRET))
"""What ends an application; all else (a mediator without its directory, a full network) may pass, and it is asked for again."""
NOT_YET = frozenset((refusals.NO_SUCH_NETWORK, refusals.TOO_MANY_ATTEMPTS))
"""What a mediator without its directory says until the owner is there, and to whoever asks it for several such networks."""


@attrs.frozen
class Waiting:
    """An application of this node's: at which mediator, since when (wall-clock seconds, by the mediator), and the owner's name."""

    mediator: bytes
    since: float = 0.0
    owner: str = ""


@attrs.frozen
class Applicant:
    """Somebody who waits for this node's word; ``since``: wall-clock seconds, by the mediator."""

    key: bytes
    name: str
    since: float


class Applications:
    """Both sides of one node, by network. ``waiting``: no more than a node's networks (the roster's cap), ``applicants``: no more than one
    message's. ``refused``: why the last ones were. ``former``: who was a member of an own network before a mediator lost it with its
    directory, and is taken in again; of this run alone."""

    def __init__(self) -> None:
        self.waiting: dict[str, Waiting] = {}
        self.applicants: dict[str, dict[bytes, Applicant]] = {}
        self.former: dict[str, frozenset[bytes]] = {}
        self.refused: OrderedDict[str, str] = OrderedDict()
        self._said: dict[str, Applied] = {}

    # --- this node applies -------------------------------------------------------------------------------------------

    def said(self, message: Applied) -> None:
        """A mediator tells of an application that this node has just made; the end of its request follows."""
        self._said[message.network] = message

    def stands(self, network: str, mediator: bytes) -> Waiting:
        """The request has ended: it is waited for the owner."""
        message = self._said.pop(network, None)
        since, owner = (message.since, _name(message.owner_name)) if message is not None else (0.0, "")
        self.refused.pop(network, None)
        self.waiting[network] = Waiting(mediator, since if 0 < since < float("inf") else 0.0, owner)
        return self.waiting[network]

    def at(self, mediator: bytes, network: str) -> bool:
        """Whether it is this mediator that keeps an application."""
        waiting = self.waiting.get(network)
        return waiting is not None and waiting.mediator == mediator

    def refuse(self, network: str, reason: str) -> None:
        """It was not approved."""
        self.refused[network] = reason
        self.refused.move_to_end(network)
        while len(self.refused) > MAX_REFUSED:
            self.refused.popitem(last=False)

    def forget(self, network: str) -> None:
        """Nothing waits any more, on either side. Idempotent."""
        self.waiting.pop(network, None)
        self.applicants.pop(network, None)
        self.former.pop(network, None)
        self._said.pop(network, None)

    def save(self, keyring: Keyring) -> dict[str, SavedApplication]:
        """For the node's memory."""
        held = {network: keyring.get(network) for network in self.waiting}
        return {
            network: SavedApplication(waiting.mediator, one.secrets[0].value, waiting.since, waiting.owner)
            for network, waiting in self.waiting.items()
            if (one := held[network]) is not None
        }

    def restore(self, saved: Mapping[str, SavedApplication], keyring: Keyring, roster: Roster) -> None:
        """From the node's memory; what does not read is left out."""
        for network, one in saved.items():
            if network in keyring:
                continue
            try:
                secret = NetworkSecret(one.secret)
                roster.expect(network)
            except ValueError:
                continue
            keyring.put(network, one.mediator, secret, confirmed=False)
            self.waiting[network] = Waiting(one.mediator, one.since, _name(one.owner))

    # --- this node is the owner --------------------------------------------------------------------------------------

    def are(self, network: str, applicants: tuple[ApplicantState, ...]) -> list[ApplicantCame | ApplicantGone]:
        """All that wait for this node's word, as the mediator has it; who is new, and who is gone."""
        before, now = self.applicants.get(network, {}), {}
        for one in applicants:
            name = _name(one.name)
            if name:
                now[one.key] = Applicant(one.key, name, one.since)
        self.applicants[network] = now
        came = [ApplicantCame(network, key, one.name) for key, one in now.items() if key not in before]
        return [*came, *(ApplicantGone(network, key) for key in before if key not in now)]


def _name(said: str) -> str:
    """A name as the rules have it, or none."""
    try:
        return check_nick(printable(said))
    except ValueError:
        return ""
