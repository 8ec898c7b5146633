"""Who can make a node open a connection for bulk, or use one: the rules of ``node.bulk``, with real devices."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.tunnel.virtual import connected
from userlan.node.bulk import LONGEST_ROUND_TRIP, LOSSY_PAUSE, RETRY_FIRST, RETRY_LAST, STALLED_PAUSE, BulkWays
from userlan.node.peers import PeerLink, PeerState
from userlan.tunnel.endpoint import Burst
from userlan.tunnel.events import BulkStalled, BulkTraffic, WayHeard
from userlan.wire.endpoint import RELAY, TCP, UDP, Endpoint

THERE = Endpoint(TCP, "192.0.2.2", 41414)
"""Framed TCP at B's tunnel's own address."""


class Scene:
    """A's side of a direct pair with B, at 192.0.2.2."""

    def __init__(self) -> None:
        self.a, self.b, self.network = connected(1)
        self.now = self.network.now
        self.key = self.b.device.public_key
        self.link = PeerLink(self.key, self.now)
        self.link.state = PeerState.DIRECT
        self.link.liveness.rtt = 0.002
        self.bulk = BulkWays(self.a.device, {self.key: self.link}, True)
        self.a.device.datagrams(self.now)

    @property
    def way(self) -> Endpoint | None:
        peer = self.a.device.peer(self.key)
        assert peer is not None
        return peer.ways.bulk

    def asked(self) -> list[Endpoint]:
        """Connections that were asked for since the last call."""
        return [burst.endpoint for burst in self.bursts() if not burst.data]

    def bursts(self) -> list[Burst]:
        return self.a.device.datagrams(self.now)

    def traffic(self, after: float = 0.0) -> list[Endpoint]:
        self.now += after
        self.bulk.happened(BulkTraffic(self.key), self.now)
        return self.asked()

    def heard(self, endpoint: Endpoint = THERE, after: float = 0.0) -> Endpoint | None:
        self.now += after
        self.bulk.happened(WayHeard(self.key, endpoint), self.now)
        return self.way


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_bulk_traffic_asks_for_a_connection_to_where_the_peer_is(scene: Scene) -> None:
    assert scene.traffic() == [THERE]
    assert scene.way is None, "it is used once the peer was heard by it"


def test_a_relay_at_the_peers_address_is_no_way_for_bulk(scene: Scene) -> None:
    """One machine, or a relay behind the peer's own NAT: what comes by it, or from another UDP port of the peer, is not framed TCP."""
    assert scene.heard(Endpoint(RELAY, "192.0.2.2", 41500, 7)) is None
    assert scene.heard(Endpoint(UDP, "192.0.2.2", 7)) is None
    assert scene.traffic() == [THERE], "the connection is still asked for"
    assert scene.heard() == THERE


def test_the_port_may_be_another_the_address_not(scene: Scene) -> None:
    """A mediator that names a third party's address gains nothing: only the tunnel's own address is ever connected to."""
    scene.link.candidates = (
        Endpoint(TCP, "198.51.100.66", 25), Endpoint(UDP, "192.0.2.2", 7), Endpoint(TCP, "192.0.2.2", 5000), Endpoint(TCP, "192.0.2.2", 25),
    )  # fmt: skip
    assert scene.traffic() == [Endpoint(TCP, "192.0.2.2", 5000)]
    scene.link.candidates = (Endpoint(TCP, "198.51.100.66", 25),)
    assert scene.traffic(1000.0) == [THERE]


def test_attempts_become_rarer(scene: Scene) -> None:
    """Most peers behind NATs cannot be reached by TCP."""
    tries = []
    for _ in range(4 * int(RETRY_LAST)):
        if scene.traffic(1.0):
            tries.append(scene.now)
    gaps = [round(later - one) for one, later in pairwise(tries)]
    assert gaps[:6] == [RETRY_FIRST * 2**step for step in range(6)]
    assert max(gaps) == RETRY_LAST


@pytest.mark.parametrize("reason", ["disabled", "relayed", "far", "unmeasured", "stock", "stranger", "over-tcp"])
def test_no_connection_is_asked_for(scene: Scene, reason: str) -> None:
    peer = scene.a.device.peer(scene.key)
    assert peer is not None
    match reason:
        case "disabled":
            scene.bulk.enabled = False
        case "relayed":
            scene.link.state = PeerState.RELAYED
        case "far":
            scene.link.liveness.rtt = LONGEST_ROUND_TRIP * 1.01
        case "unmeasured":
            scene.link.liveness.rtt = None
        case "stock":
            peer.stock = True
        case "stranger":
            scene.bulk = BulkWays(scene.a.device, {}, True)
        case "over-tcp":
            peer.endpoint = THERE
    assert scene.traffic() == []


def test_a_connection_that_is_there_brings_a_knock_and_only_one_that_was_asked_for(scene: Scene) -> None:
    scene.bulk.opened(THERE, scene.now)
    assert scene.bursts() == []
    scene.traffic()
    scene.bulk.opened(Endpoint(TCP, "192.0.2.2", 9), scene.now)
    assert scene.bursts() == []
    scene.bulk.opened(THERE, scene.now)
    (knock,) = scene.bursts()
    assert (knock.endpoint, len(knock.data)) == (THERE, 32)
    scene.bulk.opened(THERE, scene.now)
    assert scene.bursts() == []


def test_a_peer_that_is_heard_is_answered_and_its_way_used(scene: Scene) -> None:
    assert scene.heard() == THERE
    (answer,) = scene.bursts()
    assert answer.endpoint == THERE
    assert scene.heard(Endpoint(TCP, "192.0.2.2", 1)) == THERE, "the first one stays as long as it is there"
    assert scene.bursts() == []


@pytest.mark.parametrize("reason", ["elsewhere", "disabled", "stranger"])
def test_a_way_is_not_used(scene: Scene, reason: str) -> None:
    """Whoever carries a peer's packets from another address gains no way by it."""
    match reason:
        case "elsewhere":
            assert scene.heard(Endpoint(TCP, "203.0.113.66", 41414)) is None
        case "disabled":
            scene.bulk.enabled = False
            assert scene.heard() is None
        case "stranger":
            scene.bulk = BulkWays(scene.a.device, {}, True)
            assert scene.heard() is None
    assert scene.bursts() == []


def test_a_lossy_way_rests_for_a_minute_and_is_taken_up_again_if_it_is_there(scene: Scene) -> None:
    scene.heard()
    scene.bursts()
    scene.bulk.lossy(THERE, scene.now)
    assert scene.way is None
    assert scene.heard(after=LOSSY_PAUSE / 2) is None
    assert scene.traffic(LOSSY_PAUSE / 4) == []
    assert scene.way is None
    assert scene.traffic(LOSSY_PAUSE / 4) == [], "the connection is there: it need not be opened"
    assert scene.way == THERE


def test_a_way_that_ended_while_it_rested_is_opened_anew(scene: Scene) -> None:
    scene.heard()
    scene.bursts()
    scene.bulk.lossy(THERE, scene.now)
    scene.bulk.lost(THERE, scene.now)
    scene.a.device.way_lost(THERE)
    assert scene.traffic(LOSSY_PAUSE) == [THERE]
    assert scene.way is None


def test_a_stalled_way_rests(scene: Scene) -> None:
    scene.heard()
    scene.bulk.happened(BulkStalled(scene.key, THERE), scene.now)
    assert scene.way is None
    assert scene.heard(after=STALLED_PAUSE * 0.9) is None
    assert scene.heard(after=STALLED_PAUSE * 0.2) == THERE


def test_a_lost_way_is_not_asked_for_again_at_once(scene: Scene) -> None:
    """A box that ends every such connection would else be asked four times a second."""
    scene.heard()
    scene.bursts()
    scene.bulk.lost(THERE, scene.now)
    scene.a.device.way_lost(THERE)
    assert scene.way is None
    assert scene.traffic() == []
    assert scene.traffic(RETRY_FIRST) == [THERE]


def test_nothing_is_kept_of_members_that_left_and_of_attempts_that_failed(scene: Scene) -> None:
    scene.traffic()
    scene.bulk.lost(THERE, scene.now)
    scene.bulk.opened(THERE, scene.now)
    assert scene.bursts() == []
    scene.bulk.forget(scene.key)
    assert not scene.bulk._attempts
    assert not scene.bulk._opening
