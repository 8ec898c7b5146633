"""Numbered sockets: opened by the burst that names them, told of, marked in what arrives, closed when dismissed; times to live."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.driver.loop import Loop
from tests.driver.memory import entropy_of
from tests.driver.ways import NothingKept
from userlan.driver import datagram, numbered
from userlan.driver.engine import Engine
from userlan.driver.runner import CoreRunner
from userlan.stack import Host
from userlan.tunnel.endpoint import Burst
from userlan.wire.endpoint import UDP, Endpoint

needs_controls = pytest.mark.skipif(not hasattr(socket.socket, "sendmsg"), reason="this system has no sendmsg")


class Core(NothingKept):
    """Sends what the test says, notes what happens in order."""

    def __init__(self) -> None:
        self.host = Host(entropy=entropy_of(1))
        self.outgoing: list[Burst] = []
        self.happened: list[Any] = []
        self.to_dismiss: list[int] = []
        self.runner: CoreRunner

    def send(self, *bursts: Burst) -> None:
        self.outgoing += bursts
        self.runner.touch()
        self.runner.pump()

    def dismiss(self, *numbers: int) -> None:
        self.to_dismiss += numbers
        self.runner.touch()
        self.runner.pump()

    def owns(self, data: Any) -> bool:
        return True

    def receive(self, data: Any, segment: int, source: Endpoint, now: float) -> None:
        self.happened.append((bytes(data), source))

    def datagrams(self, now: float) -> list[Burst]:
        bursts, self.outgoing = self.outgoing, []
        return bursts

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        self.happened.append((via, transport, port))

    def dismissed(self) -> list[int]:
        dismissed, self.to_dismiss = self.to_dismiss, []
        return dismissed

    def hold(self, way: Endpoint | str, now: float) -> None:
        self.happened.append(("hold", way))

    def release(self, way: Endpoint | str) -> None:
        self.happened.append(("release", way))

    def deadline(self) -> float | None:
        return None

    def tick(self, now: float) -> None: ...

    def events(self) -> list[Any]:
        return []


class Scene:
    """An engine with two cores on one main socket, and a far socket of the test's own."""

    def __init__(self, loop: Loop, address: str = "127.0.0.1") -> None:
        self.loop = loop
        self.engine = Engine(loop.reactor)
        self.port = self.engine.listen(address, 0)
        self.core, self.other = Core(), Core()
        for core in (self.core, self.other):
            core.runner = self.engine.add(core, lambda event: None)
        self.far = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self.far.bind((address, 0))
        self.far.settimeout(5)
        self.address = address

    def target(self, via: int = 0) -> Endpoint:
        return Endpoint(UDP, self.address, self.far.getsockname()[1], via)

    def close(self) -> None:
        self.far.close()
        self.loop.result(self.engine.stop(linger=0))


@pytest.fixture
def scene(loop: Loop) -> Iterator[Scene]:
    made = Scene(loop)
    yield made
    made.close()


def test_a_burst_opens_its_socket_and_answers_come_with_the_number(scene: Scene) -> None:
    scene.core.send(Burst(b"main", 4, scene.target()), Burst(b"seven", 5, scene.target(7)), Burst(b"seven", 5, scene.target(7)))
    came = [scene.far.recvfrom(100) for _ in range(3)]
    assert [data for data, _ in came] == [b"main", b"seven", b"seven"]
    ports = [source[1] for _, source in came]
    assert ports[0] == scene.port
    assert ports[1] == ports[2] != scene.port
    assert scene.core.happened == [(7, UDP, ports[1])], "told once, before anything arrives"
    scene.far.sendto(b"to seven", came[1][1])
    scene.far.sendto(b"to main", came[0][1])
    scene.loop.until(lambda: len(scene.core.happened) == 3)
    assert (b"to seven", scene.target(7)) in scene.core.happened
    assert (b"to main", scene.target()) in scene.core.happened
    assert all(data == b"to main" for data, _ in scene.other.happened), "a socket is its core's own"


def test_numbers_are_each_cores_own(scene: Scene) -> None:
    scene.core.send(Burst(b"one", 3, scene.target(1)))
    scene.other.send(Burst(b"two", 3, scene.target(1)))
    (_, first), (_, second) = scene.far.recvfrom(100), scene.far.recvfrom(100)
    assert first != second
    scene.core.dismiss(1)
    scene.far.sendto(b"still there", second)
    scene.loop.until(lambda: (b"still there", scene.target(1)) in scene.other.happened)


def test_what_is_dismissed_is_closed_and_its_number_opens_another(scene: Scene) -> None:
    scene.core.send(Burst(b"x", 1, scene.target(3)))
    _, before = scene.far.recvfrom(100)
    scene.core.dismiss(3, 3, 99)
    assert len(scene.engine.numbered) == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(before)       # the port is free
        scene.core.send(Burst(b"y", 1, scene.target(3)))
        _, after = scene.far.recvfrom(100)
    assert after != before
    assert [note[0] for note in scene.core.happened] == [3, 3]


def test_a_core_that_is_removed_takes_its_sockets_along(scene: Scene) -> None:
    scene.core.send(*(Burst(b"x", 1, scene.target(via)) for via in range(1, 5)))
    scene.other.send(Burst(b"x", 1, scene.target(1)))
    scene.engine.remove(scene.core.runner)
    assert len(scene.engine.numbered) == 1


def test_there_is_a_cap(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbered, "MAX_SOCKETS", 5)
    scene.core.send(*(Burst(b"x", 1, scene.target(via)) for via in range(1, 9)))
    assert len(scene.engine.numbered) == len(scene.core.happened) == 5
    assert scene.engine.counters == {"udp-too-many-sockets": 3, "no-socket": 3}
    scene.core.dismiss(1)
    scene.core.send(Burst(b"x", 1, scene.target(8)))
    assert len(scene.engine.numbered) == 5


def test_a_family_that_the_computer_lacks_costs_its_datagrams_only(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def refuse(family: int = -1, *rest: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return real(family, *rest)

    monkeypatch.setattr(socket, "socket", refuse)
    scene.core.send(Burst(b"x", 1, Endpoint(UDP, "2001:db8::1", 9, 4)), Burst(b"y", 1, scene.target(4)))
    assert scene.far.recv(10) == b"y"
    assert scene.engine.counters == {"udp-socket-failed": 1, "no-socket": 1}
    assert [note[:2] for note in scene.core.happened] == [(4, UDP)]


def test_refusals_of_the_far_end_raise_nothing(scene: Scene) -> None:
    """ICMP port unreachable (RFC 1122 4.1.3.3) says nothing about the others behind the socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        dead = gone.getsockname()[1]
    for via in range(1, 20):
        scene.core.send(Burst(b"x", 1, Endpoint(UDP, "127.0.0.1", dead, via)), Burst(b"y", 1, scene.target(via)))
    scene.loop.run(0.05)
    for _ in range(19):
        data, source = scene.far.recvfrom(10)
        assert data == b"y"
        scene.far.sendto(b"back", source)
    scene.loop.until(lambda: sum(note[0] == b"back" for note in scene.core.happened) == 19)


def test_hundreds_are_cheap(scene: Scene) -> None:
    """A many-socket search opens 256 at one moment: it must not delay what else passes. The best of three: what else this process does at
    times, collecting garbage above all, is no cost of theirs."""
    spent: list[tuple[float, float]] = []
    for number in (1, 2, 3):
        start = time.thread_time()
        scene.core.send(*(Burst(b"x", 1, scene.target(via)) for via in range(1, 257)))
        opened = time.thread_time()
        scene.core.dismiss(*range(1, 257))
        spent.append((opened - start, time.thread_time() - opened))
        assert len(scene.core.happened) == number * 256
        assert len({port for _, _, port in scene.core.happened[-256:]}) == 256
        assert len(scene.engine.numbered) == 0
    assert min(opening for opening, _ in spent) < 0.25, "some 20 microseconds each, and a slow machine's allowance"
    assert min(closing for _, closing in spent) < 0.25


def test_a_socket_that_carries_more_than_probes_gets_a_paths_buffers(scene: Scene) -> None:
    scene.core.send(Burst(b"x" * 100, 100, scene.target(1)), Burst(b"x" * 100, 100, scene.target(2)))
    small, path = scene.engine.numbered._opened.values()

    def room(port: Any) -> int:
        return int(port._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))

    assert room(small) == room(path) <= 2 * datagram.SMALL_BUFFER
    scene.core.send(Burst(b"x" * 2000, 1000, scene.target(2)))
    assert room(path) > room(small)


def test_servers_listen_under_several_numbers(loop: Loop) -> None:
    """What arrives at another port says so, and is answered from there."""
    scene = Scene(loop)
    second = scene.engine.listen("127.0.0.1", 0, via=1)
    alone = scene.engine.listen("127.0.0.1", 0, via=2, owner=scene.other.runner)
    assert len({scene.port, second, alone}) == 3
    for port in (scene.port, second, alone):
        scene.far.sendto(str(port).encode(), ("127.0.0.1", port))
    loop.until(lambda: len(scene.core.happened) == 2 and len(scene.other.happened) == 1)
    assert set(scene.core.happened) == {(str(scene.port).encode(), scene.target()), (str(second).encode(), scene.target(1))}
    assert scene.other.happened == [(str(alone).encode(), scene.target(2))]
    scene.core.send(Burst(b"from the second", 15, scene.target(1)))
    assert scene.far.recvfrom(100) == (b"from the second", ("127.0.0.1", second))
    scene.other.send(Burst(b"mine", 4, scene.target(2)))
    assert scene.far.recvfrom(100) == (b"mine", ("127.0.0.1", alone))
    scene.core.dismiss(1)
    scene.core.send(Burst(b"still", 5, scene.target(1)))
    assert scene.far.recvfrom(100)[1][1] == second, "what is listened on stays"
    assert len(scene.engine.numbered) == 0
    with pytest.raises(ValueError, match="number 1"):
        scene.engine.listen("127.0.0.1", 0, via=1)
    scene.close()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("controls", [pytest.param(True, marks=needs_controls), False])
@pytest.mark.parametrize("via", [0, 5])
def test_each_datagram_has_its_time_to_live(loop: Loop, family: int, controls: bool, via: int) -> None:
    """RFC 791 3.2, RFC 8200 3: as asked for, and what follows has the system's again."""
    try:
        scene = Scene(loop, "127.0.0.1" if family == 4 else "::1")
    except OSError:
        pytest.skip("this computer has no IPv6")
    level, option = (socket.IPPROTO_IP, 12) if family == 4 else (socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT)
    scene.far.setsockopt(level, option, 1)      # IP_RECVTTL
    scene.core.send(Burst(b"first", 5, scene.target(via)))
    ports = [*scene.engine.datagram_ports, *scene.engine.numbered._opened.values()]
    for port in ports:
        port.controls = controls
    scene.core.send(
        Burst(b"near", 4, scene.target(via), False, 3),
        Burst(b"abcabcab", 3, scene.target(via), False, 4),
        Burst(b"far", 3, scene.target(via)),
        Burst(b"silly", 5, scene.target(via), False, 9999),
    )
    came = []
    for _ in range(7):
        data, ancillary, _, _ = scene.far.recvmsg(100, 100)
        came.append((data, struct.unpack("=i", ancillary[0][2][:4])[0]))
    usual = came[0][1]
    assert came[1:] == [(b"near", 3), (b"abc", 4), (b"abc", 4), (b"ab", 4), (b"far", usual), (b"silly", 255)]
    assert not scene.engine.counters
    scene.close()


def test_a_kernel_that_takes_no_such_control_is_asked_once(scene: Scene) -> None:
    port = scene.engine.datagram_ports[0]
    real, calls = port._socket, []

    class Kernel:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def sendmsg(self, *rest: Any) -> int:
            calls.append(rest)
            raise OSError(errno.EINVAL, "no such control message")

    kernel: Any = Kernel()
    port._socket = kernel
    for _ in range(3):
        scene.core.send(Burst(b"near", 4, scene.target(), False, 3))
        assert scene.far.recv(10) == b"near"
    assert len(calls) == 1
    port._socket = real


def test_a_full_socket_that_is_closed_holds_nobody_up(scene: Scene) -> None:
    scene.core.send(Burst(b"x", 1, scene.target(1)))
    (port,) = scene.engine.numbered._opened.values()
    port._wait(b"waits", 5, ("127.0.0.1", scene.target().port))
    assert scene.engine.numbered.full
    assert scene.core.happened[-1] == ("hold", UDP)
    scene.core.dismiss(1)
    assert scene.core.happened[-1] == ("release", UDP)


def test_what_has_a_time_to_live_goes_now_or_never(scene: Scene) -> None:
    port = scene.engine.datagram_ports[0]
    real = port._socket

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def sendmsg(self, *rest: Any) -> int:
            raise BlockingIOError(errno.EAGAIN, "full")

    kernel: Any = Full()
    port._socket = kernel
    scene.core.send(Burst(b"near", 4, scene.target(), False, 3))
    port._socket = real
    assert scene.engine.counters == {"udp-send-full": 1}
    assert not port.full
