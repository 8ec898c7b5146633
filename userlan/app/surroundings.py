"""What a running node does about the network that it is in: the router is asked for a port, and neighbours are looked for."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from userlan.driver.neighbours import Neighbourhood
from userlan.driver.port_mapping import PortMapping
from userlan.driver.runner import CoreRunner
from userlan.node.config import Traversal
from userlan.node.neighbours import Announcement
from userlan.node.node import Node
from userlan.traversal.port_mapping.mapper import NOTHING, Mapped
from userlan.wire.endpoint import Endpoint


class Surroundings:
    """Of one node that listens on ``port``."""

    def __init__(self, reactor: Any, runner: CoreRunner, node: Node, port: int, options: Traversal) -> None:
        self._log = Logger(namespace="userlan.traversal")
        self._reactor = reactor
        self._runner = runner
        self._node = node
        self._known: frozenset[bytes] = frozenset()
        self._got = {4: NOTHING, 6: NOTHING}
        self._mappings = [
            PortMapping(reactor, os.urandom, port, partial(self._mapped, version), version) for version in self._got if options.port_mapping
        ]
        self._neighbourhood = Neighbourhood(reactor, port, self._announcement, self._heard) if options.lan_discovery else None

    def look(self, hosts: Sequence[str]) -> None:
        """The node listens at ``hosts``; what has changed is followed. To be called now and then."""
        outside = [host for host in hosts if not ipaddress.ip_address(host).is_loopback]
        for mapping in self._mappings if outside else ():
            mapping.look(outside)
        neighbours = self._node.neighbours
        if self._neighbourhood is not None:
            self._neighbourhood.look(outside, neighbours.revision)
        known = frozenset(self._node.roster.peers)
        if known != self._known:
            self._known = known
            self._found(neighbours.again())

    def stop(self) -> Deferred[Any]:
        """Give back what was asked for, and say goodbye."""
        return gatherResults([part.stop() for part in (*self._mappings, self._neighbourhood) if part is not None])

    def _mapped(self, version: int, mapped: Mapped) -> None:
        if mapped.endpoints:
            ends = ", ".join(map(str, mapped.endpoints))
            self._log.info("the router lets peers in at {ends}, by {method}", ends=ends, method=mapped.method)
        self._got[version] = mapped
        endpoints = [endpoint for one in self._got.values() for endpoint in one.endpoints]
        self._node.set_mapped_endpoints(endpoints, self._reactor.seconds(), self._got[4].method or self._got[6].method)
        self._runner.touch()

    def _announcement(self) -> Announcement:
        """Another network, or other memberships: what was seen so far is seen again where it is still there."""
        self._node.neighbours.forget()
        return self._node.neighbours.announcement()

    def _heard(self, name: str, properties: Mapping[bytes, bytes | None], endpoints: Sequence[Endpoint]) -> None:
        self._found(self._node.neighbours.seen(name, properties, endpoints))

    def _found(self, members: Iterable[tuple[bytes, tuple[Endpoint, ...]]]) -> None:
        for key, endpoints in list(members):
            self._log.debug("{name} is on this local network", name=self._node.roster.name_of(key))
            self._node.neighbour_found(key, endpoints, self._reactor.seconds())
            self._runner.touch()
