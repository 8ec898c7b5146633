"""Connections to numeric addresses, from the kernel, without anything around the leg."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from bridges.dial import Cause, DialError, LegConnector, connect_numeric
from bridges.leg import Leg
from tests.bridges.harness import Loop


class Owner:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.data = b""
        self.over: Deferred[None] = Deferred()

    def leg_made(self, leg: Leg) -> None:
        self.told.append("made")

    def leg_data(self, leg: Leg, data: bytes) -> None:
        self.data += data

    def leg_ended(self, leg: Leg) -> None:
        self.told.append("ended")
        leg.finish()

    def leg_lost(self, leg: Leg, reason: Failure) -> None:
        self.told.append("lost")
        self.over.callback(None)

    def leg_congested(self, leg: Leg) -> None: ...

    def leg_drained(self, leg: Leg) -> None: ...


@pytest.fixture
def loop() -> Iterator[Loop]:
    running = Loop()
    yield running
    running.stop()
    assert not running.failures


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_leg_is_its_owners_once_it_is_connected(loop: Loop, host: str) -> None:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        owner = Owner()
        leg = loop.call(connect_numeric, loop.reactor, host, server.getsockname()[1], owner, 5.0)
        assert owner.told == ["made"]
        assert leg.transport.protocol is leg
        assert (leg.owner, leg.direct, leg.paused) == (owner, True, True)
        accepted, _ = server.accept()
        accepted.sendall(b"from the service")
        accepted.shutdown(socket.SHUT_WR)
        loop.call(leg.write, b"to the service")
        loop.call(leg.resume)
        loop.call(lambda: owner.over)
        assert owner.data == b"from the service"
        assert owner.told == ["made", "ended", "lost"]
        assert accepted.recv(100) == b"to the service"
        accepted.close()


def test_a_service_sees_the_address_that_was_bound(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        leg = loop.call(connect_numeric, loop.reactor, "127.0.0.1", server.getsockname()[1], Owner(), 5.0, ("127.0.0.1", 0))
        accepted, address = server.accept()
        assert address == (leg.transport.getHost().host, leg.transport.getHost().port)
        loop.call(leg.abort)
        accepted.close()


def test_a_port_on_which_nobody_listens(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    owner = Owner()
    with pytest.raises(DialError) as caught:
        loop.call(connect_numeric, loop.reactor, "127.0.0.1", port, owner, 5.0)
    assert caught.value.cause is Cause.REFUSED
    assert owner.told == []


def test_a_connection_that_is_given_up(loop: Loop) -> None:
    """Cancelled before the socket is connected: told once, and nothing comes of it later."""
    owner = Owner()

    def given_up(port: int) -> Deferred[Any]:
        connecting = LegConnector(owner)
        loop.reactor.connectTCP("127.0.0.1", port, connecting, 5.0)
        connecting.done.cancel()
        return connecting.done

    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(ConnectingCancelledError):
            loop.call(given_up, server.getsockname()[1])
        loop.call(deferLater, loop.reactor, 0.05)
    assert owner.told == []
