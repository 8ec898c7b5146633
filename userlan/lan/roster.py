"""Who is in the node's networks: the roster.

All that fills it comes from a mediator, or from the copy on disk, and is a claim::

    mediator ── NetworkState, MemberChanged … ──> Roster ── Changes ──> node: tunnels, switch
    evictions signed by the owner ─────────────────^

    claim                                             treatment
    a network that the node never joined              ignored: there would be no secret between its members
    another signing key for a known network           refused, the first one stays, until ``forget``
    an evicted key                                    refused for good
    a key that the owner has not approved             withheld, where the owner approves members (``approvals``)
    an IPv6 address                                   none is read: it follows from the key
    an IPv4 address out of range or of another key    that member is refused (the later of two)
    a name that is none, more members than the cap    that member is refused

Whatever is refused is counted by reason in ``counters``. The node's own entry stays in ``Network.members`` (a roster
shows it), but is no peer. A peer is a member of at least one network; it has one entry, however many are shared.

Limits: 64 networks, 1024 members each, 16,384 memberships in all, 4096 evicted keys a network.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from userlan.lan.addresses import DEFAULT_RANGE, KEY_SIZE, AddressRange, ipv6_of
from userlan.lan.approvals import Approvals
from userlan.lan.labels import check_network, check_nick
from userlan.lan.members import (
    NOTHING,
    Changes,
    Member,
    MemberClaim,
    Network,
    NetworkClaim,
    Peer,
    StoredRoster,
    stored_network,
)

__all__ = ["Changes", "Member", "MemberClaim", "Network", "NetworkClaim", "Peer", "Roster"]

#: Networks of one node. Bounds what a mediator can make a node hold; nobody is in more.
MAX_NETWORKS = 64
#: Members of one network, as the control protocol has it.
MAX_MEMBERS = 1024
#: Memberships in all networks together: about 10 MB.
MAX_MEMBERSHIPS = 16_384
#: Evicted keys of one network that are remembered. As many as one signed document can hold.
MAX_EVICTED = 4096
#: Octets of an attestation that are kept; the present one has 32.
MAX_ATTESTATION = 64
#: Latest credible time at which a member was seen, seconds since 1970 (the year 2200). Bounds what a page must show.
MAX_WALL = 7_258_118_400.0
#: Version of the snapshot's layout.
SNAPSHOT_VERSION = 1

_KIND = re.compile(r"[a-z-]{1,16}", re.ASCII)


class Roster:
    """The node's networks and peers. Mutated by the methods below only, each of which returns what changed.

    ``networks`` names those that the node has joined (it holds their secrets); claims on others are ignored.
    """

    def __init__(self, own_key: bytes, networks: Iterable[str] = (), address_range: AddressRange | None = None) -> None:
        self.own_key = own_key
        self.own_name = ""
        self.own_ipv4 = b""
        #: Only addresses of this range are believed: nobody can claim one of the Internet's.
        self.address_range = AddressRange.parse(DEFAULT_RANGE) if address_range is None else address_range
        self.counters: Counter[str] = Counter()
        #: Keys that no member can have: the mediators', whose tunnels follow other rules.
        self.reserved: set[bytes] = set()
        #: Whom the owners have approved, and who is listed without that.
        self.approvals = Approvals(own_key)
        self._own_ipv6 = ipv6_of(own_key)
        self._expected: set[str] = set()
        self._networks: dict[str, Network] = {}
        self._members: dict[str, dict[bytes, Member]] = {}
        self._owners: dict[str, tuple[bytes, bytes]] = {}
        self._evicted: dict[str, frozenset[bytes]] = {}
        self._serials: dict[str, int] = {}
        self._named: dict[str, dict[str, set[bytes]]] = {}
        self._shared: dict[bytes, set[str]] = {}
        self._addresses: dict[bytes, bytes] = {self._own_ipv6: own_key}
        self._peers: dict[bytes, Peer] = {}
        self._memberships = 0
        for name in networks:
            self.expect(name)

    # --- what is in it ------------------------------------------------------------------------------------------------

    @property
    def networks(self) -> Mapping[str, Network]:
        """The networks of which the state is known, by canonical name."""
        return self._networks

    @property
    def peers(self) -> Mapping[bytes, Peer]:
        """All other nodes that share a network, by key."""
        return self._peers

    @property
    def own_addresses(self) -> tuple[bytes, ...]:
        """The node's own packed addresses, IPv4 first once it is known."""
        return (self.own_ipv4, self._own_ipv6) if self.own_ipv4 else (self._own_ipv6,)

    def peer(self, key: bytes) -> Peer | None:
        """Another node that shares a network, or None."""
        return self._peers.get(key)

    def key_at(self, address: bytes) -> bytes | None:
        """The key of the member (or of the node itself) that has a packed address."""
        return self._addresses.get(address)

    def addresses_of(self, key: bytes) -> tuple[bytes, ...]:
        """The packed addresses of a peer or of the node itself; empty for anybody else."""
        if key == self.own_key:
            return self.own_addresses
        peer = self._peers.get(key)
        return () if peer is None else peer.addresses

    def name_of(self, key: bytes) -> str:
        """The short name of a peer or of the node itself; empty for anybody else."""
        if key == self.own_key:
            return self.own_name
        peer = self._peers.get(key)
        return "" if peer is None else peer.name

    @property
    def given_name(self) -> str:
        """What a network calls the node since a member there had its name before; empty where it has its own everywhere.

        Of several, that of the first network: a name that is another member's nowhere is understood by all."""
        memberships = (self._networks[name].members.get(self.own_key) for name in sorted(self._networks))
        return next((one.name for one in memberships if one is not None and one.name != self.own_name), "")

    def names(self, network: str) -> Iterable[str]:
        """The members' names in a network."""
        return self._named.get(network, {}).keys()

    def keys_named(self, network: str, name: str) -> frozenset[bytes]:
        """The members of a network that have this name there: one, unless the mediator errs."""
        return frozenset(self._named.get(network, {}).get(name, ()))

    def evicted(self, network: str) -> frozenset[bytes]:
        """The keys that the network's owner has evicted."""
        return self._evicted.get(network, frozenset())

    # --- what changes it ----------------------------------------------------------------------------------------------

    def set_own(self, name: str, ipv4: bytes) -> Changes:
        """The node's own name and address, as its mediator says. An address out of range or in use is refused."""
        try:
            name = check_nick(name)
        except ValueError:
            self.counters["own-name-invalid"] += 1
            name = self.own_name
        if ipv4 != self.own_ipv4 and not self._address_free(ipv4, self.own_key):
            self.counters["own-address-refused"] += 1
            ipv4 = self.own_ipv4
        if (name, ipv4) == (self.own_name, self.own_ipv4):
            return NOTHING
        before, self.own_name, self.own_ipv4 = self.own_ipv4, name, ipv4
        if ipv4 != before:
            self._release(before, self.own_key)
            self._addresses[ipv4] = self.own_key
        return Changes(any=True)

    def expect(self, network: str) -> None:
        """The node has joined a network and holds its secret. ValueError for a bad name or one network too many."""
        network = check_network(network)
        if network not in self._expected and len(self._expected) >= MAX_NETWORKS:
            raise ValueError(f"a node can be in {MAX_NETWORKS} networks, not more")
        self._expected.add(network)

    def forget(self, network: str) -> Changes:
        """The node has left a network: nothing of it is remembered."""
        changes = self.remove_network(network)
        known = network in self._owners or network in self._evicted
        self._expected.discard(network)
        self._owners.pop(network, None)
        self._evicted.pop(network, None)
        self._serials.pop(network, None)
        self.approvals.forget(network)
        return changes._replace(any=changes.any or known)

    def apply_network(self, claim: NetworkClaim) -> Changes:
        """A network's whole state: replaces its members.

        The first owner and signing key that are told of a network are kept until ``forget``: the caller checks their
        attestation (``NetworkSecret.verify_owner``) before.
        """
        name = claim.network
        reason = self._network_objection(claim)
        if reason:
            self.counters[reason] += 1
            return NOTHING
        before = self._networks.get(name)
        self._owners[name] = (claim.owner, claim.owner_signing_public)
        members = self._members.setdefault(name, {})
        self.approvals.unlist(name)
        touched: dict[bytes, Peer | None] = {}
        keys = {member.key for member in claim.members}
        for key in [key for key in members if key not in keys]:
            self._drop(name, key, touched)
        for member in claim.members:
            self._put(name, member, touched)
        network = Network(
            name=name,
            owner=claim.owner,
            owner_signing_public=claim.owner_signing_public,
            attestation=claim.attestation,
            locked=claim.locked,
            serial=max(claim.serial, self._serials.get(name, 0)),
            members=MappingProxyType(members),
            approval=claim.approval or self.approvals.needed(name),
        )
        self._networks[name] = network
        return self._settle(touched, before is None or _head(before) != _head(network))

    def set_locked(self, network: str, locked: bool) -> Changes:
        """The owner closed the network to new members, or opened it."""
        known = self._networks.get(network)
        if known is None or known.locked == locked:
            return NOTHING
        self._networks[network] = msgspec.structs.replace(known, locked=locked)
        return Changes(any=True)

    def apply_member(self, network: str, claim: MemberClaim) -> Changes:
        """A member that is new or has changed."""
        touched: dict[bytes, Peer | None] = {}
        if network not in self._networks:
            self.counters["network-unknown"] += 1
            return NOTHING
        return self._settle(touched, self._put(network, claim, touched))

    def remove_member(self, network: str, key: bytes) -> Changes:
        """Somebody is no member any more."""
        self.approvals.release(network, (key,))
        touched: dict[bytes, Peer | None] = {}
        return self._settle(touched, self._drop(network, key, touched))

    def remove_network(self, network: str) -> Changes:
        """The network's state is gone (the node may still hold its secret, and its evictions stay remembered)."""
        self.approvals.unlist(network)
        touched: dict[bytes, Peer | None] = {}
        for key in list(self._members.get(network, ())):
            self._drop(network, key, touched)
        self._members.pop(network, None)
        self._named.pop(network, None)
        return self._settle(touched, self._networks.pop(network, None) is not None)

    def evict(self, network: str, keys: Iterable[bytes], serial: int) -> Changes:
        """The owner's signed document evicts these keys: they are no members, whatever a mediator says from now on.

        The caller has verified the document. A serial that is not newer adds its keys all the same.
        """
        if network not in self._expected:
            self.counters["network-unknown"] += 1
            return NOTHING
        named = frozenset(keys)
        evicted = self.evicted(network) | named
        if len(evicted) > MAX_EVICTED:
            self.counters["evicted-excess"] += len(evicted) - MAX_EVICTED
            evicted = named
        news = evicted != self.evicted(network)
        self._evicted[network] = evicted
        self._serials[network] = max(serial, self._serials.get(network, 0))
        touched: dict[bytes, Peer | None] = {}
        self.approvals.release(network, named)
        for key in named:
            self._drop(network, key, touched)
        known = self._networks.get(network)
        if known is not None and serial > known.serial:
            self._networks[network] = msgspec.structs.replace(known, serial=serial)
            news = True
        return self._settle(touched, news)

    def approve(self, network: str, keys: Iterable[bytes]) -> Changes:
        """The owner's signed document says who is a member, as ``evict`` has it who is not: nobody else is, whatever a mediator says."""
        if network not in self._expected:
            self.counters["network-unknown"] += 1
            return NOTHING
        good, known = self.approvals.obey(network, keys), self._networks.get(network)
        touched: dict[bytes, Peer | None] = {}
        if known is None:
            return NOTHING
        for member in list(self._members[network].values()):
            if not self.approvals.allows(network, member.key, known.owner):
                self.counters["member-unapproved"] += 1
                self._drop(network, member.key, touched)
                self.approvals.withhold(network, member)
        for claim in good:
            self._put(network, claim, touched)
        self._networks[network] = msgspec.structs.replace(known, approval=True)
        return self._settle(touched, not known.approval)

    def all_offline(self) -> Changes:
        """Nobody's presence is known any more (the mediator is gone)."""
        touched: dict[bytes, Peer | None] = {}
        for members in self._members.values():
            for member in [member for member in members.values() if member.online]:
                self._note(member.key, touched)
                members[member.key] = msgspec.structs.replace(member, online=False)
        return self._settle(touched, bool(touched))

    # --- the copy on disk ---------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, object]:
        """Everything, as values that JSON can hold."""
        networks = map(stored_network, self._networks.values())
        evicted = {name: tuple(sorted(keys)) for name, keys in self._evicted.items()}
        stored = StoredRoster(
            SNAPSHOT_VERSION, self.own_key, self.own_name, self.own_ipv4, tuple(networks), evicted, dict(self._owners)
        )
        built: dict[str, object] = msgspec.to_builtins(stored)
        return built

    def restore(self, snapshot: object) -> Changes:
        """Takes over what ``snapshot`` gave, by the same rules as a mediator's claims; everybody is offline.

        Only networks that are expected are taken. ValueError when it is no snapshot, or another node's.
        """
        try:
            stored = msgspec.convert(snapshot, StoredRoster)
        except msgspec.ValidationError as error:
            raise ValueError(f"this is no roster: {error}") from None
        if stored.version != SNAPSHOT_VERSION or stored.own_key != self.own_key:
            raise ValueError("this roster is of another version or another node")
        steps = [self.set_own(stored.own_name, stored.own_ipv4)] if stored.own_ipv4 else []
        for name, keys in stored.evicted.items():
            if name in self._expected:
                steps.append(self.evict(name, (key for key in keys if len(key) == KEY_SIZE), 0))
        for name, owner in stored.owners.items():
            if name in self._expected:
                self._owners.setdefault(name, owner)
        steps.extend(self.apply_network(network) for network in stored.networks)
        steps.append(self.all_offline())
        return Changes(added=frozenset(self._peers), any=any(step.any for step in steps))

    # --- the one place where members come and go ----------------------------------------------------------------------

    def _put(self, network: str, claim: MemberClaim, touched: dict[bytes, Peer | None]) -> bool:
        members = self._members[network]
        before = members.get(claim.key)
        reason = self._objection(network, claim, before)
        if reason:
            self.counters[reason] += 1
            if reason == "member-unapproved":
                self.approvals.withhold(network, claim)
            return False
        last_seen = min(max(claim.last_seen, 0.0), MAX_WALL) if math.isfinite(claim.last_seen) else 0.0
        kind = claim.kind if _KIND.fullmatch(claim.kind) else "node"
        member = Member(claim.key, claim.name, claim.ipv4, claim.online, last_seen, kind)
        if member == before:
            return False
        self._note(member.key, touched)
        if before is not None:
            self._unlink(network, before)
        members[member.key] = member
        self._memberships += 1
        self._named.setdefault(network, {}).setdefault(member.name, set()).add(member.key)
        self._shared.setdefault(member.key, set()).add(network)
        self._addresses[member.ipv6] = member.key
        if member.ipv4:
            self._addresses[member.ipv4] = member.key
        return True

    def _drop(self, network: str, key: bytes, touched: dict[bytes, Peer | None]) -> bool:
        member = self._members.get(network, {}).get(key)
        if member is None:
            return False
        self._note(key, touched)
        self._unlink(network, member)
        del self._members[network][key]
        return True

    def _unlink(self, network: str, member: Member) -> None:
        """Takes a member out of every index, and its addresses where no other network of it still has them."""
        self._memberships -= 1
        named = self._named[network]
        named[member.name].discard(member.key)
        if not named[member.name]:
            del named[member.name]
        networks = self._shared[member.key]
        networks.discard(network)
        if not networks:
            del self._shared[member.key]
            if member.key != self.own_key:
                self._release(member.ipv6, member.key)
        self._release(member.ipv4, member.key)

    def _release(self, address: bytes, key: bytes) -> None:
        """Frees an address of a key, unless another membership of the key (or the node itself) still has it."""
        held = {self._members[network][key].ipv4 for network in self._shared.get(key, ())}
        if key == self.own_key:
            held.add(self.own_ipv4)
        if address not in held and self._addresses.get(address) == key:
            del self._addresses[address]

    def _objection(self, network: str, claim: MemberClaim, before: Member | None) -> str:
        """Why a claim is not believed: a counter's name, or nothing."""
        if len(claim.key) != KEY_SIZE:
            return "key-malformed"
        if claim.key in self.reserved:
            return "key-reserved"
        if claim.key in self.evicted(network):
            return "member-evicted"
        if before is None and len(self._members[network]) >= MAX_MEMBERS:
            return "members-excess"
        if before is None and self._memberships >= MAX_MEMBERSHIPS:
            return "members-excess"
        try:
            if check_nick(claim.name) != claim.name:
                return "name-invalid"
        except ValueError:
            return "name-invalid"
        if claim.ipv4 and not self.address_range.usable(claim.ipv4):
            return "address-out-of-range"
        if claim.ipv4 and not self._address_free(claim.ipv4, claim.key):
            return "address-taken"
        if self._addresses.get(ipv6_of(claim.key), claim.key) != claim.key:
            return "address-taken"
        if not self.approvals.allows(network, claim.key, self._owners[network][0]):
            return "member-unapproved"
        return ""

    def _address_free(self, ipv4: bytes, key: bytes) -> bool:
        return self.address_range.usable(ipv4) and self._addresses.get(ipv4, key) == key

    def _network_objection(self, claim: NetworkClaim) -> str:
        """Why a claim on a network is not believed: a counter's name, or nothing."""
        if claim.network not in self._expected:
            return "network-unknown"
        owner = (claim.owner, claim.owner_signing_public)
        if any(len(key) != KEY_SIZE for key in owner) or len(claim.attestation) > MAX_ATTESTATION or claim.serial < 0:
            return "network-malformed"
        if self._owners.get(claim.network, owner) != owner:
            return "owner-changed"
        return ""

    def _note(self, key: bytes, touched: dict[bytes, Peer | None]) -> None:
        """Remembers, once a step, what a peer was before it."""
        if key not in touched:
            touched[key] = self._peers.get(key)

    def _settle(self, touched: Mapping[bytes, Peer | None], other: bool) -> Changes:
        """Brings the peers in line with the memberships that a step touched, and says what changed."""
        added, removed, changed = set(), set(), set()
        for key, before in touched.items():
            if key == self.own_key:
                continue
            after = self._union(key)
            if after is None:
                self._peers.pop(key, None)
                if before is not None:
                    removed.add(key)
                continue
            self._peers[key] = after
            if before is None:
                added.add(key)
            elif before != after:
                changed.add(key)
        return Changes(frozenset(added), frozenset(removed), frozenset(changed), bool(touched) or other)

    def _union(self, key: bytes) -> Peer | None:
        networks = tuple(sorted(self._shared.get(key, ())))
        if not networks:
            return None
        members = [self._members[network][key] for network in networks]
        ipv4 = next((member.ipv4 for member in members if member.ipv4), b"")
        online = any(member.online for member in members)
        last_seen = max(member.last_seen for member in members)
        return Peer(key, members[0].name, ipv4, ipv6_of(key), online, last_seen, members[0].kind, networks)


def _head(network: Network) -> tuple[object, ...]:
    return (network.owner, network.owner_signing_public, network.attestation, network.locked, network.serial, network.approval)
