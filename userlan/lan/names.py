"""Names of nodes and networks, and how they resolve, inside the node only::

    nas                  a member of any network; where several have that name, AmbiguousName says what to write
    nas.home             the member nas of the network home
    nas.home.internal    the same, in full
    25.1.2.3, fd75:…     a member's address
    bizi-ty2Q1p…         a member's key, all 43 characters of it, as ``status --json`` has it: whoever has the name

Upper case and a trailing dot do not matter. The node's own name resolves too. ``nas.NETWORK`` is not tried for networks
that are named as a public top-level domain: a peer who calls itself google must not become google.com.

The rules for a single label (``check_nick`` and others) are those of ``userlan.lan.labels``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

from userlan.lan import addresses
from userlan.lan.labels import MAX_HOST, MAX_NAME, check_network, check_nick, distinct_nick, suggest_nick
from userlan.lan.roster import Roster

__all__ = [
    "MAX_HOST",
    "MAX_NAME",
    "AmbiguousName",
    "Answer",
    "Resolver",
    "UnknownName",
    "check_network",
    "check_nick",
    "distinct_nick",
    "suggest_nick",
]

#: The suffix of full names (reserved for private use by ICANN in 2024).
SUFFIX = "internal"
#: The public top-level domains (IANA root zone) that people meet daily; two letters are a country's and count as well.
#: Others, such as work, family or games, are what networks are called: they stay usable.
_PUBLIC_DOMAINS = """
    com net org edu gov mil int arpa info biz name pro mobi app dev cloud online site store shop tech xyz top
    google amazon apple microsoft onion
"""
PUBLIC_DOMAINS = frozenset(_PUBLIC_DOMAINS.split())
#: Names offered when one is unknown.
NEAREST = 3


class UnknownName(ValueError):  # noqa: N818 - named for the condition, as bridges catch it
    """No member has this name. ``nearest``: the names that come near it, best first."""

    def __init__(self, message: str, nearest: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.nearest = nearest


class AmbiguousName(UnknownName):
    """Several members have this short name; ``nearest`` holds the longer names to choose from."""


class Answer(NamedTuple):
    """What a name stands for: the node's key, its short name, its packed addresses (IPv4 first, where it has one)."""

    key: bytes
    name: str
    addresses: tuple[bytes, ...]


class _Query(NamedTuple):
    """A name taken apart: as asked, the member's label, and the networks to look in (None: all, and the own name)."""

    host: str
    short: str
    network: str | None


class Resolver:
    """Finds members by name or address in a roster, always in its present state."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def resolve(self, written: str) -> bytes:
        """The packed address to connect to for a name or numeric literal. UnknownName and AmbiguousName as ``find``."""
        return self.find(written).addresses[0]

    def find(self, written: str) -> Answer:
        """The node that a name, numeric literal or key stands for. UnknownName or AmbiguousName, one line each."""
        key = _key(written)
        if key is not None and (key == self._roster.own_key or key in self._roster.peers):
            return self._answer(key, self._roster.name_of(key))
        host = _canonical(written)
        literal = _literal(host)
        if literal is not None:
            return self._by_address(literal)
        query = self._split(host)
        found = self._found(query)
        if not found:
            raise self._unknown(query)
        if len(found) > 1:
            raise self._ambiguous(query, found)
        return self._answer(next(iter(found)), query.short)

    def is_lan(self, written: str) -> bool:
        """Whether the LAN answers for this host: a member's name, any name below a known network's full name, or an
        address inside the LAN's ranges (whether or not a member has it)."""
        try:
            host = _canonical(written)
            literal = _literal(host)
            if literal is not None:
                return addresses.is_lan_ipv6(literal) or self._roster.address_range.contains(literal)
            query = self._split(host)
        except UnknownName:
            return False
        return host.endswith(f".{SUFFIX}") or bool(self._found(query))

    def _split(self, host: str) -> _Query:
        """UnknownName when no known network can be meant."""
        labels = host.split(".")
        if len(labels) == 1:
            return _Query(host, host, None)
        network = labels[1]
        full = len(labels) == 3 and labels[2] == SUFFIX
        if network in self._roster.networks and (full or (len(labels) == 2 and not _is_public(network))):
            return _Query(host, labels[0], network)
        if full:
            near = _near(network, self._roster.networks)
            raise UnknownName(f"this node is in no network {network!r}{_hint(near)}", near)
        raise UnknownName(f"{addresses.shown(host)} is not a name of the LAN")

    def _found(self, query: _Query) -> dict[bytes, list[str]]:
        """The keys of that name, each with the networks in which it has it."""
        found: dict[bytes, list[str]] = {}
        for network in self._roster.networks if query.network is None else (query.network,):
            for key in self._roster.keys_named(network, query.short):
                found.setdefault(key, []).append(network)
        if not found and query.network is None and query.short == self._roster.own_name:
            found[self._roster.own_key] = []        # who bears it in a network comes first: there this node has another one
        return found

    def _answer(self, key: bytes, name: str) -> Answer:
        return Answer(key, name, self._roster.addresses_of(key))

    def _by_address(self, address: bytes) -> Answer:
        key = self._roster.key_at(address)
        if key is None:
            raise UnknownName(f"no member has the address {addresses.text(address)}")
        return Answer(key, self._roster.name_of(key), (address,))

    def _unknown(self, query: _Query) -> UnknownName:
        for network in self._roster.networks if query.network is None else (query.network,):
            if any(claim.name == query.short for claim in self._roster.approvals.withheld(network).values()):
                raise UnknownName(f"{addresses.shown(query.short)} is not let into {network!r}: its owner has not approved it")
        if query.network is None:
            names = {name for network in self._roster.networks for name in self._roster.names(network)}
            names.add(self._roster.own_name)
        else:
            names = set(self._roster.names(query.network))
        near = _near(query.short, names)
        where = "" if query.network is None else f" in the network {query.network!r}"
        return UnknownName(f"no member is called {addresses.shown(query.short)}{where}{_hint(near)}", near)

    def _ambiguous(self, query: _Query, found: dict[bytes, list[str]]) -> AmbiguousName:
        """Names the way to say each: with its network where that is enough, else by address."""
        choices = []
        for key, networks in found.items():
            others = {network for other, theirs in found.items() if other != key for network in theirs}
            own = [network for network in networks if network not in others]
            if own and query.network is None:
                choices.append(f"{query.short}.{own[0]}" + (f".{SUFFIX}" if _is_public(own[0]) else ""))
            else:
                choices.append(addresses.text(self._roster.addresses_of(key)[0]))
        choices.sort()
        text = f"{query.host!r} is the name of {len(found)} members: say {' or '.join(choices)}"
        return AmbiguousName(text, tuple(choices))


def _canonical(written: str) -> str:
    host = written.removesuffix(".")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or len(host) > MAX_HOST or not host.isascii() or not host.isprintable() or " " in host:
        raise UnknownName(f"{addresses.shown(written)} is not a host name")
    return host.lower()


def _key(written: str) -> bytes | None:
    try:
        return addresses.key_bytes(written)
    except ValueError:
        return None


def _literal(host: str) -> bytes | None:
    try:
        return addresses.packed(host)
    except ValueError:
        return None


def _is_public(network: str) -> bool:
    return len(network) == 2 or network in PUBLIC_DOMAINS


def _near(name: str, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(difflib.get_close_matches(name, sorted(names), n=NEAREST, cutoff=0.6))


def _hint(near: tuple[str, ...]) -> str:
    return f": did you mean {near[0]!r}?" if near else ""
