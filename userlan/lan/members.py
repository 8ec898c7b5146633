"""What the roster holds: members, networks, peers; what is claimed of them; what a step changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from userlan.lan.addresses import ipv6_of


class MemberClaim(Protocol):
    """What is told of a member; the control protocol's ``MemberState`` fits."""

    @property
    def key(self) -> bytes: ...
    @property
    def name(self) -> str: ...
    @property
    def ipv4(self) -> bytes: ...
    @property
    def online(self) -> bool: ...
    @property
    def last_seen(self) -> float: ...
    @property
    def kind(self) -> str: ...


class NetworkClaim(Protocol):
    """What is told of a network; the control protocol's ``NetworkState`` fits."""

    @property
    def network(self) -> str: ...
    @property
    def owner(self) -> bytes: ...
    @property
    def owner_signing_public(self) -> bytes: ...
    @property
    def attestation(self) -> bytes: ...
    @property
    def members(self) -> Sequence[MemberClaim]: ...
    @property
    def locked(self) -> bool: ...
    @property
    def serial(self) -> int: ...
    @property
    def approval(self) -> bool: ...


class Member(msgspec.Struct, frozen=True):
    """A member of one network, checked."""

    #: X25519 public key, 32 octets.
    key: bytes
    #: Its name in this network, canonical.
    name: str
    #: Packed address; empty while the mediator has given it none.
    ipv4: bytes = b""
    online: bool = False
    #: Seconds since 1970; 0 when never.
    last_seen: float = 0.0
    kind: str = "node"

    @property
    def ipv6(self) -> bytes:
        """Packed address, computed from the key."""
        return ipv6_of(self.key)


class Network(msgspec.Struct, frozen=True):
    """A network, checked. ``members`` maps keys to members, the node itself among them; do not change it."""

    name: str
    #: Public key of the node that made it, and the Ed25519 key with which that one signs evictions.
    owner: bytes
    owner_signing_public: bytes
    attestation: bytes
    locked: bool
    #: Serial of its newest eviction; 0: none yet.
    serial: int
    members: Mapping[bytes, Member]
    #: Its owner approves new members.
    approval: bool = False


class Peer(msgspec.Struct, frozen=True):
    """Another node that shares at least one network: the union of its memberships."""

    key: bytes
    #: Its name in the first of ``networks``.
    name: str
    #: Packed; empty while it has none.
    ipv4: bytes
    ipv6: bytes
    online: bool
    #: Seconds since 1970; 0 when never.
    last_seen: float
    kind: str
    #: Names of the networks shared, in alphabetic order.
    networks: tuple[str, ...]

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """Packed addresses, IPv4 first where it has one."""
        return (self.ipv4, self.ipv6) if self.ipv4 else (self.ipv6,)


class Changes(NamedTuple):
    """What a step changed among the peers (keys), and whether anything at all changed (then the snapshot is due)."""

    added: frozenset[bytes] = frozenset()
    removed: frozenset[bytes] = frozenset()
    changed: frozenset[bytes] = frozenset()
    any: bool = False


#: A step that changed nothing.
NOTHING = Changes()


class StoredNetwork(msgspec.Struct, frozen=True):
    """A network in the snapshot; fits ``NetworkClaim``."""

    network: str
    owner: bytes
    owner_signing_public: bytes
    attestation: bytes
    locked: bool
    serial: int
    members: tuple[Member, ...]
    approval: bool = False


def stored_network(network: Network) -> StoredNetwork:
    """A network as it is now."""
    return StoredNetwork(
        network.name,
        network.owner,
        network.owner_signing_public,
        network.attestation,
        network.locked,
        network.serial,
        tuple(network.members.values()),
        network.approval,
    )


class StoredRoster(msgspec.Struct, frozen=True):
    """The snapshot."""

    version: int
    own_key: bytes
    own_name: str
    own_ipv4: bytes
    networks: tuple[StoredNetwork, ...] = ()
    evicted: dict[str, tuple[bytes, ...]] = {}
    #: The owner's key and signing key, by network.
    owners: dict[str, tuple[bytes, bytes]] = {}
