"""A splice behaves as the far end of the other side: data, back-pressure, FIN and RST."""

from __future__ import annotations

import hashlib
import resource
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import Clock, deferLater

from bridges import splice as splice_module
from bridges.acceptor import Acceptor
from bridges.dial import Cause, DialError, connect
from bridges.leg import Leg, LegOwner
from bridges.splice import Splices
from tests.bridges.conftest import until
from tests.bridges.harness import Listener, Loop, dial, fill, read_all, read_exactly, refused, reset, reset_at_once

MIB = 1 << 20


class Relay:
    """A port whose streams are spliced to a listener of the test."""

    def __init__(
        self, loop: Loop, target: int, idle: float = 0.0, delay: float = 0.0, limit: int = 4096, clock: Clock | None = None
    ) -> None:
        """``clock``: by which splices are idle; the loop's own, if none."""
        self.loop = loop
        self.splices = Splices(clock or loop.reactor, idle)
        self.target = target
        self.delay = delay
        self.acceptor = Acceptor(self.splices, self._connect, limit)
        self.port = loop.call(loop.reactor.listenTCP, 0, self.acceptor, 128, "127.0.0.1")
        self.address = ("127.0.0.1", self.port.getHost().port)

    def _connect(self, near: Leg, owner: LegOwner) -> Deferred[Leg]:
        endpoint = TCP4ClientEndpoint(self.loop.reactor, "127.0.0.1", self.target)
        if self.delay:
            later: Any = deferLater
            waiting: Deferred[Leg] = later(self.loop.reactor, self.delay, connect, endpoint, "target", 1, owner)
            return waiting
        return connect(endpoint, "target", 1, owner)

    def close(self) -> None:
        self.loop.call(self.acceptor.abort_all)
        self.loop.call(self.port.stopListening)
        until(lambda: len(self.splices) == 0, self.loop)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener("127.0.0.1") as listening:
        yield listening


@pytest.fixture
def relay(loop: Loop, listener: Listener) -> Iterator[Relay]:
    made = Relay(loop, listener.port)
    yield made
    made.close()


def pair(relay: Relay, listener: Listener) -> tuple[socket.socket, socket.socket]:
    near = dial(relay.address)
    return near, listener.accept()


def reset_while_sending(connection: socket.socket) -> bool:
    """Whether sending runs into a RST."""
    try:
        for _ in range(1000):
            connection.sendall(b"y" * 1000)
            time.sleep(0.001)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


def test_data_passes_both_ways(relay: Relay, listener: Listener) -> None:
    near, far = pair(relay, listener)
    with near, far:
        near.sendall(b"ping")
        assert read_exactly(far, 4) == b"ping"
        far.sendall(b"pong")
        assert read_exactly(near, 4) == b"pong"


def test_bulk_arrives_whole_in_both_directions_at_once(relay: Relay, listener: Listener) -> None:
    near, far = pair(relay, listener)
    data = bytes(range(256)) * 4096 * 24
    digests: dict[str, str] = {}

    def receive(name: str, connection: socket.socket) -> None:
        digests[name] = hashlib.sha256(read_all(connection)).hexdigest()

    def send(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    with near, far:
        ends = {"near": near, "far": far}
        threads = [threading.Thread(target=receive, args=end) for end in ends.items()]
        threads += [threading.Thread(target=send, args=(one,)) for one in (near, far)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    expected = hashlib.sha256(data).hexdigest()
    assert digests == {"near": expected, "far": expected}
    until(lambda: len(relay.splices) == 0, relay.loop)
    assert relay.splices.bytes_moved == 2 * len(data)


@pytest.mark.parametrize("first", ["near", "far"])
def test_half_close_goes_through_and_the_other_direction_lives_on(relay: Relay, listener: Listener, first: str) -> None:
    near, far = pair(relay, listener)
    with near, far:
        one, other = (near, far) if first == "near" else (far, near)
        one.sendall(b"the question")
        one.shutdown(socket.SHUT_WR)
        assert read_all(other) == b"the question"
        time.sleep(0.05)
        other.sendall(b"a long answer" * 10000)
        other.shutdown(socket.SHUT_WR)
        assert read_all(one) == b"a long answer" * 10000
        until(lambda: len(relay.splices) == 0, relay.loop)


@pytest.mark.parametrize("first", ["near", "far"])
def test_a_reset_goes_through(relay: Relay, listener: Listener, first: str) -> None:
    near, far = pair(relay, listener)
    one, other = (near, far) if first == "near" else (far, near)
    with other:
        one.sendall(b"x")
        assert read_exactly(other, 1) == b"x"
        reset(one)
        assert refused(other)
    until(lambda: len(relay.splices) == 0, relay.loop)


def test_a_reset_behind_a_half_close_goes_through(relay: Relay, listener: Listener) -> None:
    near, far = pair(relay, listener)
    with far:
        near.shutdown(socket.SHUT_WR)
        assert read_all(far) == b""
        reset(near)
        assert reset_while_sending(far)


def test_a_slow_reader_stops_the_sender_and_memory_stays(relay: Relay, listener: Listener) -> None:
    near, far = pair(relay, listener)
    with near, far:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sent = fill(near, 512 * MIB)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        assert sent < 64 * MIB, "the kernel's buffers are a few MiB; the rest would have been ours"
        assert grown < 16 * MIB
        near.shutdown(socket.SHUT_WR)
        received = 0
        while data := far.recv(1 << 20):
            received += len(data)
        assert received == sent


def test_a_reset_is_noticed_while_the_other_side_does_not_read(loop: Loop, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splice_module, "SWEEP_INTERVAL", 0.1)
    relay = Relay(loop, listener.port)
    near, far = pair(relay, listener)
    with far:
        fill(near, 512 * MIB)
        reset(near)
        until(lambda: len(relay.splices) == 0, loop)
        assert refused(far)
    relay.close()


def test_nothing_is_read_before_the_far_side_is_connected(loop: Loop, listener: Listener) -> None:
    relay = Relay(loop, listener.port, delay=0.6)
    with dial(relay.address) as near:
        sent = fill(near, 256 * MIB, 0.3)
        assert sent < 32 * MIB
        with listener.accept() as far:
            assert len(read_exactly(far, sent)) == sent
    relay.close()


def test_a_service_that_is_down_looks_refused(loop: Loop) -> None:
    with Listener("127.0.0.1") as gone:
        port = gone.port
    relay = Relay(loop, port)
    assert reset_at_once(relay.address)
    assert relay.acceptor.counters["refused"] == 1
    assert "refused" in relay.acceptor.last_error
    relay.close()


def test_whoever_leaves_while_the_far_side_is_dialed_leaves_nothing(loop: Loop, listener: Listener) -> None:
    relay = Relay(loop, listener.port, delay=0.2)
    with dial(relay.address):
        pass
    with listener.accept() as far:
        assert read_all(far) == b""
    until(lambda: len(relay.acceptor) == 0, loop)
    relay.close()


def test_an_unforeseen_refusal_aborts(loop: Loop) -> None:
    splices = Splices(loop.reactor)
    acceptor = Acceptor(splices, lambda near, owner: fail(DialError(Cause.FORBIDDEN, "not you")))
    port = loop.call(loop.reactor.listenTCP, 0, acceptor, 5, "127.0.0.1")
    assert reset_at_once(("127.0.0.1", port.getHost().port))
    assert acceptor.counters["forbidden"] == 1
    loop.call(port.stopListening)


def test_the_limit_of_streams(loop: Loop, listener: Listener) -> None:
    relay = Relay(loop, listener.port, limit=1)
    near, far = pair(relay, listener)
    with near, far:
        with dial(relay.address) as second:
            assert second.recv(1) == b""
        assert relay.acceptor.counters["full"] == 1
    until(lambda: len(relay.acceptor) == 0, loop)
    near, far = pair(relay, listener)
    with near, far:
        near.sendall(b"again")
        assert read_exactly(far, 5) == b"again"
    relay.close()


def test_an_idle_policy_ends_silent_streams_only(loop: Loop, listener: Listener) -> None:
    clock = Clock()
    relay = Relay(loop, listener.port, idle=6 * splice_module.SWEEP_INTERVAL, clock=clock)
    near, far = pair(relay, listener)
    with near, far:
        for _ in range(10):
            near.sendall(b"x")
            read_exactly(far, 1)
            loop.call(clock.pump, [splice_module.SWEEP_INTERVAL] * 6)
        assert len(relay.splices) == 1
        loop.call(clock.advance, splice_module.SWEEP_INTERVAL)
        assert refused(near)
        assert refused(far)
    assert relay.splices.aborted_idle == 1
    relay.close()


def test_a_thousand_streams(relay: Relay, listener: Listener) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 1000
    wanted = 4 * count + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        count = (hard - 200) // 4
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    try:
        nears: list[socket.socket] = []
        fars: list[socket.socket] = []
        for number in range(count):
            near, far = pair(relay, listener)
            near.sendall(b"%05d" % number)
            nears.append(near)
            fars.append(far)
        names = {read_exactly(far, 5): far for far in fars}
        assert len(names) == count
        for number, near in enumerate(nears):
            names[b"%05d" % number].sendall(b"%05d" % (number + 1))
            assert read_exactly(near, 5) == b"%05d" % (number + 1)
        for one in nears + fars:
            one.close()
        until(lambda: len(relay.splices) == 0, relay.loop)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_abort_all(relay: Relay, listener: Listener) -> None:
    near, far = pair(relay, listener)
    with near, far:
        near.sendall(b"x")
        read_exactly(far, 1)
        relay.loop.call(relay.splices.abort_all)
        assert refused(near)
        assert refused(far)


def test_legs_may_have_ended_before_they_are_joined(loop: Loop, listener: Listener) -> None:
    relay = Relay(loop, listener.port, delay=0.2)
    with dial(relay.address) as near:
        near.sendall(b"said and done")
        near.shutdown(socket.SHUT_WR)
        with listener.accept() as far:
            assert read_all(far) == b"said and done"
            far.sendall(b"and heard")
            far.shutdown(socket.SHUT_WR)
            assert read_all(near) == b"and heard"
    relay.close()


def test_speed_is_not_lost(relay: Relay, listener: Listener) -> None:
    """A loose bound that only a gross mistake breaks; the figure itself is in the module's docstring."""
    near, far = pair(relay, listener)
    total = 256 * MIB
    with near, far:
        block = bytes(MIB)

        def send() -> None:
            for _ in range(total // MIB):
                near.sendall(block)
            near.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        began = time.process_time()
        thread.start()
        buffer = bytearray(MIB)
        received = 0
        while size := far.recv_into(buffer):
            received += size
        thread.join()
        spent = time.process_time() - began
    assert received == total
    assert spent < 4.0, "CPU seconds of sender, splice and receiver together for 256 MiB"
