"""The proxy as SOCKS clients see it, and its dealings with rubbish and stalls."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges.proxy import ProxyBridge, ProxyOptions
from tests.bridges.conftest import until
from tests.bridges.harness import (
    NAS,
    NAS_IPV6,
    FakeLan,
    Listener,
    Loop,
    MemoryStore,
    dial,
    read_all,
    read_exactly,
    real,
    refused,
    reset,
    reset_at_once,
)
from userlan.driver.bridge import CommandError

Address = tuple[str, int]
Start = Callable[..., Address]


@pytest.fixture
def nas() -> Iterator[Listener]:
    with Listener(real(NAS)) as listening:
        yield listening


def domain(host: str, port: int) -> bytes:
    return b"\x03" + bytes([len(host)]) + host.encode() + struct.pack("!H", port)


def ask(proxy: Address, destination: bytes, command: int = 1) -> tuple[socket.socket, int]:
    """A client that has sent a SOCKS5 request, and the reply's code."""
    client = dial(proxy)
    client.sendall(b"\x05\x01\x00")
    assert read_exactly(client, 2) == b"\x05\x00"
    client.sendall(bytes((5, command, 0)) + destination)
    reply = read_exactly(client, 4)
    if reply[3:] == b"\x01":
        read_exactly(client, 6)
    elif reply[3:] == b"\x04":
        read_exactly(client, 18)
    return client, reply[1]


@pytest.mark.parametrize("host", ["nas", "NAS.home.internal", NAS])
def test_connect_by_name(proxy: Address, nas: Listener, host: str) -> None:
    client, code = ask(proxy, domain(host, nas.port))
    with client, nas.accept() as far:
        assert code == 0
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert read_all(far) == b"question"
        far.sendall(b"answer")
        far.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"answer"


def test_connect_by_address(proxy: Address, nas: Listener) -> None:
    client, code = ask(proxy, b"\x01" + socket.inet_aton(NAS) + struct.pack("!H", nas.port))
    with client, nas.accept():
        assert code == 0


def test_connect_by_ipv6_address(proxy: Address) -> None:
    with Listener("::1") as listening:
        packed = socket.inet_pton(socket.AF_INET6, NAS_IPV6)
        client, code = ask(proxy, b"\x04" + packed + struct.pack("!H", listening.port))
        with client, listening.accept() as far:
            assert code == 0
            far.sendall(b"six")
            assert read_exactly(client, 3) == b"six"


def test_bytes_sent_with_the_request_arrive(proxy: Address, nas: Listener) -> None:
    with dial(proxy) as client:
        client.sendall(b"\x05\x01\x00\x05\x01\x00" + domain("nas", nas.port) + b"impatient")
        with nas.accept() as far:
            assert read_exactly(far, 9) == b"impatient"


@pytest.mark.parametrize("version_4a", [False, True])
def test_socks4(proxy: Address, nas: Listener, version_4a: bool) -> None:
    address, behind = (b"\0\0\0\1", b"nas\0") if version_4a else (socket.inet_aton(NAS), b"")
    with dial(proxy) as client:
        client.sendall(b"\x04\x01" + struct.pack("!H", nas.port) + address + b"me\0" + behind)
        with nas.accept() as far:
            assert read_exactly(client, 8)[:2] == b"\x00\x5a"
            client.sendall(b"x")
            assert read_exactly(far, 1) == b"x"


def test_reply_codes(proxy: Address, start_proxy: Start, loop: Loop) -> None:
    with Listener(real(NAS)) as gone:
        port = gone.port
    expected = {domain("nas", port): 5, domain("nobody.internal", 80): 4, domain("nas.work", 80): 4}
    expected[domain("no-such-host.invalid", 80)] = 4
    for destination, code in expected.items():
        client, got = ask(proxy, destination)
        with client:
            assert got == code
            assert client.recv(1) == b""
    client, got = ask(proxy, domain("nas", 1), command=2)
    with client:
        assert got == 7


def test_a_target_that_does_not_answer(start_proxy: Start) -> None:
    proxy = start_proxy(dial_timeout=0.3)
    with socket.socket() as full:
        full.bind((real(NAS), 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((real(NAS), port))
            fillers.append(filler)
        client, code = ask(proxy, domain("nas", port))
        with client:
            assert code == 6
        for filler in fillers:
            filler.close()


def test_outside(start_proxy: Start, nas: Listener) -> None:
    direct = start_proxy()
    with Listener("127.0.0.1") as outside:
        client, code = ask(direct, domain("localhost", outside.port))
        with client, outside.accept():
            assert code == 0
    refusing = start_proxy(ProxyOptions(listen="127.0.0.1:0", outside="refuse"))
    client, code = ask(refusing, domain("localhost", 80))
    with client:
        assert code == 2
    client, code = ask(refusing, domain("nas", nas.port))
    with client, nas.accept():
        assert code == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_never_to_itself(proxy: Address, host: str) -> None:
    client, code = ask(proxy, domain(host, proxy[1]))
    with client:
        assert code == 2


def test_never_to_itself_on_any_address(start_proxy: Start) -> None:
    proxy = start_proxy(ProxyOptions(listen="0.0.0.0:0", unprotected=True))
    for host in ("127.0.0.1", "127.3.4.5"):
        client, code = ask(("127.0.0.1", proxy[1]), domain(host, proxy[1]))
        with client:
            assert code == 2


@pytest.mark.parametrize("source", ["127.0.0.1", "127.9.0.2"])
def test_services_of_this_computer_are_for_its_own_programs(proxy: Address, source: str) -> None:
    """127.9.0.2 is what a peer looks like to a proxy that somebody exposed to the LAN."""
    with Listener("127.0.0.1") as service, socket.socket() as client:
        client.bind((source, 0))
        client.settimeout(10)
        client.connect(proxy)
        client.sendall(b"\x05\x01\x00\x05\x01\x00" + domain("localhost", service.port))
        assert read_exactly(client, 4)[3:4] == (b"\x00" if source == "127.0.0.1" else b"\x02")


def test_user_and_password(start_proxy: Start, nas: Listener) -> None:
    proxy = start_proxy(ProxyOptions(listen="127.0.0.1:0", user="anna", password="s:cret"))
    with dial(proxy) as client:
        client.sendall(b"\x05\x02\x00\x02\x01\x04anna\x06s:cret\x05\x01\x00" + domain("nas", nas.port))
        with nas.accept():
            assert read_exactly(client, 6)[:5] == b"\x05\x02\x01\x00\x05"
    with dial(proxy) as client:
        client.sendall(b"\x05\x01\x02\x01\x04anna\x05wrong")
        assert read_all(client) == b"\x05\x02\x01\x01"
    with dial(proxy) as client:
        client.sendall(b"\x05\x01\x00")
        assert read_all(client) == b"\x05\xff"
    with dial(proxy) as client:
        client.sendall(b"\x04\x01\x00\x50\x19\x09\x00\x02\x00")
        assert read_all(client)[:2] == b"\x00\x5b"


@pytest.mark.parametrize("first", ["client", "far"])
def test_resets_go_through(proxy: Address, nas: Listener, first: str) -> None:
    client, _ = ask(proxy, domain("nas", nas.port))
    far = nas.accept()
    one, other = (client, far) if first == "client" else (far, client)
    with other:
        reset(one)
        assert refused(other)


# --- rubbish and stalls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"\x00", b"\x16\x03\x01\x02\x00", b"\xff" * 100, b"\x06\x01\x00", b"\r\n", b" GET"])
def test_what_is_no_protocol_is_reset(proxy: Address, data: bytes) -> None:
    with dial(proxy) as client:
        client.sendall(data)
        assert refused(client)


@pytest.mark.parametrize("data", [b"", b"\x05", b"\x05\x01\x00\x05\x01\x00\x03\x10na", b"\x04\x01\x00", b"GET http://nas/ HT", b"CONNECT"])
def test_half_requests_do_not_stay(start_proxy: Start, data: bytes) -> None:
    proxy = start_proxy(request_timeout=1.0 if data[:1].isalpha() else 0.3)     # what is answered must have been read by then
    began = time.monotonic()
    with dial(proxy) as client:
        if data:
            client.sendall(data)
        try:
            answer = read_all(client)
        except ConnectionResetError:
            answer = b""
    assert time.monotonic() - began < 20
    if data[:1].isalpha():
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("data", [b"\x05\x01\x00\x05\x01\x00\x03\x10" + b"n" * 30, b"GET http://nas/ HTTP/1.1\r\nHost: nas\r\n"])
def test_dripping_does_not_help(start_proxy: Start, data: bytes) -> None:
    proxy = start_proxy(request_timeout=0.4)
    began = time.monotonic()
    with dial(proxy) as client:
        try:
            for place in range(1000):
                client.sendall(data[place : place + 1] if place < 9 else b"x")
                time.sleep(0.05)
        except OSError:
            pass
    assert time.monotonic() - began < 30, "all of it takes fifty seconds"


def test_half_requests_of_clients_that_leave(proxy: Address, start_proxy: Any, loop: Loop) -> None:
    for data in (b"\x05", b"\x05\x01\x00\x05\x01\x00\x03\x10na", b"GET http://nas/ HT", b""):
        for end in (reset, socket.socket.close):
            client = dial(proxy)
            client.sendall(data)
            end(client)
    until(lambda: clients_of(start_proxy, loop) == 0, loop)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([b"\x05\x01\x00", b"\x05", b"\x04\x01", b"GET ", b"CONNECT ", b""]),
    st.binary(min_size=1, max_size=300),
)
def test_any_bytes_are_survived(proxy: Address, head: bytes, data: bytes) -> None:
    with dial(proxy) as client:
        try:
            client.sendall(head + data)
            client.shutdown(socket.SHUT_WR)
            read_all(client)
        except (ConnectionResetError, BrokenPipeError, OSError):
            pass


def clients_of(start_proxy: Any, loop: Loop) -> int:
    """How many clients the proxy that was started last has."""
    count: int = loop.call(lambda: start_proxy.bridge.commands()["proxy"]({})["clients"])
    return count


def test_too_many_clients(start_proxy: Start, nas: Listener, loop: Loop) -> None:
    proxy = start_proxy(max_clients=2)
    with dial(proxy) as first, dial(proxy) as second:
        for client in (first, second):
            client.sendall(b"\x05\x01\x00")
            read_exactly(client, 2)
        with dial(proxy) as third:
            assert third.recv(1) == b""
    until(lambda: clients_of(start_proxy, loop) == 0, loop)
    with dial(proxy) as again:
        again.sendall(b"\x05\x01\x00")
        assert read_exactly(again, 2) == b"\x05\x00"


def test_many_streams_at_once(proxy: Address, nas: Listener) -> None:
    count, size = 100, 20_000
    bodies = [os.urandom(size) for _ in range(count)]
    results: list[bytes] = [b""] * count

    def serve() -> None:
        for _ in range(count):
            threading.Thread(target=echo, args=(nas.accept(),)).start()

    def echo(far: socket.socket) -> None:
        with far:
            far.sendall(read_all(far))

    def client_of(number: int) -> None:
        client, _ = ask(proxy, domain("nas", nas.port))
        with client:
            client.sendall(bodies[number])
            client.shutdown(socket.SHUT_WR)
            results[number] = read_all(client)

    threads = [threading.Thread(target=serve), *(threading.Thread(target=client_of, args=(n,)) for n in range(count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == bodies


# --- the bridge -------------------------------------------------------------------------------------------------------


def test_a_port_in_use_is_one_clear_line(loop: Loop, lan: FakeLan, proxy: Address) -> None:
    store: Any = MemoryStore()
    fake: Any = lan
    second = ProxyBridge(fake, ProxyOptions(listen=f"127.0.0.1:{proxy[1]}"), store)
    with pytest.raises(CommandError, match=r"127\.0\.0\.1:\d+ is in use by another program") as caught:
        loop.call(second.start)
    assert "\n" not in str(caught.value)
    assert loop.call(second.status) is None


def test_no_proxy(loop: Loop, lan: FakeLan) -> None:
    store: Any = MemoryStore()
    fake: Any = lan
    bridge = ProxyBridge(fake, ProxyOptions(listen="none"), store)
    loop.call(bridge.start)
    assert bridge.status() is None
    with pytest.raises(CommandError, match="not running"):
        bridge.commands()["proxy"]({})
    loop.call(bridge.stop)


def test_status_and_command(start_proxy: Any, loop: Loop) -> None:
    address = start_proxy(ProxyOptions(listen="127.0.0.1:0", user="anna", password="p@ss"))
    bridge = start_proxy.bridge
    where = f"127.0.0.1:{address[1]}"
    assert bridge.status() == where
    told = bridge.commands()["proxy"]({})
    assert told["listen"] == where
    assert told["environment"]["all_proxy"] == f"socks5h://anna:p%40ss@{where}"


def test_stopping_resets_everything(start_proxy: Any, nas: Listener, loop: Loop) -> None:
    proxy = start_proxy()
    client, _ = ask(proxy, domain("nas", nas.port))
    with client, nas.accept() as far, dial(proxy) as idle:
        idle.sendall(b"\x05")
        time.sleep(0.05)
        loop.call(start_proxy.bridge.stop)
        loop.call(start_proxy.bridge.stop)
        assert refused(client)
        assert refused(far)
        assert refused(idle)
    with pytest.raises(ConnectionRefusedError):
        reset_at_once(proxy)
