"""Where this node can be reached, and who is told: its own addresses, and those that routers map to it.

::

    the program ── own addresses ──┐                      ┌──▶ mediators (the greeting, and each change)
    the routers ── mapped ones ────┼──▶ Whereabouts ──────┼──▶ members (introducer), when they introduce
                                   └── compared with ─────┴──▶ reachability, relays, peers: the network is another one
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from userlan.control.mediation import LinkState
from userlan.control.messages import MAX_CANDIDATES, Candidate, Candidates
from userlan.traversal.nat import PortMapping
from userlan.wire.endpoint import TCP, UDP, Endpoint

if TYPE_CHECKING:
    from userlan.node.node import Node

MAX_MAPPED = 4
"""Endpoints that routers map: UDP and TCP, by IPv4 and IPv6."""


class Whereabouts:
    """Of one node. ``method``: by which protocol a router maps its port; empty: none does."""

    def __init__(self, node: Node) -> None:
        self.method: PortMapping = ""
        self._node = node
        self._own: tuple[Candidate, ...] = ()
        self._mapped: tuple[Candidate, ...] = ()

    @property
    def offered(self) -> tuple[Candidate, ...]:
        """What is told to others."""
        return (*self._mapped, *self._own)[:MAX_CANDIDATES]

    def own(self, endpoints: Iterable[Endpoint], now: float) -> None:
        """This computer's own outer addresses with the ports that are listened on."""
        node = self._node
        own = tuple(dict.fromkeys(endpoints))
        candidates = tuple(Candidate(one.host, one.port, TCP if one.transport == TCP else UDP) for one in own)
        if candidates == self._own:
            return
        first = not self._own
        self._own = candidates
        self._offer(now)
        node.reachability.own_endpoints(own)
        if not first:
            for link in node.links.values():
                link.network_changed(now)
            node.relays.network_changed(now)
            node.peers.network_changed(now)
            node.reachability.network_changed(now)
            node.introducer.tell_all(now)

    def mapped(self, endpoints: Iterable[Endpoint], now: float, method: PortMapping) -> None:
        """The external endpoints at which a router lets the peers in, and by which protocol it was asked."""
        node = self._node
        self.method = method
        endpoints = tuple(endpoints)
        node.reachability.mapped(method, endpoints[0].host if endpoints else "")
        mapped = tuple(Candidate(one.host, one.port, TCP if one.transport == TCP else UDP, "mapped") for one in endpoints)[:MAX_MAPPED]
        if mapped != self._mapped:
            self._mapped = mapped
            self._offer(now)
            node.introducer.tell_all(now)

    def _offer(self, now: float) -> None:
        """Tell the mediators where this node can be reached."""
        node, offered = self._node, self.offered
        node.peers.own_endpoints = frozenset(Endpoint(one.transport, one.host, one.port) for one in offered)
        node.introducer.candidates = offered
        for link in node.links.values():
            if link.state is LinkState.READY:
                link.send(Candidates(offered), now)
