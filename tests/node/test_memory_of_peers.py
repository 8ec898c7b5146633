"""What a peer costs a whole node: link, tunnel, roster, switch, gossip, path MTU; at rest, and after a long one."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

from tests.node.lan import VirtualLan
from userlan.node.node import Node

PEER_OCTETS = 16_000
"""Octets of Python's for each peer of each node; OpenSSL's two ciphers add 4.8 KB. The aim is 50 KB together."""
GROWTH_OCTETS = 6000
"""Octets that a peer may cost more after some minutes in which nothing happened: a device keeps up to 64 outdated deadlines."""
SETTLED = 200.0
"""Seconds: the sessions that the first handshakes superseded are gone (180 s)."""


def lan_of(folder: Path, count: int) -> tuple[VirtualLan, list[Node]]:
    folder.mkdir()
    lan = VirtualLan(folder)
    nodes = [lan.node(f"node{number}", lan.internet, f"198.51.100.{number + 1}") for number in range(count)]
    lan.ready(*nodes)
    lan.network(*nodes)
    lan.direct(*nodes, seconds=60)
    return lan, nodes


def held(lan: VirtualLan) -> int:
    for attachment in lan.attachments.values():
        attachment.events.clear()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def least_held(lan: VirtualLan) -> int:
    """The least within two minutes: sessions are renewed and superseded ones dropped meanwhile."""
    taken = []
    for _ in range(5):
        lan.world.run(30.0)
        taken.append(held(lan))
    return min(taken)


def test_memory_of_an_idle_peer(tmp_path: Path) -> None:
    """n nodes of one network have n (n - 1) peers: the second difference is that of the peers alone."""
    lan_of(tmp_path / "first", 2)[0].kill_mediator()    # what is made once is not counted
    taken = []
    tracemalloc.start()
    try:
        for count in (2, 5, 8):
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            lan, nodes = lan_of(tmp_path / str(count), count)
            lan.world.run(30.0)
            taken.append(held(lan) - before)
            lan.kill_mediator()
            del lan, nodes
    finally:
        tracemalloc.stop()
    each = (taken[2] - 2 * taken[1] + taken[0]) / (8 * 7 - 2 * 5 * 4 + 2 * 1)
    assert 1000 < each < PEER_OCTETS, each


def test_a_peer_costs_no_more_after_a_rest(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        lan, nodes = lan_of(tmp_path / "rest", 3)
        lan.world.run(SETTLED)
        before = least_held(lan)
        lan.world.run(300.0)
        each = (least_held(lan) - before) / (len(nodes) * (len(nodes) - 1))
    finally:
        tracemalloc.stop()
    lan.kill_mediator()
    assert each < GROWTH_OCTETS, each
