"""What ``userlan doctor`` prints, and how it ends, with a node that answers as a test wants."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.cli.doctor.scenes import exposed, member, node, row
from userlan.cli import doctor_commands
from userlan.cli.client import ApiError, NodeGoneError, NotRunningError
from userlan.cli.doctor import computer
from userlan.cli.doctor.finding import Computer, Finding
from userlan.cli.main import cli


class Node:
    """Answers commands; an exception is raised instead."""

    def __init__(self) -> None:
        self.answer: Any = node()
        self.pings: list[float | None] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def call(self, state: object, command: str, on_item: Any = None, /, **arguments: Any) -> Any:
        self.asked.append((command, arguments))
        if command == "ping":
            for time in self.pings:
                on_item({"rtt_ms": time})
            return {}
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Stream:
    """A client's connection to the node, and the socket below it. ``kept``: what the command is answered with at once; in a tuple:
    nothing at once, and that is what arrives later. An exception is raised instead."""

    def __init__(self, node: Node, kept: Any) -> None:
        self._node = node
        self._at_once: Any = b"" if isinstance(kept, tuple) else kept
        self._later: Any = kept[0] if isinstance(kept, tuple) else b""
        self.socket = self

    def send(self, command: str, arguments: dict[str, Any]) -> None:
        self._node.asked.append((command, arguments))

    def answer(self) -> bytes:
        return self._given(self._at_once)

    def recv(self, count: int) -> bytes:
        return self._given(self._later)

    def settimeout(self, seconds: float) -> None:
        """As a socket's."""

    def close(self) -> None:
        """As a client's."""

    @staticmethod
    def _given(what: Any) -> bytes:
        if isinstance(what, Exception):
            raise what
        assert isinstance(what, bytes)
        return what


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Node:
    answering = Node()
    monkeypatch.setattr(doctor_commands, "call", answering.call)
    monkeypatch.setattr(computer, "look", lambda settings: Computer())
    return answering


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *arguments])


def test_all_is_well(told: Node) -> None:
    done = run()
    assert done.exit_code == 0
    assert done.stdout.startswith("✓ nothing wrong with: the node runs, the state folder, ")
    assert len(done.stdout.splitlines()) == 1


def test_a_note_is_no_failure(told: Node) -> None:
    told.answer = node(status={"peers": []})
    done = run()
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "! nobody else is in this node's networks yet → userlan invite home"


def test_something_is_wrong(told: Node) -> None:
    told.answer = node(bridges={"expose": [exposed(error="connection refused")]})
    done = run()
    assert done.exit_code == 1
    assert done.stdout.splitlines()[0] == "✗ port 8000 leads nowhere — 127.0.0.1:8000: connection refused → userlan unexpose 8000"


def test_json_has_stable_keys(told: Node) -> None:
    told.answer = NotRunningError("no node runs")
    done = run("ben", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1
    assert list(found) == ["wrong", "node", "peer", "service", "findings", "checked", "fine"]
    assert (found["wrong"], found["node"], found["peer"], found["service"]) == (True, False, "ben", None)
    assert list(found["findings"][0]) == ["code", "level", "what", "evidence", "remedy"]


def test_a_node_of_another_user(told: Node) -> None:
    told.answer = ApiError("/s/control.sock belongs to another user: pass --state, or run as that user")
    done = run()
    assert done.exit_code == 1
    assert done.stdout.startswith("✗ a node runs, and cannot be asked — /s/control.sock belongs to another user")


def test_a_peer_that_is_reached_is_asked_by_echoes(told: Node) -> None:
    told.answer, told.pings = node(peer=member()), [9.0, 11.0, 10.0]
    done = run("ben")
    assert "✓ ben is reached: direct udp 192.0.2.9:41414, 10.0 ms" in done.stdout
    assert [command for command, _ in told.asked] == ["doctor", "ping"]
    told.pings = [9.0, None]
    assert "✗ ben hears only part of what is sent — 1 of 2 echoes were not answered → userlan ping ben" in run("ben").stdout


def test_a_peer_that_answers_no_more_is_asked_after_again(told: Node) -> None:
    told.answer, told.pings = node(peer=member()), [None, None]
    lines = run("ben", "--service", "80").stdout.splitlines()
    assert lines[0].startswith("✗ ben was reached a moment ago, and answers no more — 2 of 2 echoes")
    assert not any("is reached" in line for line in lines)
    assert [command for command, _ in told.asked] == ["doctor", "ping", "doctor"]


def test_a_peer_that_is_not_reached_is_not_asked(told: Node) -> None:
    told.answer = node(peer=member(online=False), status={"peers": [row(state="offline")]})
    assert run("ben").exit_code == 1
    assert [command for command, _ in told.asked] == ["doctor"]


@pytest.mark.parametrize(
    ("stream", "part"),
    [
        (b"220 hello", ""),
        ((b"x",), ""),
        ((TimeoutError(),), ""),
        ((b"",), "does its server run?"),
        ((ConnectionResetError(104, "reset"),), "ended at once (reset)"),
        (NodeGoneError("the node went away: None"), "no answer within"),
        (ApiError("ben:8000 cannot be reached: connection refused"), "connection refused"),
    ],
)
def test_a_port_of_a_peers_is_tried(told: Node, monkeypatch: pytest.MonkeyPatch, stream: Any, part: str) -> None:
    told.answer = node(peer=member())
    monkeypatch.setattr(doctor_commands, "Client", lambda state: Stream(told, stream))
    done = run("ben", "--service", "8000")
    assert done.exit_code == (1 if part else 0)
    assert part in done.stdout
    assert told.asked[-1] == ("nc", {"peer": "ben", "port": 8000})


def test_what_members_wrote_does_nothing_to_a_terminal() -> None:
    line = click.unstyle(doctor_commands.line(Finding("x", "wrong", "a\x1b[2Jb", "c\r\nd", "e\u202ef")))
    assert line == "✗ a�[2Jb — c��d → e�f"
