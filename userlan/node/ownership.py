"""What the owner of a network may do with it: evict, give it another secret, lock it, approve and deny.

::

    evict, password ──▶ a signed document (``userlan.lan.eviction``), obeyed here at once ──▶ mediator, members
    a member proves itself ──▶ reseal: the same secret once more, for that member, too
    approve ──▶ a document that names all approved keys, too, then ──▶ the mediator, which lists the member; by the list alone nobody is one
    lock, deny ──▶ the mediator, which lets joiners apply or not
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from userlan.control.messages import Applicants, Approve, Deny, Evict, Lock
from userlan.lan.eviction import MAX_APPROVED, NOBODY, Eviction
from userlan.lan.roster import Network, Roster
from userlan.lan.secrets import NetworkSecret
from userlan.node.applications import Applications
from userlan.node.events import ApplicantCame, ApplicantGone
from userlan.node.keyring import Held, Keyring
from userlan.node.requests import Asked, RefusalError, Requests


class Asking(Protocol):
    """What is needed of the node's membership."""

    requests: Requests
    applications: Applications

    def ask(self, message: Asked, mediator: bytes, secret: NetworkSecret | None, now: float, internal: bool = False) -> int:
        """A request to a mediator; its number. ``internal``: nobody waits for it, and only the newest of a kind counts."""

    def apply_eviction(self, eviction: Eviction, now: float) -> bool:
        """Obey a document; whether it was news."""

    def known(self) -> str:
        """In which networks this node is, for people."""


class Ownership:
    """Of one node's networks. What cannot be done raises RefusalError."""

    def __init__(
        self, public_key: bytes, roster: Roster, keyring: Keyring, entropy: Callable[[int], bytes], asking: Asking
    ) -> None:
        self._public_key = public_key
        self._roster = roster
        self._keyring = keyring
        self._entropy = entropy
        self._asking = asking

    def evict(self, network: str, key: bytes, now: float) -> int:
        """Put a member out of a network that this node owns: obeyed here at once, told to everybody.

        The new secret is sealed to proven members only, those who showed that they know the old one: a mediator can list keys of its
        own. The others get it when they prove themselves (``reseal``).
        """
        held, known = self._known(network, "evict")
        if key == self._public_key:
            raise RefusalError(f"you own {network!r}: to end your membership, use `userlan leave {network}`")
        if key not in known.members:
            raise RefusalError(f"no such member in {network!r}")
        secret = NetworkSecret.generate(self._entropy)
        return self._rotate(network, {*self._roster.evicted(network), key}, secret, held.mediator, now, internal=False)

    def password(self, network: str, secret: NetworkSecret, now: float) -> int:
        """Give a network that this node owns another secret, as an eviction does, without anybody going: earlier invites are void."""
        held, _ = self._known(network, "change the password")
        if secret in held.secrets:
            raise RefusalError(f"{network!r} has, or had, this password: choose another one")
        evicted = set(self._roster.evicted(network)) or {NOBODY}
        return self._rotate(network, evicted, secret, held.mediator, now, internal=False)

    def lock(self, network: str, locked: bool, now: float) -> int:
        """Close a network that this node owns to new members, or open it."""
        held, _ = self._known(network, "lock and unlock it")
        return self._asking.ask(Lock(self._asking.requests.next_number(), network, locked), held.mediator, None, now)

    def judge(self, network: str, key: bytes, approved: bool, now: float) -> int:
        """Take an applicant in, or deny it; or take in whom the mediator lists without that."""
        held, _ = self._known(network, "approve and deny")
        listed = approved and key in self._roster.approvals.withheld(network)
        if key not in self._asking.applications.applicants.get(network, {}) and not listed:
            raise RefusalError(f"nobody with that key waits to join {network!r}: see `userlan applicants`")
        if approved:
            self.approve(network, (key,), now)
        kind = Approve if approved else Deny
        return self._asking.ask(kind(self._asking.requests.next_number(), network, key), held.mediator, None, now)

    def approve(self, network: str, keys: Iterable[bytes], now: float) -> None:
        """Sign that these, beside all so far, are members of a network of which the owner approves them, and that nobody else is."""
        held = self._keyring.get(network)
        if held is None:
            return
        before, members = held.approved, self._roster.networks[network].members
        approved = {*(before or ()), *keys, self._public_key} - self._roster.evicted(network)
        if len(approved) > MAX_APPROVED:        # some have left since
            approved = {key for key in approved if key in members or key in keys}
        if len(approved) > MAX_APPROVED:
            raise RefusalError(f"{network!r} has {MAX_APPROVED} members, and takes no more")
        if before is None or not approved <= before:
            evicted = set(self._roster.evicted(network)) or {NOBODY}
            self._rotate(network, evicted, held.secrets[0], held.mediator, now, internal=True, approved=frozenset(approved))

    def start(self, now: float) -> None:
        """Networks from before approvals were signed: who was a member when this node ran last is approved, before a mediator speaks."""
        for network, known in tuple(self._roster.networks.items()):
            held = self._keyring.get(network)
            if held is not None and held.approved is None and known.approval and known.owner == self._public_key:
                others = [key for key in known.members if key != self._public_key]
                try:
                    self.approve(network, others[: MAX_APPROVED - 1], now)
                except ValueError:      # it stays as it was, rather than the node does not start
                    self._roster.counters["approvals-unsigned"] += 1

    def made(self, network: str, approval: bool, now: float) -> None:
        """A mediator has made a network for this node, or made it again: it has no document of it yet."""
        held = self._keyring.get(network)
        if held is None or network not in self._roster.networks:
            return
        if held.eviction is not None:
            self._tell(network, held.eviction, held.mediator, now)
        elif approval:
            self.approve(network, (), now)

    def reseal(self, key: bytes, now: float) -> None:
        """A member proved itself: where this node owns a network whose newest secret was not sealed to that member, it is now."""
        for network in self._keyring:
            held, known = self._keyring.get(network), self._roster.networks.get(network)
            if held is None or known is None or held.eviction is None or known.owner != self._public_key:
                continue
            if not self._keyring.replaced(network):     # all have it
                continue
            if key in held.proven and key in known.members and key not in held.eviction.sealed and key not in held.eviction.evicted:
                self._rotate(network, set(held.eviction.evicted), held.secrets[0], held.mediator, now, internal=True)

    def applicants(self, mediator: bytes, message: Applicants, now: float) -> list[ApplicantCame | ApplicantGone]:
        """Who waits for this node's word. Those whom it has given before, and the mediator has lost, it is given without asking anybody."""
        network, applications = message.network, self._asking.applications
        former = applications.former.get(network, frozenset()) - self._roster.evicted(network)
        for one in message.applicants:
            if one.key in former:
                with suppress(ValueError):      # too many requests at once: the next message names it again
                    self._asking.ask(Approve(self._asking.requests.next_number(), network, one.key), mediator, None, now)
        return applications.are(network, tuple(one for one in message.applicants if one.key not in former))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _rotate(
        self,
        network: str,
        evicted: set[bytes],
        secret: NetworkSecret,
        mediator: bytes,
        now: float,
        *,
        internal: bool,
        approved: frozenset[bytes] | None = None,
    ) -> int:
        members, held = self._roster.networks[network].members, self._keyring.get(network)
        proven = held.proven if held is not None else set()
        sealed = [key for key in members if key not in evicted and (key in proven or key == self._public_key)]
        if held is not None and approved is None:
            approved = held.approved
        if held is not None and held.secrets == [secret]:       # it was never replaced: all have it
            sealed = []
        document = self._keyring.make_eviction(network, evicted, sealed, secret, self._entropy, approved)
        self._asking.apply_eviction(document, now)
        return self._tell(network, document, mediator, now, internal)

    def _tell(self, network: str, document: Eviction, mediator: bytes, now: float, internal: bool = True) -> int:
        return self._asking.ask(Evict(self._asking.requests.next_number(), network, document.to_bytes()), mediator, None, now, internal)

    def _known(self, network: str, what: str) -> tuple[Held, Network]:
        """A network in which this node has the say; RefusalError where it has not, and who may do ``what``."""
        held, known = self._keyring.get(network), self._roster.networks.get(network)
        if held is None or known is None:
            raise RefusalError(f"this node is in no network {network!r}{self._asking.known()}")
        if known.owner != self._public_key:
            owner = self._roster.name_of(known.owner) or "somebody unknown"
            raise RefusalError(f"only the owner of {network!r} can {what}: that is {owner}")
        return held, known
