"""Requests: create, join, prove, leave, nick, lock, approve, deny, evict. What each checks, changes and lets others know.

A request changes the directory first; only when that is durable is anything told to anybody, and ``Done`` last.

::

    Join ──▶ waits to be let in? ──▶ network? ──▶ member already ─────────────────────────▶ NetworkState, Done
              (too-many-attempts)  (no-such-network)  └─▶ evicted? locked? full? ──▶ Challenge(nonce)
    Prove ─▶ challenge pending and fresh? ──▶ the same checks again ──▶ signature ──▶ NetworkState, Done
                                                                       (wrong-secret)  └─▶ the owner approves: ``applications``
"""

from __future__ import annotations

from collections.abc import Callable

from userlan.control import refusals
from userlan.control.messages import (
    Approve,
    Challenge,
    Create,
    CreateWithApproval,
    Deny,
    Done,
    Evict,
    EvictionNotice,
    Join,
    Leave,
    Lock,
    MemberGone,
    NetworkGone,
    NetworkLocked,
    Nick,
    Prove,
    Refused,
)
from userlan.lan.eviction import Eviction, EvictionError
from userlan.lan.labels import check_network, check_nick
from userlan.lan.secrets import verify_admission
from userlan.mediator.accounts import Account, Accounts, Challenged, Membership
from userlan.mediator.applications import Applications
from userlan.mediator.effects import Effect, Entered, Parted, Publish, RefusalError, Tell
from userlan.mediator.events import StoreFailed
from userlan.mediator.limits import Attempts, Buckets
from userlan.mediator.records import UNUSABLE, DirectoryError, NetworkRecord

#: Octets of a challenge's nonce.
NONCE_SIZE = 32

Request = Create | Join | Prove | Leave | Nick | Lock | Approve | Deny | Evict


class Requests:
    """Carries out what nodes ask for. ``mediator_key`` is part of what joiners sign."""

    def __init__(self, accounts: Accounts, mediator_key: bytes, entropy: Callable[[int], bytes]) -> None:
        limits = accounts.limits
        self._accounts = accounts
        self._directory = accounts.directory
        self._limits = limits
        self._applications = Applications(accounts)
        self._mediator_key = mediator_key
        self._entropy = entropy
        self._creations = Buckets(limits.create_rate, limits.create_burst, limits.remembered)
        wait = (limits.wait_first, limits.wait_last, limits.remembered)
        self._by_key = Attempts(limits.failures_key, *wait)
        self._by_source = Attempts(limits.failures_address, *wait)

    def handle(self, account: Account, request: Request, now: float) -> list[Effect]:
        """Carries one request out, or says why not; never raises."""
        try:
            match request:
                case Create():
                    effects = self._create(account, request, now)
                case Join():
                    effects = self._join(account, request, now)
                case Prove():
                    effects = self._prove(account, request, now)
                case Leave():
                    effects = self._leave(account, request)
                case Nick():
                    effects = self._nick(account, request, now)
                case Lock():
                    effects = self._lock(account, request)
                case Approve():
                    effects = self._approve(account, request, now)
                case Deny():
                    record = self._owned_network(account, request.network)
                    effects = [*self._applications.deny(record, request.key, now), Tell(account.key, Done(request.request))]
                case Evict():
                    effects = self._evict(account, request)
        except RefusalError as refusal:
            return [Tell(account.key, Refused(request.request, refusal.code, str(refusal)))]
        except DirectoryError as error:
            refused = Refused(request.request, refusals.UNAVAILABLE, UNUSABLE)
            return [Tell(account.key, refused), StoreFailed(str(error))]
        return effects

    # --- making and joining ------------------------------------------------------------------------------------------

    def _create(self, account: Account, request: Create, now: float) -> list[Effect]:
        name = _network_name(request.network)
        existing = self._directory.network(name)
        if existing is not None:
            if existing.owner == account.key and existing.admission_public == request.admission_public:
                return self._welcome_in(account, existing, request.request)  # asked again after a lost answer
            raise RefusalError(refusals.NETWORK_EXISTS, f"a network named {name} exists already; choose another name")
        if self._directory.owned(account.key) >= self._limits.networks_owned:
            raise RefusalError(
                refusals.FULL, f"one node can own {self._limits.networks_owned} networks on this mediator"
            )
        self._check_room_of(account)
        if not self._creations.take(account.source, now):
            raise RefusalError(
                refusals.TOO_MANY_REQUESTS, "too many networks were made from your address; try again later"
            )
        self._accounts.register(account, now)
        record = NetworkRecord(
            0,
            name,
            account.key,
            request.owner_signing_public,
            request.admission_public,
            request.attestation,
            False,
            0,
            isinstance(request, CreateWithApproval),
        )
        record = self._directory.create_network(record, account.name, self._accounts.wall(now))
        self._accounts.entered(account, record.identifier, Membership(name, account.name))
        return [Entered(account.key, record.identifier), *self._welcome_in(account, record, request.request)]

    def _join(self, account: Account, request: Join, now: float) -> list[Effect]:
        name = _network_name(request.network)
        account.challenges.pop(name, None)
        known = self._directory.network(name)
        if known is not None and known.identifier in account.memberships:
            return self._welcome_in(account, known, request.request)
        self._check_attempts(account, now)
        record = self._admissible(account, name, now)
        nonce = self._entropy(NONCE_SIZE)
        account.challenges[name] = Challenged(request.request, record.name, nonce, now + self._limits.challenge)
        while len(account.challenges) > self._limits.networks_joined:
            del account.challenges[next(iter(account.challenges))]
        return [Tell(account.key, Challenge(request.request, nonce))]

    def _prove(self, account: Account, request: Prove, now: float) -> list[Effect]:
        challenge = next((one for one in account.challenges.values() if one.request == request.request), None)
        if challenge is None:
            raise RefusalError(refusals.OUT_OF_ORDER, "a proof came without a challenge; join again")
        del account.challenges[challenge.network]
        if now > challenge.expires:
            raise RefusalError(refusals.CHALLENGE_EXPIRED, "the proof came too late; join again")
        self._check_attempts(account, now)
        record = self._admissible(account, challenge.network, now)
        if not verify_admission(
            record.admission_public, request.signature, challenge.nonce, account.key, record.name, self._mediator_key
        ):
            self._failed(account, now)
            raise RefusalError(
                refusals.WRONG_SECRET,
                f"the password or invite for {record.name} is wrong, or from before its last eviction; "
                "ask a member for a new invite",
            )
        self._by_key.succeeded(account.key)
        if record.approval and record.owner != account.key:
            return self._applications.apply(account, record, request.request, now)
        self._accounts.register(account, now)
        own = self._accounts.free_name(record.identifier, account.name, account.key)
        self._directory.add_member(record.identifier, account.key, own, self._accounts.wall(now))
        return [*self._accounts.came_in(account, record, own), *self._welcome_in(account, record, request.request)]

    def _welcome_in(self, account: Account, record: NetworkRecord, request: int) -> list[Effect]:
        return [
            Tell(account.key, self._accounts.network_state(record)),
            *self._accounts.eviction_news(account.key, record),
            Tell(account.key, Done(request, account.memberships[record.identifier].name)),
        ]

    def _admissible(self, account: Account, name: str, now: float) -> NetworkRecord:
        record = self._directory.network(name)
        if record is None:
            self._failed(account, now)
            raise RefusalError(refusals.NO_SUCH_NETWORK, f"there is no network named {name} on this mediator")
        if self._directory.is_evicted(record.identifier, account.key):
            raise RefusalError(refusals.EVICTED, f"the owner of {name} evicted this node from it")
        waiting = self._applications.check(account.key, record, now)
        if record.locked and not waiting:
            raise RefusalError(refusals.LOCKED, f"{name} is locked; its owner can unlock it")
        if len(self._directory.members(record.identifier)) >= self._limits.members:
            raise RefusalError(refusals.FULL, f"{name} has {self._limits.members} members and takes no more")
        self._check_room_of(account)
        return record

    def _check_room_of(self, account: Account) -> None:
        if len(account.memberships) >= self._limits.networks_joined:
            raise RefusalError(
                refusals.FULL, f"a node can be in {self._limits.networks_joined} networks; leave one first"
            )

    def _check_attempts(self, account: Account, now: float) -> None:
        wait = max(self._by_key.wait(account.key, now), self._by_source.wait(account.source, now))
        if wait > 0:
            raise RefusalError(refusals.TOO_MANY_ATTEMPTS, f"too many failed joins; try again in {int(wait) + 1} s")

    def _failed(self, account: Account, now: float) -> None:
        self._by_key.failed(account.key, now)
        self._by_source.failed(account.source, now)

    # --- leaving, names, locks ---------------------------------------------------------------------------------------

    def _leave(self, account: Account, request: Leave) -> list[Effect]:
        applied = self._applications.withdraw(account.key, self._directory.network(_network_name(request.network)))
        if applied is not None:
            return [*applied, Tell(account.key, Done(request.request))]
        record = self._own_network(account, request.network)
        self._directory.remove_member(record.identifier, account.key)
        self._accounts.parted(account, record.identifier)
        return [
            Parted(account.key, record.identifier),
            Publish(record.identifier, MemberGone(record.name, account.key, "left")),
            Tell(account.key, NetworkGone(record.name, "left")),
            Tell(account.key, Done(request.request)),
        ]

    def _nick(self, account: Account, request: Nick, now: float) -> list[Effect]:
        try:
            name = check_nick(request.name)
        except ValueError as error:
            raise RefusalError(refusals.BAD_NAME, str(error)) from None
        for network, membership in account.memberships.items():
            if self._accounts.free_name(network, name, account.key) != name:
                raise RefusalError(
                    refusals.NAME_TAKEN, f"another member of {membership.network} is called {name}; choose another name"
                )
        if not self._accounts.nicks.take(account.key, now):
            raise RefusalError(refusals.TOO_MANY_REQUESTS, "the name was changed too often; try again in some seconds")
        self._accounts.rename(account, name)
        told = [
            effect._replace(besides=b"") for effect in self._accounts.announce(account) if isinstance(effect, Publish)
        ]
        return [*told, *self._applications.renamed(account), Tell(account.key, Done(request.request, name))]

    def _lock(self, account: Account, request: Lock) -> list[Effect]:
        record = self._owned_network(account, request.network)
        if record.locked != request.locked:
            self._directory.set_locked(record.identifier, request.locked)
        return [
            Publish(record.identifier, NetworkLocked(record.name, request.locked)),
            Tell(account.key, Done(request.request)),
        ]

    def _approve(self, account: Account, request: Approve, now: float) -> list[Effect]:
        record = self._owned_network(account, request.network)
        if self._directory.is_member(record.identifier, request.key):
            return [Tell(account.key, Done(request.request))]  # asked again after a lost answer
        return [*self._applications.approve(record, request.key, now), Tell(account.key, Done(request.request))]

    # --- eviction ----------------------------------------------------------------------------------------------------

    def _evict(self, account: Account, request: Evict) -> list[Effect]:
        record = self._owned_network(account, request.network)
        try:
            eviction = Eviction.from_bytes(request.document)
        except EvictionError as error:
            raise RefusalError(refusals.BAD_EVICTION, str(error)) from None
        if eviction.network != record.name or eviction.owner != record.owner:
            raise RefusalError(
                refusals.BAD_EVICTION, f"the eviction is for {eviction.network}, not for your {record.name}"
            )
        if not eviction.verify(record.owner_signing_public):
            raise RefusalError(refusals.BAD_EVICTION, f"the eviction is not signed by the owner of {record.name}")
        if eviction.serial <= record.serial:
            if self._directory.eviction(record.identifier) == request.document:
                return [Tell(account.key, Done(request.request))]  # asked again after a lost answer
            raise RefusalError(
                refusals.STALE_EVICTION,
                f"{record.name} has eviction {record.serial} already; make one with a higher serial",
            )
        superseded = self._applications.superseded(record) if eviction.admission_public != record.admission_public else []
        removed = self._directory.evict(
            record.identifier,
            eviction.serial,
            request.document,
            eviction.admission_public,
            eviction.attestation,
            sorted(eviction.evicted),
        )
        return [*self._evicted(record, request.document, removed), *superseded, Tell(account.key, Done(request.request))]

    def _evicted(self, record: NetworkRecord, document: bytes, removed: list[bytes]) -> list[Effect]:
        notice = EvictionNotice(record.name, document)
        effects: list[Effect] = []
        for key in removed:
            other = self._accounts.get(key)
            if other is not None:
                self._accounts.parted(other, record.identifier)
                effects += [
                    Parted(key, record.identifier),
                    Tell(key, notice),
                    Tell(key, NetworkGone(record.name, "evicted")),
                ]
        effects.append(Publish(record.identifier, notice))
        effects += [Publish(record.identifier, MemberGone(record.name, key, "evicted")) for key in removed]
        return effects

    def _own_network(self, account: Account, written: str) -> NetworkRecord:
        record = self._directory.network(_network_name(written))
        if record is None or record.identifier not in account.memberships:
            raise RefusalError(refusals.NOT_A_MEMBER, f"this node is no member of {written.lower()}")
        return record

    def _owned_network(self, account: Account, written: str) -> NetworkRecord:
        record = self._own_network(account, written)
        if record.owner != account.key:
            raise RefusalError(refusals.NOT_THE_OWNER, f"only the owner of {record.name} can do this")
        return record


def _network_name(written: str) -> str:
    try:
        return check_network(written)
    except ValueError as error:
        raise RefusalError(refusals.BAD_NAME, str(error)) from None
