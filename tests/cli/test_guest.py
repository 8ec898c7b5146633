"""`userlan guest`: what is printed where."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from userlan.cli import guest_commands
from userlan.cli.client import ApiError
from userlan.cli.main import cli

CONFIG = "[Interface]\nPrivateKey = secret\n"
GUEST = {
    "name": "phone", "ipv4": "25.1.2.3", "config": CONFIG, "configured_endpoint": "44.0.0.2:51820", "reach": "open", "sure": True,
    "port": 51820,
}  # fmt: skip
ROW = {
    "name": "phone", "state": "online", "ipv4": "25.1.2.3", "networks": ["home"], "endpoint": "203.0.113.7:9", "handshake": None,
    "rx_bytes": 2048, "tx_bytes": 0, "trouble": None,
}  # fmt: skip


class Node:
    """Answers, and keeps what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer = answer
        monkeypatch.setattr(guest_commands, "call", self._call)
        monkeypatch.setattr(guest_commands, "ensure_running", lambda settings: None)

    def _call(self, state: Path, command: str, **arguments: Any) -> Any:
        self.asked.append((command, arguments))
        return self.answer


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--state", str(folder), "guest", *arguments])


def test_the_configuration_alone_is_on_standard_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = Node(monkeypatch, GUEST)
    networks = ("--networks", "home,work", "--networks", "x")
    result = run(tmp_path, "add", "phone", "--endpoint", "a.example:1", *networks, "--mtu", "1300", "--no-dns")
    assert result.stdout == CONFIG
    assert result.stderr.splitlines() == [
        "phone is 25.1.2.3: scan the code with the WireGuard app, or import the file; it finds this node at 44.0.0.2:51820"
    ]
    wanted = {"name": "phone", "endpoint": "a.example:1", "networks": ["home", "work", "x"], "dns": False, "mtu": 1300}
    assert node.asked == [("guest-add", wanted)]


def test_a_file_for_nobody_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Node(monkeypatch, GUEST)
    file = tmp_path / "phone.conf"
    file.write_text("an older and longer configuration, which anybody could read\n")
    file.chmod(0o644)
    result = run(tmp_path, "show", "phone", "-o", str(file))
    assert (result.stdout, file.read_text()) == ("", CONFIG)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    refused = run(tmp_path, "show", "phone", "-o", str(tmp_path / "nowhere" / "x"))
    assert isinstance(refused.exception, ApiError)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({"reach": "site"}, "Forward a port of your router to UDP 51820"), ({"reach": "observed", "sure": False}, "forward UDP 51820")],
)
def test_what_the_router_has_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: dict[str, Any], expected: str) -> None:
    Node(monkeypatch, GUEST | changed)
    result = run(tmp_path, "add", "phone")
    assert result.stdout == CONFIG
    assert expected in result.stderr


def test_as_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Node(monkeypatch, GUEST)
    assert json.loads(run(tmp_path, "show", "phone", "--json").stdout) == GUEST


def test_the_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = Node(monkeypatch, {"guests": []})
    assert "guest add" in run(tmp_path, "list").stdout
    node.answer = {"guests": [ROW, ROW | {"name": "tablet", "trouble": "home: evicted\x1b[2J"}]}
    result = run(tmp_path, "list")
    heading, phone, _ = result.stdout.splitlines()
    assert heading.split() == ["NAME", "STATE", "ADDRESS", "NETWORKS", "ENDPOINT", "HANDSHAKE", "RECEIVED", "SENT"]
    assert phone.split() == ["phone", "online", "25.1.2.3", "home", "203.0.113.7:9", "never", "2.0", "KiB", "0", "B"]
    assert result.stderr == "tablet: home: evicted�[2J\n"
    assert json.loads(run(tmp_path, "list", "--json").stdout)[0] == ROW


def test_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = Node(monkeypatch, {"name": "phone", "left": True})
    assert run(tmp_path, "remove", "phone").stdout == "removed phone\n"
    node.answer = {"name": "phone", "left": False}
    assert "as soon as" in run(tmp_path, "remove", "phone").stdout
