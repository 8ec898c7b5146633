"""Host to host over bad links, in virtual time: what arrives is what was sent, and ends are seen by both."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.sim.lan import LanHost, packed, pair
from tests.sim.link import LinkProfile
from tests.sim.world import World
from userlan.stack import TcpAccepted, TcpEvent
from userlan.stack.tcp import Connection, Events, State

ADDRESSES = pytest.mark.parametrize("addresses", [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")])
ROADS = {
    "good": LinkProfile(delay=0.005),
    "lossy": LinkProfile(delay=0.010, loss=0.05),
    "disordered": LinkProfile(delay=0.010, reorder=0.2, jitter=0.002, duplicate=0.1),
    "corrupting": LinkProfile(delay=0.005, corrupt=0.02),
    "narrow": LinkProfile(delay=0.010, rate=8_000_000.0, queue=64_000),
}


class Upload:
    """Data from one host to a digest service on another, with half-close; ``answer`` is what came back."""

    def __init__(self, world: World, client: LanHost, server: LanHost, remote: str, data: bytes) -> None:
        self.world = world
        self.data = memoryview(data)
        self.answer = b""
        self.ended: list[Connection] = []
        self._digests: dict[Connection, Any] = {}
        client.handler, server.handler = self._client, self._server
        server.core.tcp_listen(80)
        self.connection = client.core.tcp_connect((packed(remote), 80), world.now)

    def _client(self, event: object) -> None:
        assert isinstance(event, TcpEvent)
        connection = event.connection
        while self.data and (taken := connection.send(self.data[:65_000], self.world.now)):
            self.data = self.data[taken:]
        if not self.data:
            connection.shutdown(self.world.now)
        self.answer += bytes(connection.receive())
        if event.flags & Events.CLOSED:
            self.ended.append(connection)

    def _server(self, event: object) -> None:
        assert isinstance(event, TcpAccepted | TcpEvent)
        connection = event.connection
        digest = self._digests.setdefault(connection, hashlib.sha256())
        while part := connection.receive():
            digest.update(part)
        if isinstance(event, TcpEvent):
            if event.flags & Events.EOF:
                connection.send(digest.digest(), self.world.now)
                connection.shutdown(self.world.now)
            if event.flags & Events.CLOSED:
                self.ended.append(connection)


@ADDRESSES
@pytest.mark.parametrize(
    ("road", "checksums"),
    [(road, checksums) for road in ROADS for checksums in (True, False) if checksums or road != "corrupting"],
)
def test_a_transfer_with_half_close(addresses: tuple[str, str], road: str, checksums: bool) -> None:
    """Where nobody computes checksums nothing is corrupted: inside the tunnel the AEAD sees to that."""
    world = World(11)
    client, server = pair(world, *addresses, profile=ROADS[road], checksums=checksums)
    data = world.random.randbytes(400_000)
    upload = Upload(world, client, server, addresses[1], data)
    world.run_until(lambda: len(upload.ended) == 2, 120)
    assert upload.answer == hashlib.sha256(data).digest()
    assert [connection.error for connection in upload.ended] == [None, None]
    assert client.core.tcp_states() == {State.TIME_WAIT: 1}
    world.run(70)
    assert not client.core.tcp_states()
    assert not server.core.tcp_states()
    assert client.core.deadline() is None
    assert server.core.deadline() is None
    if road == "corrupting":
        found = server.core.counters + client.core.counters + server.received + client.received
        assert sum(found.values()) > 0


@ADDRESSES
def test_a_thousand_connections_at_once(addresses: tuple[str, str]) -> None:
    world = World(5)
    client, server = pair(world, *addresses, profile=LinkProfile(delay=0.002))
    listener = server.core.tcp_listen(80, backlog=1000)
    replies: dict[Connection, bytes] = {}

    def serve(event: object) -> None:
        if isinstance(event, TcpEvent) and event.flags & Events.READABLE:
            event.connection.send(bytes(event.connection.receive())[::-1], world.now)
            event.connection.shutdown(world.now)

    def ask(event: object) -> None:
        assert isinstance(event, TcpEvent)
        connection = event.connection
        if event.flags & Events.CONNECTED:
            connection.send(b"question %d" % connection.local[1], world.now)
        replies[connection] = replies.get(connection, b"") + bytes(connection.receive())
        if event.flags & Events.EOF:
            connection.shutdown(world.now)

    server.handler, client.handler = serve, ask
    connections = [client.core.tcp_connect((packed(addresses[1]), 80), world.now) for _ in range(1000)]
    assert len({connection.local[1] for connection in connections}) == 1000
    world.run_until(lambda: len(replies) == 1000 and all(connection.eof for connection in connections), 30)
    assert all(replies[each] == (b"question %d" % each.local[1])[::-1] for each in connections)
    assert len(listener) == 0


@ADDRESSES
def test_a_peer_that_vanishes_is_noticed(addresses: tuple[str, str]) -> None:
    world = World(5)
    client, server = pair(world, *addresses, profile=LinkProfile(delay=0.002))
    server.core.tcp_listen(80)
    connection = client.core.tcp_connect((packed(addresses[1]), 80), world.now)
    world.run_until(lambda: connection.state is State.ESTABLISHED)
    world.remove(server)
    connection.send(b"anybody there?", world.now)
    world.run_until(lambda: connection.state is State.CLOSED, 1000)
    assert connection.error == "timeout"
    assert not client.core.tcp_states()


@ADDRESSES
def test_an_abort_is_seen_by_the_other_end(addresses: tuple[str, str]) -> None:
    world = World(5)
    client, server = pair(world, *addresses)
    server.core.tcp_listen(80)
    connection = client.core.tcp_connect((packed(addresses[1]), 80), world.now)
    world.run_until(lambda: bool(server.events))
    (accepted,) = server.take(TcpAccepted)
    assert isinstance(accepted, TcpAccepted)
    connection.abort(world.now)
    world.run(1)
    assert accepted.connection.error == "reset"
    assert not server.core.tcp_states()
    assert not client.core.tcp_states()
