"""Packetization Layer Path MTU Discovery (RFC 4821, RFC 8899): the search by itself, and through black holes.

The exact segments are in ``scripts/path_mtu.txt``.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.sim.lan import Lan, LanHost, packed
from tests.sim.link import LinkProfile
from tests.sim.world import World
from userlan.stack import TcpAccepted, TcpEvent
from userlan.stack.tcp import Config, Connection, State
from userlan.stack.tcp.plpmtud import ACCURACY, BASE_V4, MAX_PROBES, RAISE_TIME, PathSearch, Search
from userlan.stack.tcp.scoreboard import Run
from userlan.stack.tcp.sender import Sender
from userlan.stack.tcp.transmission import next_run

LINK = 1420


class Wire:
    """A sender whose packets arrive when they are not larger than ``mtu``; the search alone is real."""

    def __init__(self, mtu: int) -> None:
        self.mtu = mtu
        self.search = PathSearch(LINK, False)
        self.probes: list[int] = []
        self.sender = Sender(Config(initial_window_segments=100), 0, Counter())
        self.sender.established(1, 500, 0.0)
        self.sender.sack = True
        self.sender.window = 1 << 20
        self.sender.congestion.window = 1 << 20
        self.sender.buffer.append(bytes(1 << 20))
        self.sender.capacity = 1 << 20

    def step(self, now: float) -> None:
        """One probe, if it wants one, and its fate."""
        search, sender = self.search, self.sender
        sender.use_segment(search.plpmtu - 40)
        run = search.next_probe(sender, 40, now)
        if run is None:
            return
        self.probes.append(run.end - run.start + 40)
        following = next_run(sender, now)
        assert following is not None
        if self.probes[-1] <= self.mtu:
            search.probed(sender, following.end, (), now)
        else:
            search.probed(sender, run.start, ((run.end, following.end),), now)
        sender.acknowledged(following.end, (), None, False, now)


def fallen(mtu: int) -> Wire:
    wire = Wire(mtu)
    assert wire.search.timed_out(1, True, 1, 0.0) is False
    assert wire.search.timed_out(2, True, 1, 0.0) is True
    assert (wire.search.state, wire.search.plpmtu) == (Search.BASE, BASE_V4)
    wire.search.left(2)
    wire.search.arrived()
    return wire


@pytest.mark.parametrize("mtu", [1064, 1100, 1240, 1300, 1399, 1419])
def test_the_search_ends_close_to_what_the_path_carries(mtu: int) -> None:
    """RFC 8899 5.3: never above it, in few probes, each size tried three times before it is given up (5.1.2)."""
    wire = fallen(mtu)
    for step in range(60):
        wire.step(step * 0.1)
    assert wire.search.state is Search.COMPLETE
    assert mtu - ACCURACY <= wire.search.plpmtu <= mtu
    lost = [size for size in wire.probes if size > mtu]
    assert all(lost.count(size) == MAX_PROBES for size in lost)
    assert len(set(wire.probes)) <= 6
    assert wire.search.finding == wire.search.plpmtu


def test_after_an_outage_one_probe_restores_what_was_there() -> None:
    wire = Wire(LINK)
    wire.search.left(2)
    wire.search.arrived()
    wire.search.timed_out(2, True, 1, 0.0)
    wire.search.left(2)
    wire.search.arrived()
    wire.step(0.0)
    assert wire.probes == [LINK]
    assert (wire.search.plpmtu, wire.search.state) == (LINK, Search.COMPLETE)


def test_after_ten_minutes_larger_ones_are_tried_again() -> None:
    """RFC 8899 5.1.1, PMTU_RAISE_TIMER."""
    wire = fallen(1300)
    for step in range(60):
        wire.step(step * 0.1)
    tried = len(wire.probes)
    wire.mtu = LINK
    wire.step(RAISE_TIME - 1)
    assert len(wire.probes) == tried
    for step in range(20):
        wire.step(RAISE_TIME + 10 + step)
    assert wire.search.plpmtu >= LINK - ACCURACY


def test_a_router_that_tells_of_a_probe_ends_the_search_for_larger_ones() -> None:
    """RFC 8899 4.6.1: PL_PTB_SIZE below PROBED_SIZE."""
    wire = fallen(1200)
    run = wire.search.next_probe(wire.sender, 40, 0.0)
    assert run is not None
    assert run.end - run.start + 40 == (1064 + LINK + 1) // 2
    assert wire.search.too_big(1200, run.start, 1, 0.0) is False
    for step in range(30):
        wire.step(step * 0.1)
    assert all(size <= 1200 for size in wire.probes)
    assert wire.search.plpmtu > 1200 - ACCURACY


def test_the_least_is_tried_at_last_with_ipv4() -> None:
    wire = Wire(600)
    found = [wire.search.plpmtu for timeouts in range(1, 9) if wire.search.timed_out(timeouts, True, 1, 0.0)]
    assert found == [BASE_V4, 576]
    assert wire.search.state is Search.ERROR


def test_a_lost_probe_that_is_sent_again_otherwise_counts_as_lost() -> None:
    wire = fallen(LINK)
    run = wire.search.next_probe(wire.sender, 40, 0.0)
    assert isinstance(run, Run)
    run.retransmitted = True
    assert wire.search.probed(wire.sender, run.end, (), 0.0) is False
    assert wire.search.plpmtu == BASE_V4


# ---------------------------------------------------------------------- between hosts


class Sink:
    """Reads everything."""

    def __init__(self, host: LanHost) -> None:
        self.octets = 0
        host.handler = self.read

    def read(self, event: object) -> None:
        if isinstance(event, TcpEvent | TcpAccepted):
            while data := event.connection.receive():
                self.octets += len(data)


def transfer(world: World, sender: LanHost, to: str, sink: Sink, octets: int) -> tuple[Connection, float]:
    """Send to a new connection; the connection and how long it took."""
    connection = sender.core.tcp_connect((packed(to), 80), world.now)
    world.run_until(lambda: connection.state is State.ESTABLISHED)
    return connection, send(world, sender, connection, sink, octets)


def send(world: World, sender: LanHost, connection: Connection, sink: Sink, octets: int) -> float:
    """Send on a connection; how long it took until all was there."""
    started, goal = world.now, sink.octets + octets
    left = octets

    def feed(event: object = None) -> None:
        nonlocal left
        if left and (taken := connection.send(bytes(left), world.now)):
            left -= taken

    sender.handler = feed
    feed()
    world.touch(sender)
    world.run_until(lambda: sink.octets >= goal, 60)
    return world.now - started


@pytest.mark.parametrize("version", [4, 6])
def test_a_black_hole_is_survived_and_remembered(version: int) -> None:
    """RFC 4821 7.7 and RFC 8899 4.3; RFC 8201 5.2 for the next connection."""
    first, second = ("10.0.0.1", "10.0.0.2") if version == 4 else ("fd00::1", "fd00::2")
    world = World(5)
    lan = Lan(world)
    lan.silent_about_size = True
    sender = lan.host(first, up=LinkProfile(delay=0.010))
    receiver = lan.host(second, up=LinkProfile(delay=0.010), down=LinkProfile(mtu=1330))
    receiver.core.tcp_listen(80)
    sink = Sink(receiver)
    connection, seconds = transfer(world, sender, second, sink, 3_000_000)
    assert connection.counters["path-mtu-fallen"] == 1
    assert 1330 - ACCURACY <= connection.path.plpmtu <= 1330
    assert seconds < 4
    assert sender.core.path_mtu(packed(second)) == connection.path.plpmtu
    lost = lan.counters["too-big"]
    again, seconds = transfer(world, sender, second, sink, 1_000_000)
    assert lan.counters["too-big"] == lost
    assert again.counters["path-mtu-fallen"] == 0
    assert seconds < 1


def test_a_path_that_shrinks_silently_amid_a_transfer() -> None:
    world = World(6)
    lan = Lan(world)
    lan.silent_about_size = True
    sender = lan.host("10.0.0.1", up=LinkProfile(delay=0.010))
    receiver = lan.host("10.0.0.2", up=LinkProfile(delay=0.010))
    receiver.core.tcp_listen(80)
    sink = Sink(receiver)
    connection, _ = transfer(world, sender, "10.0.0.2", sink, 500_000)
    assert connection.path.plpmtu == sender.core.mtu
    receiver.down.profile = LinkProfile(mtu=1280)
    assert send(world, sender, connection, sink, 8_000_000) < 4
    assert 1280 - ACCURACY <= connection.path.plpmtu <= 1280
