"""What the directory knows, as plain values: no SQLAlchemy here, its import takes time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

#: What nodes are told of a :class:`DirectoryError`: the database's own words name its host and its user, and are for the log.
UNUSABLE = "the mediator cannot use its directory now; try again in a minute"


class DirectoryError(Exception):
    """The directory cannot be opened or written; ``str()`` is one line that says what and what to do."""


class NodeRecord(NamedTuple):
    """A node that is or was a member of some network. Times are wall-clock seconds since 1970."""

    key: bytes
    name: str
    ipv4: bytes
    first_seen: float
    last_seen: float


class NetworkRecord(NamedTuple):
    """A network. ``serial`` is that of its newest eviction, 0 where there was none; ``approval``: its owner approves new members."""

    identifier: int
    name: str
    owner: bytes
    owner_signing_public: bytes
    admission_public: bytes
    attestation: bytes
    locked: bool
    serial: int
    approval: bool = False


class MemberRecord(NamedTuple):
    """One member of one network; ``name`` is its name in that network."""

    key: bytes
    name: str
    ipv4: bytes
    last_seen: float


class ApplicantRecord(NamedTuple):
    """Somebody who proved a network's secret and waits for its owner's word, or whom it has ``denied``; ``since`` as times above."""

    key: bytes
    name: str
    since: float
    denied: bool


class DirectoryStore(Protocol):
    """What the mediator asks of its directory. Each call is one transaction and durable when it returns.

    Every call may raise :class:`DirectoryError`; then it changed nothing.
    """

    def node(self, key: bytes) -> NodeRecord | None:
        """The node with this key."""

    def address_taken(self, ipv4: bytes) -> bool:
        """Whether some node has this address."""

    def register(self, key: bytes, name: str, ipv4: bytes, wall: float) -> NodeRecord:
        """Records a node for life; one that exists keeps its address."""

    def network(self, name: str) -> NetworkRecord | None:
        """The network with this name."""

    def memberships(self, key: bytes) -> list[tuple[NetworkRecord, str]]:
        """The networks of a node, by name, each with the node's own name in it."""

    def members(self, network: int) -> list[MemberRecord]:
        """The members of a network, by name."""

    def is_member(self, network: int, key: bytes) -> bool:
        """Whether a node is a member."""

    def owned(self, key: bytes) -> int:
        """How many networks a node owns."""

    def create_network(self, record: NetworkRecord, member_name: str, wall: float) -> NetworkRecord:
        """Makes a network (``record.identifier`` is ignored) with its owner, a registered node, as its only member."""

    def add_member(self, network: int, key: bytes, name: str, wall: float) -> None:
        """Makes a registered node a member."""

    def remove_member(self, network: int, key: bytes) -> bool:
        """Ends a membership; True when the network was removed with its last member."""

    def rename(self, key: bytes, name: str, member_names: Mapping[int, str]) -> None:
        """Sets a node's nickname and its name in each given network."""

    def set_locked(self, network: int, locked: bool) -> None:
        """Closes or opens a network to new members."""

    def evict(
        self,
        network: int,
        serial: int,
        document: bytes,
        admission_public: bytes,
        attestation: bytes,
        evicted_keys: Sequence[bytes],
    ) -> list[bytes]:
        """Stores an eviction and applies it; returns the keys that were members until now."""

    def applicants(self, network: int) -> list[ApplicantRecord]:
        """Who applied for a network, the first one first."""

    def applied(self, key: bytes) -> list[NetworkRecord]:
        """The networks for which a node waits, by name."""

    def apply(self, network: int, applicant: ApplicantRecord) -> None:
        """Writes an application, or what became of it, in the place of an older one."""

    def withdraw(self, network: int, key: bytes | None = None) -> None:
        """Deletes an application for a network, or all."""

    def eviction(self, network: int) -> bytes | None:
        """A network's newest eviction document."""

    def evicted_from(self, key: bytes) -> list[NetworkRecord]:
        """The networks whose newest eviction names this node and that it was a member of once."""

    def is_evicted(self, network: int, key: bytes) -> bool:
        """Whether a network's newest eviction names this node."""

    def seen(self, times: Mapping[bytes, float]) -> None:
        """Moves nodes' last-seen times forward."""

    def note(self, name: str) -> bytes | None:
        """A small value of the mediator's own."""

    def set_note(self, name: str, value: bytes) -> None:
        """Stores a small value of the mediator's own."""

    def close(self) -> None:
        """Gives up the database."""
