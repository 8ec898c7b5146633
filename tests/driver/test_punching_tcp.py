"""Connections from numbered ports: shared by attempts, tried again until they open, given up, dismissed. Kernel sockets on loopback.

That two ends meet by connecting at once takes a path between them: ``tests/lab/test_tcp_punching.py``.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.driver.loop import Loop
from tests.driver.test_framed import OWN, Receiver
from userlan.driver import punching_tcp
from userlan.driver.framed import FramedPort
from userlan.driver.frames import FrameReader
from userlan.wire.endpoint import TCP, Endpoint


class Ways(Receiver):
    """Notes each word about a way or a socket, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[Any, ...]] = []

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        self.said.append(("socket", via, transport, port))

    def way_opened(self, endpoint: Endpoint) -> None:
        self.said.append(("opened", endpoint))

    def way_lost(self, endpoint: Endpoint) -> None:
        self.said.append(("lost", endpoint))

    def group_port(self, via: int) -> int:
        return int(next(note[3] for note in self.said if note[:2] == ("socket", via)))


class Scene:
    """A port, and servers of the test's own."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.ways = Ways()
        self.port = FramedPort(self.ways, loop.reactor)
        self.servers: list[socket.socket] = []

    def server(self, port: int = 0, host: str = "127.0.0.1") -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = socket.create_server((host, port), family=family)
        server.settimeout(5)
        self.servers.append(server)
        return server

    def accept(self, server: socket.socket) -> socket.socket:
        far, _ = server.accept()
        self.servers.append(far)
        far.settimeout(5)
        return far

    def punch(self, endpoint: Endpoint) -> None:
        self.port.send(b"", 0, endpoint)

    def close(self) -> None:
        for server in self.servers:
            server.close()
        self.port.punches.dismiss(1)
        self.loop.result(self.port.stop())
        self.loop.run(0.02)
        assert not self.port.punches._punches
        assert not self.port.punches._connections


@pytest.fixture
def scene(loop: Loop) -> Iterator[Scene]:
    made = Scene(loop)
    yield made
    made.close()


def endpoint_of(server: socket.socket, via: int = 1) -> Endpoint:
    host, port = server.getsockname()[:2]
    return Endpoint(TCP, host, port, via)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_one_local_port_for_all_targets_of_a_number(scene: Scene) -> None:
    """Behind an endpoint-independent NAT they have one mapping (RFC 5382, REQ-1), which is what makes it predictable."""
    servers = [scene.server() for _ in range(3)]
    for server in servers:
        scene.punch(endpoint_of(server))
    scene.punch(endpoint_of(servers[0], via=2))
    first, *_ = scene.ways.said
    assert first == ("socket", 1, TCP, scene.ways.group_port(1)), "told before any connection"
    scene.loop.until(lambda: sum(note[0] == "opened" for note in scene.ways.said) == 4)
    ports = [scene.accept(server).getpeername()[1] for server in servers]
    assert ports.count(scene.ways.group_port(1)) >= 2
    ports.append(scene.accept(servers[0]).getpeername()[1])
    assert sorted(ports) == sorted([scene.ways.group_port(1)] * 3 + [scene.ways.group_port(2)])
    scene.port.punches.dismiss(2)


def test_data_uses_what_was_opened_and_opens_nothing(scene: Scene) -> None:
    server = scene.server()
    target = endpoint_of(server)
    scene.port.send(OWN, len(OWN), target)
    assert scene.ways.counters == {"tcp-not-connected": 1}
    assert scene.ways.said == []
    scene.punch(target)
    scene.loop.until(lambda: ("opened", target) in scene.ways.said)
    far = scene.accept(server)
    scene.port.send(OWN, len(OWN), target)
    scene.loop.run(0.01)
    (frame,) = FrameReader().feed(far.recv(1000))
    assert bytes(frame) == OWN
    far.sendall(len(OWN).to_bytes(2, "big") + OWN)
    scene.loop.until(lambda: scene.ways.bursts)
    assert scene.ways.bursts == [(OWN, len(OWN), target)]
    scene.punch(target)
    assert scene.ways.said.count(("opened", target)) == 2, "it is said again to who asks again"
    far.close()
    scene.loop.until(lambda: ("lost", target) in scene.ways.said)
    scene.port.send(OWN, len(OWN), target)
    assert scene.ways.counters["tcp-not-connected"] == 2


def test_a_refused_attempt_is_made_again_until_it_opens(scene: Scene) -> None:
    number = free_port()
    target = Endpoint(TCP, "127.0.0.1", number, 1)
    scene.punch(target)
    scene.punch(target)
    scene.loop.run(0.25)
    assert [note[0] for note in scene.ways.said] == ["socket"]
    scene.server(number)
    scene.loop.until(lambda: ("opened", target) in scene.ways.said)
    assert ("lost", target) not in scene.ways.said


def test_it_is_given_up_in_the_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(punching_tcp, "PUNCH_TIMEOUT", 0.3)
    target = Endpoint(TCP, "127.0.0.1", free_port(), 1)
    scene.punch(target)
    scene.loop.until(lambda: ("lost", target) in scene.ways.said)
    assert scene.ways.counters == {"tcp-punch-failed": 1}
    assert not scene.port.punches._punches


def test_to_dismiss_a_number_ends_attempts_and_connections_and_frees_the_port(scene: Scene) -> None:
    server = scene.server()
    target, refused = endpoint_of(server), Endpoint(TCP, "127.0.0.1", free_port(), 1)
    scene.punch(target)
    scene.punch(refused)
    scene.loop.until(lambda: ("opened", target) in scene.ways.said)
    far = scene.accept(server)
    scene.port.punches.dismiss(1)
    scene.port.punches.dismiss(1)
    scene.port.punches.dismiss(77)
    scene.loop.until(lambda: ("lost", target) in scene.ways.said)
    with pytest.raises(ConnectionResetError):
        far.recv(1)
    server.close()
    assert ("lost", refused) not in scene.ways.said, "who dismisses needs no word of it"
    socket.create_server(("127.0.0.1", scene.ways.group_port(1))).close()


def test_the_port_is_held_between_attempts(scene: Scene) -> None:
    scene.punch(Endpoint(TCP, "127.0.0.1", free_port(), 1))
    scene.loop.run(0.02)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", scene.ways.group_port(1)))


def test_a_syn_that_meets_itself_is_no_connection(scene: Scene) -> None:
    """RFC 9293 3.5: simultaneous open with oneself, which a target equal to the own address makes."""
    scene.punch(Endpoint(TCP, "127.0.0.1", free_port(), 1))
    itself = Endpoint(TCP, "127.0.0.1", scene.ways.group_port(1), 1)
    scene.punch(itself)
    scene.loop.run(0.3)
    assert ("opened", itself) not in scene.ways.said


def test_both_families_may_have_a_number(scene: Scene) -> None:
    try:
        server = scene.server(host="::1")
    except OSError:
        pytest.skip("this computer has no IPv6")
    other = scene.server()
    targets = {endpoint_of(server), endpoint_of(other)}
    for target in targets:
        scene.punch(target)
    scene.loop.until(lambda: {note[1] for note in scene.ways.said if note[0] == "opened"} == targets)
    assert [note[0] for note in scene.ways.said].count("socket") == 2


def test_what_cannot_be_reached_raises_nothing(scene: Scene) -> None:
    for host in ("255.255.255.255", "224.0.0.1", "fe80::1", "0.0.0.0"):
        scene.punch(Endpoint(TCP, host, 9, 1))
    scene.loop.run(0.3)
    assert not [note for note in scene.ways.said if note[0] == "opened"]


def test_there_are_caps(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(punching_tcp, "MAX_GROUPS", 2)
    monkeypatch.setattr(punching_tcp, "MAX_PUNCHES", 3)
    number = free_port()
    for via in (1, 2, 3):
        scene.punch(Endpoint(TCP, "127.0.0.1", number, via))
    for port in (number + 1, number + 2):
        scene.punch(Endpoint(TCP, "127.0.0.2", port, 1))
    assert scene.ways.counters == {"tcp-punch-refused": 2}
    scene.port.punches.dismiss(2)


def test_accepted_at_a_numbered_port(loop: Loop) -> None:
    """Two ports of a server see one and the same mapping of a client: two connections, told apart by the number."""
    server = Ways()
    listening = FramedPort(server, loop.reactor)
    first, second = free_port(), free_port()
    listening.listen("127.0.0.1", first)
    listening.listen("127.0.0.1", second, via=1)
    client = Scene(loop)
    targets = [Endpoint(TCP, "127.0.0.1", port, 1) for port in (first, second)]
    for target in targets:
        client.punch(target)
    loop.until(lambda: sum(note[0] == "opened" for note in client.ways.said) == 2)
    for target in targets:
        client.port.send(OWN, len(OWN), target)
    loop.until(lambda: len(server.bursts) == 2)
    mapped = client.ways.group_port(1)
    assert {source for _, _, source in server.bursts} == {Endpoint(TCP, "127.0.0.1", mapped, via) for via in (0, 1)}
    for via in (0, 1):
        listening.send(OWN + bytes([via]), len(OWN) + 1, Endpoint(TCP, "127.0.0.1", mapped, via))
    loop.until(lambda: len(client.ways.bursts) == 2)
    assert sorted((data[-1], source.port) for data, _, source in client.ways.bursts) == [(0, first), (1, second)]
    client.close()
    loop.result(listening.stop())


def test_a_host_that_answers_by_rst_is_not_flooded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever says what is tried, a hostile mediator, could name 256 closed ports: ten SYNs a second to each, were they not one host's."""
    attempts = 0
    original = punching_tcp.bound

    def counted(local: tuple[Any, ...]) -> socket.socket:
        nonlocal attempts
        attempts += local[1] != 0
        return original(local)

    monkeypatch.setattr(punching_tcp, "bound", counted)
    monkeypatch.setattr(punching_tcp, "RETRY_INTERVAL", 0.02)
    for port in range(1, 257):
        scene.punch(Endpoint(TCP, "127.0.0.1", port, 1))
    begun = time.monotonic()
    scene.loop.run(1.0)
    assert attempts <= punching_tcp.HOST_BURST + punching_tcp.HOST_RATE * (time.monotonic() - begun) + 1
    assert scene.ways.counters["tcp-punch-paced"] > 0
