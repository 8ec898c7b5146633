"""Broadcast and multicast between nodes, in virtual time: whom they reach, and whom they do not."""

from __future__ import annotations

from pathlib import Path

from tests.node.lan import VirtualLan
from userlan.node.node import Node
from userlan.stack.udp import UdpSocket

BROADCAST = b"\xff\xff\xff\xff"
GROUP = bytes((239, 1, 2, 3))
GROUP6 = bytes.fromhex("ff15" + 27 * "0" + "1")
PORT = 7_000


def site(folder: Path, *names: str) -> tuple[VirtualLan, list[Node]]:
    """Nodes in one network that see each other."""
    lan = VirtualLan(folder)
    nodes = [lan.node(name, lan.internet, f"198.51.100.{number}") for number, name in enumerate(names, 1)]
    lan.ready(*nodes)
    lan.network(nodes[0], *nodes[1:])
    lan.direct(*nodes)
    return lan, nodes


def heard(*sockets: UdpSocket) -> list[list[bytes]]:
    """The payloads that wait in each socket."""
    waiting: list[list[bytes]] = []
    for socket in sockets:
        payloads = []
        while (received := socket.receive()) is not None:
            payloads.append(bytes(received.payload))
        waiting.append(payloads)
    return waiting


def say(lan: VirtualLan, node: Node, group: bytes, payload: bytes = b"hello") -> None:
    node.host.udp_bind().send(payload, (group, PORT), lan.world.now)
    lan.world.touch(lan.attachments[node.name])
    lan.world.run(0.5)


def test_a_broadcast_reaches_every_member(tmp_path: Path) -> None:
    lan, nodes = site(tmp_path, "anna", "ben", "carl")
    sockets = [node.host.udp_bind(PORT) for node in nodes]
    say(lan, nodes[0], BROADCAST)
    assert heard(*sockets) == [[], [b"hello"], [b"hello"]]


def test_a_multicast_reaches_those_who_listen(tmp_path: Path) -> None:
    lan, nodes = site(tmp_path, "anna", "ben", "carl")
    sockets = [node.host.udp_bind(PORT) for node in nodes]
    for group in (GROUP, GROUP6):
        sockets[2].join(group)
        lan.world.touch(lan.attachments["carl"])
        lan.world.run(0.5)
        sent = nodes[0].device.peer(nodes[1].key)
        assert sent is not None
        before = sent.tx_bytes
        say(lan, nodes[0], group)
        assert heard(*sockets) == [[], [], [b"hello"]]
        assert sent.tx_bytes == before
