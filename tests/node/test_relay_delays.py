"""How far the relays are: asked in rounds, answered by a real vantage point."""

from __future__ import annotations

from random import Random

from userlan.control.meeting import RelayInfo
from userlan.node.relay_delays import HOST_BURST, HOST_RATE, INTERVAL, LEAST_BETWEEN, PATIENCE, RelayDelays
from userlan.traversal.vantage import Vantage
from userlan.wire.endpoint import TCP, UDP, Endpoint

OWN = Endpoint(UDP, "192.0.2.1", 41414)
STEP = 0.01


class Pool:
    """Relays at one-way delays; ``blocked``: transports, and ports, that do not pass."""

    def __init__(self, *delays: float) -> None:
        self.delays = RelayDelays(Random(1).randbytes)
        self.ways = {f"198.51.100.{number}": delay for number, delay in enumerate(delays, 1)}
        self.keys = {host: bytes([number]) * 32 for number, host in enumerate(self.ways, 1)}
        self.vantages = {host: Vantage(key, Random(2).randbytes) for host, key in self.keys.items()}
        self.blocked: set[str | int] = set()
        self.now = 100.0
        self.asked: list[tuple[float, Endpoint]] = []
        self._flying: list[tuple[float, bytes]] = []

    def relays(self) -> list[tuple[RelayInfo, tuple[Endpoint, ...]]]:
        return [
            (RelayInfo(key, host, ()), (Endpoint(UDP, host, 41414), Endpoint(TCP, host, 41414), Endpoint(TCP, host, 443)))
            for host, key in self.keys.items()
        ]

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += STEP
            deadline = self.delays.deadline()
            if deadline is not None and deadline <= self.now:
                self.delays.tick(self.now)
            for burst in self.delays.datagrams():
                self.asked.append((self.now, burst.endpoint))
                if self.blocked & {burst.endpoint.transport, burst.endpoint.port}:
                    continue
                vantage = self.vantages[burst.endpoint.host]
                for answer in vantage.receive(burst.data, OWN, self.now):
                    self._flying.append((self.now + 2 * self.ways[burst.endpoint.host], bytes(answer.data)))
            for arrival in [one for one in self._flying if one[0] <= self.now]:
                self._flying.remove(arrival)
                if self.delays.owns(arrival[1]):
                    self.delays.receive(arrival[1], self.now)


def test_a_round_measures_every_relay() -> None:
    pool = Pool(0.01, 0.05, 0.2)
    pool.delays.known(pool.relays(), pool.now)
    pool.run(PATIENCE + 1.0)
    assert pool.delays.measured()
    assert not pool.delays.measured()
    for host, key in pool.keys.items():
        assert abs(pool.delays.delays[key] - 2 * pool.ways[host]) <= 2 * STEP


def test_one_that_does_not_answer_is_left_out() -> None:
    pool = Pool(0.01, 5.0)
    pool.delays.known(pool.relays(), pool.now)
    pool.run(PATIENCE + 1.0)
    assert list(pool.delays.delays) == [b"\x01" * 32]


def test_where_udp_does_not_pass_it_is_asked_by_framed_tcp() -> None:
    pool = Pool(0.03)
    pool.blocked = {UDP}
    pool.delays.known(pool.relays(), pool.now)
    pool.run(PATIENCE + 1.0)
    assert {endpoint.transport for _, endpoint in pool.asked} == {UDP, TCP}
    assert abs(pool.delays.delays[b"\x01" * 32] - 0.06) <= 2 * STEP


def test_where_only_https_passes_it_is_asked_there() -> None:
    pool = Pool(0.03)
    pool.blocked = {UDP, 41414}
    pool.delays.known(pool.relays(), pool.now)
    pool.run(PATIENCE + 1.0)
    assert abs(pool.delays.delays[b"\x01" * 32] - 0.06) <= 2 * STEP


def test_the_nearest_known_ones_are_asked_first_and_again_within_five_minutes() -> None:
    pool = Pool(0.2, 0.01)
    pool.delays.known(pool.relays(), pool.now)
    pool.run(PATIENCE + 1.0)
    pool.asked.clear()
    pool.run(INTERVAL)
    assert pool.asked[0][1].host == "198.51.100.2"
    assert len(pool.asked) <= 2 * 6


def test_an_answer_of_another_relay_or_to_no_question_changes_nothing() -> None:
    pool = Pool(0.01, 0.02)
    pool.delays.known(pool.relays(), pool.now)
    pool.run(0.25)
    assert not pool.delays.owns(b"\x21\0\0\0" + bytes(52))
    pool.delays.receive(b"\x21\0\0\0" + bytes(52), pool.now)
    pool.run(PATIENCE + 1.0)
    assert len(pool.delays.delays) == 2


def test_a_relay_that_left_the_pool_is_forgotten_at_once() -> None:
    pool = Pool(0.01, 0.02)
    pool.delays.known(pool.relays(), pool.now)
    pool.run(PATIENCE + 1.0)
    pool.delays.known(pool.relays()[:1], pool.now)
    assert list(pool.delays.delays) == [b"\x01" * 32]


def test_a_mediator_that_names_other_relays_all_the_time_floods_nobody() -> None:
    """64 relays of one host, each time at other ports: a round would begin with every word of its."""
    pool = Pool(0.01)
    asked = []
    for turn in range(300):
        named = [
            (RelayInfo(bytes([number]) * 32, "r", ()), (Endpoint(UDP, "203.0.113.9", 1 + number + turn % 2),)) for number in range(64)
        ]
        pool.delays.known(named, pool.now)
        for _ in range(20):
            pool.now += STEP
            pool.delays.tick(pool.now)
            asked += pool.delays.datagrams()
    print(f"{len(asked) / 60:.0f} a second")
    assert len(asked) <= HOST_BURST + HOST_RATE * 60


def test_other_relays_are_measured_at_once_the_first_time_and_then_at_intervals() -> None:
    pool = Pool(0.01, 0.05)
    pool.delays.known(pool.relays()[:1], pool.now)
    pool.run(PATIENCE + 1.0)
    pool.delays.known(pool.relays(), pool.now)
    pool.run(LEAST_BETWEEN)
    assert set(pool.delays.delays) == set(pool.keys.values())
    pool.delays.again(pool.now)
    before = len(pool.asked)
    pool.run(1.0)
    assert len(pool.asked) > before, "a change of the own network waits for nothing"
