"""The bridge ``capture`` over the real local API: streams, their end, their number, and a command that does not read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from bridges.capture import MAX_CAPTURES, MAX_WAITING, CaptureBridge, CaptureOptions, LanNames
from bridges.capture_filter import compile_filter
from tests.bridges.seeing import BEN, CARL, OWN, PEERS, STRANGER, Core, datagram, seen
from tests.wire.examples import super_segment
from userlan.driver.bridge import BridgeStore, CommandError
from userlan.driver.lan import PeerInfo
from userlan.driver.pcapng import Blocks
from userlan.driver.watch import Observer, Watch
from userlan.lan.names import UnknownName


class Lan:
    """Anna's."""

    def __init__(self) -> None:
        self.reactor = Clock()
        self.core = Core()
        self._watch = Watch(self.core)
        self.observers: list[Observer] = []
        self.changed: list[Callable[[], None]] = []

    def watch(self, observer: Observer) -> Callable[[], None]:
        self.observers.append(observer)
        return lambda: self.observers.remove(observer)

    def observe(self, changed: Callable[[], None]) -> Callable[[], None]:
        self.changed.append(changed)
        return lambda: self.changed.remove(changed)

    def own(self) -> PeerInfo:
        return OWN

    def members(self) -> list[PeerInfo]:
        return list(PEERS)

    def resolve(self, name: str) -> str:
        for one in (OWN, *PEERS):
            if name in (one.name, one.ipv4):
                return one.ipv4
        raise UnknownName(f"no member is called {name!r}")

    def peer_at(self, address: str) -> PeerInfo | None:
        return next((one for one in (OWN, *PEERS) if one.ipv4 == address), None)


class Handle:
    """Of a socket: what is asked of the system."""

    def setsockopt(self, *arguments: object) -> None:
        raise OSError("not a socket of the system's")


class Command(StringTransport):
    """The connection of a command, which reads when it is told to."""

    SEND_LIMIT = 0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's is untyped
        self.session: Any = None

    def octets(self) -> bytes:
        """All that was written."""
        return self.io.getvalue()

    def getHandle(self) -> Handle:
        return Handle()

    def upgrade(self, protocol: Any) -> None:
        self.session = protocol
        protocol.makeConnection(self)


class Bench:
    def __init__(self) -> None:
        self.lan = Lan()
        self.bridge = CaptureBridge(cast(Any, self.lan), CaptureOptions(), cast(BridgeStore, None))

    def capture(self, **arguments: object) -> Command:
        command = Command()
        cast(Any, self.bridge.streaming_commands()["capture"])(arguments, command)
        return command

    def pass_by(self, *units: Any) -> None:
        for unit in units:
            for observer in list(self.lan.observers):
                observer(unit)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def read(command: Command) -> tuple[Blocks, list[str]]:
    blocks = Blocks()
    return blocks, [one.interface for one in blocks.packets_of(blocks.feed(command.octets()))]


def test_a_capture_until_the_command_has_enough_of_it(bench: Bench) -> None:
    command = bench.capture()
    bench.pass_by(seen(datagram()), seen(datagram(), key=CARL))
    command.session.readConnectionLost()
    bench.pass_by(seen(datagram()))
    blocks, interfaces = read(command)
    assert (interfaces, blocks.ended, blocks.counts.received) == (["ben", "carl"], True, 2)
    assert command.disconnecting
    assert (bench.lan.observers, bench.lan.changed) == ([], [])
    assert bench.bridge.status() is None


def test_it_ends_by_itself_after_so_many_packets(bench: Bench) -> None:
    command = bench.capture(count=2, filter="peer carl")
    bench.pass_by(seen(datagram()), seen(super_segment(bytes(9_000), 1_000), key=CARL))
    blocks, interfaces = read(command)
    assert (interfaces, blocks.ended, bench.lan.observers) == (["carl", "carl"], True, [])


def test_a_command_that_goes_away_is_forgotten(bench: Bench) -> None:
    command = bench.capture()
    assert bench.bridge.status() == {"captures": 1, "text": "1 running"}
    command.session.connectionLost()
    assert (bench.lan.observers, bench.bridge.status()) == ([], None)
    command.session.end()


def test_the_node_stops(bench: Bench) -> None:
    commands = [bench.capture(), bench.capture()]
    bench.bridge.stop()
    assert [read(command)[0].ended for command in commands] == [True, True]
    assert bench.lan.observers == []


def test_there_are_so_many_at_once_and_no_more(bench: Bench) -> None:
    commands = [bench.capture() for _ in range(MAX_CAPTURES)]
    with pytest.raises(CommandError, match="run already"):
        bench.capture()
    commands[0].session.connectionLost()
    bench.capture()


def test_what_a_command_does_not_read_is_lost_and_not_kept(bench: Bench) -> None:
    command, unit = bench.capture(), seen(super_segment(bytes(60_000), 1_000))
    command.session.pauseProducing()
    for _ in range(1_000):
        bench.pass_by(unit)
    assert MAX_WAITING < len(command.octets()) < MAX_WAITING + 200_000
    command.session.resumeProducing()
    bench.pass_by(unit)
    command.session.readConnectionLost()
    blocks, interfaces = read(command)
    assert blocks.counts.received == 60_060
    assert blocks.counts.lost > 50_000
    assert blocks.counts.delivered == blocks.packets == len(interfaces)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"filter": "frob"}, "the filter cannot be read: at 'frob'"),
        ({"filter": "peer nobody"}, "the filter cannot be read: at 'nobody': no member is called"),
        ({"count": 0}, "wrong arguments: count"),
        ({"snaplen": 0}, "wrong arguments: snaplen"),
        ({"snaplen": 65_536}, "wrong arguments: snaplen"),
        ({"filter": 5}, "wrong arguments"),
        ({"file": "/etc/passwd"}, "wrong arguments"),
    ],
)
def test_what_cannot_be_done_is_refused(bench: Bench, arguments: dict[str, object], wrong: str) -> None:
    with pytest.raises(CommandError) as refused:
        bench.capture(**arguments)
    assert str(refused.value).startswith(wrong)
    assert bench.lan.observers == []


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ("peer ben", [BEN]),
        ("peer 25.0.0.3", [CARL]),
        ("peer anna", [b""]),
        ("peer mediator", [STRANGER]),
        ("not peer Mediator", [BEN, CARL, b""]),
    ],
)
def test_peers_are_named_as_everywhere(bench: Bench, words: str, chosen: list[bytes]) -> None:
    predicate = compile_filter(words, LanNames(cast(Any, bench.lan)))
    assert predicate is not None
    assert [key for key in (BEN, CARL, b"", STRANGER) if predicate(seen(datagram(), key=key))] == chosen


def test_hosts_have_both_addresses(bench: Bench) -> None:
    predicate = compile_filter("host ben", LanNames(cast(Any, bench.lan)))
    assert predicate is not None
    there = PEERS[0]
    assert predicate(seen(datagram("25.0.0.1", there.ipv4)))
    assert predicate(seen(datagram(OWN.ipv6, there.ipv6)))
    assert not predicate(seen(datagram("25.0.0.1", "25.0.0.3")))
