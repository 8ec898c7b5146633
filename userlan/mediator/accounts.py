"""Accounts: the nodes that are online as the directory knows them, and what members are told of each other.

A node is written into the directory with its first membership, not before: keys cost nothing, and whoever makes up a
million of them must not fill the disk. Until then its address follows from its key and is held while it is online.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from userlan.control.messages import (
    MAX_APPLICANTS,
    Applicants,
    ApplicantState,
    EvictionNotice,
    MemberChanged,
    MemberState,
    NetworkGone,
    NetworkState,
)
from userlan.control.refusals import BAD_NAME
from userlan.lan.addresses import AddressRange
from userlan.lan.labels import check_nick, distinct_nick
from userlan.mediator.effects import Effect, Entered, Publish, RefusalError, Tell
from userlan.mediator.limits import Buckets, Limits
from userlan.mediator.presence import Presence
from userlan.mediator.records import DirectoryError, DirectoryStore, NetworkRecord, NodeRecord
from userlan.mediator.session import Untold

#: The note in the directory that says of which range its addresses are.
RANGE_NOTE = "range"


class Membership(NamedTuple):
    """One network of a node: the network's name, and the node's own name in it."""

    network: str
    name: str


class Challenged(NamedTuple):
    """A challenge that waits for its proof, until ``expires`` (monotonic seconds)."""

    request: int
    network: str
    nonce: bytes
    expires: float


class Account:
    """A node that is online. ``source`` is its address for the limits by source, see ``limits.source_name``."""

    __slots__ = ("challenges", "ipv4", "key", "memberships", "name", "registered", "source")

    def __init__(self, key: bytes, name: str, ipv4: bytes, source: bytes, registered: bool) -> None:
        self.key = key
        self.name = name
        self.ipv4 = ipv4
        self.source = source
        self.registered = registered
        self.memberships: dict[int, Membership] = {}
        #: By network, the last one last: a node that was in several and is here again joins them all at once.
        self.challenges: dict[str, Challenged] = {}


class Accounts:
    """Who is online, in which networks, under which name and address."""

    def __init__(
        self, directory: DirectoryStore, presence: Presence, limits: Limits, address_range: str, wall_offset: float
    ) -> None:
        """DirectoryError when the directory's addresses are of another range; ValueError for what is no range."""
        self.directory = directory
        self.presence = presence
        self.limits = limits
        self.range = AddressRange.parse(address_range)
        self._wall_offset = wall_offset
        self._accounts: dict[bytes, Account] = {}
        self._addresses: dict[bytes, bytes] = {}  # of accounts that are not registered: address → key
        self._online: dict[int, dict[bytes, None]] = {}
        self.nicks = Buckets(limits.nick_rate, limits.nick_burst, limits.remembered)
        self._check_range()

    # --- who is there ------------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> Account | None:
        """The account of a node that is online."""
        return self._accounts.get(key)

    def online(self, network: int) -> Iterable[bytes]:
        """The members of a network that are online."""
        return tuple(self._online.get(network, ()))

    def __len__(self) -> int:
        return len(self._accounts)

    def wall(self, now: float) -> float:
        """The wall clock."""
        return now + self._wall_offset

    # --- login and logout --------------------------------------------------------------------------------------------

    def login(self, key: bytes, wanted: str, source: bytes, now: float) -> tuple[Account, list[Effect]]:
        """A node greeted; ``presence`` knows it already. Returns what the others are told.

        Raises:
            RefusalError: the name breaks the rules.
            DirectoryError: nothing was changed.
        """
        try:
            name = check_nick(wanted)
        except ValueError as error:
            raise RefusalError(BAD_NAME, str(error)) from None
        before = self._accounts.get(key)
        record = self.directory.node(key)
        if record is None:
            account = Account(key, name, self._free_address(key), source, registered=False)
        else:
            account = Account(key, record.name, record.ipv4, source, registered=True)
            for network, own in self.directory.memberships(key):
                account.memberships[network.identifier] = Membership(network.name, own)
            if name != record.name and self.nicks.take(key, now):
                self.rename(account, name)
        self._drop(key)
        self._accounts[key] = account
        if not account.registered:
            self._addresses[account.ipv4] = key
        for identifier in account.memberships:
            self._online.setdefault(identifier, {})[key] = None
        changed = before is None or before.memberships != account.memberships
        return account, self.announce(account) if changed else []

    def logout(self, key: bytes) -> list[Effect]:
        """A node's session ended; ``presence`` knows it already. Returns what the others are told."""
        account = self._accounts.get(key)
        self._drop(key)
        return [] if account is None else self.announce(account)

    def untold(self, account: Account, known: Mapping[str, int]) -> list[Untold]:
        """The networks that a node that logged in is told of; ``known`` are serials of the evictions that it knows."""
        own = [Untold(own.network, False, known.get(own.network, 0)) for own in account.memberships.values()]
        gone = self.directory.evicted_from(account.key)[: self.limits.networks_joined]
        return own + [Untold(network.name, True, known.get(network.name, 0)) for network in gone]

    def tell(self, account: Account, untold: Untold) -> list[Effect]:
        """One of them, as it is now."""
        network = self.directory.network(untold.network)
        if network is None or (network.identifier in account.memberships) is untold.evicted:
            return []  # it changed meanwhile, and the node was told so
        news = self.eviction_news(account.key, network, untold.known)
        if untold.evicted:
            return [*news, Tell(account.key, NetworkGone(network.name, "evicted"))]
        return [Tell(account.key, self.network_state(network)), *news, *self.applicants_news(network, account.key)]

    def applicants_news(self, network: NetworkRecord, key: bytes | None = None) -> list[Effect]:
        """Who waits for the owner's word, for the owner; ``key``: for this node, if it is the owner."""
        if not network.approval or key not in (None, network.owner):
            return []
        waiting = [one for one in self.directory.applicants(network.identifier) if not one.denied]
        states = tuple(ApplicantState(one.key, one.name, one.since) for one in waiting[:MAX_APPLICANTS])
        return [Tell(network.owner, Applicants(network.name, states))]

    def eviction_news(self, key: bytes, network: NetworkRecord, known: int = 0) -> list[Effect]:
        """The network's newest eviction for one node, unless it knows it."""
        if network.serial <= known:
            return []
        document = self.directory.eviction(network.identifier)
        return [] if document is None else [Tell(key, EvictionNotice(network.name, document))]

    # --- changes that requests make ----------------------------------------------------------------------------------

    def register(self, account: Account, now: float) -> None:
        """Writes a node into the directory, for life."""
        if not account.registered:
            record = self.directory.register(account.key, account.name, account.ipv4, self.wall(now))
            account.registered = True
            account.ipv4 = record.ipv4
            self._addresses.pop(account.ipv4, None)

    def entered(self, account: Account, network: int, membership: Membership) -> None:
        """A membership began, in the directory already."""
        account.memberships[network] = membership
        self._online.setdefault(network, {})[account.key] = None

    def parted(self, account: Account, network: int) -> None:
        """A membership ended, in the directory already."""
        account.memberships.pop(network, None)
        others = self._online.get(network, {})
        others.pop(account.key, None)
        if not others:
            self._online.pop(network, None)

    def enrol(self, key: bytes, name: str, now: float) -> NodeRecord:
        """Writes a node into the directory, for life, whether it is online or not; ``name``: its nickname where it never was in it."""
        account = self._accounts.get(key)
        if account is not None:
            self.register(account, now)
        return self.directory.node(key) or self.directory.register(key, name, self._free_address(key), self.wall(now))

    def came_in(self, account: Account, record: NetworkRecord, own: str) -> list[Effect]:
        """A node that is online is a member since just now, under the name ``own``, in the directory already: what the others are told."""
        self.entered(account, record.identifier, Membership(record.name, own))
        published = (effect for effect in self.announce(account) if isinstance(effect, Publish) and effect.network == record.identifier)
        return [Entered(account.key, record.identifier), *published]

    def entered_offline(self, record: NetworkRecord, key: bytes) -> list[Effect]:
        """A node that is away is a member since just now, in the directory already: what the others are told."""
        members = (one for one in self.directory.members(record.identifier) if one.key == key)
        states = (MemberState(one.key, one.name, one.ipv4, False, one.last_seen) for one in members)
        return [Publish(record.identifier, MemberChanged(record.name, state)) for state in states]

    def free_name(self, network: int, wanted: str, key: bytes) -> str:
        """``wanted`` where no other member has it, else ``wanted-2`` and so on."""
        return distinct_nick(wanted, {member.name for member in self.directory.members(network) if member.key != key})

    def rename(self, account: Account, name: str) -> None:
        """Gives a node a nickname, and in each network the nearest free one."""
        names = {network: self.free_name(network, name, account.key) for network in account.memberships}
        if account.registered:
            self.directory.rename(account.key, name, names)
        account.name = name
        for network, own in names.items():
            account.memberships[network] = account.memberships[network]._replace(name=own)

    # --- what members are told ---------------------------------------------------------------------------------------

    def announce(self, account: Account) -> list[Effect]:
        """How a node is now, for the other members of each of its networks."""
        return [
            Publish(network, MemberChanged(membership.network, self._state(account, membership)), account.key)
            for network, membership in account.memberships.items()
        ]

    def network_state(self, network: NetworkRecord) -> NetworkState:
        """A network as its members see it now."""
        members = tuple(
            MemberState(
                member.key,
                member.name,
                member.ipv4,
                self.presence.online(member.key),
                self.presence.last_seen(member.key) or member.last_seen,
            )
            for member in self.directory.members(network.identifier)
        )
        return NetworkState(
            network.name,
            network.owner,
            network.owner_signing_public,
            network.attestation,
            members,
            network.locked,
            network.serial,
            network.approval,
        )

    # --- inside ------------------------------------------------------------------------------------------------------

    def _state(self, account: Account, membership: Membership) -> MemberState:
        online = self.presence.online(account.key)
        return MemberState(
            account.key, membership.name, account.ipv4, online, self.presence.last_seen(account.key) or 0.0
        )

    def _free_address(self, key: bytes) -> bytes:
        def taken(address: bytes) -> bool:
            return self._addresses.get(address, key) != key or self.directory.address_taken(address)

        return self.range.allocate(key, taken)

    def _drop(self, key: bytes) -> None:
        account = self._accounts.pop(key, None)
        if account is None:
            return
        if self._addresses.get(account.ipv4) == key:
            del self._addresses[account.ipv4]
        for network in list(account.memberships):
            others = self._online.get(network, {})
            others.pop(key, None)
            if not others:
                self._online.pop(network, None)

    def _check_range(self) -> None:
        wanted = str(self.range).encode()
        written = self.directory.note(RANGE_NOTE)
        if written is None:
            self.directory.set_note(RANGE_NOTE, wanted)
        elif written != wanted:
            raise DirectoryError(
                f"the directory's addresses are of {written.decode(errors='replace')}, not {self.range}: "
                "addresses are for life, so use that range or another directory"
            )
