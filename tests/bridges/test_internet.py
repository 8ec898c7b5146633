"""The outside of an attached kernel: its connections, and the resolver of its link."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet import error
from twisted.python.failure import Failure

from bridges import internet as module
from bridges.dial import Cause
from bridges.internet import make_uplink
from bridges.leg import LegFactory
from tests.bridges.conftest import until
from tests.bridges.harness import Listener, Loop, fill, read_exactly
from tests.bridges.kernel import OWN, PORTS, Kernel, Program, Socket, loopback
from tests.bridges.test_dns_zone import Heard, wire
from userlan.driver.endpoints import LanClientEndpoint, LanServerEndpoint
from userlan.driver.uplink import RESOLVER_TEXT
from userlan.lan.addresses import packed

versions = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture
def attach(loop: Loop) -> Iterator[Callable[..., Kernel]]:
    made: list[Kernel] = []

    def begin(**options: Any) -> Kernel:
        kernel: Kernel = loop.call(lambda: Kernel(loop, **options))
        made.append(kernel)
        return kernel

    yield begin
    for kernel in made:
        loop.call(kernel.stop)


@pytest.fixture
def kernel(attach: Callable[..., Kernel]) -> Kernel:
    return attach()


# ---------------------------------------------------------------------- streams


@versions
def test_a_stream_is_spliced(kernel: Kernel, loop: Loop, version: int) -> None:
    program, data = Program(), os.urandom(3_000_000)
    with Listener(loopback(version)) as listener:
        connecting = loop.call(lambda: [kernel.connect(program, version, listener.port)])[0]
        with listener.accept() as there:
            leg = loop.call(lambda: connecting)
            loop.call(leg.write, data)
            loop.call(leg.finish)
            assert read_exactly(there, len(data)) == data
            assert there.recv(1) == b"", "the end is handed on, and the other half lives"
            there.sendall(data)
        until(lambda: program.lost, loop)
    assert program.data == data
    assert program.ended
    until(lambda: kernel.uplink.streams == len(kernel.internet.splices) == 0, loop)
    assert kernel.internet.counters == {"connected": 1}
    assert kernel.link.counters()["uplink-outside-connected"] == 1


@versions
def test_a_port_where_nobody_listens(kernel: Kernel, loop: Loop, version: int) -> None:
    with socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET) as one:
        one.bind((loopback(version), 0))
        port = one.getsockname()[1]
    with pytest.raises(error.ConnectionRefusedError):
        loop.call(kernel.connect, Program(), version, port)
    assert kernel.internet.counters == {"refused": 1}
    assert loop.call(lambda: kernel.uplink.streams) == 0


def test_a_reset_goes_through(kernel: Kernel, loop: Loop) -> None:
    program = Program()
    with Listener("127.0.0.1") as listener:
        leg = loop.call(kernel.connect, program, 4, listener.port)
        there = listener.accept()
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        there.close()
        until(lambda: program.lost, loop)
        assert "reset" in str(program.reason.value)
        leg = loop.call(kernel.connect, Program(), 4, listener.port)
        with listener.accept() as there:
            loop.call(leg.abort)
            with pytest.raises(ConnectionResetError):
                there.recv(1)


def test_who_does_not_read_slows_the_other_down(kernel: Kernel, loop: Loop) -> None:
    program = Program()
    with Listener("127.0.0.1", receive_buffer=8192) as listener:
        leg = loop.call(kernel.connect, program, 4, listener.port)
        with listener.accept() as there:
            loop.call(leg.pause)
            sent = fill(there, 1 << 30)
            assert sent < 1 << 27, "what waits is bounded by the windows"
            loop.call(leg.resume)
            until(lambda: len(program.data) == sent, loop)

            def pour() -> None:
                while not program.congested:
                    leg.write(bytes(1 << 16))

            loop.call(pour)
            loop.call(leg.abort)


def test_dials_are_bounded_and_given_up_with_the_link(
    attach: Callable[..., Kernel], loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A far side that never answers: its queue of connections is full."""
    monkeypatch.setattr(module, "MAX_DIALS", 2)
    kernel = attach()
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        programs: list[Any] = []
        for _ in range(3):
            loop.call(lambda: programs.append(kernel.connect(Program(), 4, address[1])))
        until(lambda: kernel.internet.counters["dials-full"] >= 1, loop)
        assert len(kernel.internet._pending) == 2
        for connecting in programs:
            loop.call(lambda connecting=connecting: connecting.addErrback(lambda _: None).cancel())
        loop.call(kernel.link.detach)
        assert not kernel.internet._pending
        for one in waiting:
            one.close()


def test_no_socket_for_a_dial(kernel: Kernel, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(host: str, port: int, factory: Any, *rest: Any) -> None:
        factory.startedConnecting(None)
        factory.clientConnectionFailed(None, Failure(error.ConnectBindError(24, "too many open files")))  # type: ignore[no-untyped-call]

    monkeypatch.setattr(kernel.reactor, "connectTCP", connect)
    with pytest.raises(error.ConnectError):
        loop.call(kernel.connect, Program(), 4, 80, 0.5)
    assert set(kernel.internet.counters) <= {cause.name.lower() for cause in Cause}
    assert loop.call(lambda: kernel.uplink.streams) == 0


def test_streams_end_with_the_link(kernel: Kernel, loop: Loop) -> None:
    with Listener("127.0.0.1") as listener:
        loop.call(kernel.connect, Program(), 4, listener.port)
        with listener.accept() as there:
            loop.call(kernel.link.detach)
            with pytest.raises(ConnectionResetError):
                there.recv(1)
    assert kernel.uplink.streams == 0
    with pytest.raises(ValueError, match="not attached"):
        kernel.uplink.server_endpoint(53)
    with pytest.raises(ValueError, match="once"):
        loop.call(lambda: kernel.lan.attach_link(kernel, PORTS, kernel.uplink))


# ---------------------------------------------------------------------- the resolver


def test_the_resolver_by_both_transports(kernel: Kernel, loop: Loop) -> None:
    program = Socket()
    port = loop.call(kernel.bind, program)
    loop.call(port.write, wire("anna.internal"), (RESOLVER_TEXT, 53))
    until(lambda: bool(program.received), loop)
    data, source = program.received[0]
    assert (Heard(data).values, source) == ([OWN], (RESOLVER_TEXT, 53))
    reader = Program()
    leg = loop.call(LanClientEndpoint(kernel.runner, packed, RESOLVER_TEXT, 53, 5.0).connect, LegFactory(reader))
    query = wire("nobody.internal")
    loop.call(leg.write, len(query).to_bytes(2, "big") + query)
    until(lambda: len(reader.data) > 2, loop)
    assert Heard(bytes(reader.data[2:])).code == 3
    loop.call(leg.abort)


def test_without_internet_there_is_the_resolver_alone(attach: Callable[..., Kernel], loop: Loop) -> None:
    kernel = attach(internet=False)
    with pytest.raises(error.TimeoutError):     # what this stack makes of it (RFC 1122 4.2.3.9); a kernel's programs hear it at once
        loop.call(kernel.connect, Program(), 4, 80, 0.2)
    assert kernel.link.counters()["uplink-prohibited"] == 1
    assert not kernel.internet.counters
    program = Socket()
    port = loop.call(kernel.bind, program)
    loop.call(port.write, wire("example.com"), (RESOLVER_TEXT, 53))
    until(lambda: bool(program.received), loop)
    assert Heard(program.received[0][0]).code == 5
    assert loop.call(make_uplink, kernel.lan, False).internet is False


def test_what_the_link_answers_for(kernel: Kernel) -> None:
    for host in (RESOLVER_TEXT, "fd75:6c61:6e00::1", "192.0.2.1", "2001:db8::1"):
        assert kernel.link.knows(packed(host)), host
    for host in (OWN, "25.9.9.9", "fd75:6c61:6e00::2", "127.0.0.1", "fe80::1"):
        assert not kernel.link.knows(packed(host)), host


def test_ports_of_the_far_end(kernel: Kernel, loop: Loop) -> None:
    """A bridge may serve more there than names."""
    program = Program()
    port = loop.call(kernel.uplink.server_endpoint(80).listen, LegFactory(program))
    assert isinstance(kernel.uplink.server_endpoint(81), LanServerEndpoint)
    leg = loop.call(LanClientEndpoint(kernel.runner, packed, RESOLVER_TEXT, 80, 5.0).connect, LegFactory(Program()))
    loop.call(leg.write, b"hello")
    until(lambda: program.data == b"hello", loop)
    loop.call(port.stopListening)
    loop.call(leg.abort)
