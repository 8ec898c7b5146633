"""The same datagrams over TCP: frames, strangers, caps, full connections, reconnecting."""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport

from tests.driver.loop import Loop
from userlan.driver import framed
from userlan.driver.framed import FramedConnection, FramedPort
from userlan.driver.frames import MAX_FRAME
from userlan.wire.endpoint import TCP, Endpoint

OWN = b"\x04ours" + bytes(framed.LEAST_FRAME - 5)


class Receiver:
    """Owns what begins with OWN; keeps what it is given."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.bursts: list[tuple[bytes, int, Endpoint]] = []
        self.pumps = 0
        self.held: list[Endpoint | str] = []
        self.lost: list[Endpoint] = []

    def owns(self, data: Any) -> bool:
        return bytes(data[: len(OWN)]) == OWN

    def hold(self, way: Endpoint | str) -> None:
        self.held.append(way)

    def release(self, way: Endpoint | str) -> None:
        self.held.remove(way)

    def way_opened(self, endpoint: Endpoint) -> None:
        """Nothing was waiting for it."""

    def way_lost(self, endpoint: Endpoint) -> None:
        self.lost.append(endpoint)

    def way_lossy(self, endpoint: Endpoint) -> None:
        self.lost.append(endpoint)

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        raise AssertionError("no endpoint here has a number")

    def received(self, data: memoryview, segment: int, source: Endpoint, port: None) -> None:
        self.bursts.append((bytes(data), segment, source))

    def pump(self) -> None:
        self.pumps += 1

    def datagrams(self) -> list[bytes]:
        return [
            data[start : start + segment] for data, segment, _ in self.bursts for start in range(0, len(data), segment)
        ]


class Transport(StringTransport):
    """A transport that can be full."""

    aborted = False
    value: Any
    clear: Any

    def __init__(self) -> None:
        kind: Any = StringTransport
        kind.__init__(self)

    setTcpNoDelay = setTcpKeepAlive = lambda self, enabled: None

    def abortConnection(self) -> None:
        self.aborted = True


class Address:
    def __init__(self, host: str = "192.0.2.7", port: int = 5000) -> None:
        self.host, self.port = host, port


class Scene:
    """A port with a reactor in memory."""

    def __init__(self) -> None:
        self.receiver = Receiver()
        self.reactor = MemoryReactorClock()  # type: ignore[no-untyped-call]  # untyped in Twisted
        reactor: Any = self.reactor
        self.port = FramedPort(self.receiver, reactor)

    def accept(self, host: str = "192.0.2.7", port: int = 5000) -> tuple[Any, Transport]:
        """A stranger has connected."""
        address: Any = Address(host, port)
        connection: Any = self.port.accept(address)
        transport = Transport()
        if connection is not None:
            connection.makeConnection(transport)
        return connection, transport

    def open(self, endpoint: Endpoint, data: bytes = OWN) -> tuple[Any, Transport]:
        """A first burst to a remote, and the connection that it opens."""
        self.port.send(data, len(data), endpoint)
        factory: Any = self.reactor.tcpClients[-1][2]
        connection = factory.buildProtocol(None)
        transport = Transport()
        connection.makeConnection(transport)
        return connection, transport

    @property
    def counters(self) -> Counter[str]:
        return self.receiver.counters


@pytest.fixture
def scene() -> Scene:
    return Scene()


def frames(*datagrams: bytes) -> bytes:
    return b"".join(len(datagram).to_bytes(2, "big") + datagram for datagram in datagrams)


REMOTE = Endpoint(TCP, "198.51.100.9", 443)


def test_frames_arrive_as_bursts_of_equal_datagrams(scene: Scene) -> None:
    connection, _ = scene.accept()
    large = [OWN + bytes([number]) * 1000 for number in range(4)]
    connection.dataReceived(frames(*large, OWN, b"x" * 2000, b"y" * 2000))
    source = Endpoint(TCP, "192.0.2.7", 5000)
    assert scene.receiver.bursts == [
        (b"".join(large) + OWN, 1000 + len(OWN), source),
        (b"x" * 2000 + b"y" * 2000, 2000, source),
    ]
    assert scene.receiver.pumps == 1


@settings(max_examples=40)
@given(st.data())
def test_frames_are_found_however_the_stream_is_cut(data: st.DataObject) -> None:
    scene = Scene()
    connection, _ = scene.accept()
    sizes = data.draw(st.lists(st.integers(framed.LEAST_FRAME, 3000) | st.just(MAX_FRAME), min_size=1, max_size=12))
    sent = [OWN, *(bytes([size % 256]) * size for size in sizes)]
    stream = frames(*sent)
    while stream:
        size = data.draw(st.integers(1, 5000))
        connection.dataReceived(stream[:size])
        stream = stream[size:]
    assert scene.receiver.datagrams() == sent
    assert all(len(burst) <= max(framed.BURST_BYTES, segment) for burst, segment, _ in scene.receiver.bursts)


@given(st.binary(min_size=2, max_size=300))
def test_garbage_closes_or_waits_and_never_raises(garbage: bytes) -> None:
    scene = Scene()
    connection, transport = scene.accept()
    connection.dataReceived(garbage)
    scene.reactor.advance(framed.FIRST_FRAME_TIMEOUT)
    assert transport.aborted
    assert not scene.receiver.datagrams()


def test_a_first_frame_for_nobody_closes_at_once(scene: Scene) -> None:
    connection, transport = scene.accept()
    connection.dataReceived(frames(b"GET / HTTP/1.1\r\nHost: 192.0.2.7\r\n", OWN))
    assert transport.aborted
    assert scene.receiver.bursts == []
    assert scene.counters == {"tcp-unowned": 1}


@pytest.mark.parametrize("size", [0, 1, framed.LEAST_FRAME - 1])
def test_a_frame_below_the_shortest_message_closes(scene: Scene, size: int) -> None:
    """A stream of one-octet frames would cost the work of a datagram for three octets, eighty thousand times a read."""
    connection, transport = scene.accept()
    connection.dataReceived(frames(OWN) + frames(*[bytes(size)] * 1000))
    assert transport.aborted
    assert scene.counters == {"tcp-short-frame": 1}
    assert scene.receiver.bursts == []


def test_an_accepted_connection_does_not_take_the_place_of_an_opened_one(scene: Scene) -> None:
    """Whoever connects from the endpoint that we opened one to (another host behind the same NAT) would else be sent
    all that is for it."""
    _, transport = scene.open(REMOTE)
    transport.clear()
    _, other = scene.accept(REMOTE.host, REMOTE.port)
    assert other.aborted
    scene.port.send(OWN, len(OWN), REMOTE)
    assert transport.value() == frames(OWN)
    assert scene.counters == {"tcp-endpoint-taken": 1}


def test_a_stranger_that_dawdles_is_closed(scene: Scene) -> None:
    connection, transport = scene.accept()
    for octet in frames(OWN)[:-1]:
        connection.dataReceived(bytes([octet]))
        scene.reactor.advance(1.5)
        if transport.aborted:
            break
    else:
        scene.reactor.advance(framed.FIRST_FRAME_TIMEOUT)
    assert transport.aborted
    assert scene.counters == {"tcp-silent": 1}


def test_an_idle_connection_is_closed_and_one_in_use_is_not(scene: Scene) -> None:
    used, used_transport = scene.accept(port=1)
    idle, idle_transport = scene.accept(port=2)
    for connection in (used, idle):
        connection.dataReceived(frames(OWN))
    for _ in range(10):
        scene.reactor.advance(framed.IDLE_TIMEOUT / 3)
        used.dataReceived(frames(b"still here" + bytes(22)))
    assert idle_transport.aborted
    assert not used_transport.aborted
    assert scene.counters == {"tcp-idle": 1}


def test_a_connection_that_takes_nothing_is_closed(scene: Scene) -> None:
    """Its packets are held back for it meanwhile, though frames from the other end may still come."""
    connection, transport = scene.open(REMOTE)
    _, other = scene.open(Endpoint(TCP, "198.51.100.10", 443))
    producers: Any = (transport.producer, other.producer)
    for producer in producers:
        producer.pauseProducing()
    for _ in range(8):
        scene.reactor.advance(framed.STALLED_TIMEOUT / 4)
        connection.dataReceived(frames(OWN))
        producers[1].resumeProducing()
        producers[1].pauseProducing()
    assert transport.aborted
    assert not other.aborted
    assert scene.counters == {"tcp-stalled": 1}


def test_connections_of_one_address_and_of_all_are_capped(scene: Scene) -> None:
    mine = [scene.accept(port=number)[0] for number in range(framed.MAX_ACCEPTED_FROM_ADDRESS + 1)]
    assert [connection is None for connection in mine].count(True) == 1
    assert scene.accept(host="192.0.2.8")[0] is not None
    mine[0].connectionLost(None)
    assert scene.accept(port=9999)[0] is not None
    number = 0
    while scene.accept(host=f"10.0.{number // 250}.{number % 250}")[0] is not None:
        number += 1
        assert number <= framed.MAX_ACCEPTED
    assert number == framed.MAX_ACCEPTED - framed.MAX_ACCEPTED_FROM_ADDRESS - 1
    assert scene.counters == {"tcp-too-many": 2}


def test_mapped_addresses_are_ipv4(scene: Scene) -> None:
    connection, _ = scene.accept(host="::ffff:192.0.2.7")
    assert connection.endpoint == Endpoint(TCP, "192.0.2.7", 5000)


def test_the_first_burst_opens_a_connection_and_waits_for_it(scene: Scene) -> None:
    connection, transport = scene.open(REMOTE, OWN + b"1")
    scene.port.send(OWN + b"2" + OWN + b"3" + b"tail", len(OWN) + 1, REMOTE)
    assert transport.value() == frames(OWN + b"1", OWN + b"2", OWN + b"3", b"tail")
    assert [client[:2] for client in scene.reactor.tcpClients] == [("198.51.100.9", 443)]
    connection.dataReceived(frames(b"an answer needs no proof, be it what it may"))
    assert scene.receiver.datagrams() == [b"an answer needs no proof, be it what it may"]


def test_answers_go_back_on_the_accepted_connection(scene: Scene) -> None:
    connection, transport = scene.accept()
    connection.dataReceived(frames(OWN))
    scene.port.send(b"answer", 6, Endpoint(TCP, "192.0.2.7", 5000))
    assert transport.value() == frames(b"answer")
    assert scene.reactor.tcpClients == []


def test_a_full_connection_keeps_some_and_drops_the_rest(scene: Scene) -> None:
    _, transport = scene.open(REMOTE)
    producer: Any = transport.producer
    transport.clear()
    producer.pauseProducing()
    for _ in range(100):
        scene.port.send(bytes(10_000), 1000, REMOTE)
    assert transport.value() == b""
    kept = framed.QUEUE_BYTES // 10_020
    assert scene.counters["tcp-send-full"] == pytest.approx(100 - kept, abs=1)
    producer.resumeProducing()
    assert len(transport.value()) == (100 - scene.counters["tcp-send-full"]) * 10_020


def test_a_refused_connection_is_tried_again_later_and_later(scene: Scene) -> None:
    waits = []
    for _ in range(8):
        opened = len(scene.reactor.tcpClients)
        waited = 0.0
        while len(scene.reactor.tcpClients) == opened:
            scene.port.send(OWN, len(OWN), REMOTE)
            if len(scene.reactor.tcpClients) == opened:
                scene.reactor.advance(0.5)
                waited += 0.5
        waits.append(waited)
        factory: Any = scene.reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(None, None)
    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert scene.counters["tcp-connect-failed"] == 8


def test_a_lost_connection_is_opened_again_by_the_next_burst(scene: Scene) -> None:
    connection, _ = scene.open(REMOTE)
    connection.connectionLost(None)
    scene.port.send(OWN, len(OWN), REMOTE)
    assert len(scene.reactor.tcpClients) == 2


def test_connections_opened_are_capped(scene: Scene) -> None:
    for number in range(framed.MAX_OPENED + 5):
        scene.port.send(OWN, len(OWN), Endpoint(TCP, "198.51.100.9", 1000 + number))
    assert len(scene.reactor.tcpClients) == framed.MAX_OPENED
    assert scene.counters == {"tcp-too-many-opened": 5}


def test_nothing_stays_behind(scene: Scene) -> None:
    connection, _ = scene.accept()
    connection.dataReceived(frames(OWN))
    connection.connectionLost(None)
    opened, _ = scene.open(REMOTE)
    opened.connectionLost(None)
    clock: Clock = scene.reactor
    assert clock.getDelayedCalls() == []


def test_on_real_sockets(loop: Loop) -> None:
    ends = [Receiver(), Receiver()]
    ports = [FramedPort(receiver, loop.reactor) for receiver in ends]
    probe = socket.create_server(("127.0.0.1", 0))
    number = probe.getsockname()[1]
    with pytest.raises(CannotListenError, match=str(number)):
        ports[0].listen("127.0.0.1", number)
    probe.close()
    ports[0].listen("127.0.0.1", number)
    data = (OWN + bytes(1400 - len(OWN))) * 40
    for _ in range(4):
        ports[1].send(data, 1400, Endpoint(TCP, "127.0.0.1", number))
    loop.until(lambda: len(ends[0].datagrams()) == 160)
    back = ends[0].bursts[0][2]
    ports[0].send(data, 1400, back)
    loop.until(lambda: len(ends[1].datagrams()) == 40)
    for port in ports:
        loop.result(port.stop())
    loop.run(0.05)


def test_the_protocol_is_symmetric() -> None:
    """What one connection sends is what another one reads."""
    scene = Scene()
    _, transport = scene.open(REMOTE, OWN + bytes(500))
    connection, _ = scene.accept()
    assert isinstance(connection, FramedConnection)
    connection.dataReceived(transport.value())
    assert scene.receiver.datagrams() == [OWN + bytes(500)]
