"""Many members that all talk to all: each hears what is said in the LAN, once, and nobody has to hear more.

Fifty of them, over real sockets, are the bench's (``tests.bench.sections.chatty``): that many take half a minute here to meet.
"""

from __future__ import annotations

from tests.node.acquainted import memories
from tests.node.test_flooding import GROUP, LIMITED, PORT, drained
from tests.sim.internet import Attachment, Internet
from tests.sim.world import World
from userlan.lan.secrets import NetworkSecret
from userlan.node.node import Node
from userlan.wire.endpoint import UDP, Endpoint

MEMBERS = 20
ROUNDS = 5
"""Seconds in which each member announces itself once, as games and mDNS responders do."""


class Crowd:
    """They know each other; no mediator is there."""

    def __init__(self) -> None:
        self.world = World()
        internet = Internet(self.world)
        hosts = [f"198.51.100.{number + 1}" for number in range(MEMBERS)]
        entropy = self.world.entropy()
        keys = [entropy(32) for _ in hosts]
        remembered = memories(keys, [Endpoint(UDP, host, 41414) for host in hosts], NetworkSecret.generate(entropy))
        self.members: list[tuple[Node, Attachment]] = []
        for key, memory, host in zip(keys, remembered, hosts, strict=True):
            now = self.world.now
            node = Node(key, memory, name=memory.name, entropy=self.world.entropy(), now=now, wall_offset=1.7e9)
            self.members.append((node, internet.attach(node, host)))
            node.set_local_endpoints([Endpoint(UDP, host, 41414)], now)
            node.start(now)
        assert all(len(node.peers.links) == MEMBERS - 1 for node, _ in self.members)
        self.world.run_until(lambda: all(link.up for node, _ in self.members for link in node.peers.links.values()), 60)


def test_everybody_hears_everybody_once() -> None:
    crowd = Crowd()
    nodes = [node for node, _ in crowd.members]
    sockets = [node.host.udp_bind(PORT) for node in nodes]
    listeners = sockets[:5]
    for socket in listeners:
        socket.join(GROUP)
    crowd.world.run(1)
    sent = {node.key: sum(peer.tx_bytes for peer in node.device.peers()) for node in nodes}
    for turn in range(ROUNDS):
        for number, (socket, (_, attachment)) in enumerate(zip(sockets, crowd.members, strict=True)):
            for group in (LIMITED, GROUP):
                socket.multicast_loop = False
                socket.send(b"%d/%d" % (turn, number), (group, PORT), crowd.world.now)
            crowd.world.touch(attachment)
        crowd.world.run(1)
    said = {b"%d/%d" % (turn, number) for turn in range(ROUNDS) for number in range(MEMBERS)}
    for number, socket in enumerate(sockets):
        others = {one for one in said if int(one.split(b"/")[1]) != number}
        times = 2 if socket in listeners else 1
        heard = drained(socket)
        assert (set(heard), len(heard)) == (others, times * len(others))
    assert not any(node.flooding.storms.counters for node in nodes)
    for node in nodes:
        octets = sum(peer.tx_bytes for peer in node.device.peers()) - sent[node.key]
        assert octets / ROUNDS < 2 * MEMBERS * 200, "no more than two packets a second to each, beside signs of life"
