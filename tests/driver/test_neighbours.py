"""Announcing and hearing of neighbours: by real multicast DNS on loopback, off the reactor's thread, without leaks."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from tests.driver.loop import Loop
from userlan.driver import neighbours
from userlan.driver.neighbours import Neighbourhood, near, outward, own_links
from userlan.wire.endpoint import UDP, Endpoint

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


class Computer:
    """One that announces itself, and what it heard."""

    def __init__(self, loop: Loop, port: int) -> None:
        self.announced: list[str] = []
        self.heard: dict[str, tuple[dict[bytes, bytes | None], tuple[Endpoint, ...]]] = {}
        self.threads: set[int] = set()
        self.port = port
        self.neighbourhood = Neighbourhood(loop.reactor, port, self._announcement, self._hear)

    def _announcement(self) -> tuple[str, dict[bytes, bytes]]:
        self.announced.append(f"{self.port:08x}{len(self.announced):08x}")
        return self.announced[-1], {b"v": b"1", b"s": bytes(range(16)), b"t0": b"\0\xff" * 24}

    def _hear(self, name: str, properties: Mapping[bytes, bytes | None], endpoints: Sequence[Endpoint]) -> None:
        self.threads.add(threading.get_ident())
        self.heard[name.partition(".")[0]] = (dict(properties), tuple(endpoints))


@pytest.fixture
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one network on which tests may be heard."""
    monkeypatch.setattr(neighbours, "outward", lambda hosts: tuple(hosts))
    monkeypatch.setattr(neighbours, "own_links", lambda: (LOOPBACK,))


@pytest.fixture
def computers(loop: Loop, on_loopback: None) -> Iterator[list[Computer]]:
    made = [Computer(loop, port) for port in (41001, 41002)]
    yield made
    for computer in made:
        loop.result(computer.neighbourhood.stop())
        loop.result(computer.neighbourhood.stop())
    loop.until(lambda: not ours())


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "userlan neighbours"]


def test_two_hear_of_each_other(loop: Loop, computers: list[Computer]) -> None:
    one, two = computers
    one.neighbourhood.look(["127.0.0.1"], 1)
    two.neighbourhood.look(["127.0.0.1"], 1)
    loop.until(lambda: one.heard and two.heard)
    assert set(one.heard) == set(two.announced), "not of itself"
    properties, endpoints = one.heard[two.announced[0]]
    assert properties == {b"v": b"1", b"s": bytes(range(16)), b"t0": b"\0\xff" * 24}, "any octets pass"
    assert endpoints == (Endpoint(UDP, "127.0.0.1", 41002),)
    assert one.threads == {threading.get_ident()}, "what was heard is told in the reactor's thread"
    one.neighbourhood.look(["127.0.0.1"], 1)
    assert len(one.announced) == 1
    one.neighbourhood.look(["127.0.0.1"], 2)
    loop.until(lambda: len(one.announced) == 2)
    loop.until(lambda: set(two.heard) == set(one.announced))
    assert len(ours()) == 2


def test_to_stop_at_once_is_clean(loop: Loop, computers: list[Computer]) -> None:
    one, two = computers
    one.neighbourhood.look(["127.0.0.1"], 1)
    loop.result(one.neighbourhood.stop())
    one.neighbourhood.look(["127.0.0.1"], 2)
    two.neighbourhood.look([], 1)
    assert len(one.announced) == 1
    assert two.announced == []


def test_without_a_network_there_is_quiet_until_there_is_one(
    loop: Loop, on_loopback: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = [True]
    serve = Neighbourhood._serve

    async def no_network(self: Neighbourhood, run: Any) -> None:
        if fails[0]:
            raise OSError("Network is unreachable")
        await serve(self, run)

    monkeypatch.setattr(Neighbourhood, "_serve", no_network)
    one = Computer(loop, 41003)
    one.neighbourhood.look(["127.0.0.1"], 1)
    loop.until(lambda: one.neighbourhood.counters["failed"] == 1)
    one.neighbourhood.look(["127.0.0.1"], 1)
    assert len(one.announced) == 1, "not at once again"
    monkeypatch.setattr(neighbours, "RETRY_INTERVAL", 0.0)
    one.neighbourhood.look(["127.0.0.1"], 1)
    loop.until(lambda: one.neighbourhood.counters["failed"] == 2)
    fails[0] = False
    one.neighbourhood.look(["127.0.0.2"], 1)
    assert len(one.announced) == 3
    loop.run(0.2)
    loop.result(one.neighbourhood.stop())
    loop.until(lambda: not ours())
    assert one.neighbourhood.counters == {"failed": 2}


def test_the_end_does_not_wait_for_a_thread_that_hangs(loop: Loop, on_loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "STOP_TIMEOUT", 0.1)
    release = threading.Event()

    async def hangs(self: Neighbourhood, run: Any) -> None:
        await asyncio.to_thread(release.wait, 60)

    monkeypatch.setattr(Neighbourhood, "_serve", hangs)
    one = Computer(loop, 41004)
    one.neighbourhood.look(["127.0.0.1"], 1)
    loop.result(one.neighbourhood.stop())
    assert ours()
    release.set()
    loop.until(lambda: not ours())
    loop.run(0.05)


def test_only_endpoints_of_the_own_links_are_believed() -> None:
    """A neighbour that names others' addresses would have this computer send there."""
    links = (ipaddress.ip_network("192.168.1.0/24"), ipaddress.ip_network("fd00:1::/64"))
    told = ["192.168.1.7", "192.168.2.7", "8.8.8.8", "fd00:1::7", "fe80::7", "rubbish", "127.0.0.1", "192.168.1.7"]
    assert near(told, 41414, links) == (Endpoint(UDP, "192.168.1.7", 41414), Endpoint(UDP, "fd00:1::7", 41414))
    assert near(told, 0, links) == ()
    assert len(near([f"192.168.1.{number}" for number in range(1, 200)], 1, links)) == neighbours.MAX_ENDPOINTS
    assert outward(["127.0.0.1", "::1", "192.168.1.2"]) == ("192.168.1.2",)
    assert all(not link.is_loopback for link in own_links())
