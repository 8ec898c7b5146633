"""SOCKS5 UDP ASSOCIATE: who may use it, where it goes, when it ends."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bridges import proxy_context, socks_session, udp_associate
from bridges.proxy import ProxyOptions
from bridges.socks import build_datagram, parse_datagram
from tests.bridges.conftest import until
from tests.bridges.harness import LAPTOP, NAS, WAIT, Loop, dial, read_all, read_exactly, real

Address = tuple[str, int]
QUIET = 0.2
"""Seconds after which nothing more is expected."""


def udp(address: str, port: int = 0) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    bound.settimeout(WAIT)
    return bound


def is_free(address: Address) -> bool:
    """Whether nobody has a port."""
    try:
        udp(*address).close()
    except OSError:
        return False
    return True


@pytest.fixture
def nas() -> Iterator[socket.socket]:
    with udp(real(NAS)) as bound:
        yield bound


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with udp("127.0.0.1") as bound:
        yield bound


def associate(proxy: Address, port: int = 0) -> tuple[socket.socket, Address]:
    control = dial(proxy)
    control.sendall(b"\x05\x01\x00\x05\x03\x00\x01\0\0\0\0" + struct.pack("!H", port))
    reply = read_exactly(control, 12)
    assert reply[:6] == b"\x05\x00\x05\x00\x00\x01"
    return control, (socket.inet_ntoa(reply[6:10]), int.from_bytes(reply[10:], "big"))


def to_name(host: str, port: int, payload: bytes) -> bytes:
    return b"\0\0\0\x03" + bytes([len(host)]) + host.encode() + struct.pack("!H", port) + payload


def nothing_comes(bound: socket.socket) -> bool:
    bound.settimeout(QUIET)
    try:
        bound.recv(65535)
    except TimeoutError:
        return True
    finally:
        bound.settimeout(WAIT)
    return False


@pytest.mark.parametrize("host", ["nas", "nas.home", NAS])
def test_there_and_back(proxy: Address, nas: socket.socket, client: socket.socket, host: str) -> None:
    control, relay = associate(proxy)
    with control:
        assert relay[0] == proxy[0]
        port = nas.getsockname()[1]
        client.sendto(build_datagram(NAS, port, b"ping") if host == NAS else to_name(host, port, b"ping"), relay)
        data, source = nas.recvfrom(65535)
        assert data == b"ping"
        nas.sendto(b"pong", source)
        assert parse_datagram(client.recv(65535)) == (NAS, port, b"pong")


def test_large_datagrams(proxy: Address, nas: socket.socket, client: socket.socket) -> None:
    control, relay = associate(proxy)
    with control:
        payload = bytes(range(256)) * 250
        client.sendto(build_datagram(NAS, nas.getsockname()[1], payload), relay)
        data, source = nas.recvfrom(65535)
        assert data == payload
        nas.sendto(payload, source)
        assert parse_datagram(client.recv(65535)).payload == payload


def test_replies_from_any_peer_are_taken(proxy: Address, nas: socket.socket, client: socket.socket) -> None:
    control, relay = associate(proxy)
    with control, udp(real(LAPTOP)) as laptop:
        client.sendto(build_datagram(NAS, nas.getsockname()[1], b"ping"), relay)
        _, source = nas.recvfrom(65535)
        laptop.sendto(b"hello", source)
        assert parse_datagram(client.recv(65535)) == (LAPTOP, laptop.getsockname()[1], b"hello")


def test_one_port_serves_all_targets(proxy: Address, nas: socket.socket, client: socket.socket) -> None:
    control, relay = associate(proxy)
    with control, udp(real(LAPTOP)) as laptop:
        sources = set()
        for host, bound in ((NAS, nas), (LAPTOP, laptop)):
            client.sendto(build_datagram(host, bound.getsockname()[1], b"x"), relay)
            sources.add(bound.recvfrom(10)[1])
        assert len(sources) == 1


def test_wrong_datagrams_are_dropped_and_counted(start_proxy: Any, nas: socket.socket, client: socket.socket, loop: Loop) -> None:
    control, relay = associate(start_proxy())
    with control:
        right = build_datagram(NAS, nas.getsockname()[1], b"right")
        for wrong in (b"", b"rubbish", b"\0\0\x01" + right[3:], right[:5], to_name("nobody.internal", 1, b"")):
            client.sendto(wrong, relay)
        client.sendto(right, relay)
        assert nas.recv(100) == b"right"
    counters = start_proxy.bridge.context.counters
    assert counters["datagram-fragment"] == 1
    assert counters["datagram-truncated"] == 2
    assert counters["datagram-reserved"] == 1
    assert counters["datagram-unknown-name"] == 1


def test_strangers_are_not_served(proxy: Address, nas: socket.socket, client: socket.socket) -> None:
    control, relay = associate(proxy)
    datagram = build_datagram(NAS, nas.getsockname()[1], b"x")
    with control, udp("127.0.0.1") as stranger, udp("127.0.0.9") as elsewhere:
        client.sendto(datagram, relay)
        nas.recv(10)
        for other in (stranger, elsewhere):
            other.sendto(datagram, relay)
        assert nothing_comes(nas)


def test_a_client_that_names_its_port_is_held_to_it(proxy: Address, nas: socket.socket, client: socket.socket) -> None:
    control, relay = associate(proxy, client.getsockname()[1])
    datagram = build_datagram(NAS, nas.getsockname()[1], b"x")
    with control, udp("127.0.0.1") as stranger:
        stranger.sendto(datagram, relay)
        assert nothing_comes(nas)
        client.sendto(datagram, relay)
        assert nas.recv(10) == b"x"


def test_the_association_ends_with_its_control_connection(start_proxy: Any, nas: socket.socket, client: socket.socket, loop: Loop) -> None:
    proxy = start_proxy()
    control, relay = associate(proxy)
    client.sendto(build_datagram(NAS, nas.getsockname()[1], b"x"), relay)
    _, source = nas.recvfrom(10)
    control.close()
    until(lambda: start_proxy.bridge.context.associations == 0, loop)
    client.sendto(build_datagram(NAS, nas.getsockname()[1], b"y"), relay)
    assert nothing_comes(nas)
    until(lambda: is_free(source), loop)


def test_outside(start_proxy: Any, client: socket.socket) -> None:
    control, relay = associate(start_proxy())
    with control, udp("127.0.0.1") as outside, udp("127.0.0.5") as stranger:
        port = outside.getsockname()[1]
        client.sendto(to_name("localhost", port, b"one"), relay)
        data, source = outside.recvfrom(100)
        assert data == b"one"
        stranger.sendto(b"unasked", source)
        outside.sendto(b"two", source)
        assert parse_datagram(client.recv(100)) == ("127.0.0.1", port, b"two")
    control, relay = associate(start_proxy(ProxyOptions(listen="127.0.0.1:0", outside="refuse")))
    with control, udp("127.0.0.1") as outside:
        client.sendto(build_datagram("127.0.0.1", outside.getsockname()[1], b"x"), relay)
        client.sendto(to_name("localhost", outside.getsockname()[1], b"x"), relay)
        assert nothing_comes(outside)


def test_names_outside_that_do_not_exist(start_proxy: Any, client: socket.socket, loop: Loop) -> None:
    control, relay = associate(start_proxy())
    counters = start_proxy.bridge.context.counters
    with control:
        client.sendto(to_name("no-such-host.invalid", 9, b"x"), relay)
        until(lambda: counters["datagram-unknown-name"] == 1, loop)


def test_idle_outward_sockets_are_closed_and_opened_again(
    start_proxy: Any, nas: socket.socket, client: socket.socket, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_associate, "IDLE", 0.2)
    control, relay = associate(start_proxy())
    datagram = build_datagram(NAS, nas.getsockname()[1], b"x")
    with control:
        client.sendto(datagram, relay)
        _, source = nas.recvfrom(10)
        until(lambda: is_free(source), loop)
        with udp(source[0], source[1]):
            client.sendto(datagram, relay)
            assert nas.recvfrom(10)[1] != source


def test_associations_are_bounded(start_proxy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socks_session, "MAX_ASSOCIATIONS", 1)
    assert proxy_context.MAX_ASSOCIATIONS > 1
    proxy = start_proxy()
    control, _ = associate(proxy)
    with control, dial(proxy) as second:
        second.sendall(b"\x05\x01\x00\x05\x03\x00\x01\0\0\0\0\0\0")
        assert read_all(second)[2:4] == b"\x05\x01"


def test_waiting_for_a_name_is_bounded(start_proxy: Any, client: socket.socket, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    known = threading.Event()

    def slow(*arguments: Any) -> Any:
        known.wait(WAIT)
        return [(2, 2, 17, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    control, relay = associate(start_proxy())
    counters = start_proxy.bridge.context.counters
    with control, udp("127.0.0.1") as outside:
        for number in range(20):
            client.sendto(to_name("slow.example", outside.getsockname()[1], b"%d" % number), relay)
        until(lambda: counters["datagram-waiting-full"] == 12, loop)
        known.set()
        assert [outside.recv(10) for _ in range(udp_associate.MAX_WAITING)] == [b"%d" % n for n in range(8)]
        assert nothing_comes(outside)
