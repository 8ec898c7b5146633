"""What mediators, members and outsiders of ill will, and bad moments, do to a node: each was once harmful."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.lan import VirtualLan
from tests.node.test_network import two_homes
from userlan.node.peers import PeerState
from userlan.wire.endpoint import TCP, UDP, Endpoint


@pytest.fixture
def lan(tmp_path: Path) -> VirtualLan:
    return VirtualLan(tmp_path)


def test_new_addresses_during_an_attempt_do_not_spin(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    lan.kill("ben")
    link = anna.peers.links[ben.key]
    lan.world.run_until(lambda: link.state is PeerState.CONNECTING and link.attempt is not None, 60)
    anna.set_local_endpoints([Endpoint(UDP, "192.168.1.9", 41414)], lan.world.now)
    deadline = link.deadline()
    assert deadline is not None
    assert deadline > lan.world.now
    lan.world.run(30)


def test_a_peer_that_dies_during_an_introduction_does_not_spin(lan: VirtualLan) -> None:
    anna, ben = two_homes(lan)
    lan.network(anna, ben)
    lan.direct(anna, ben)
    lan.kill("ben")
    lan.world.run(5)
    link = anna.peers.links[ben.key]
    assert link.state is PeerState.DIRECT
    link.introduce([Endpoint(TCP, "203.0.113.1", 1)], 3.0, lan.world.now)
    lan.world.run(60)
    assert anna.peers.shown(ben.key)[0] != "direct"
