"""A command's stream joined with one of the LAN (``userlan nc``)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.protocol import Factory

from tests.driver.memory import World
from tests.driver.protocols import HalfNotes, Made, Notes
from userlan.driver.relayed import Outward

MIB = 1024 * 1024


class Command:
    """The command's connection: what it shows of itself to a protocol."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.data = bytearray()
        self.producer: Any = None
        self.paused = self.half_closed = self.closed = False

    # --- Reply

    def upgrade(self, protocol: Any) -> None:
        self.protocol = protocol
        protocol.makeConnection(self)

    # --- its transport

    def write(self, data: bytes) -> None:
        self.data += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def loseConnection(self) -> None:
        self.closed = True

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.closed = True


@pytest.fixture
def world() -> World:
    return World()


def joined(world: World, server: Any = HalfNotes) -> tuple[Any, Any]:
    """A command that has reached a server of nas."""
    command: Any = Command()
    listening = Made(server)
    world.result(world.nas.server_endpoint(22).listen(listening))
    world.result(world.me.client_endpoint("nas", 22).connect(Factory.forProtocol(lambda: Outward(command))))
    world.run(lambda: listening.made)
    return command, listening.made[0]


def test_both_directions_and_both_ends(world: World) -> None:
    command, server = joined(world)
    command.protocol.dataReceived(b"to the server")
    server.transport.write(b"to the command")
    world.run(lambda: server.data and command.data)
    assert (server.data, command.data) == (b"to the server", b"to the command")
    command.protocol.readConnectionLost()
    world.run(lambda: server.halves == ["read"])
    server.transport.write(b", more")
    server.transport.loseConnection()
    world.run(lambda: command.half_closed or command.closed)
    assert command.data == b"to the command, more"


def test_a_slow_server_pauses_the_command(world: World) -> None:
    command, server = joined(world)
    server.transport.pauseProducing()
    sent = 0
    while not command.paused:
        command.protocol.dataReceived(bytes(65536))
        sent += 65536
        world.run(0.05)
        assert sent < 20 * MIB
    server.transport.resumeProducing()
    world.run(lambda: not command.paused and len(server.data) == sent)


def test_a_slow_command_pauses_the_server(world: World) -> None:
    command, server = joined(world)
    command.producer.pauseProducing()
    server.transport.write(b"x" * MIB)
    world.run(5.0)
    assert command.data == b""
    command.producer.resumeProducing()
    world.run(lambda: len(command.data) == MIB)


@pytest.mark.parametrize("how", ["loseConnection", "abortConnection"])
def test_the_command_ends_with_the_server(world: World, how: str) -> None:
    command, server = joined(world, Notes)
    getattr(server.transport, how)()
    world.run(lambda: command.closed or command.half_closed)


def test_the_server_hears_that_the_command_is_gone(world: World) -> None:
    command, server = joined(world, Notes)
    command.protocol.connectionLost(None)
    world.run(lambda: server.lost is not None)
