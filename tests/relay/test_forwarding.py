"""The fast path: the same octets, to the other end, as few bursts as there are channels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.relay.ends import ANNA, BEN, CARLA, UNLIMITED, Peer, Scene, pair
from userlan.relay.datagrams import HEADER_SIZE, runs, same_headers
from userlan.relay.forwarding import MAX_OUTGOING
from userlan.wire.endpoint import Endpoint

STRANGER = Endpoint("udp", "203.0.113.9", 9)


def test_a_coalesced_buffer_leaves_as_it_came_in_one_burst() -> None:
    scene = Scene()
    anna, ben = pair(scene)
    buffer = b"".join(anna.header + bytes([number]) * 1400 for number in range(44)) + anna.header + b"short"
    assert scene.data(buffer, 1412, anna.endpoint) == [(ben.endpoint, buffer, 1412)]


def test_the_memory_of_the_buffer_is_used_again_by_its_owner() -> None:
    scene = Scene()
    anna, ben = pair(scene)
    memory = bytearray(anna.header + b"first")
    scene.forwarding.receive(memoryview(memory), len(memory), anna.endpoint, scene.now)
    memory[:] = bytes(len(memory))
    assert scene.sent() == [(ben.endpoint, anna.header + b"first", 17)]


def test_a_buffer_of_two_channels_is_split_into_runs() -> None:
    scene = Scene()
    anna, ben = pair(scene)
    carla = Peer(scene, (CARLA, ANNA), "192.0.2.3")
    carla.prove()
    other = Peer(scene, (ANNA, CARLA), "192.0.2.1")
    other.prove()
    parts = [anna.header + b"1" * 88, anna.header + b"2" * 88, other.header + b"3" * 88, anna.header + b"4" * 88]
    assert scene.data(b"".join(parts), 100, anna.endpoint) == [
        (ben.endpoint, parts[0] + parts[1], 100), (carla.endpoint, parts[2], 100), (ben.endpoint, parts[3], 100),
    ]


def test_a_bind_among_data_of_its_size_is_given_back() -> None:
    scene = Scene()
    anna, _ = pair(scene)
    bind = anna.datagram()
    data = anna.header + bytes(len(bind) - HEADER_SIZE)
    assert scene.forwarding.receive(data + bind + data, len(bind), anna.endpoint, scene.now) == [bind]
    assert [len(sent) for _, sent, _ in scene.sent()] == [len(data), len(data)]


@pytest.mark.parametrize("segment", [0, 1, 11, 12])
def test_datagrams_without_room_for_a_header_are_dropped_and_counted(segment: int) -> None:
    scene = Scene()
    anna, _ = pair(scene)
    scene.forwarding.receive(anna.header[:4] + bytes(40), segment, anna.endpoint, scene.now)
    assert scene.sent() == []


def test_strangers_and_unknown_channels_get_nowhere() -> None:
    scene = Scene()
    anna, _ = pair(scene)
    assert scene.data(anna.header + b"x", 0, STRANGER) == []
    assert scene.data(anna.header[:4] + bytes(8) + b"x", 0, anna.endpoint) == []
    assert (scene.counters["data-unbound"], scene.counters["data-unknown-channel"]) == (1, 1)


def test_more_than_the_rate_is_dropped_for_the_client_and_not_for_others() -> None:
    scene = Scene(UNLIMITED._replace(client_rate=100_000.0))
    anna, ben = pair(scene)
    sent = sum(len(data) for _ in range(100) for _, data, _ in scene.data(anna.header + bytes(1388), 0, anna.endpoint))
    assert sent <= 100_000 * 0.25 + 1400
    assert scene.data(ben.header + b"x", 0, ben.endpoint) != []
    scene.now += 1.0
    assert scene.data(anna.header + b"x", 0, anna.endpoint) != []


def test_a_flood_of_empty_datagrams_meets_the_limit_of_packets() -> None:
    scene = Scene(UNLIMITED._replace(client_rate=100_000.0))
    anna, _ = pair(scene)
    passed = sum(bool(scene.data(anna.header, 0, anna.endpoint)) for _ in range(1000))
    assert passed == 100_000 * 0.25 / 250


def test_the_grant_limits_the_pair_where_it_says_less_than_the_relay() -> None:
    scene = Scene()
    anna, ben = Peer(scene, (ANNA, BEN), "192.0.2.1", rate=4_000), Peer(scene, (BEN, ANNA), "192.0.2.2", rate=4_000)
    anna.prove()
    ben.prove()
    assert sum(len(data) for _ in range(50) for _, data, _ in scene.data(anna.header + bytes(88), 0, anna.endpoint)) <= 1_100


def test_a_driver_that_is_stuck_does_not_fill_the_memory() -> None:
    scene = Scene()
    anna, _ = pair(scene)
    buffer = (anna.header + bytes(1400)) * 45
    for _ in range(2 * MAX_OUTGOING // len(buffer)):
        scene.forwarding.receive(buffer, 1412, anna.endpoint, scene.now)
    assert sum(len(data) for _, data, _ in scene.sent()) <= MAX_OUTGOING


@given(some.lists(some.integers(0, 2), min_size=1, max_size=20), some.integers(12, 40), some.integers(0, 39))
def test_runs_are_the_segments_with_one_header(channels: list[int], segment: int, cut: int) -> None:
    parts = [bytes([40, 0, 0, 0, *[channel] * 8]).ljust(segment, b"x") for channel in channels]
    data = b"".join(parts)
    data = data[: len(data) - min(cut, segment - 1)]
    found = runs(data, segment)
    assert [start for start, _ in found] + [len(data)] == [0] + [end for _, end in found]
    cuts = [start // segment for start, _ in found]
    expected = [0] + [
        index for index in range(1, len(channels))
        if data[index * segment : index * segment + 12] != data[(index - 1) * segment : (index - 1) * segment + 12]
    ]
    assert cuts == expected
    assert same_headers(data, segment) is (len(found) == 1 and (len(data) % segment or segment) >= 12)
