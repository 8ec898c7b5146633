"""All three bridges over the real LAN: proxy and forward at one member, expose at the other."""

from __future__ import annotations

import hashlib
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridges.expose import SERVICE_TIMEOUT, ExposeBridge, ExposeOptions, aliases_bindable
from bridges.forward import ForwardBridge, ForwardOptions
from bridges.proxy import ProxyBridge, ProxyOptions
from bridges.rules import ExposeRule, ForwardRule
from bridges.socks import build_datagram, parse_datagram
from tests.bridges.harness import (
    Listener,
    Loop,
    MemoryStore,
    dial,
    fill,
    read_all,
    read_exactly,
    refused,
    reset,
    reset_at_once,
    site,
)
from tests.bridges.stacked import StackedPair
from tests.bridges.test_udp_associate import associate, udp

Address = tuple[str, int]
MIB = 1 << 20


class Scene:
    """Proxy and forwards of ``me``, exposed services of ``nas``."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.pair: StackedPair = loop.call(StackedPair, loop.reactor)
        me, nas = self.pair.lans["me"], self.pair.lans["nas"]
        store: Any = MemoryStore()
        self.proxy = ProxyBridge(me, ProxyOptions(listen="127.0.0.1:0"), store)
        self.forward = ForwardBridge(me, ForwardOptions(), store)
        self.expose = ExposeBridge(nas, ExposeOptions(), store)
        self.bridges: list[Any] = [self.proxy, self.forward, self.expose]
        for bridge in self.bridges:
            loop.call(bridge.start)
        host, _, port = str(self.proxy.status()).rpartition(":")
        self.address = (host, int(port))

    def command(self, bridge: Any, name: str, **arguments: object) -> Any:
        return self.loop.call(bridge.commands()[name], arguments)

    def exposed(self, service: str, port: int) -> None:
        self.command(self.expose, "expose", service=service, port=port)

    def forwarded(self, rule: str) -> Address:
        told = self.command(self.forward, "forward", rule=rule)
        return "127.0.0.1", int(told["listen"].rpartition(":")[2])

    def stop(self) -> None:
        for bridge in self.bridges:
            self.loop.call(bridge.stop)
        self.loop.call(self.pair.stop)


@pytest.fixture
def scene(loop: Loop) -> Iterator[Scene]:
    made = Scene(loop)
    yield made
    made.stop()


@pytest.fixture
def service() -> Iterator[Listener]:
    with Listener("127.0.0.1") as listening:
        yield listening


def socks(proxy: Address, host: str, port: int) -> tuple[socket.socket, int]:
    client = dial(proxy)
    name = b"\x03" + bytes([len(host)]) + host.encode()
    client.sendall(b"\x05\x01\x00\x05\x01\x00" + name + struct.pack("!H", port))
    read_exactly(client, 2)
    reply = read_exactly(client, 4)
    read_exactly(client, 18 if reply[3:] == b"\x04" else 6)
    return client, reply[1]


def through(scene: Scene, way: str, service: Listener) -> tuple[socket.socket, socket.socket]:
    """A client's end and the service's end of one stream."""
    if way == "proxy":
        client, code = socks(scene.address, "nas", 80)
        assert code == 0
    else:
        client = dial(scene.forwarded("0:nas:80"))
    return client, service.accept()


@pytest.mark.parametrize("way", ["proxy", "forward"])
def test_streams(scene: Scene, service: Listener, way: str) -> None:
    scene.exposed(str(service.port), 80)
    client, far = through(scene, way, service)
    with client, far:
        if aliases_bindable():
            assert far.getpeername()[0] == "127.9.0.1"
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert read_all(far) == b"question"
        far.sendall(b"a long answer" * 100_000)
        far.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"a long answer" * 100_000


def test_ipv6(scene: Scene, service: Listener) -> None:
    scene.exposed(str(service.port), 80)
    client, code = socks(scene.address, scene.pair.ipv6("nas"), 80)
    with client, service.accept() as far:
        assert code == 0
        far.sendall(b"six")
        assert read_exactly(client, 3) == b"six"


@pytest.mark.parametrize("first", ["client", "far"])
@pytest.mark.parametrize("way", ["proxy", "forward"])
def test_resets_go_all_the_way(scene: Scene, service: Listener, way: str, first: str) -> None:
    scene.exposed(str(service.port), 80)
    client, far = through(scene, way, service)
    one, other = (client, far) if first == "client" else (far, client)
    with other:
        one.sendall(b"x")
        assert read_exactly(other, 1) == b"x"
        reset(one)
        assert refused(other)


def test_what_is_not_exposed_is_refused(scene: Scene) -> None:
    client, code = socks(scene.address, "nas", 80)
    with client:
        assert code == 5
    assert reset_at_once(scene.forwarded("0:nas:80"))


def test_a_service_that_is_down_is_reset_soon(scene: Scene) -> None:
    with Listener("127.0.0.1") as gone:
        port = gone.port
    scene.exposed(str(port), 80)
    began = time.monotonic()
    assert reset_at_once(scene.forwarded("0:nas:80"))
    assert time.monotonic() - began < SERVICE_TIMEOUT


def test_a_slow_reader_stops_the_sender(scene: Scene, service: Listener) -> None:
    scene.exposed(str(service.port), 80)
    client, far = through(scene, "proxy", service)
    with client, far:
        sent = fill(far, 256 * MIB)
        assert sent < 64 * MIB
        far.shutdown(socket.SHUT_WR)
        assert len(read_all(client)) == sent


def test_bulk_both_ways_at_once(scene: Scene, service: Listener) -> None:
    scene.exposed(str(service.port), 80)
    client, far = through(scene, "forward", service)
    data = bytes(range(256)) * 4096 * 16
    digests: dict[str, str] = {}

    def receive(name: str, connection: socket.socket) -> None:
        digests[name] = hashlib.sha256(read_all(connection)).hexdigest()

    def send(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    with client, far:
        ends = {"client": client, "far": far}
        threads = [threading.Thread(target=receive, args=end) for end in ends.items()]
        threads += [threading.Thread(target=send, args=(one,)) for one in ends.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(digests.values()) == {hashlib.sha256(data).hexdigest()}
    assert len(digests) == 2


def test_many_streams(scene: Scene, service: Listener) -> None:
    scene.exposed(str(service.port), 80)
    count = 200
    pairs = [through(scene, "proxy", service) for _ in range(count)]
    for number, (client, _) in enumerate(pairs):
        client.sendall(b"%05d" % number)
    assert {read_exactly(far, 5) for _, far in pairs} == {b"%05d" % number for number in range(count)}
    for client, far in pairs:
        client.close()
        far.close()


def test_datagrams_by_forward(scene: Scene) -> None:
    with udp("127.0.0.1") as service, udp("127.0.0.1") as client:
        scene.exposed(f"{service.getsockname()[1]}/udp", 53)
        client.sendto(b"question", scene.forwarded("0:nas:53/udp"))
        data, source = service.recvfrom(100)
        assert data == b"question"
        service.sendto(b"answer", source)
        assert client.recv(100) == b"answer"


def test_datagrams_by_association(scene: Scene) -> None:
    with udp("127.0.0.1") as service, udp("127.0.0.1") as client:
        scene.exposed(f"{service.getsockname()[1]}/udp", 53)
        control, relay = associate(scene.address)
        with control:
            for payload in (b"question", bytes(8000)):
                client.sendto(build_datagram("25.9.0.2", 53, payload), relay)
                data, source = service.recvfrom(65535)
                assert data == payload
                service.sendto(payload, source)
                assert parse_datagram(client.recv(65535)) == ("25.9.0.2", 53, payload)


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("option", ["--socks5-hostname", "--socks4a", "--proxy"])
def test_curl_downloads_a_large_file(scene: Scene, option: str, tmp_path: Path) -> None:
    size = 64 * MIB
    with site("127.0.0.1") as port:
        scene.exposed(str(port), 8000)
        file = tmp_path / "file"
        command = ["curl", "-sS", "-m", "60", "-o", str(file), option, f"{scene.address[0]}:{scene.address[1]}"]
        subprocess.run([*command, "--noproxy", "", f"http://nas:8000/big/{size}"], check=True)
    expected = hashlib.sha256(bytes(range(256)) * (size // 256)).digest()
    assert hashlib.sha256(file.read_bytes()).digest() == expected


def test_from_the_configuration(loop: Loop, service: Listener) -> None:
    pair: StackedPair = loop.call(StackedPair, loop.reactor)
    store: Any = MemoryStore()
    rule = ExposeRule(str(service.port), 80, allow=("me",))
    expose = ExposeBridge(pair.lans["nas"], ExposeOptions((rule,)), store)
    forward = ForwardBridge(pair.lans["me"], ForwardOptions((ForwardRule(0, "nas", 80),)), store)
    for bridge in (expose, forward):
        loop.call(bridge.start)
    status: Any = forward.status()
    with dial(("127.0.0.1", int(status[0]["listen"].rpartition(":")[2]))) as client, service.accept() as far:
        client.sendall(b"x")
        assert read_exactly(far, 1) == b"x"
    for bridge in (forward, expose):
        loop.call(bridge.stop)
    loop.call(pair.stop)
