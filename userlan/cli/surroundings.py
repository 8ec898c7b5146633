"""What a running node does about the network that it is in, beside looking at its addresses: the router is asked for a port."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from userlan.driver.port_mapping import PortMapping
from userlan.driver.runner import CoreRunner
from userlan.node.config import Traversal
from userlan.node.node import Node
from userlan.traversal.port_mapping.mapper import Mapped


class Surroundings:
    """Of one node that listens on ``port``."""

    _log = Logger()

    def __init__(self, reactor: Any, runner: CoreRunner, node: Node, port: int, options: Traversal) -> None:
        self._reactor = reactor
        self._runner = runner
        self._node = node
        self._mapping = PortMapping(reactor, os.urandom, port, self._mapped) if options.port_mapping else None

    def look(self, hosts: Sequence[str]) -> None:
        """The node listens at ``hosts``; what has changed is followed."""
        if self._mapping is not None and not all(ipaddress.ip_address(host).is_loopback for host in hosts):
            self._mapping.look(hosts)

    def stop(self) -> Deferred[Any]:
        """Give back what was asked for."""
        return self._mapping.stop() if self._mapping is not None else succeed(None)

    def _mapped(self, mapped: Mapped) -> None:
        if mapped.endpoints:
            ends = ", ".join(map(str, mapped.endpoints))
            self._log.info("the router lets peers in at {ends}, by {method}", ends=ends, method=mapped.method)
        self._node.set_mapped_endpoints(mapped.endpoints, self._reactor.seconds(), mapped.method)
        self._runner.touch()
