"""Which framed TCP connections become a second way (``userlan.node.bulk``)."""

from __future__ import annotations

from tests.tunnel.virtual import device
from userlan.node.bulk import RETRY_FIRST, BulkWays
from userlan.node.peers import PeerLink, PeerState
from userlan.tunnel.device import Device
from userlan.wire.endpoint import TCP, UDP, Endpoint

HERE = Endpoint(UDP, "192.0.2.7", 5000)
WAY = Endpoint(TCP, "192.0.2.7", 5000)


class Scene:
    """A node's bulk ways with one peer, which is reached by UDP within a millisecond."""

    def __init__(self) -> None:
        self.device: Device = device("node")
        self.key = device("peer").public_key
        self.device.add_peer(self.key, endpoint=HERE)
        link = PeerLink(self.key, 0.0)
        link.state = PeerState.DIRECT
        link.liveness.rtt = 0.001
        self.link = link
        self.ways = BulkWays(self.device, {self.key: link}, True)

    def opened(self, now: float) -> list[Endpoint]:
        """Where connections are opened to for bulk traffic at this time."""
        self.ways.traffic(self.key, now)
        return [burst.endpoint for burst in self.device.datagrams(now) if burst.endpoint.transport == TCP]

    @property
    def bulk(self) -> Endpoint | None:
        peer = self.device.peer(self.key)
        assert peer is not None
        return peer.ways.bulk


def test_a_way_is_opened_to_where_the_peer_is_and_nowhere_else() -> None:
    """Candidates are the peer's word: a port of another host among them is not knocked at."""
    scene = Scene()
    scene.link.candidates = (Endpoint(TCP, "198.51.100.1", 22), Endpoint(TCP, HERE.host, 443))
    assert scene.opened(1.0) == [Endpoint(TCP, HERE.host, 443)]


def test_a_way_from_another_host_is_not_used() -> None:
    """Who holds back a datagram and sends it from elsewhere by TCP does not become the peer's way."""
    scene = Scene()
    scene.ways.heard(scene.key, Endpoint(TCP, "198.51.100.1", 5000), 1.0)
    assert scene.bulk is None
    scene.ways.heard(scene.key, WAY, 1.0)
    assert scene.bulk == WAY


def test_a_peer_that_closes_its_way_at_once_is_not_asked_at_once() -> None:
    """It could have a connection opened four times a second for as long as bulk goes to it."""
    scene = Scene()
    scene.ways.heard(scene.key, WAY, 1.0)
    scene.device.way_lost(WAY)
    assert scene.bulk is None
    assert scene.opened(1.25) == []
    assert scene.opened(1.0 + RETRY_FIRST) == [WAY]
