"""A LAN with relays, in virtual time: nodes behind boxes that let nobody through, and the relays that are left to them."""

from __future__ import annotations

from pathlib import Path

from tests.node.lan import MEDIATOR_HOST, PORT, WALL, VirtualLan
from tests.sim.internet import Attachment
from tests.sim.link import LinkProfile
from tests.sim.nat import ADDRESS_AND_PORT, Nat, NatBehaviour
from userlan.control.meeting import ServerEndpoint
from userlan.lan.invite import Invite
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.relay.allocation import Limits
from userlan.relay.core import Relay
from userlan.wire.endpoint import TCP, UDP

SYMMETRIC = NatBehaviour(mapping=ADDRESS_AND_PORT, allocation="random")
"""Between two of these nothing is predicted: the pair is a relay's (RFC 4787 4.1, 4.2)."""


class RelayedLan(VirtualLan):
    """``relays``: by name, the core and where it is plugged in."""

    def __init__(self, folder: Path, seed: int = 1, behaviour: NatBehaviour = SYMMETRIC) -> None:
        super().__init__(folder, seed)
        self.behaviour = behaviour
        self.relays: dict[str, tuple[Relay, Attachment]] = {}
        self.boxes: dict[str, Nat] = {}
        self.keys: dict[str, bytes] = {}
        """Private keys, by name."""

    def at_port(self, port: int) -> Invite:
        """The mediator's link with another port."""
        return Invite(((MEDIATOR_HOST, port),), self.url.mediator_key)

    def relay(
        self, name: str, host: str, delay: float = 0.01, *, key: bytes | None = None, pool_keys: dict[bytes, bytes] | None = None,
        limits: Limits = Limits(client_rate=0.0, channel_rate=0.0),  # noqa: B008 - immutable
    ) -> Relay:
        """A relay ``delay`` seconds away from everybody, and its joining of the pool."""
        url = self.at_port(PORT)
        self.keys[name] = key or self.world.entropy()(32)
        core = Relay(
            self.keys[name], [url], name=name, entropy=self.world.entropy(), now=self.world.now, wall_offset=WALL,
            pool_keys=pool_keys, limits=limits,
        )
        attachment = self.internet.attach(core, host, port=PORT, profile=LinkProfile(delay=delay))
        core.set_endpoints([ServerEndpoint(host, PORT, UDP), ServerEndpoint(host, PORT, TCP)], self.world.now)
        for link in core.links.values():
            link.resolved(MEDIATOR_HOST, (MEDIATOR_HOST,), self.world.now)
        self.relays[name] = (core, attachment)
        return core

    def kill_relay(self, name: str) -> None:
        """kill -9."""
        _, attachment = self.relays[name]
        attachment.unplug()
        self.world.remove(attachment)

    def member(self, name: str, number: int, *, memory: Memory | None = None, key: bytes | None = None, delay: float = 0.02) -> Node:
        """A node behind a box of its own."""
        box = self.boxes.get(name)
        if box is None:
            box = self.boxes[name] = Nat(self.internet, f"198.51.100.{number}", behaviour=self.behaviour)
        self.keys[name] = key or self.world.entropy()(32)
        return self.node(name, box.inside, f"192.168.{number}.2", memory=memory, key=self.keys[name], profile=LinkProfile(delay=delay))

    def relay_of(self, node: Node, peer: Node) -> str:
        """The name of the relay by which a node's tunnel to a peer goes, empty where it goes by none."""
        tunnel = node.device.peer(peer.key)
        return node.relays.client.name_of(tunnel.endpoint) if tunnel is not None and tunnel.endpoint is not None else ""
