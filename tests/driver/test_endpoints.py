"""The LAN's endpoints, ports and names as bridges use them."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionRefusedError,
    NoProtocol,
    TimeoutError,
)
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint, IStreamServerEndpoint
from zope.interface.verify import verifyObject  # type: ignore[import-untyped]  # zope ships no types

from tests.driver.memory import ADDRESSES, LOOPBACK_ALIAS, MEMBERS, World
from tests.driver.protocols import Made, Notes, connected
from userlan.lan.addresses import key_text
from userlan.lan.names import UnknownName


@pytest.fixture
def world() -> World:
    return World()


def outcome(deferred: Deferred[Any]) -> list[Any]:
    """Filled with what a Deferred gives."""
    results: list[Any] = []
    deferred.addBoth(results.append)
    return results


def test_they_are_twisteds_interfaces(world: World) -> None:
    verifyObject(IStreamClientEndpoint, world.me.client_endpoint("nas", 1))
    verifyObject(IStreamServerEndpoint, world.me.server_endpoint(1))
    verifyObject(IListeningPort, world.result(world.me.server_endpoint(1).listen(Made())))


def test_names_and_addresses(world: World) -> None:
    assert world.me.is_lan("nas")
    assert world.me.is_lan("25.200.1.1")
    assert world.me.is_lan("[fd75:6c61:6e00::1]")
    assert not world.me.is_lan("example.com")
    assert not world.me.is_lan("192.0.2.1")
    assert world.me.resolve("nas") == ADDRESSES["nas"]
    assert world.me.resolve("25.9.0.7") == "25.9.0.7"
    with pytest.raises(UnknownName):
        world.me.resolve("nobody")


def test_members_as_text(world: World) -> None:
    nas = world.me.peer_at(ADDRESSES["nas"])
    assert nas is not None
    assert (nas.name, nas.key, nas.ipv4) == ("nas", key_text(MEMBERS[1].key), ADDRESSES["nas"])
    assert nas.loopback_alias == LOOPBACK_ALIAS == "127.9.0.2"
    assert world.me.peer_at(nas.ipv6) == nas
    assert world.me.peer_at("25.9.0.77") is None
    assert world.me.peer_at("not an address") is None
    assert world.nas.own() == nas


def test_a_connection_by_name_ipv4_and_ipv6(world: World) -> None:
    listening = Made()
    world.result(world.nas.server_endpoint(80).listen(listening))
    for host in ("nas", ADDRESSES["nas"], world.nas.own().ipv6):
        protocol = world.result(world.me.client_endpoint(host, 80).connect(Made()))
        protocol.transport.write(host.encode())
        world.run(lambda: listening.made and listening.made[-1].data)
        assert listening.made[-1].data == host.encode()
        listening.made[-1].data.clear()
    assert len(listening.made) == 3


def test_the_deferred_fires_before_the_first_data(world: World) -> None:
    class Greeting(Notes):
        def connectionMade(self) -> None:
            self.transport.write(b"220 ready")

    order: list[str] = []

    class Client(Notes):
        def connectionMade(self) -> None:
            order.append("made")

        def dataReceived(self, data: bytes) -> None:
            order.append("data")

    world.result(world.nas.server_endpoint(25).listen(Made(Greeting)))
    connecting = world.me.client_endpoint("nas", 25).connect(Made(Client))
    connecting.addCallback(lambda protocol: order.append("fired"))
    world.run(lambda: "data" in order)
    assert order == ["made", "fired", "data"]


def test_nobody_listens(world: World) -> None:
    factory = Made()
    with pytest.raises(ConnectionRefusedError):
        world.result(world.me.client_endpoint("nas", 81).connect(factory))
    assert (factory.started, factory.stopped) == (1, 1)


def test_nobody_answers(world: World) -> None:
    world.cores[0].cut = True
    start = world.clock.seconds()
    with pytest.raises(TimeoutError):
        world.result(world.me.client_endpoint("nas", 80, timeout=7.0).connect(Made()))
    assert world.clock.seconds() - start == pytest.approx(7.0, abs=0.1)


def test_an_unknown_name_is_the_deferreds_failure(world: World) -> None:
    with pytest.raises(UnknownName):
        world.result(world.me.client_endpoint("nobody", 80).connect(Made()))


def test_a_destination_without_a_way(world: World) -> None:
    world.cores[0].host.remove_address(MEMBERS[0].ipv4)
    with pytest.raises(ConnectError, match="no address"):
        world.result(world.me.client_endpoint("nas", 80).connect(Made()))


def test_cancelling_gives_up(world: World) -> None:
    world.cores[1].cut = True
    connecting = world.me.client_endpoint("nas", 80).connect(Made())
    results = outcome(connecting)
    world.run(0.5)
    connecting.cancel()
    assert results[0].check(ConnectingCancelledError)
    world.cores[1].cut = False
    world.run(60.0)
    assert len(results) == 1
    assert not world.cores[0].host.tcp_states()


def test_a_factory_without_a_protocol(world: World) -> None:
    listening = Made()
    world.result(world.nas.server_endpoint(80).listen(listening))
    with pytest.raises(NoProtocol):
        world.result(world.me.client_endpoint("nas", 80).connect(Made(lambda: None)))
    world.run(60.0)
    assert all(protocol.lost is not None for protocol in listening.made)
    assert not any(core.host.tcp_states() for core in world.cores)


def test_a_server_that_takes_nobody(world: World) -> None:
    world.result(world.nas.server_endpoint(80).listen(Made(lambda: None)))
    client = world.result(world.me.client_endpoint("nas", 80).connect(Made()))
    world.run(lambda: client.lost is not None)


def test_failing_factories_end_their_own_connection(world: World, logged_failures: list[Any]) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    class Failing(Notes):
        def connectionMade(self) -> None:
            raise ZeroDivisionError

    for port, make in ((80, fail), (81, Failing)):
        world.result(world.nas.server_endpoint(port).listen(Made(make)))
        client = world.result(world.me.client_endpoint("nas", port).connect(Made()))
        world.run(lambda protocol=client: protocol.lost is not None)  # type: ignore[misc]  # a lambda's default
    assert [failure.type for failure in logged_failures] == [ZeroDivisionError, ZeroDivisionError]
    logged_failures.clear()
    world.result(world.nas.server_endpoint(82).listen(Made()))
    for make in (fail, Failing):
        with pytest.raises(ZeroDivisionError):
            world.result(world.me.client_endpoint("nas", 82).connect(Made(make)))


def test_the_factories_are_started_and_stopped(world: World) -> None:
    server, client = Made(), Made()
    port = world.result(world.nas.server_endpoint(80).listen(server))
    protocol = world.result(world.me.client_endpoint("nas", 80).connect(client))
    assert (server.started, server.stopped, client.started, client.stopped) == (1, 0, 1, 0)
    protocol.transport.loseConnection()
    world.run(lambda: protocol.lost is not None)
    world.result(port.stopListening())
    assert (server.started, server.stopped, client.started, client.stopped) == (1, 1, 1, 1)


def test_a_port_is_taken_once_and_free_again(world: World) -> None:
    port = world.result(world.me.server_endpoint(80).listen(Made()))
    assert port.getHost().port == 80
    with pytest.raises(CannotListenError, match="80"):
        world.result(world.me.server_endpoint(80).listen(Made()))
    world.result(port.stopListening())
    world.result(port.stopListening())
    world.result(world.me.server_endpoint(80).listen(Made()))


def test_a_free_port(world: World) -> None:
    listening = Made()
    port = world.result(world.nas.server_endpoint(0).listen(listening))
    world.result(world.me.client_endpoint("nas", port.getHost().port).connect(Made()))
    world.run(lambda: listening.made)


def test_a_thousand_streams_at_once(world: World) -> None:
    listening = Made()
    world.result(world.nas.server_endpoint(80).listen(listening))
    connecting = [outcome(world.me.client_endpoint("nas", 80).connect(Made())) for _ in range(1000)]
    world.run(lambda: all(connecting))
    for number, (protocol,) in enumerate(connecting):
        protocol.transport.write(b"%d" % number)
        protocol.transport.loseConnection()
    world.run(lambda: len(listening.made) == 1000 and all(protocol.lost for protocol in listening.made))
    assert {int(protocol.data) for protocol in listening.made} == set(range(1000))


def test_stopping_the_engine_lets_the_last_bytes_leave(world: World) -> None:
    client, server = connected(world)
    client.transport.write(bytes(3_000_000))
    stopped = outcome(world.engines[0].stop())
    world.run(lambda: stopped)
    assert len(server.data) == 3_000_000
    assert client.lost is not None


def test_stopping_does_not_wait_for_a_peer_that_is_gone(world: World) -> None:
    client, _ = connected(world)
    pending = outcome(world.me.client_endpoint("nas", 8000).connect(Made()))
    world.cores[0].cut = True
    client.transport.write(b"nobody reads this")
    start = world.clock.seconds()
    stopped = outcome(world.engines[0].stop(linger=1.5))
    world.run(lambda: stopped)
    assert world.clock.seconds() - start < 2.0
    assert pending[0].value is not None
    assert world.clock.getDelayedCalls() == []
