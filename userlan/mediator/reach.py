"""Which endpoints of a member are named to another: pure rules on what the mediator itself saw.

A mediator must not be made to point members at third parties, so a target is only where it saw the member itself, or an
address of a private network that both are in:

========================  ==========================================================================================
endpoint                  named to the other
========================  ==========================================================================================
observed, public          always
observed, private         where the other is seen on a private address too, or both have one public address
observed, loopback        where the other is seen on loopback too
``local``, same host as   always (the same address, another port or transport: it is the member's own)
the observed
``local``, private        where both have one public address, or either is seen on a private address: one LAN
``local``, loopback       where both are seen on loopback
``local``, public         never: nobody saw it
``mapped``                where its host is that of the observed, whatever the port: a router maps it to the member (RFC 6887, UPnP)
``colocated``             where the member sits at the mediator's own address: the other puts in the address by which
                          it reaches the mediator
========================  ==========================================================================================

A member is seen (``observed``) where its authenticated session comes from, and, as one session has one family, where it has
proved within that session that it can be reached: by the cookie that the mediator's own vantage sent there (``Sighted``,
return routability). So of a member with two families both are named; each is judged by the other's endpoint of its family.

A mapping is only the member's word for what its router said: at another host than the observed it could be anybody's.

A session that comes by framed TCP has an observed port at which nothing listens, so that endpoint is not named.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Literal, NamedTuple

from userlan.control.messages import MAX_CANDIDATES, Candidate
from userlan.traversal.candidates import is_private
from userlan.wire.endpoint import TCP, UDP, Endpoint, unmapped

#: Hosts whose kind is remembered: more than an hour's members of a busy mediator, a few hundred KiB.
_REMEMBERED = 4096
#: Never an endpoint: "this network" and class E (RFC 1122 section 3.2.1.3).
_UNUSABLE = (ipaddress.ip_network("0.0.0.0/8"), ipaddress.ip_network("240.0.0.0/4"))


class Sight(NamedTuple):
    """One member as the mediator sees it: where its session comes from, what it says of its interfaces, and where it has proved
    to be ``beside`` its session, by UDP."""

    observed: Endpoint
    offered: tuple[Candidate, ...]
    colocated: bool
    beside: tuple[Endpoint, ...] = ()

    @property
    def seen(self) -> tuple[Endpoint, ...]:
        """All endpoints at which it is seen, the session's first. Of the family of a session by UDP there is that one alone."""
        own = self.observed
        return (own, *(one for one in self.beside if own.transport != UDP or _version(one) != _version(own)))

    @property
    def translated(self) -> Endpoint:
        """The one of which its NAT's behaviour says something: the IPv4 one where it has any, by UDP if it can be."""
        return min(self.seen, key=lambda one: (_version(one), one.transport != UDP))

    def of(self, version: int) -> Endpoint | None:
        """Where it is seen by one IP version, by UDP if it can be."""
        found = [one for one in self.seen if _version(one) == version]
        return min(found, key=lambda one: one.transport != UDP, default=None)


@lru_cache(maxsize=_REMEMBERED)
def scope(host: str) -> str:
    """``loopback``, ``private``, ``public`` or, for what no member can have, ``unusable``."""
    try:
        address = ipaddress.ip_address(unmapped(host))
    except ValueError:
        return "unusable"
    if address.is_multicast or address.is_unspecified:
        return "unusable"
    if address.is_loopback:
        return "loopback"
    if is_private(str(address)):
        return "private"
    return "unusable" if any(address in network for network in _UNUSABLE) else "public"


@lru_cache(maxsize=_REMEMBERED)
def site(host: str) -> bytes:
    """What two members behind one router have in common: the IPv4 address, or the IPv6 /64."""
    try:
        address = ipaddress.ip_address(unmapped(host))
    except ValueError:
        return host.encode()
    return address.packed if isinstance(address, ipaddress.IPv4Address) else address.packed[:8]


def is_colocated(observed: Endpoint, own_hosts: Collection[str]) -> bool:
    """Whether a member sits at the mediator's own address, so that what the mediator sees helps nobody else."""
    return scope(observed.host) == "loopback" or observed.host in own_hosts


def target_host(member: Sight, reader: Sight) -> str:
    """The only host at which ``reader`` is let send packets of a plan for ``member``, by whatever transport; "": none.

    It is where the member is seen, by the family that both have, IPv4 first, since the plans are about NATs. A port that is
    predicted or measured lies on that host; on another one it would be anybody's.
    """
    seen, other = _facing(member, reader)
    return seen.host if _means_something(seen, other) and (not member.colocated or _both_loopback(seen, other)) else ""


def _facing(member: Sight, reader: Sight) -> tuple[Endpoint, Endpoint]:
    """Where both are seen by one family; where they have none in common, where their sessions come from."""
    for version in (4, 6):
        seen, other = member.of(version), reader.of(version)
        if seen is not None and other is not None:
            return seen, other
    return member.observed, reader.observed


def _both_loopback(seen: Endpoint, other: Endpoint) -> bool:
    return scope(seen.host) == scope(other.host) == "loopback"


def _means_something(seen: Endpoint, other: Endpoint) -> bool:
    """Whether who is seen at ``other`` can send to ``seen``."""
    own, others = scope(seen.host), scope(other.host)
    private = own == "private" and (site(seen.host) == site(other.host) or others in ("private", "loopback"))
    return own == "public" or private or own == others == "loopback"


def _version(endpoint: Endpoint) -> int:
    return 6 if ":" in endpoint.host else 4


def named(member: Sight, reader: Sight) -> tuple[Candidate, ...]:
    """The endpoints of ``member`` that ``reader`` is told, the most promising first, at most ``MAX_CANDIDATES``."""
    chosen: dict[tuple[str, int, str], Candidate] = {}
    for candidate in _in_order(member, reader):
        chosen.setdefault((candidate.host, candidate.port, candidate.transport), candidate)
    return tuple(chosen.values())[:MAX_CANDIDATES]


def _in_order(member: Sight, reader: Sight) -> Iterable[Candidate]:
    meaning: set[str] = set()
    for seen in member.seen:
        other = reader.of(_version(seen)) or reader.observed
        if _means_something(seen, other):
            meaning.add(seen.host)
            if seen.transport == UDP:
                yield Candidate(seen.host, seen.port, "udp", "observed")
    if member.colocated:
        if member.observed.transport == UDP:
            yield Candidate("", member.observed.port, "udp", "colocated")
        for candidate in (one for one in member.offered if one.kind != "mapped"):
            yield Candidate("", candidate.port, candidate.transport, "colocated")
    both_loopback = _both_loopback(member.observed, reader.observed)
    one_lan = _one_lan(member, reader)
    for candidate in member.offered:
        kind = scope(candidate.host)
        if candidate.kind == "mapped":
            if candidate.host in meaning:
                yield candidate
        elif (
            (kind == "public" and candidate.host in meaning)
            or (kind == "private" and one_lan)
            or (kind == "loopback" and both_loopback)
        ):
            yield candidate


def _one_lan(member: Sight, reader: Sight) -> bool:
    """Whether a private address of the one may mean something to the other."""
    scopes = {scope(one.host) for one in (*member.seen, *reader.seen)}
    return not scopes.isdisjoint(("private", "loopback")) or not sites(member).isdisjoint(sites(reader))


def sites(sight: Sight) -> set[bytes]:
    """The sites that a member is seen at."""
    return {site(one.host) for one in sight.seen}


def accepted(offered: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """What is kept of a node's own endpoints: numeric usable hosts in their plain form, each once.

    All are ``local``, or ``mapped`` where the node says that its router gave it that port.
    """
    kept: dict[Candidate, None] = {}
    for candidate in offered:
        if candidate.transport in (UDP, TCP) and scope(candidate.host) != "unusable":
            kind: Literal["local", "mapped"] = "mapped" if candidate.kind == "mapped" else "local"
            kept[Candidate(unmapped(candidate.host), candidate.port, candidate.transport, kind)] = None
    return tuple(kept)[:MAX_CANDIDATES]
