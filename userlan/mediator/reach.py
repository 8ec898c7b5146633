"""Which endpoints of a member are named to another: pure rules on what the mediator itself saw.

A mediator must not be made to point members at third parties, so a target is only what it saw on the member's own
authenticated session, or an address of a private network that both are in:

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
    """One member as the mediator sees it: where its datagrams come from and what it says of its interfaces."""

    observed: Endpoint
    offered: tuple[Candidate, ...]
    colocated: bool


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

    It is where the member's authenticated session comes from. A port that is predicted or measured lies on that host;
    on another one it would be anybody's.
    """
    own, other = scope(member.observed.host), scope(reader.observed.host)
    both_loopback = own == other == "loopback"
    if member.colocated and not both_loopback:
        return ""
    private = own == "private" and (
        site(member.observed.host) == site(reader.observed.host) or other in ("private", "loopback")
    )
    return member.observed.host if own == "public" or both_loopback or private else ""


def named(member: Sight, reader: Sight) -> tuple[Candidate, ...]:
    """The endpoints of ``member`` that ``reader`` is told, the most promising first, at most ``MAX_CANDIDATES``."""
    chosen: dict[tuple[str, int, str], Candidate] = {}
    for candidate in _in_order(member, reader):
        chosen.setdefault((candidate.host, candidate.port, candidate.transport), candidate)
    return tuple(chosen.values())[:MAX_CANDIDATES]


def _in_order(member: Sight, reader: Sight) -> Iterable[Candidate]:
    seen, reader_seen = member.observed, reader.observed
    own, other = scope(seen.host), scope(reader_seen.host)
    one_site = site(seen.host) == site(reader_seen.host)
    one_lan = one_site or "private" in (own, other) or "loopback" in (own, other)
    both_loopback = own == other == "loopback"
    means_the_same = own == "public" or (own == "private" and (one_site or other in ("private", "loopback")))
    if seen.transport == UDP and (means_the_same or both_loopback):
        yield Candidate(seen.host, seen.port, "udp", "observed")
    if member.colocated:
        if seen.transport == UDP:
            yield Candidate("", seen.port, "udp", "colocated")
        for candidate in (one for one in member.offered if one.kind != "mapped"):
            yield Candidate("", candidate.port, candidate.transport, "colocated")
    for candidate in member.offered:
        kind = scope(candidate.host)
        if candidate.kind == "mapped":
            if candidate.host == seen.host and means_the_same:
                yield candidate
        elif (
            (candidate.host == seen.host and kind == "public")
            or (kind == "private" and one_lan)
            or (kind == "loopback" and both_loopback)
        ):
            yield candidate


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
