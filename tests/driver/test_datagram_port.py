"""The UDP socket: bursts by GSO and GRO, the plain fallback, full sockets, errors of the kernel."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import CannotListenError

from tests.driver.loop import Loop
from userlan.driver import datagram
from userlan.driver.datagram import DatagramPort, address_of, endpoint_of
from userlan.wire.endpoint import UDP, Endpoint


@attrs.define
class Received:
    data: bytes
    segment: int
    source: Endpoint


class Receiver:
    """Keeps what a socket delivers."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.held: list[Endpoint | str] = []
        self.buffers: list[Received] = []
        self.pumps: list[int] = []

    def received(self, data: memoryview, segment: int, source: Endpoint, port: Any) -> None:
        self.buffers.append(Received(bytes(data), segment, source))

    def hold(self, way: Endpoint | str) -> None:
        self.held.append(way)

    def release(self, way: Endpoint | str) -> None:
        self.held.remove(way)

    def pump(self) -> None:
        self.pumps.append(len(self.buffers))

    def datagrams(self) -> list[bytes]:
        """Every datagram on its own."""
        return [
            buffer.data[start : start + buffer.segment]
            for buffer in self.buffers
            for start in range(0, len(buffer.data), buffer.segment)
        ]


class Pair:
    """Two sockets on loopback: what ``sender`` sends arrives at ``receiver``."""

    def __init__(self, loop: Loop, host: str = "127.0.0.1") -> None:
        self.loop = loop
        self.receiver = Receiver()
        self.sent = Receiver()
        self.port = DatagramPort(self.receiver, loop.reactor, host, 0)
        self.sender = DatagramPort(self.sent, loop.reactor, host, 0)
        self.target = Endpoint(UDP, host, self.port.port)
        self.port.start()
        self.sender.start()

    def send(self, data: bytes, segment: int) -> None:
        self.sender.send(data, segment, self.target)


@pytest.fixture
def pair(loop: Loop) -> Any:
    made = Pair(loop)
    yield made
    made.port.close()
    made.sender.close()
    made.sender.close()


def burst(count: int, size: int, last: int | None = None) -> bytes:
    data = b"".join(bytes([number % 256]) * size for number in range(count))
    return data if last is None else data[: len(data) - size + last]


def test_a_burst_is_one_call_each_way_where_the_kernel_can(pair: Pair) -> None:
    if not (pair.sender.segmentation and pair.port.coalescing):
        pytest.skip("this kernel has no UDP GSO and GRO")
    data = burst(45, 1400, last=600)
    pair.send(data, 1400)
    pair.loop.until(lambda: pair.receiver.buffers)
    assert pair.receiver.buffers == [Received(data, 1400, Endpoint(UDP, "127.0.0.1", pair.sender.port))]
    assert not pair.receiver.counters
    assert not pair.sent.counters


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("segmentation", [True, False])
@pytest.mark.parametrize("coalescing", [True, False])
def test_every_datagram_arrives_whatever_the_kernel_offers(
    loop: Loop, host: str, segmentation: bool, coalescing: bool
) -> None:
    try:
        pair = Pair(loop, host)
    except CannotListenError:
        pytest.skip("this computer has no IPv6")
    if not segmentation:
        pair.sender.segmentation = False
    if not coalescing:
        pair.port.coalescing = False
        pair.port._socket.setsockopt(datagram.SOL_UDP, datagram.UDP_GRO, 0)
    sizes = [(burst(1, 100), 100), (burst(64, 32), 32), (burst(46, 1424, last=1), 1424), (burst(1, 65507), 65507)]
    expected = []
    for data, segment in sizes:
        pair.send(data, segment)
        expected += [data[start : start + segment] for start in range(0, len(data), segment)]
    loop.until(lambda: len(pair.receiver.datagrams()) == len(expected))
    assert pair.receiver.datagrams() == expected
    assert {buffer.source for buffer in pair.receiver.buffers} == {Endpoint(UDP, host, pair.sender.port)}
    pair.port.close()
    pair.sender.close()


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.ENOTSUP])
def test_a_refused_burst_leaves_datagram_by_datagram(pair: Pair, code: int) -> None:
    kernel = Kernel(pair.sender)
    kernel.burst_error = code
    for _ in range(2):
        pair.send(burst(5, 300, last=7), 300)
    pair.loop.until(lambda: len(pair.receiver.datagrams()) == 10)
    assert [len(data) for data in pair.receiver.datagrams()[:5]] == [300, 300, 300, 300, 7]
    once = code in (errno.EIO, errno.ENOTSUP)
    assert kernel.bursts == (1 if once else 2), "a device without it is not asked again; a path may be"
    assert pair.sender.segmentation is not once
    assert pair.sent.counters == {"udp-send-unsegmented": kernel.bursts}


def test_a_full_socket_is_tried_again_and_order_is_kept(pair: Pair) -> None:
    kernel = Kernel(pair.sender)
    kernel.full = True
    pair.send(burst(3, 100), 100)
    pair.send(b"second", 6)
    pair.loop.run(0.02)
    assert pair.receiver.buffers == []
    kernel.full = False
    pair.send(b"third", 5)
    pair.loop.until(lambda: len(pair.receiver.datagrams()) == 5)
    assert [data[:6] for data in pair.receiver.datagrams()] == [b"\0" * 6, b"\1" * 6, b"\2" * 6, b"second", b"third"]


def test_a_burst_that_fits_partly_goes_on_where_it_stopped(pair: Pair) -> None:
    pair.sender.segmentation = False
    kernel = Kernel(pair.sender)
    kernel.room = 3
    pair.send(burst(8, 10), 10)
    assert kernel.singles == 3
    kernel.room = 1000
    pair.loop.until(lambda: len(pair.receiver.datagrams()) == 8)
    assert b"".join(pair.receiver.datagrams()) == burst(8, 10)


def test_what_waits_is_bounded(pair: Pair) -> None:
    kernel = Kernel(pair.sender)
    kernel.full = True
    for _ in range(datagram.RETRY_BYTES // 60_000 + 50):
        pair.send(bytes(60_000), 1200)
    assert pair.sent.counters["udp-send-full"] == 50
    for _ in range(datagram.RETRY_BURSTS + 10):
        pair.send(b"x", 1)
    assert pair.sent.counters["udp-send-full"] > 60
    pair.sender.close()


@pytest.mark.parametrize("code", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM])
def test_errors_of_the_path_are_counted_and_forgotten(pair: Pair, code: int) -> None:
    kernel = Kernel(pair.sender)
    kernel.burst_error = kernel.single_error = kernel.receive_error = code
    pair.send(burst(3, 100), 100)
    pair.send(b"one", 3)
    name = errno.errorcode[code].lower()
    assert pair.sent.counters[f"udp-send-{name}"] == 2
    kernel.burst_error = kernel.single_error = 0
    pair.sender.doRead()
    assert pair.sent.counters[f"udp-receive-{name}"] == 1
    pair.send(b"two", 3)
    pair.loop.until(lambda: pair.receiver.buffers)


def test_a_wakeup_reads_a_bounded_number_of_buffers_and_pumps_once(pair: Pair) -> None:
    for _ in range(datagram.READS_A_WAKEUP + 5):
        pair.send(bytes(2 * datagram.SHORT), 2 * datagram.SHORT)
    pair.port.coalescing = False
    pair.port.doRead()
    assert pair.receiver.pumps == [datagram.READS_A_WAKEUP]
    pair.port.doRead()
    assert pair.receiver.pumps == [datagram.READS_A_WAKEUP, datagram.READS_A_WAKEUP + 5]


def test_after_a_short_datagram_the_answer_comes_first(pair: Pair) -> None:
    pair.send(b"x", 1)
    pair.send(bytes(9), 9)
    pair.send(bytes(8), 8)
    pair.port.doRead()
    assert pair.receiver.pumps == [1]
    pair.port.doRead()
    assert pair.receiver.pumps == [1, 3], "in a stream of them it reads on"


def test_who_was_away_reads_all_that_waits_at_once(pair: Pair) -> None:
    """Short ones too, more than in one wakeup, and without a pump of its own; still within a bound."""
    pair.port.coalescing = False
    for number in range(datagram.READS_WHEN_LATE + 10):
        pair.send(b"%3d" % number, 0)
    pair.port.catch_up()
    assert [len(pair.receiver.buffers), *pair.receiver.pumps] == [datagram.READS_WHEN_LATE]
    pair.port.close()
    pair.port.catch_up()


def test_empty_datagrams_are_counted(pair: Pair) -> None:
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    plain.sendto(b"", ("127.0.0.1", pair.port.port))
    plain.close()
    pair.loop.until(lambda: pair.receiver.counters["udp-empty"])
    assert pair.receiver.buffers == []


def test_a_port_in_use_is_one_clear_line(loop: Loop) -> None:
    first = DatagramPort(Receiver(), loop.reactor, "127.0.0.1", 0)
    with pytest.raises(CannotListenError, match=f"127.0.0.1:{first.port}.*in use"):
        DatagramPort(Receiver(), loop.reactor, "127.0.0.1", first.port)
    first.close()


def test_zones_survive_the_round_trip() -> None:
    endpoint = endpoint_of(("fe80::1", 5000, 0, 3))
    assert endpoint == Endpoint(UDP, "fe80::1%3", 5000)
    assert address_of(endpoint) == ("fe80::1", 5000, 0, 3)
    assert address_of(Endpoint(UDP, "2001:db8::1", 1)) == ("2001:db8::1", 1, 0, 0)
    assert address_of(Endpoint(UDP, "192.0.2.1", 1)) == ("192.0.2.1", 1)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 1400), st.integers(1, 1400)), min_size=1, max_size=20))
def test_bursts_of_any_shape_arrive_as_sent(shapes: list[tuple[int, int, int]]) -> None:
    loop = Loop()
    pair = Pair(loop)
    expected = []
    for count, size, last in shapes:
        data = burst(count, size, min(last, size))
        pair.send(data, size)
        expected += [data[start : start + size] for start in range(0, len(data), size)]
    loop.until(lambda: len(pair.receiver.datagrams()) == len(expected))
    assert pair.receiver.datagrams() == expected
    pair.port.close()
    pair.sender.close()
    loop.close()


class Kernel:
    """Stands between a port and its socket, and fails as told."""

    def __init__(self, port: DatagramPort) -> None:
        self.socket = port._socket
        port._socket = self  # type: ignore[assignment]  # a socket as far as the port is concerned
        self.full = False
        self.room = 1000
        self.burst_error = self.single_error = self.receive_error = 0
        self.bursts = self.singles = 0

    def sendmsg(self, *arguments: Any) -> int:
        self.bursts += 1
        self._check(self.burst_error)
        return self.socket.sendmsg(*arguments)

    def sendto(self, *arguments: Any) -> int:
        self._check(self.single_error)
        if self.room <= self.singles:
            raise BlockingIOError(errno.EAGAIN, "full")
        self.singles += 1
        return self.socket.sendto(*arguments)

    def recvmsg_into(self, *arguments: Any) -> Any:
        code, self.receive_error = self.receive_error, 0
        self._check(code)
        return self.socket.recvmsg_into(*arguments)

    def _check(self, code: int) -> None:
        if self.full:
            raise BlockingIOError(errno.EAGAIN, "full")
        if code:
            raise OSError(code, "as told")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.socket, name)


def test_a_probe_is_one_datagram_that_nobody_fragments(pair: Pair) -> None:
    """RFC 8899 4.4: one that is too large for the device does not leave in pieces; one that fits arrives; both are unlike the others."""
    pair.sender.send(bytes(3000), 3000, pair.target, True)
    pair.loop.until(lambda: pair.receiver.buffers)
    pair.sender.send(bytes(65_508), 65_508, pair.target, True)
    assert pair.sent.counters["udp-probe-emsgsize"] == 1
    pair.send(b"after", 5)
    pair.loop.until(lambda: len(pair.receiver.datagrams()) == 2)
    assert [len(one) for one in pair.receiver.datagrams()] == [3000, 5]


@pytest.mark.skipif(not datagram._LINUX, reason="the options are Linux's")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_routers_may_fragment_all_but_probes(loop: Loop, host: str) -> None:
    """RFC 791 3.2: "don't fragment" is not set over IPv4, so that a path that is narrower than the base carries what it is given."""
    pair = Pair(loop, host)
    level, option, probe, usual = datagram._DISCOVERY[pair.sender.version]
    assert probe == 3
    asked: list[int] = []
    sock = pair.sender._socket
    assert sock.getsockopt(level, option) == usual == (0 if host == "127.0.0.1" else 1)

    class Noting:
        """The socket, with a note of each datagram's setting."""

        def __getattr__(self, name: str) -> Any:
            return getattr(sock, name)

        def sendto(self, *arguments: Any) -> int:
            asked.append(sock.getsockopt(level, option))
            return int(sock.sendto(*arguments))

    pair.sender._socket = Noting()  # type: ignore[assignment]  # stands in for the socket that it has
    pair.sender.send(b"probe", 5, pair.target, True)
    pair.send(b"other", 5)
    assert asked == [probe, usual]
    pair.sender.close()
    pair.port.close()


def test_a_probe_waits_for_a_full_socket_like_all_else(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """During a transfer the socket is full most of the time: a probe that were lost then would look like a black hole."""
    taken: list[int] = []
    full = [True]

    def transmit(data: Any, segment: int, address: Any) -> Any:
        if full[0]:
            return data
        taken.append(segment)
        return None

    monkeypatch.setattr(pair.sender, "_transmit", transmit)
    pair.send(bytes(1000), 1000)
    pair.sender.send(bytes(1280), 1280, pair.target, True)
    assert pair.sent.held == [UDP]
    assert pair.sender.full
    full[0] = False
    pair.sender.doWrite()
    assert taken == [1000, datagram._WHOLE]
    assert pair.sent.held == []
    assert not pair.sender.full
