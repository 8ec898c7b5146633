"""Engines with real tunnels on loopback: UDP, framed TCP, several cores on one port, stalled readers."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import CannotListenError

from tests.driver.loop import Loop
from tests.driver.protocols import Made, Notes, Pushing
from tests.driver.tunnelled import TunnelCore, run
from userlan.driver.engine import Engine
from userlan.wire.endpoint import TCP, UDP, Endpoint

KIB, MIB = 1024, 1024 * 1024


class Site:
    """One process, so to speak: an engine, its port, its cores."""

    def __init__(self, loop: Loop, *names: str, address: str = "127.0.0.1") -> None:
        self.engine = Engine(loop.reactor)
        self.port = self.engine.listen(address, 0)
        self.address = address
        number = loop.reactor.seconds()
        self.cores = [TunnelCore(name, f"25.9.0.{ord(name[0])}", number) for name in names]
        self.lans = [run(self.engine, core) for core in self.cores]

    def endpoint(self, transport: str = UDP) -> Endpoint:
        return Endpoint(transport, self.address, self.port)


@pytest.fixture
def sites(loop: Loop) -> Iterator[list[Site]]:
    made = [Site(loop, "alice"), Site(loop, "bob", "carol")]
    yield made
    for site in made:
        loop.result(site.engine.stop(linger=0.2))


def meet(sites: list[Site], transport: str = UDP) -> None:
    """Alice knows where bob and carol are; they learn where she is from her."""
    for core in sites[1].cores:
        sites[0].cores[0].meet(core, sites[1].endpoint(transport))
        core.meet(sites[0].cores[0], None)


class Sink(Notes):
    """Digests what comes, and says so at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256()
        self.total = 0

    def dataReceived(self, data: bytes) -> None:
        self.digest.update(data)
        self.total += len(data)


def upload(loop: Loop, client: Any, sink: Sink, size: int) -> None:
    """Send as fast as the transport allows, and compare digests."""
    digest = hashlib.sha256()
    pieces = [hashlib.sha256(bytes([number])).digest() * 2048 for number in range(16)]
    producer = Pushing(client.transport, b"")
    client.transport.registerProducer(producer, True)
    sent = 0
    while sent < size:
        loop.until(lambda: not producer.paused)
        piece = pieces[sent // len(pieces[0]) % 16]
        client.transport.write(piece)
        digest.update(piece)
        sent += len(piece)
    client.transport.unregisterProducer()
    client.transport.loseConnection()
    loop.until(lambda: sink.lost is not None)
    assert (sink.total, sink.digest.digest()) == (sent, digest.digest())


@pytest.mark.parametrize("transport", [UDP, TCP])
def test_a_transfer(loop: Loop, sites: list[Site], transport: str) -> None:
    meet(sites, transport)
    listening = Made(Sink)
    loop.result(sites[1].lans[0].server_endpoint(80).listen(listening))
    client = loop.result(sites[0].lans[0].client_endpoint("bob", 80).connect(Made()))
    loop.until(lambda: listening.made)
    upload(loop, client, listening.made[0], 16 * MIB)
    assert sites[0].engine.counters["no-socket"] == sites[1].engine.counters["unowned"] == 0


def test_ipv6_outside(loop: Loop) -> None:
    try:
        ends = [Site(loop, "alice", address="::1"), Site(loop, "bob", address="::1")]
    except CannotListenError:
        pytest.skip("this computer has no IPv6")
    meet(ends)
    listening = Made(Sink)
    loop.result(ends[1].lans[0].server_endpoint(80).listen(listening))
    client = loop.result(ends[0].lans[0].client_endpoint("bob", 80).connect(Made()))
    loop.until(lambda: listening.made)
    upload(loop, client, listening.made[0], MIB)
    for site in ends:
        loop.result(site.engine.stop(linger=0.2))


def test_two_cores_share_a_port(loop: Loop, sites: list[Site]) -> None:
    meet(sites)
    servers = [Made(Sink), Made(Sink)]
    clients = []
    for lan, listening, name in zip(sites[1].lans, servers, ("bob", "carol"), strict=True):
        loop.result(lan.server_endpoint(80).listen(listening))
        clients.append(loop.result(sites[0].lans[0].client_endpoint(name, 80).connect(Made())))
    loop.until(lambda: all(listening.made for listening in servers))
    for _ in range(40):
        for client in clients:
            client.transport.write(bytes(64 * KIB))
        loop.turn()
    for client in clients:
        client.transport.loseConnection()
    loop.until(lambda: all(listening.made[0].lost for listening in servers))
    assert [listening.made[0].total for listening in servers] == [40 * 64 * KIB] * 2
    assert sites[1].engine.counters["unowned"] == 0


def test_a_stalled_reader_stalls_its_writer_and_nobody_else(loop: Loop, sites: list[Site]) -> None:
    meet(sites)
    listening = Made(Sink)
    loop.result(sites[1].lans[0].server_endpoint(80).listen(listening))
    endpoint = sites[0].lans[0].client_endpoint("bob", 80)
    slow = loop.result(endpoint.connect(Made()))
    loop.until(lambda: listening.made)
    listening.made[0].transport.pauseProducing()
    producer = Pushing(slow.transport, bytes(64 * KIB))
    slow.transport.registerProducer(producer, True)
    for _ in range(20):
        producer.fill()
        loop.run(0.02)
    assert producer.paused
    assert producer.written <= 20 * MIB
    brisk = loop.result(endpoint.connect(Made()))
    loop.until(lambda: len(listening.made) == 2)
    upload(loop, brisk, listening.made[1], 4 * MIB)
    assert listening.made[0].total == 0
    slow.transport.unregisterProducer()
    listening.made[0].transport.resumeProducing()
    loop.until(lambda: listening.made[0].total == producer.written)


def test_garbage_is_dropped_and_counted(loop: Loop, sites: list[Site]) -> None:
    meet(sites)
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for data in (b"x", bytes(1400), b"\x04" + bytes(31), b"\x01" + bytes(147), bytes(65507)):
        stranger.sendto(data, ("127.0.0.1", sites[1].port))
    stranger.close()
    loop.until(lambda: sites[1].engine.counters["unowned"] == 5)
    listening = Made()
    loop.result(sites[1].lans[0].server_endpoint(80).listen(listening))
    loop.result(sites[0].lans[0].client_endpoint("bob", 80).connect(Made()))


def test_a_port_in_use_is_one_clear_line(loop: Loop, sites: list[Site]) -> None:
    other = Engine(loop.reactor)
    with pytest.raises(CannotListenError, match="in use") as caught:
        other.listen("127.0.0.1", sites[0].port)
    assert "\n" not in str(caught.value)
    taken = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(CannotListenError, match="in use"):
        other.listen("127.0.0.1", taken.getsockname()[1])
    taken.close()
    assert other.datagram_ports == []
    loop.result(other.stop())


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_both_families_under_one_number(loop: Loop) -> None:
    engine = Engine(loop.reactor)
    number = engine.listen_dual(0)
    assert {port.port for port in engine.datagram_ports} == {number}
    assert [port.version for port in engine.datagram_ports] == ([4, 6] if has_ipv6() else [4])
    loop.result(engine.stop())
    loop.result(engine.stop())
    again = Engine(loop.reactor)
    assert again.listen("127.0.0.1", number) == number
    loop.result(again.stop())


def test_answers_leave_by_the_socket_that_was_asked(loop: Loop) -> None:
    """Of two sockets of one family, the one at which a peer arrived is the one by which it is answered."""
    server = Site(loop, "bob")
    second = server.engine.listen("127.0.0.2", 0)
    client = Site(loop, "alice")
    client.cores[0].meet(server.cores[0], Endpoint(UDP, "127.0.0.2", second))
    server.cores[0].meet(client.cores[0], None)
    listening = Made()
    loop.result(server.lans[0].server_endpoint(80).listen(listening))
    loop.result(client.lans[0].client_endpoint("bob", 80).connect(Made()))
    peer = client.cores[0].device.peer(server.cores[0].own.key)
    assert peer is not None
    assert peer.endpoint == Endpoint(UDP, "127.0.0.2", second)
    for site in (client, server):
        loop.result(site.engine.stop(linger=0.2))
