"""One budget of buffered octets for all connections of a host."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.lan import Lan, LanHost, packed
from tests.sim.link import LinkProfile
from tests.sim.world import World
from tests.stack.tcp.scene import established
from userlan.stack import HostConfig, TcpAccepted, TcpEvent
from userlan.stack.tcp import Connection, Memory, State
from userlan.stack.tcp.memory import FLOOR, RANGE_COST

MIB = 1 << 20


def test_what_is_free_is_everybodys_share() -> None:
    memory = Memory(MIB)
    assert memory.share == MIB
    memory.change(MIB // 4)
    assert memory.share == MIB * 3 // 4
    memory.change(MIB)
    assert memory.exhausted
    assert memory.share == FLOOR
    memory.change(-MIB - MIB // 4)
    assert memory.share == MIB
    assert not memory.exhausted


def test_one_connection_sends_half_of_what_is_free_at_most() -> None:
    scene = established()
    memory = Memory(100_000)
    scene.connection.use_memory(memory)
    assert scene.connection.send(bytes(70_000), scene.now) == 70_000
    scene.connection.recount()
    assert memory.used == 70_000
    assert scene.connection.send_room == 0
    scene.connection.sender.buffer.release(scene.connection.initial + 1 + 40_000)
    scene.connection.recount()
    assert scene.connection.send_room == 40_000


def test_ranges_out_of_order_count_for_what_they_take() -> None:
    """A range of one octet takes some hundred; a peer may make a thousand in each connection."""
    scene = established()
    memory = Memory(MIB)
    scene.connection.use_memory(memory)
    for at in range(1, 2001, 2):
        scene.inject("A", b"x", at=at)
    scene.connection.recount()
    assert memory.used == 1000 + 1000 * RANGE_COST
    scene.inject("A", bytes(2001))
    scene.read()
    scene.connection.recount()
    assert memory.used == 0


def test_the_end_of_a_segment_that_overlaps_does_not_hold_all_of_it() -> None:
    """In order too: what is read late is held by what it is a part of."""
    scene = established()
    for end in range(5000, 50_000, 5000):
        scene.inject("A", bytes(end))
    buffer = scene.connection.receiver.buffer
    chunks = buffer._chunks
    assert chunks is not None
    assert buffer.length == 45_000
    owners: list[Any] = [chunk.obj if isinstance(chunk, memoryview) else chunk for chunk in chunks]
    assert sum(map(len, owners)) <= 2 * buffer.length


def test_a_told_window_is_not_taken_back() -> None:
    """RFC 9293 3.8.6: its right edge stays, and moves again once there is room."""
    scene = established(scale=7)
    memory = Memory(1 << 18)
    scene.connection.use_memory(memory)
    scene.inject("A", bytes(2000), unit=1000)
    receiver = scene.connection.receiver
    edge = receiver.advertised
    memory.change(1 << 18)
    scene.inject("A", bytes(2000), at=2000, unit=1000)
    assert receiver.advertised == edge
    assert scene.last[0].window << 9 >= edge - receiver.next - 511
    scene.read()
    assert scene.connection.receiver.advertised == edge
    memory.change(-(1 << 18))
    for at in range(4000, 150_000, 2000):
        scene.inject("A", bytes(2000), at=at, unit=1000)
        scene.read()
        scene.drain()
    assert receiver.advertised > edge


def test_with_nothing_free_every_connection_still_moves() -> None:
    scene = established(scale=7)
    memory = Memory(MIB)
    memory.change(2 * MIB)
    scene.connection.use_memory(memory)
    for at in range(0, 3_000_000, 1000):
        scene.inject("A", bytes(1000), at=at)
        assert len(scene.read()) == 1000
    assert scene.connection.receiver.advertised - scene.connection.receiver.next <= FLOOR
    assert scene.connection.send(bytes(100_000), scene.now) == FLOOR


def test_what_was_promised_and_finds_no_memory_is_dropped_and_comes_again() -> None:
    """Out of order first (RFC 2018 8), then in order; the stream stays whole."""
    scene = established(scale=7)
    memory = Memory(MIB)
    scene.connection.use_memory(memory)
    scene.inject("A", bytes(FLOOR), at=50_000, unit=1000)
    memory.change(MIB)
    assert scene.inject("A", b"a" * FLOOR, unit=1000)[0] == f"ACK seq=0 ack={FLOOR}"
    assert scene.connection.receiver.reassembly.length == 0
    assert scene.inject("A", b"b" * 1000, at=FLOOR) == [f"ACK seq=0 ack={FLOOR}"]
    assert scene.connection.counters["memory-full"] == 1
    assert scene.read() == b"a" * FLOOR
    scene.drain()
    assert scene.inject("A", b"b" * 1000, at=FLOOR) == []
    assert scene.read() == b"b" * 1000


def pair(world: World, memory: int) -> tuple[LanHost, LanHost]:
    lan = Lan(world)
    config = HostConfig(tcp_memory=memory)
    profile = LinkProfile(delay=0.010)
    return lan.host("10.0.0.1", up=profile, config=config), lan.host("10.0.0.2", up=profile, config=config)


@pytest.mark.parametrize("stingy", [True, False])
def test_the_budget_is_kept_whatever_fifty_connections_do(stingy: bool) -> None:
    """Half of them at a time send as much as they may to an application that reads nothing (``stingy``), or all.

    Beyond the budget lies what each may hold in any case, and the last super-segment that it took for it.
    """
    world = World(9)
    limit = MIB
    first, second = pair(world, limit)
    second.core.tcp_listen(80, backlog=200)
    accepted: list[Connection] = []

    def read(event: object) -> None:
        if isinstance(event, TcpAccepted):
            accepted.append(event.connection)
        elif isinstance(event, TcpEvent) and not stingy:
            while event.connection.receive():
                pass

    second.handler = read
    made = [first.core.tcp_connect((packed("10.0.0.2"), 80), world.now) for _ in range(50)]
    world.touch(first)
    world.run_until(lambda: len(accepted) == 50)
    highest = [0, 0]
    sent = 0
    for turn in range(20):
        for connection in made[turn % 2 :: 2]:
            sent += connection.send(bytes(50_000), world.now)
        world.touch(first)
        world.run(0.05)
        for index, host in enumerate((first, second)):
            highest[index] = max(highest[index], host.core.tcp_memory)
    assert highest[0] <= limit + 50 * 2 * FLOOR
    assert highest[1] <= limit + 50 * 2 * FLOOR
    assert sent > limit
    assert all(connection.state is State.ESTABLISHED for connection in made)
    if not stingy:
        world.run(30)
        assert first.core.tcp_memory == second.core.tcp_memory == 0
    for connection in [*made, *accepted]:
        connection.abort(world.now)
    world.touch(first)
    world.touch(second)
    world.run(1)
    assert first.core.tcp_memory == second.core.tcp_memory == 0
