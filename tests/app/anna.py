"""What a program has of the node and the reactor, in virtual time."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from twisted.internet.task import Clock

from tests.node.lan import VirtualLan
from userlan.node.node import Node


class Anna:
    """Anna's program; ben is a member that she reaches."""

    def __init__(self, folder: Path) -> None:
        self.lan = VirtualLan(folder)
        self.node: Node = self.lan.node("anna", self.lan.internet, "198.51.100.1")
        self.ben = self.lan.node("ben", self.lan.internet, "198.51.100.2")
        self.lan.ready(self.node, self.ben)
        self.lan.network(self.node, self.ben)
        self.lan.direct(self.node, self.ben)
        self.clock = Clock()
        self.reactor = SimpleNamespace(callLater=self.clock.callLater, seconds=lambda: self.lan.world.now)
