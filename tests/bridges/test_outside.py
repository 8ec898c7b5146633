"""An attached kernel's datagrams and pings outside: mappings, filters, errors, bounds."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from bridges.outside import MAX_REMOTES, Flows
from tests.bridges.conftest import until
from tests.bridges.harness import Loop
from tests.bridges.kernel import loopback
from userlan.driver.uplink import Datagrams, Echo, Refusal


class FakeUplink:
    """Notes what the flows say to the kernel."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Any, Any]] = []
        self.refused: list[tuple[bytes, Refusal]] = []
        self.echoed: list[tuple[Any, ...]] = []

    def send_datagram(self, payload: bytes, source: Any, destination: Any) -> None:
        self.sent.append((payload, source, destination))

    def refuse_packet(self, quoted: bytes, why: Refusal) -> None:
        self.refused.append((quoted, why))

    def send_echo(self, *echo: Any) -> None:
        self.echoed.append(echo)


class Outside:
    """Flows, and a UDP server on loopback."""

    def __init__(self, loop: Loop, version: int) -> None:
        self.loop = loop
        self.host = loopback(version)
        self.uplink = FakeUplink()
        made: Any = self.uplink
        self.flows = Flows(loop.reactor, made, Counter())
        self.server = self.open()
        self.port: int = self.server.getsockname()[1]
        self.source = ("25.1.2.3" if version == 4 else "fd75:6c61:6e00::7", 5000)

    def open(self) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(10)
        made.bind((self.host, 0))
        return made

    def send(self, payload: bytes, port: int = 0, segment: int = 0, source: Any = None, host: str = "") -> None:
        place = host or self.host, port or self.port
        arrived = Datagrams(source or self.source, *place, payload, segment, b"quoted-%d" % place[1])
        self.loop.call(self.flows.datagrams, arrived)

    def heard(self, size: int) -> list[tuple[bytes, Any]]:
        return [self.server.recvfrom(65_535) for _ in range(size)]

    def close(self) -> None:
        self.server.close()
        self.loop.call(self.flows.close)
        self.loop.call(self.flows.close)
        assert not self.loop.call(self.flows.__len__)


@pytest.fixture(params=[4, 6])
def outside(loop: Loop, request: pytest.FixtureRequest) -> Iterator[Outside]:
    made = loop.call(lambda: Outside(loop, request.param))
    yield made
    made.close()


def test_a_mapping_depends_on_the_programs_port_alone(outside: Outside, loop: Loop) -> None:
    """RFC 4787, REQ-1; REQ-8: address-dependent filtering."""
    other = outside.open()
    outside.send(b"one")
    (first,) = outside.heard(1)
    outside.send(b"two", other.getsockname()[1])
    data, second = other.recvfrom(100)
    assert (first[0], data, first[1]) == (b"one", b"two", second)
    outside.server.sendto(b"answer", first[1])
    other.sendto(b"and another", first[1])
    until(lambda: len(outside.uplink.sent) == 2, loop)
    places = [(outside.host, one.getsockname()[1]) for one in (outside.server, other)]
    assert outside.uplink.sent == [(b"answer", places[0], outside.source), (b"and another", places[1], outside.source)]
    outside.send(b"three", source=(outside.source[0], 5001))
    assert outside.heard(1)[0][1] != first[1]
    assert loop.call(outside.flows.__len__) == 2
    other.close()


def test_strangers_are_not_let_in(loop: Loop) -> None:
    outside = loop.call(lambda: Outside(loop, 4))
    outside.send(b"one")
    (first,) = outside.heard(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.3", 0))
        stranger.sendto(b"in", ("127.0.0.1", first[1][1]))
        until(lambda: outside.flows.counters["udp-stranger"] == 1, loop)
    assert not outside.uplink.sent
    outside.close()


def test_a_burst_leaves_as_it_is(outside: Outside) -> None:
    payload = os.urandom(1000 * 100 + 7)
    outside.send(payload[:60_007], segment=1000)
    assert b"".join(data for data, _ in outside.heard(61)) == payload[:60_007]
    small = os.urandom(20 * 200)
    outside.send(small, segment=20)
    parts = [data for data, _ in outside.heard(200)]
    assert b"".join(parts) == small
    assert {len(part) for part in parts} == {20}


def test_a_closed_port_is_told_and_hinders_nobody_else(outside: Outside, loop: Loop) -> None:
    """The error comes by the queue (ip(7)), with the destination that it is about."""
    gone = outside.open()
    closed = gone.getsockname()[1]
    gone.close()
    for number in range(1, 4):
        outside.send(b"x", closed)
        until(lambda number=number: len(outside.uplink.refused) == number, loop)  # type: ignore[misc]
        outside.send(b"y")
    assert set(outside.uplink.refused) == {(b"quoted-%d" % closed, Refusal.REFUSED)}
    (data, sender), *_ = outside.heard(3)
    outside.server.sendto(b"still here", sender)
    until(lambda: bool(outside.uplink.sent), loop)
    assert data == b"y"


def test_what_cannot_be_sent_is_told_at_once(outside: Outside) -> None:
    if outside.host == "127.0.0.1":
        outside.send(b"x", 9, host="127.255.255.255")
        assert outside.uplink.refused == [(b"quoted-9", Refusal.PROHIBITED)]
    outside.send(bytes(70_000))
    assert outside.flows.counters["unsent-emsgsize"] == 1


def test_flows_end_when_idle_and_give_way(outside: Outside, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    for port in range(5):
        outside.send(b"x", source=(outside.source[0], 6000 + port))
    outside.heard(5)
    assert loop.call(outside.flows.__len__) == 5
    outside.flows._udp.capacity = 3
    outside.send(b"x", source=(outside.source[0], 7000))
    assert (loop.call(outside.flows.__len__), outside.flows.counters["flows-full"]) == (3, 3)
    outside.flows._udp.idle = 0.0
    loop.call(outside.flows._sweep)
    assert loop.call(outside.flows.__len__) == 0
    assert not outside.flows._sweeper.running


def test_only_so_many_remotes_are_remembered(outside: Outside, loop: Loop) -> None:
    for port in range(1, MAX_REMOTES + 50):
        outside.send(b"x", 20_000 + port)
    (flow,) = [flow for flow, _ in outside.flows._udp._flows.values()]
    assert len(flow._remotes._quoted) == MAX_REMOTES
    assert flow._remotes._hosts == {outside.host: MAX_REMOTES}


def test_pings_without_the_right_to_them(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = loop.call(lambda: Outside(loop, 4))

    def forbidden(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("bridges.outside.OutsideSocket", forbidden)
    loop.call(outside.flows.echo, Echo("25.1.2.3", "127.0.0.1", 7, 1, b"x", b"quoted"))
    assert outside.uplink.refused == [(b"quoted", Refusal.PROHIBITED)]
    assert outside.flows.counters == {"unsent-eacces": 1}
    outside.close()
