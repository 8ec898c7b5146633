"""The node's networks: requests to mediators, their answers, the roster, evictions.

What a mediator says is a claim. A network's owner is believed only where somebody who knows the network's secret vouches for it
(``attestation``), and the first one believed stays; an eviction is obeyed only with the owner's signature, whoever
brings it. A network that the mediator lost (its directory is gone) is joined, or by its owner created, again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from userlan.control import refusals
from userlan.control.mediation import printable
from userlan.control.messages import (
    Applicants,
    ApplicationEnded,
    Applied,
    Approve,
    Candidate,
    Challenge,
    Create,
    CreateWithApproval,
    Deny,
    Done,
    Evict,
    EvictionNotice,
    Join,
    Leave,
    MemberChanged,
    MemberGone,
    Message,
    NetworkGone,
    NetworkLocked,
    NetworkState,
    Nick,
    Observed,
    Prove,
    Refused,
    Welcome,
)
from userlan.control.vocabulary import FromMediator
from userlan.lan.eviction import Eviction
from userlan.lan.roster import Changes, Roster
from userlan.lan.secrets import NetworkSecret
from userlan.node.applications import ENDING, NOT_YET, Applications
from userlan.node.departures import Departures
from userlan.node.events import Admitted, ApplicationRefused, MemoryChanged, NetworkLost, NodeEvent, RequestDone, RequestRefused
from userlan.node.keyring import Keyring
from userlan.node.ownership import Ownership
from userlan.node.requests import DOUBTFUL, HOLDING, NEVER, PATIENCE, SOON, Asked, Pending, RefusalError, Requests
from userlan.node.unapproved import Unapproved
from userlan.wire.endpoint import unmapped


class Effects(Protocol):
    """What membership needs done by the node: lower parts follow the roster, messages go to mediators."""

    def roster_changed(self, changes: Changes, now: float) -> None: ...
    def secrets_changed(self, network: str) -> None: ...
    def send_to_mediator(self, mediator: bytes, message: Message, now: float) -> None: ...
    def eviction_learnt(self, network: str, now: float) -> None: ...


class Membership:
    """The networks of one node. ``events`` are the node's."""

    def __init__(self, public_key: bytes, roster: Roster, keyring: Keyring, entropy: Callable[[int], bytes]) -> None:
        self.requests = Requests()
        self.applications = Applications()
        self.departures = Departures()
        self.observed: dict[bytes, str] = {}
        self.clocks: dict[bytes, float] = {}
        """What a mediator's clock adds to monotonic seconds, when it welcomed this node; seconds."""
        self._public_key = public_key
        self._roster = roster
        self._keyring = keyring
        self._entropy = entropy
        self._events: list[NodeEvent] = []
        self.owner = Ownership(public_key, roster, keyring, entropy, self)
        self.unapproved = Unapproved(roster)

    # --- what people ask for -----------------------------------------------------------------------------------------

    def create(self, network: str, mediator: bytes, secret: NetworkSecret, now: float, approval: bool = False) -> int:
        """Make a network with this node as its owner, who approves new members or not. RefusalError where this node is in one of that name,
        or waits for one."""
        if network in self.applications.waiting:
            raise RefusalError(f"this node waits to join {network!r}: `userlan leave {network}` ends that")
        self._new(network, mediator, secret, making=True)
        return self.ask(self._create_message(network, secret, approval), mediator, secret, now)

    def join(self, network: str, mediator: bytes, secret: NetworkSecret, now: float) -> int:
        """Become a member by proof of the secret. RefusalError where this node is in one of that name at another mediator.

        An attempt by the same secret that has no answer yet is ended: a mediator knows one challenge of a network at a time.
        """
        self._new(network, mediator, secret)
        for number in self.requests.concerning(mediator, network, Join):
            earlier = self.requests.pop(number)
            if earlier is not None and not earlier.internal:
                self._events.append(RequestRefused(number, "superseded", f"this node was asked to join {network} once more meanwhile"))
        for number in self.requests.concerning(mediator, network, Leave):    # what was not told yet is not told any more
            self._later(number)
            self.requests.pop(number)
        return self.ask(Join(self.requests.next_number(), network), mediator, secret, now)

    def leave(self, network: str, now: float) -> int:
        """End this node's membership, or its application: here at once; the mediator is told as soon as it is reached (``departures``)."""
        held = self._keyring.get(network)
        if held is None:
            raise RefusalError(f"this node is in no network {network!r}{self.known()}")
        number = self.ask(Leave(self.requests.next_number(), network), held.mediator, None, now)
        for joining in self.requests.concerning(held.mediator, network, Join | Create):
            self._refuse(joining, "left", f"this node has left {network} meanwhile", now)
        self.departures.add(held.mediator, network)
        self._forget(network, now)
        return number

    def nick(self, name: str, mediator: bytes, now: float) -> int:
        """Change this node's nickname."""
        return self.ask(Nick(self.requests.next_number(), name), mediator, None, now)

    def give_up(self, mediator: bytes, code: str, text: str, now: float) -> None:
        """The mediator cannot be reached: what people wait for and needs it is refused (what is the node's own waits on)."""
        for number in self.requests.of(mediator):
            self._unanswered(number, code, text, now)

    def doubtful(self, number: int, reason: str, now: float) -> None:
        """The mediator that somebody waits for did not answer lately: its word is not waited for, or for one try alone."""
        pending = self._in_need(number)
        if pending is not None:
            pending.reason, pending.give_up = reason, min(pending.give_up, now + DOUBTFUL)

    def tick(self, now: float) -> None:
        """Requests whose time is over."""
        for number in self.requests.expired(now):
            self._unanswered(number, "unreachable", "", now)
        self._events += self.unapproved.due(now)

    def events(self) -> list[NodeEvent]:
        """Drained."""
        events, self._events = self._events, []
        return events

    # --- what mediators say ------------------------------------------------------------------------------------------

    def received(self, mediator: bytes, message: FromMediator, effects: Effects, now: float) -> None:
        """One message of a mediator's link (introductions are the peer table's)."""
        self._effects = effects
        match message:
            case Welcome():
                self._welcome(mediator, message, now)
            case NetworkState():
                self._network_state(mediator, message, now)
            case MemberChanged() if self._of(mediator, message.network):
                self._follow(self._roster.apply_member(message.network, message.member), now)
            case NetworkLocked() if self._of(mediator, message.network):
                self._follow(self._roster.set_locked(message.network, message.locked), now)
            case Observed():
                self._observed(mediator, message.observed)
            case MemberGone() if self._of(mediator, message.network):
                self._follow(self._roster.remove_member(message.network, message.key), now)
            case Applied() if self._asked_to_join(mediator, message.network):
                self.applications.said(message)
            case ApplicationEnded() if self.applications.at(mediator, message.network):
                self._application_ended(message.network, printable(message.text) or message.code, now)
            case Applicants() if self._of(mediator, message.network) and self._owns(message.network):
                self._events += self.owner.applicants(mediator, message, now)
                self.link_ready(mediator, effects, now)
            case NetworkGone() if self._of(mediator, message.network):
                self._network_gone(message, now)
            case EvictionNotice() if self._of(mediator, message.network):
                self.eviction_notice(message, effects, now)
            case Challenge():
                self._challenge(mediator, message, now)
            case Done():
                self._done(mediator, message, now)
            case Refused():
                self._refused(mediator, message, now)

    def eviction_notice(self, message: EvictionNotice, effects: Effects, now: float) -> bool:
        """An eviction document, from a mediator or a peer; True when it was news."""
        self._effects = effects
        try:
            eviction = Eviction.from_bytes(message.document)
        except ValueError:
            self._roster.counters["eviction-malformed"] += 1
            return False
        return eviction.network == message.network and self.apply_eviction(eviction, now)

    def introduces(self, mediator: bytes, key: bytes) -> bool:
        """Whether a mediator has a say in the pair with a peer: it keeps a network that both are in."""
        peer = self._roster.peers.get(key)
        return peer is not None and any(self._of(mediator, network) for network in peer.networks)

    def link_ready(self, mediator: bytes, effects: Effects, now: float) -> None:
        """A link is up: send what waited for it."""
        for message in self.requests.unsent(mediator):
            effects.send_to_mediator(mediator, message, now)

    # --- inside ------------------------------------------------------------------------------------------------------

    _effects: Effects

    def ask(self, message: Asked, mediator: bytes, secret: NetworkSecret | None, now: float, internal: bool = False) -> int:
        """A request to a mediator; its number. ``internal``: nobody waits for it, and only the newest of a kind counts."""
        patience = SOON if isinstance(message, HOLDING) else PATIENCE
        pending = Pending(message, mediator, NEVER if internal else now + patience, secret, internal=internal)
        if internal:
            self._replace(pending)
        else:
            self.requests.add(pending)
        return message.request

    def _replace(self, pending: Pending) -> None:
        """A request of the node's own takes the place of an older one of its kind, however often a mediator comes back."""
        self.requests.supersede(pending)
        try:
            self.requests.add(pending)
        except ValueError:
            self._roster.counters["requests-excess"] += 1

    def _later(self, number: int) -> None:
        """What holds without the mediator's word is done for whoever waits; the mediator is told as soon as it is reached."""
        pending = self.requests.get(number)
        if pending is None or pending.internal:
            return
        self.requests.supersede(pending)        # a nickname, too: the greeting that is under way may have the one before
        pending.internal, pending.give_up = True, NEVER
        self._events.append(RequestDone(number, pending.network, "", later=True))

    def _new(self, network: str, mediator: bytes, secret: NetworkSecret, making: bool = False) -> None:
        held = self._keyring.get(network)
        if held is not None and (held.confirmed or held.mediator != mediator):
            known = self._roster.networks.get(network)
            if known is not None and known.owner == self._public_key:
                raise RefusalError(f"you made the network {network!r}: `userlan invite {network}` prints its invite")
            raise RefusalError(f"this node is in a network {network!r} already: leave it first")
        for number in self.requests.concerning(mediator, network, Join | Create):       # whose end would be taken for this one's
            pending = self.requests.get(number)
            if pending is not None and not pending.internal and (making or pending.secret != secret or isinstance(pending.message, Create)):
                raise RefusalError(f"{network!r} is just being made or joined: wait for that to end, or `userlan leave {network}`")
        self._roster.expect(network)
        self.applications.refused.pop(network, None)
        if network not in self.applications.waiting:    # until another secret is proved, the one that was is good
            self._keyring.put(network, mediator, secret, confirmed=False)

    def _create_message(self, network: str, secret: NetworkSecret, approval: bool) -> Create:
        public = self._keyring.signing.public
        attestation = secret.attest_owner(network, self._public_key, public)
        kind = CreateWithApproval if approval else Create
        return kind(self.requests.next_number(), network, secret.admission_public, public, attestation)

    def _owns(self, network: str) -> bool:
        known = self._roster.networks.get(network)
        return known is not None and known.owner == self._public_key

    def _asked_to_join(self, mediator: bytes, network: str) -> bool:
        return bool(self.requests.concerning(mediator, network, Join))

    def known(self) -> str:
        """In which networks this node is, for people."""
        names = ", ".join(sorted(self._keyring))
        return f" (it is in: {names})" if names else " (it is in none)"

    def _of(self, mediator: bytes, network: str) -> bool:
        held = self._keyring.get(network)
        return held is not None and held.mediator == mediator

    def _follow(self, changes: Changes, now: float) -> None:
        if changes.any:
            self._effects.roster_changed(changes, now)
            self._changed()

    def _changed(self) -> None:
        if not self._events or not isinstance(self._events[-1], MemoryChanged):
            self._events.append(MemoryChanged())

    def _observed(self, mediator: bytes, seen: Candidate) -> None:
        try:
            self.observed[mediator] = unmapped(seen.host)
        except ValueError:
            self._roster.counters["observed-malformed"] += 1

    def _welcome(self, mediator: bytes, message: Welcome, now: float) -> None:
        self._observed(mediator, message.observed)
        if message.wall > 0:
            self.clocks[mediator] = message.wall - now
        for network in self._keyring:
            held = self._keyring.get(network)
            if held is None or held.mediator != mediator or not (held.confirmed or network in self.applications.waiting):
                continue
            known = self._roster.networks.get(network)
            if held.eviction is not None and known is not None and known.owner == self._public_key:
                self.ask(Evict(self.requests.next_number(), network, held.eviction.to_bytes()), mediator, None, now, internal=True)
            if network not in message.networks:
                self.ask(Join(self.requests.next_number(), network), mediator, held.secrets[0], now, internal=True)
        for network in self.departures.of(mediator):
            if not self._of(mediator, network):     # else it is joined again just now
                self.ask(Leave(self.requests.next_number(), network), mediator, None, now, internal=True)

    def _network_state(self, mediator: bytes, message: NetworkState, now: float) -> None:
        if not self._of(mediator, message.network):
            return
        known = self._roster.networks.get(message.network)
        trusted = known is not None and known.owner_signing_public == message.owner_signing_public
        if not trusted and not self._keyring.attested(
            message.network, message.owner, message.owner_signing_public, message.attestation
        ):
            self._roster.counters["owner-unattested"] += 1
            return
        self._follow(self._roster.apply_network(message), now)
        self._admitted(mediator, message.network)

    def _admitted(self, mediator: bytes, network: str) -> None:
        """Where this node waited for a network, its owner has approved."""
        held = self._keyring.get(network)
        if held is not None and self.applications.at(mediator, network):
            held.confirmed = True
            self.applications.forget(network)
            self._events.append(Admitted(network))
            self._changed()

    def _applied(self, pending: Pending, now: float) -> None:
        """The secret is right, and it is the owner's turn."""
        network, held = pending.network, self._keyring.get(pending.network)
        if held is not None and held.confirmed:
            return      # a member whom the mediator has lost with its directory: the tunnels go on, and the owner is asked again
        self.departures.end(pending.mediator, network)
        news = network not in self.applications.waiting
        if pending.secret is not None:
            self._keyring.put(network, pending.mediator, pending.secret, confirmed=False)
        waiting = self.applications.stands(network, pending.mediator)
        if not pending.internal:
            self._events.append(RequestDone(pending.message.request, network, waiting.owner, waiting=True))
        if news:
            self._changed()

    def _application_ended(self, network: str, reason: str, now: float) -> None:
        """The owner does not want this node, or what it proved holds no more."""
        self._forget(network, now)
        self.applications.refuse(network, reason)
        self._events.append(ApplicationRefused(network, reason))

    def _network_gone(self, message: NetworkGone, now: float) -> None:
        """A mediator's word alone only empties the roster: the secret goes when people ask for it, or by the owner's signed eviction."""
        self._follow(self._roster.remove_network(message.network), now)

    def _forget(self, network: str, now: float) -> None:
        self._events += self.applications.are(network, ())      # who waits for this node's word waits for it no more
        self._keyring.drop(network)
        self.applications.forget(network)
        self._follow(self._roster.forget(network), now)
        self._changed()

    def _challenge(self, mediator: bytes, message: Challenge, now: float) -> None:
        pending = self.requests.get(message.request)
        if pending is None or pending.mediator != mediator or pending.secret is None:
            return
        signature = pending.secret.sign_admission(message.nonce, self._public_key, pending.network, mediator)
        self._effects.send_to_mediator(mediator, Prove(message.request, signature), now)

    def _done(self, mediator: bytes, message: Done, now: float) -> None:
        pending = self.requests.get(message.request)
        if pending is None or pending.mediator != mediator:
            return
        self.requests.pop(message.request)
        if isinstance(pending.message, Leave | Join | Create) and self.departures.end(mediator, pending.network):
            self._changed()
        held = self._keyring.get(pending.network)
        if held is not None and isinstance(pending.message, Join | Create):
            held.confirmed = True
            self._admitted(mediator, pending.network)
            if isinstance(pending.message, Create):
                self.owner.made(pending.network, isinstance(pending.message, CreateWithApproval), now)
                self.link_ready(mediator, self._effects, now)
            self._changed()
        if not pending.internal:
            self._events.append(RequestDone(message.request, pending.network, message.name))

    def _refused(self, mediator: bytes, message: Refused, now: float) -> None:
        pending = self.requests.get(message.request)
        if pending is None or pending.mediator != mediator:
            return
        known = self._roster.networks.get(pending.network)
        owner = known is not None and known.owner == self._public_key
        if isinstance(pending.message, Join) and message.code == refusals.NO_SUCH_NETWORK and pending.internal and owner:
            self.requests.pop(message.request)
            secret = pending.secret
            if secret is not None and known is not None:
                self.applications.former[pending.network] = frozenset(known.members)
                create = self._create_message(pending.network, secret, known.approval)
                self.ask(create, mediator, secret, now, internal=True)
                self.link_ready(mediator, self._effects, now)
            return
        if isinstance(pending.message, Join) and pending.internal and message.code in NOT_YET:
            self.requests.put_off(message.request, now)
            return
        if isinstance(pending.message, Leave):
            if message.code in (refusals.NOT_A_MEMBER, refusals.NO_SUCH_NETWORK):
                self._done(mediator, Done(message.request), now)
            else:
                self._later(message.request)
                self.requests.pop(message.request)      # its departure stands: it is asked again in the next session
            return
        if isinstance(pending.message, Join) and message.code == refusals.WAITING:
            self.requests.pop(message.request)
            self._applied(pending, now)
            return
        text = printable(message.text)
        if message.code == refusals.UNKNOWN_MESSAGE and isinstance(pending.message, CreateWithApproval | Approve | Deny):
            text = "the mediator is of an older version, which lets in whoever has the secret: upgrade it, or do without approval"
        self._refuse(message.request, printable(message.code), text, now)
        self.link_ready(mediator, self._effects, now)

    def _unanswered(self, number: int, code: str, reason: str, now: float) -> None:
        """The mediator did not answer somebody who waits."""
        pending = self._in_need(number)
        if pending is not None:
            held = self._keyring.get(pending.network)
            if pending.told and isinstance(pending.message, Join | Create) and held is not None and not held.confirmed:
                self.departures.add(pending.mediator, pending.network)      # it may have done what whoever waits is told was not done
            self._refuse(number, code, pending.unanswered(reason), now)

    def _in_need(self, number: int) -> Pending | None:
        """What somebody waits for and only the mediator can do; what holds without it is done for whoever has asked, and told later."""
        pending = self.requests.get(number)
        if pending is None or pending.internal:
            return None
        if isinstance(pending.message, HOLDING):
            self._later(number)
            return None
        return pending

    def _refuse(self, number: int, code: str, text: str, now: float) -> None:
        pending = self.requests.pop(number)
        if pending is None:
            return
        held = self._keyring.get(pending.network)
        if isinstance(pending.message, Join) and pending.network in self.applications.waiting:
            if code in ENDING and (pending.internal or code != refusals.WRONG_SECRET):      # who mistypes still waits
                self._application_ended(pending.network, text, now)
        elif isinstance(pending.message, Join | Create) and held is not None and not held.confirmed:
            self._forget(pending.network, now)
            if (pending.mediator, pending.network) in self.departures:      # not back after all
                self.ask(Leave(self.requests.next_number(), pending.network), pending.mediator, None, now, internal=True)
        if not pending.internal:
            self._events.append(RequestRefused(number, code, text))

    def apply_eviction(self, eviction: Eviction, now: float) -> bool:
        """Obey an owner's document; whether it was news."""
        network = eviction.network
        known = self._roster.networks.get(network)
        if known is None or not self._keyring.accept_eviction(eviction, known.owner_signing_public, tuple(known.members)):
            return False
        put_out = eviction.evicted - self._roster.evicted(network)
        changes = self._roster.evict(network, eviction.evicted, eviction.serial)
        if self._public_key in eviction.evicted:
            self._forget(network, now)
            self._events.append(NetworkLost(network, "evicted by its owner"))
            return True
        self._follow(changes, now)
        self.obey_approvals(network, now)
        self._effects.secrets_changed(network)
        if put_out or known.owner == self._public_key or self._keyring.replaced(network):
            self._effects.eviction_learnt(network, now)     # approvals alone come from the owner, and with the next tunnel that comes up
        self._changed()
        return True

    def obey_approvals(self, network: str, now: float) -> None:
        """Only whom the owner has approved is a member, where it has said so: at the start, and after each document."""
        held = self._keyring.get(network)
        if held is not None and held.approved is not None:
            self._follow(self._roster.approve(network, held.approved), now)

    def bind(self, effects: Effects) -> None:
        """Where effects go for what people ask for (``evict``) before any message came."""
        self._effects = effects
