"""LanTransport behaves as Twisted's TCP transport does."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from zope.interface.verify import verifyObject  # type: ignore[import-untyped]  # zope ships no types

from tests.driver.memory import World
from tests.driver.protocols import HalfNotes, Made, Notes, Pushing, connected

KIB, MIB = 1024, 1024 * 1024


@pytest.fixture
def world() -> World:
    return World()


def test_it_is_what_twisted_calls_a_tcp_transport(world: World) -> None:
    client, _ = connected(world)
    for interface in (ITCPTransport, IConsumer, IPushProducer):
        verifyObject(interface, client.transport)


def test_data_goes_both_ways_in_units_of_at_most_64_kib(world: World) -> None:
    client, server = connected(world)
    sent = bytes(range(256)) * 16 * KIB
    client.transport.write(sent)
    server.transport.writeSequence([b"one ", b"two"])
    world.run(lambda: len(server.data) == len(sent) and client.data)
    assert server.data == sent
    assert client.data == b"one two"
    assert max(server.sizes) <= 64 * KIB
    assert max(server.sizes) >= 32 * KIB, "large units stay large"


def test_the_ends_know_their_addresses(world: World) -> None:
    client, server = connected(world)
    assert (client.transport.getPeer().host, client.transport.getPeer().port) == ("25.9.0.2", 8000)
    assert client.transport.getPeer().type == "TCP"
    assert server.transport.getPeer() == client.transport.getHost()
    assert server.transport.getHost() == client.transport.getPeer()


def test_lose_connection_sends_everything_first(world: World) -> None:
    client, server = connected(world)
    client.transport.write(bytes(5 * MIB))
    client.transport.loseConnection()
    assert not client.lost, "nothing is called inside the call"
    world.run(lambda: server.lost is not None)
    assert len(server.data) == 5 * MIB
    assert client.lost.check(ConnectionDone)
    assert server.lost.check(ConnectionDone)


def test_what_is_written_after_lose_connection_and_before_the_end_still_leaves(world: World) -> None:
    client, server = connected(world)
    client.transport.loseConnection()
    client.transport.write(b"last words")
    world.run(lambda: server.lost is not None)
    assert server.data == b"last words"
    client.transport.write(b"into the void")
    world.run(1.0)
    assert server.data == b"last words"


def test_nothing_is_received_after_lose_connection(world: World) -> None:
    client, server = connected(world)
    client.transport.loseConnection()
    server.transport.write(b"too late")
    world.run(lambda: client.lost is not None and server.lost is not None)
    assert client.data == b""


def test_abort_resets_the_other_side(world: World) -> None:
    client, server = connected(world)
    client.transport.write(bytes(MIB))
    client.transport.abortConnection()
    assert not client.lost
    world.run(lambda: server.lost is not None)
    assert client.lost.check(ConnectionAborted)
    assert server.lost.check(ConnectionLost)


def test_the_end_of_the_peers_stream_ends_an_ordinary_protocol(world: World) -> None:
    client, server = connected(world, client=HalfNotes)
    server.transport.write(bytes(3 * MIB))
    client.transport.loseWriteConnection()
    world.run(lambda: server.lost is not None)
    assert server.lost.check(ConnectionDone)
    assert client.halves[0] == "write"
    world.run(lambda: client.lost is not None)
    assert len(client.data) == 3 * MIB, "what it had written leaves all the same"
    assert client.lost.check(ConnectionDone)


def test_each_half_of_a_half_closeable_protocol_ends_on_its_own(world: World) -> None:
    client, server = connected(world, HalfNotes, HalfNotes)
    client.transport.write(b"question")
    client.transport.loseWriteConnection()
    world.run(lambda: server.halves == ["read"])
    client.transport.write(b"not sent any more")
    assert server.data == b"question"
    assert not server.lost
    server.transport.write(b"answer")
    server.transport.loseWriteConnection()
    world.run(lambda: client.lost is not None and server.lost is not None)
    assert client.data == b"answer"
    assert server.data == b"question"
    assert sorted(client.halves) == sorted(server.halves) == ["read", "write"]
    assert client.lost.check(ConnectionDone)
    assert server.lost.check(ConnectionDone)


def test_a_paused_transport_closes_the_window_and_bounds_memory(world: World) -> None:
    client, server = connected(world)
    server.transport.pauseProducing()
    producer = Pushing(client.transport, bytes(64 * KIB))
    client.transport.registerProducer(producer, True)
    for _ in range(50):
        producer.fill()
        world.run(0.2)
    assert server.data == b""
    assert producer.paused
    stalled = producer.written
    assert stalled <= 20 * MIB, "both ends' buffers, and no more"
    world.run(30.0)
    producer.fill()
    assert producer.written == stalled
    server.transport.resumeProducing()
    world.run(lambda: not producer.paused)
    world.run(lambda: len(server.data) == stalled)
    producer.fill()
    assert producer.written > stalled


def test_a_slow_reader_gets_everything(world: World) -> None:
    client, server = connected(world)

    def read_a_little(data: bytes) -> None:
        Notes.dataReceived(server, data)
        server.transport.pauseProducing()
        world.clock.callLater(0.01, server.transport.resumeProducing)

    server.dataReceived = read_a_little
    sent = bytes(range(251)) * 20 * KIB
    client.transport.write(sent)
    world.run(lambda: len(server.data) == len(sent))
    assert server.data == sent


def test_a_pull_producer_is_asked_until_it_has_no_more(world: World) -> None:
    client, server = connected(world)
    pieces = [bytes([number]) * 100_000 for number in range(100)]

    class Pulled:
        def resumeProducing(self) -> None:
            client.transport.write(pieces.pop(0))
            if not pieces:
                client.transport.unregisterProducer()
                client.transport.loseConnection()

        def stopProducing(self) -> None:
            raise AssertionError("the connection ended too early")

    expected = b"".join(pieces)
    client.transport.registerProducer(Pulled(), False)
    world.run(lambda: server.lost is not None)
    assert server.data == expected


def test_the_producer_is_stopped_when_the_connection_is_lost(world: World) -> None:
    client, server = connected(world)
    producer = Pushing(client.transport, bytes(64 * KIB))
    client.transport.registerProducer(producer, True)
    with pytest.raises(RuntimeError, match="registered already"):
        client.transport.registerProducer(producer, True)
    server.transport.abortConnection()
    world.run(lambda: client.lost is not None)
    assert producer.stopped
    late = Pushing(client.transport, b"")
    client.transport.registerProducer(late, True)
    assert late.stopped


def test_a_reset_reaches_a_paused_transport(world: World) -> None:
    client, server = connected(world)
    client.transport.pauseProducing()
    server.transport.write(b"unread")
    world.run(1.0)
    server.transport.abortConnection()
    world.run(lambda: client.lost is not None)
    assert client.lost.check(ConnectionLost)


def test_the_end_waits_for_a_paused_reader(world: World) -> None:
    client, server = connected(world)
    client.transport.pauseProducing()
    server.transport.write(b"unread")
    server.transport.loseConnection()
    world.run(5.0)
    assert not client.lost
    client.transport.resumeProducing()
    world.run(lambda: client.lost is not None)
    assert client.data == b"unread"
    assert client.lost.check(ConnectionDone)


def test_a_peer_that_vanishes_is_given_up(world: World) -> None:
    client, server = connected(world)
    for core in world.cores:
        core.cut = True
    client.transport.write(b"anybody there?")
    world.run(lambda: client.lost is not None)
    assert client.lost.check(ConnectionLost)
    assert server.data == b""


def test_a_silent_peer_is_probed_when_asked_for(world: World) -> None:
    client, _ = connected(world)
    assert client.transport.getTcpKeepAlive() is False
    client.transport.setTcpKeepAlive(True)
    assert client.transport.getTcpKeepAlive() is True
    for core in world.cores:
        core.cut = True
    world.run(7200.0)
    assert not client.lost
    world.run(10 * 75.0)
    assert client.lost.check(ConnectionLost)


def test_no_delay_is_the_connections(world: World) -> None:
    client, _ = connected(world)
    client.transport.setTcpNoDelay(True)
    assert client.transport.getTcpNoDelay() is True
    client.transport.setTcpNoDelay(False)
    assert client.transport.getTcpNoDelay() is False


def test_a_protocol_that_fails_loses_its_connection_and_no_other(world: World, logged_failures: list[Any]) -> None:
    client, server = connected(world)

    def fail(data: bytes) -> None:
        raise ZeroDivisionError

    server.dataReceived = fail
    other = world.result(world.me.client_endpoint("nas", 8000).connect(Made()))
    client.transport.write(b"boom")
    world.run(lambda: server.lost is not None and client.lost is not None)
    assert server.lost.check(ZeroDivisionError)
    assert client.lost.check(ConnectionLost)
    assert other.lost is None
    assert [failure.type for failure in logged_failures] == [ZeroDivisionError]
    logged_failures.clear()


def test_text_is_refused(world: World) -> None:
    client, _ = connected(world)
    with pytest.raises(TypeError, match="bytes"):
        client.transport.write("text")


def test_calls_of_one_turn_are_one_pump(world: World) -> None:
    client, server = connected(world)
    world.run(5.0)
    before = world.cores[0].pumps
    for _ in range(1000):
        client.transport.write(b"x" * 100)
    world.clock.advance(0)
    assert world.cores[0].pumps - before <= 2
    world.run(lambda: len(server.data) == 100_000)


def test_idle_connections_cost_nothing(world: World) -> None:
    pairs = [connected_again(world, number) for number in range(200)]
    world.run(10.0)
    before = [core.pumps for core in world.cores]
    pairs[7][0].transport.write(b"hello")
    world.run(lambda: pairs[7][1].data)
    assert all(core.pumps - start <= 6 for core, start in zip(world.cores, before, strict=True))
    assert not any(server.data for _, server in pairs[:7] + pairs[8:])


def connected_again(world: World, number: int) -> tuple[Any, Any]:
    listening = Made()
    world.result(world.nas.server_endpoint(9000 + number).listen(listening))
    client = world.result(world.me.client_endpoint("nas", 9000 + number).connect(Made()))
    world.run(lambda: listening.made)
    return client, listening.made[0]
