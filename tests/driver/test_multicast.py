"""A UDP port of the LAN as Twisted's IMulticastTransport."""

from __future__ import annotations

import pytest
from twisted.internet.error import MulticastJoinError
from twisted.internet.interfaces import IMulticastTransport
from zope.interface.verify import verifyObject  # type: ignore[import-untyped]  # zope ships no types

from tests.driver.memory import ADDRESSES, World, packed
from tests.driver.test_datagrams import Datagrams
from userlan.stack.errors import StackError

GROUPS = pytest.mark.parametrize("group", ["239.7.7.7", "ff05::77"])


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ends(world: World) -> tuple[Datagrams, Datagrams]:
    mine, theirs = Datagrams(), Datagrams()
    world.me.datagram_port(mine, 5000)
    world.nas.datagram_port(theirs, 5000)
    return mine, theirs


def test_it_is_what_it_says(ends: tuple[Datagrams, Datagrams]) -> None:
    assert verifyObject(IMulticastTransport, ends[0].transport)


@GROUPS
def test_a_group_is_heard_between_joining_and_leaving(
    world: World, ends: tuple[Datagrams, Datagrams], group: str
) -> None:
    mine, theirs = ends
    mine.transport.write(b"too early", (group, 5000))
    world.run(1.0)
    world.result(theirs.transport.joinGroup(group))
    mine.transport.write(b"hello", (group, 5000))
    world.run(lambda: theirs.got)
    assert [data for data, _ in theirs.got] == [b"hello"]
    assert theirs.got[0][1] in ((ADDRESSES["me"], 5000), (world.me.own().ipv6, 5000))
    world.result(theirs.transport.leaveGroup(group))
    mine.transport.write(b"too late", (group, 5000))
    world.run(1.0)
    assert len(theirs.got) == 1
    assert mine.got == []


def test_reports_leave_at_once_and_again(world: World, ends: tuple[Datagrams, Datagrams]) -> None:
    """RFC 3376 5.1: by the engine's own timer."""
    other = world.cores[1].host
    before = other.counters["destination-not-ours"]
    ends[0].transport.joinGroup("239.7.7.7")
    world.run(0.1)
    assert other.counters["destination-not-ours"] == before + 1
    world.run(2.0)
    assert other.counters["destination-not-ours"] == before + 2


@GROUPS
def test_only_some_sources(world: World, ends: tuple[Datagrams, Datagrams], group: str) -> None:
    mine, theirs = ends
    own = ADDRESSES["me"] if "." in group else world.me.own().ipv6
    for filters, heard in (({"sources": [own]}, True), ({"exclude": [own]}, False), ({"sources": []}, False)):
        theirs.got.clear()
        world.result(theirs.transport.joinGroup(group, **filters))
        mine.transport.write(b"hello", (group, 5000))
        world.run(1.0)
        assert bool(theirs.got) is heard


def test_loopback_hop_limit_and_source(world: World, ends: tuple[Datagrams, Datagrams]) -> None:
    mine, theirs = ends
    for port in (mine, theirs):
        world.result(port.transport.joinGroup("239.7.7.7"))
    assert (mine.transport.getTTL(), mine.transport.getLoopbackMode()) == (1, True)
    mine.transport.setTTL(0)
    mine.transport.write(b"here", ("239.7.7.7", 5000))
    mine.transport.setTTL(9)
    mine.transport.setLoopbackMode(False)
    mine.transport.write(b"there", ("239.7.7.7", 5000))
    world.run(1.0)
    assert [data for data, _ in mine.got] == [b"here"]
    assert [data for data, _ in theirs.got] == [b"there"]
    assert (mine.transport.getTTL(), mine.transport.getLoopbackMode()) == (9, False)
    with pytest.raises(ValueError, match="between 0 and 255"):
        mine.transport.setTTL(256)
    world.cores[0].host.add_address(packed("25.9.0.77"))
    assert mine.transport.getOutgoingInterface() == "0.0.0.0"
    for wrong in ("25.9.0.78", "eth0", 7):
        assert world.result(mine.transport.setOutgoingInterface(wrong)) == 0
    assert world.result(mine.transport.setOutgoingInterface("25.9.0.77")) == 1
    assert mine.transport.getOutgoingInterface() == "25.9.0.77"
    mine.transport.write(b"from elsewhere", ("239.7.7.7", 5000))
    world.run(1.0)
    assert theirs.got[-1] == (b"from elsewhere", ("25.9.0.77", 5000))
    assert world.result(mine.transport.setOutgoingInterface("")) == 1
    assert mine.transport.getOutgoingInterface() == "0.0.0.0"


def test_broadcasts_need_no_leave(world: World, ends: tuple[Datagrams, Datagrams]) -> None:
    mine, theirs = ends
    mine.transport.setBroadcastAllowed(True)
    assert mine.transport.getBroadcastAllowed()
    mine.transport.write(b"anybody?", ("255.255.255.255", 5000))
    world.run(lambda: theirs.got)


def test_what_cannot_be_joined_or_left(world: World, ends: tuple[Datagrams, Datagrams]) -> None:
    mine, _ = ends
    for wrong in (
        mine.transport.joinGroup("nas"),
        mine.transport.joinGroup("25.9.0.2"),
        mine.transport.joinGroup("239.7.7.7", sources=["ff02::1"]),
        mine.transport.leaveGroup("239.7.7.7"),
    ):
        with pytest.raises(MulticastJoinError):
            world.result(wrong)
    port = mine.transport
    world.result(port.stopListening())
    with pytest.raises(MulticastJoinError):
        world.result(port.joinGroup("239.7.7.7"))
    with pytest.raises(StackError):
        port.getTTL()


class Telling(Datagrams):
    """Is told which group a datagram came to."""

    def __init__(self) -> None:
        super().__init__()
        self.to_groups: list[tuple[bytes, tuple[str, int], str]] = []

    def groupDatagramReceived(self, datagram: bytes, addr: tuple[str, int], group: str) -> None:
        self.to_groups.append((datagram, addr, group))


def test_a_protocol_may_be_told_to_which_group_a_datagram_came(world: World) -> None:
    """RFC 6762 5.5: a responder treats a question to itself in another way than one to everybody."""
    mine, theirs = Datagrams(), Telling()
    world.me.datagram_port(mine, 5000)
    world.nas.datagram_port(theirs, 5000)
    groups = ["239.7.7.7", "239.7.7.8", "ff05::77", "255.255.255.255"]
    for group in groups[:-1]:
        world.result(theirs.transport.joinGroup(group))
    world.run(1.0)
    for number, host in enumerate((*groups, ADDRESSES["nas"])):
        mine.transport.write(b"%d" % number, (host, 5000))
    world.run(lambda: theirs.got)
    assert [(data, group) for data, _, group in theirs.to_groups] == [(b"%d" % number, group) for number, group in enumerate(groups)]
    assert theirs.to_groups[0][1] == theirs.got[0][1] == (ADDRESSES["me"], 5000)
    assert [data for data, _ in theirs.got] == [b"4"]
