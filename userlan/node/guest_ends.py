"""Where a program that knows nothing but one address can reach this node: what a guest's configuration names.

::

    mapped    the router lets everybody in at this port                        (PCP, NAT-PMP, UPnP)
    open      an own address is one of the Internet's
    observed  the router keeps the port (RFC 4787 4.2.1): it may let in only who was spoken to
    site      an own address of the local network: from there alone
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs

from userlan.control.messages import Candidate
from userlan.node.nat_report import seen
from userlan.node.node import Node
from userlan.traversal.candidates import is_private
from userlan.traversal.nat import NatBehaviour
from userlan.wire.endpoint import UDP

EndKind = Literal["mapped", "open", "observed", "site"]


@attrs.frozen
class End:
    """A numeric host and a UDP port. ``sure``: whether whoever may reach it there does; else the router has to be told to forward it."""

    host: str
    port: int
    kind: EndKind
    sure: bool


def end_of(node: Node) -> End | None:
    """Of a running node; None while it does not know its own addresses."""
    offered = [one for one in node.whereabouts.offered if one.transport == UDP]
    return best_end(offered, node.reachability.nat, seen(node)["ipv4"])


def measured(node: Node) -> bool:
    """Whether what can be known of the own NAT is."""
    return bool(node.whereabouts.method) or node.reachability.at is not None


def best_end(offered: Sequence[Candidate], nat: NatBehaviour, observed: str | None) -> End | None:
    """``offered``: what the node tells of itself, UDP; ``observed``: the IPv4 host as which its mediator sees it. IPv4 first: not every
    network has IPv6."""
    own = [one for one in offered if one.kind == "local"]
    mapped = sorted((one for one in offered if one.kind == "mapped"), key=_version)
    public = sorted((one for one in own if not is_private(one.host)), key=_version)
    ports = {one.port for one in own if ":" not in one.host}
    if mapped:
        return End(mapped[0].host, mapped[0].port, "mapped", True)
    if public and ":" not in public[0].host:
        return End(public[0].host, public[0].port, "open", True)
    if observed is not None and not is_private(observed) and ports:
        certain = nat.udp.allocation == "preserving" and nat.udp.filtering == "endpoint-independent"
        if not certain and public and nat.ipv6 == "open":
            return End(public[0].host, public[0].port, "open", True)
        return End(observed, min(ports), "observed", certain)
    if public:
        return End(public[0].host, public[0].port, "open", nat.ipv6 != "firewall")
    site = sorted(own, key=_version)
    return End(site[0].host, site[0].port, "site", True) if site else None


def _version(candidate: Candidate) -> bool:
    return ":" in candidate.host
