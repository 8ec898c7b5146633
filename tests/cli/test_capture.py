"""``userlan capture``: its lines, its summary, and how it ends."""

from __future__ import annotations

import builtins
import contextlib
import re
import signal
import socket
import struct
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click import unstyle
from click.testing import CliRunner, Result

from tests.wire.examples import ALICE4, ALICE6, BOB4, BOB6
from userlan.cli import capture_commands
from userlan.cli.capture_commands import summary
from userlan.cli.capture_text import MAX_LINE, Lines
from userlan.cli.client import ApiError
from userlan.cli.main import cli
from userlan.driver import pcapng
from userlan.driver.pcapng import Blocks, Counts, Recorded, Way
from userlan.wire import etherip, udp
from userlan.wire.superpacket import cut

TIME = 1_700_000_000_123_456_789
PACKET = cut(udp.build(udp.Datagram(5_000, 53, b"x"), ALICE4, BOB4), True)[0]
BEGIN = pcapng.section_header("test") + pcapng.interface("anna") + pcapng.interface("ben")
ONE = pcapng.packet(1, TIME, PACKET, len(PACKET), pcapng.packet_options("out", "unicast", ["dropped: no-route"]))
END = pcapng.statistics(1, TIME, Counts(5, 3, 2))


class Node:
    """The client of a node that sends what it is given, and ends when it has nothing more."""

    def __init__(self, *pieces: bytes) -> None:
        self.socket: Any = None
        self._other: Any = None
        self.asked: dict[str, Any] = {}
        self._first, *self._rest = pieces

    def __call__(self, state: object) -> Node:
        return self

    def request(self, command: str, arguments: dict[str, Any]) -> bytes:
        self.asked = arguments
        self.socket, self._other = socket.socketpair()
        threading.Thread(target=self._send).start()
        return self._first

    def _send(self) -> None:
        with self._other, contextlib.suppress(ConnectionError):
            for piece in self._rest:
                self._other.sendall(piece)

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command with a node."""

    def run(node: Node, *arguments: str) -> Result:
        monkeypatch.setattr(capture_commands, "Client", node)
        return CliRunner().invoke(cli, ["capture", *arguments])

    return run


def test_a_file_has_what_the_node_sent(run: Any, tmp_path: Path) -> None:
    file, node = tmp_path / "a.pcapng", Node(BEGIN, ONE[:10], ONE[10:] + END)
    result = run(node, "-w", str(file), "-c", "7", "--snaplen", "99", "udp", "and", "(dropped)")
    assert (result.exit_code, node.asked) == (0, {"filter": "udp and (dropped)", "count": 7, "snaplen": 99})
    assert file.read_bytes() == BEGIN + ONE + END
    assert re.search(r"1 packet captured in [0-9.]+ s", result.stderr)
    assert "5 seen, 2 lost" in result.stderr


def test_text(run: Any) -> None:
    result = run(Node(BEGIN, ONE, END))
    assert result.exit_code == 0
    assert "ben >  IP / UDP 25.1.2.3:5000 > 25.4.5.6:53" in result.stdout
    assert result.stdout.rstrip().endswith("(29)  [dropped: no-route]")
    assert "1 packet captured" in result.stderr


def test_a_node_that_goes_away_leaves_whole_blocks(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.pcapng"
    result = run(Node(BEGIN, ONE + ONE[:20]), "-w", str(file))
    assert isinstance(result.exception, ApiError)
    assert "went away" in str(result.exception)
    assert file.read_bytes() == BEGIN + ONE


def test_a_file_that_cannot_be_written(run: Any, tmp_path: Path) -> None:
    result = run(Node(BEGIN, END), "-w", str(tmp_path / "missing" / "a"))
    assert isinstance(result.exception, ApiError)
    assert str(result.exception).endswith("cannot be written: No such file or directory")


class Patient(Node):
    """Sends its last blocks when it is asked for the end."""

    def _send(self) -> None:
        with self._other:
            assert self._other.recv(1) == b""
            self._other.sendall(END)


def test_an_interrupt_that_comes_as_soon_as_it_is_offered_ends_in_order(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def echo(text: str, err: bool) -> None:
        told.append(text)
        if "Ctrl-C ends" in text:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(capture_commands, "click", SimpleNamespace(echo=echo))
    file, before = tmp_path / "a.pcapng", signal.getsignal(signal.SIGINT)
    assert run(Patient(BEGIN), "-w", str(file)).exit_code == 0
    assert file.read_bytes() == BEGIN + END
    assert "0 packets captured" in told[-1]
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_no_capture_is_told(run: Any, tmp_path: Path) -> None:
    result = run(Node(BEGIN, struct.pack("<III", 6, 7, 0)), "-w", str(tmp_path / "a"))
    assert isinstance(result.exception, ApiError)
    assert "no capture" in str(result.exception)


def test_without_scapy_it_is_said_how_to_get_it(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("scapy"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    node = Node(BEGIN, END)
    result = run(node)
    assert isinstance(result.exception, ApiError)
    assert "pip install 'userlan[capture]'" in str(result.exception)
    assert node.asked == {}, "nothing is begun"


def test_the_summary() -> None:
    blocks = Blocks()
    blocks.feed(BEGIN + ONE + ONE)
    assert summary(blocks, 2.5, False) == "2 packets captured in 2.5 s"
    blocks.feed(pcapng.statistics(1, TIME, Counts(2, 2, 0)))
    assert summary(blocks, 2.5, True) == "2 packets captured in 2.5 s, 2 seen"


@pytest.fixture(scope="module")
def lines() -> Lines:
    return Lines()


def line(lines: Lines, octets: bytes, direction: Way = "in", *comments: str) -> str:
    return lines.line(Recorded("ben", TIME, octets, len(octets), direction, comments))


def test_a_line(lines: Lines) -> None:
    styled = line(lines, PACKET, "out", "dropped: no-route", "path: relay near")
    plain = unstyle(styled)
    assert plain != styled
    assert plain.split("  ")[0].endswith(".123456")
    assert "ben >  IP / UDP 25.1.2.3:5000 > 25.4.5.6:53" in plain
    assert plain.endswith("[dropped: no-route]  [path: relay near]")
    assert "ben <" in unstyle(line(lines, PACKET))


@pytest.mark.parametrize("kind", [b"\x81\x37", b"\x00\x20"], ids=["ethernet", "802.3"])
def test_a_frame_in_a_packet(lines: Lines, kind: bytes) -> None:
    """RFC 3378."""
    frame = bytes.fromhex("ffffffffffff 020000000001") + kind + bytes(46)
    told = unstyle(line(lines, cut(etherip.build(frame, ALICE6, BOB6), True)[0]))
    assert "EtherIP / " in told
    assert "02:00:00:00:00:01" in told


@pytest.mark.parametrize("octets", [b"", b"\x00", b"\x45", PACKET[:21], PACKET[:12], b"\x60" + bytes(39), b"\x70" + bytes(60)])
def test_whatever_is_no_whole_packet_is_a_line_too(lines: Lines, octets: bytes) -> None:
    assert "\n" not in line(lines, octets)


def test_a_terminal_obeys_no_peer(lines: Lines) -> None:
    name = b"\x1b[31mx\n\x07" + bytes(8)
    query = struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 0) + bytes((len(name),)) + name + b"\0\0\1\0\1"
    told = lines.describe(cut(udp.build(udp.Datagram(5_353, 53, query), ALICE4, BOB4), True)[0], 60)
    assert told.isprintable()
    assert len(told) < MAX_LINE + 20
