"""Framed TCP on kernel sockets: what is handed over directly, what waits, and what is said of a connection's state."""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any

import pytest

from tests.driver.loop import Loop
from tests.driver.test_framed import OWN, Receiver
from userlan.driver import kernel_tcp
from userlan.driver.framed import FramedPort
from userlan.driver.frames import FrameReader
from userlan.driver.kernel_tcp import UNANSWERED, Info
from userlan.tunnel.constants import BURST_BYTES, DRAIN_BYTES
from userlan.wire.endpoint import TCP, Endpoint

pytestmark = pytest.mark.skipif(not hasattr(socket.socket, "sendmsg"), reason="this system has no sendmsg")


class Ways(Receiver):
    """Notes each word about a way, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, Endpoint | str]] = []

    def hold(self, way: Endpoint | str) -> None:
        self.said.append(("hold", way))

    def release(self, way: Endpoint | str) -> None:
        self.said.append(("release", way))

    def way_opened(self, endpoint: Endpoint) -> None:
        self.said.append(("opened", endpoint))

    def way_lost(self, endpoint: Endpoint) -> None:
        self.said.append(("lost", endpoint))

    def way_lossy(self, endpoint: Endpoint) -> None:
        self.said.append(("lossy", endpoint))

    @property
    def words(self) -> list[str]:
        return [word for word, _ in self.said]


class Scene:
    """A port that has opened a connection to a plain socket, which reads only when it is told to."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.ways = Ways()
        self.port = FramedPort(self.ways, loop.reactor)
        server = socket.create_server(("127.0.0.1", 0))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.target = Endpoint(TCP, "127.0.0.1", server.getsockname()[1])
        self.port.send(b"", 0, self.target)
        loop.until(lambda: "opened" in self.ways.words)
        self.far, _ = server.accept()
        self.far.setblocking(False)
        server.close()
        self.reader = FrameReader()
        self.got: list[bytes] = []

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.port.send(datagram, len(datagram), self.target)

    def read(self, limit: int = 65_536) -> int:
        try:
            data = self.far.recv(limit)
        except BlockingIOError:
            return 0
        self.got += [bytes(frame) for frame in self.reader.feed(data)]
        return len(data)

    def until_got(self, count: int) -> None:
        """Read until so many frames have come."""

        def all_there() -> bool:
            self.read()
            return len(self.got) == count

        self.loop.until(all_there)

    def close(self) -> None:
        self.far.close()
        self.loop.result(self.port.stop())
        self.loop.until(lambda: "lost" in self.ways.words)


@pytest.fixture
def scene(loop: Loop) -> Any:
    made = Scene(loop)
    yield made
    made.close()


def numbered(number: int, length: int = 60_000) -> bytes:
    return number.to_bytes(4, "big") * (length // 4)


def test_an_empty_burst_opens_and_says_so_again_when_it_is_open(scene: Scene) -> None:
    """A way is asked for before there is anything to send by it."""
    assert scene.ways.said == [("opened", scene.target)]
    scene.port.send(b"", 0, scene.target)
    assert scene.ways.words == ["opened", "opened"]
    assert scene.read() == 0


def test_a_slow_reader_fills_the_way_and_loses_nothing(scene: Scene) -> None:
    """Back-pressure: hold once the kernel takes no more, release once it does; every frame arrives, in order."""
    sent: list[bytes] = []
    while len(sent) < 400:
        if scene.ways.words[-1] == "hold":
            scene.read()
            scene.loop.turn()
            continue
        sent.append(numbered(len(sent)))
        scene.send(sent[-1])
    scene.until_got(len(sent))
    assert scene.got == sent
    counts = Counter(scene.ways.words)
    assert counts["hold"] > 3
    scene.loop.until(lambda: scene.ways.words[-1] == "release")
    words = [word for word in scene.ways.words if word != "opened"]
    assert words[::2] == ["hold"] * len(words[::2])
    assert words[1::2] == ["release"] * len(words[1::2])
    assert {way for _, way in scene.ways.said} == {scene.target}
    assert scene.ways.counters == {}


def test_what_a_core_gives_in_one_call_fits_behind_a_full_socket(scene: Scene) -> None:
    """A socket may be full at the first burst of a call; the core hears of it after the last one, and none may be lost."""
    while scene.ways.words[-1] != "hold":
        scene.send(numbered(0))
        for number in range(1, DRAIN_BYTES // BURST_BYTES + 2):
            scene.send(numbered(number))
    assert scene.ways.counters["tcp-send-full"] == 0


def test_too_much_is_dropped_and_counted(scene: Scene) -> None:
    for number in range(400):
        scene.send(numbered(number))
    assert scene.ways.words[-1] == "hold"
    dropped = scene.ways.counters["tcp-send-full"]
    assert dropped > 100
    scene.until_got(400 - dropped)
    assert scene.got == [numbered(number) for number in range(400 - dropped)]


def test_a_burst_of_many_datagrams_is_one_write(scene: Scene) -> None:
    data = bytes(range(200)) * 7
    scene.port.send(data * 46, len(data), scene.target)
    scene.until_got(46)
    assert scene.got == [data] * 46


def test_the_kernel_is_told_to_be_short_and_not_too_patient(scene: Scene) -> None:
    """RFC 5482 (user timeout): a dead connection ends before its peer is taken for gone; little waits unsent."""
    handle = scene.port._connections[scene.target].transport.getHandle()
    assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1000 * kernel_tcp.USER_TIMEOUT
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == kernel_tcp.NOT_SENT_LOW


def test_a_connection_that_the_far_side_resets_is_a_lost_way(loop: Loop) -> None:
    scene = Scene(loop)
    scene.send(OWN)
    scene.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    scene.far.close()
    loop.until(lambda: "lost" in scene.ways.words)
    assert scene.ways.said.count(("lost", scene.target)) == 1
    loop.result(scene.port.stop())


def test_a_reset_while_it_is_full_ends_the_hold(loop: Loop) -> None:
    """``way_lost`` stands for the release that does not come any more."""
    scene = Scene(loop)
    while scene.ways.words[-1] != "hold":
        scene.send(numbered(1))
    scene.far.close()
    loop.until(lambda: scene.ways.words[-1] == "lost")
    scene.send(numbered(2))
    loop.until(lambda: scene.ways.words.count("lost") == 2)
    loop.result(scene.port.stop())


def sampled(scene: Scene, monkeypatch: pytest.MonkeyPatch, *infos: Info) -> list[str]:
    """What is said when the kernel tells this, a second apart."""
    left = list(infos)
    monkeypatch.setattr(kernel_tcp, "read_info", lambda info: left.pop(0))
    watch = scene.port._connections[scene.target]._watch
    for _ in infos:
        watch._sample_at = watch._lossy_at = 0.0
        scene.send(OWN)
    return scene.ways.words[1:]


@pytest.mark.parametrize(
    ("lost", "sent", "rtt", "lossy"),
    [
        (0, 100_000, 0.010, False),
        (2, 10, 0.010, False),
        (10, 100_000, 0.0002, False),
        (100, 100_000, 0.010, True),
        (10, 100_000, 0.010, True),
        (4, 8, 0.0002, True),
    ],
)
def test_when_a_path_is_lossy(scene: Scene, monkeypatch: pytest.MonkeyPatch, lost: int, sent: int, rtt: float, lossy: bool) -> None:
    """Mathis et al. 1997: where MSS / RTT × 1.22 / sqrt(p) is below 500 Mbit/s."""
    infos = (Info(5, 0, 1000, 0.001, rtt), Info(5, lost, 1000 + sent, 0.001, rtt))
    assert sampled(scene, monkeypatch, *infos) == ["lossy"] * lossy


@pytest.mark.parametrize(
    ("unacknowledged", "silence", "stalled"),
    [(0, 100.0, False), (7, UNANSWERED - 0.01, False), (1, UNANSWERED, True)],
)
def test_when_a_connection_is_unanswered(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, unacknowledged: int, silence: float, stalled: bool
) -> None:
    """What was sent stays unacknowledged: the path is cut, though the kernel takes more. An idle connection is silent, too."""
    assert sampled(scene, monkeypatch, Info(unacknowledged, 0, 1000, silence, 0.001)) == ["lossy"] * stalled
    assert scene.ways.counters["tcp-unanswered"] == stalled


def test_the_kernels_view_is_found_where_it_is(scene: Scene) -> None:
    """Linux, struct tcp_info: what was sent and acknowledged on loopback, where nothing is lost."""
    if not hasattr(socket, "TCP_INFO"):
        pytest.skip("this system tells nothing of a connection")
    handle = scene.port._connections[scene.target].transport.getHandle()

    def info() -> Info:
        found = kernel_tcp.read_info(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, kernel_tcp.TCP_INFO_LENGTH))
        assert found is not None
        return found

    before = info()
    for number in range(3):
        scene.send(numbered(number, 1000))
        scene.until_got(number + 1)
    scene.loop.run(0.3)
    after = info()
    assert after.retransmitted == before.retransmitted == 0
    assert after.unacknowledged == 0
    assert 3 <= after.sent - before.sent < 20
    assert 0.2 < after.silence < 20
    assert 0 < after.rtt < 1
    assert kernel_tcp.read_info(b"short") is None
