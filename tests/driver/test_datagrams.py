"""UDP ports of the LAN."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import CannotListenError, InvalidAddressError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol

from tests.driver.memory import ADDRESSES, World
from userlan.stack.errors import StackError


class Datagrams(DatagramProtocol):
    transport: Any

    def __init__(self) -> None:
        self.got: list[tuple[bytes, tuple[str, int]]] = []
        self.refused = 0
        self.started = self.stopped = 0

    def startProtocol(self) -> None:
        self.started += 1

    def stopProtocol(self) -> None:
        self.stopped += 1

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        assert type(datagram) is bytes
        self.got.append((datagram, addr))

    def connectionRefused(self) -> None:
        self.refused += 1


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ends(world: World) -> tuple[Datagrams, Datagrams]:
    mine, theirs = Datagrams(), Datagrams()
    world.me.datagram_port(mine, 5000)
    world.nas.datagram_port(theirs, 53)
    return mine, theirs


def test_datagrams_both_ways(world: World, ends: tuple[Datagrams, Datagrams]) -> None:
    mine, theirs = ends
    mine.transport.write(b"question", (ADDRESSES["nas"], 53))
    world.run(lambda: theirs.got)
    assert theirs.got == [(b"question", (ADDRESSES["me"], 5000))]
    theirs.transport.write(b"answer", theirs.got[0][1])
    world.run(lambda: mine.got)
    assert mine.got == [(b"answer", (ADDRESSES["nas"], 53))]


def test_ipv6_empty_and_large_datagrams(world: World, ends: tuple[Datagrams, Datagrams]) -> None:
    mine, theirs = ends
    host = world.nas.own().ipv6
    for data in (b"", b"x", bytes(40_000)):
        mine.transport.writeSequence([data, b""], (host, 53))
    world.run(lambda: len(theirs.got) == 3)
    assert [len(data) for data, _ in theirs.got] == [0, 1, 40_000]
    assert theirs.got[0][1] == (world.me.own().ipv6, 5000)


def test_a_burst_is_delivered_whole(world: World, ends: tuple[Datagrams, Datagrams]) -> None:
    mine, theirs = ends
    for number in range(900):
        mine.transport.write(b"%d" % number, (ADDRESSES["nas"], 53))
    world.run(lambda: len(theirs.got) == 900)
    assert [int(data) for data, _ in theirs.got] == list(range(900))


def test_what_cannot_be_sent(world: World, ends: tuple[Datagrams, Datagrams]) -> None:
    mine, _ = ends
    with pytest.raises(InvalidAddressError):
        mine.transport.write(b"x", ("nas", 53))
    with pytest.raises(MessageLengthError):
        mine.transport.write(bytes(70_000), (ADDRESSES["nas"], 53))
    with pytest.raises(StackError):
        mine.transport.write(b"x")


def test_a_connected_port(world: World, ends: tuple[Datagrams, Datagrams]) -> None:
    mine, theirs = ends
    mine.transport.connect(ADDRESSES["nas"], 53)
    with pytest.raises(RuntimeError):
        mine.transport.connect(ADDRESSES["nas"], 54)
    mine.transport.write(b"hello")
    world.run(lambda: theirs.got)
    theirs.transport.stopListening()
    mine.transport.write(b"anybody?")
    world.run(lambda: mine.refused)
    assert mine.refused == 1


def test_ports_are_taken_and_freed(world: World) -> None:
    first = Datagrams()
    port = world.me.datagram_port(first, 5000)
    with pytest.raises(CannotListenError, match="5000"):
        world.me.datagram_port(Datagrams(), 5000)
    world.result(port.stopListening())
    port.loseConnection()
    assert (first.started, first.stopped) == (1, 1)
    port.write(b"nowhere", (ADDRESSES["nas"], 1))
    assert world.me.datagram_port(Datagrams(), 5000).getHost().port == 5000
    assert world.me.datagram_port(Datagrams()).getHost().port > 1023


def test_a_protocol_that_fails_goes_on(world: World, logged_failures: list[Any]) -> None:
    class Failing(Datagrams):
        def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
            super().datagramReceived(datagram, addr)
            raise ZeroDivisionError

    failing, mine = Failing(), Datagrams()
    world.nas.datagram_port(failing, 53)
    world.me.datagram_port(mine)
    for _ in range(2):
        mine.transport.write(b"x", (ADDRESSES["nas"], 53))
        world.run(1.0)
    assert len(failing.got) == 2
    assert [failure.type for failure in logged_failures] == [ZeroDivisionError] * 2
    logged_failures.clear()
