"""A link to a kernel beside the stack, as a bridge sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from tests.driver.memory import entropy_of
from userlan.driver.engine import Engine
from userlan.driver.lan import Lan
from userlan.driver.link import AttachedError, LanLink
from userlan.node.memory import Memory
from userlan.node.node import Node
from userlan.wire import icmp, udp
from userlan.wire.superpacket import SuperPacket

PORTS = (61_000, 65_535)
OWN, STRANGER = bytes((25, 1, 2, 3)), bytes((25, 9, 9, 9))


class Kernel:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.packets: list[SuperPacket] = []
        self.broken = False

    def deliver(self, packets: Sequence[SuperPacket]) -> None:
        if self.broken:
            raise ZeroDivisionError("bug")
        self.packets += packets


class Scene:
    """A node without peers in an engine without sockets."""

    def __init__(self) -> None:
        reactor: Any = MemoryReactorClock()     # type: ignore[no-untyped-call]  # Twisted's, without types
        self.node = Node(bytes(range(32)), Memory(), name="anna", entropy=entropy_of(1), now=0.0, wall_offset=1e9)
        self.runner = Engine(reactor).add(self.node, lambda event: None)
        self.lan = Lan(self.runner, self.node.lookup)
        self.kernel = Kernel()

    def attach(self) -> LanLink:
        return self.lan.attach_link(self.kernel, PORTS)

    def datagram(self, source: bytes = OWN, destination: bytes = STRANGER) -> SuperPacket:
        return udp.build(udp.Datagram(40_000, 9, b"x"), source, destination)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_addresses_follow_the_nodes(scene: Scene) -> None:
    link = scene.attach()
    changes: list[list[str]] = []
    link.addresses_changed = lambda: changes.append(link.described())
    (only,) = link.described()
    assert only.startswith("fd75:6c61:6e00:")
    assert only.endswith("/48")
    for address, shown in ((OWN, "25.1.2.3/8"), (STRANGER, "25.9.9.9/8")):
        scene.node.roster.set_own("anna", address)
        scene.lan.addresses_changed()
        assert changes[-1] == [shown, only]
    assert link.mtu == 1420


def test_there_is_one_link_at_a_time(scene: Scene) -> None:
    link = scene.attach()
    with pytest.raises(AttachedError, match="--detach"):
        scene.attach()
    link.detach()
    link.detach()
    assert scene.node.host.unclaimed is None
    again = scene.attach()
    link.detach()
    assert scene.node.host.unclaimed is not None, "the old one ends nothing of the new one's"
    again.detach()


def test_errors_come_back_within_the_call(scene: Scene) -> None:
    scene.node.roster.set_own("anna", OWN)
    scene.node.host.add_address(OWN)
    link = scene.attach()
    link.send([scene.datagram()])
    (error,) = scene.kernel.packets
    assert isinstance(icmp.parse(error), icmp.Unreachable)
    link.send([scene.datagram(source=STRANGER)])
    assert len(scene.kernel.packets) == 1
    assert link.counters() == {"unreachable": 1, "source-foreign": 1}
    assert not link.knows(OWN)
    assert not link.knows(STRANGER)


def test_a_receiver_that_fails_harms_nobody(scene: Scene, logged_failures: list[Any]) -> None:
    scene.node.roster.set_own("anna", OWN)
    scene.node.host.add_address(OWN)
    link = scene.attach()
    scene.kernel.broken = True
    link.send([scene.datagram()])
    assert len(logged_failures) == 1
    logged_failures.clear()
    scene.kernel.broken = False
    link.send([scene.datagram()])
    assert len(scene.kernel.packets) == 1
