"""The commands of who is in which network: what each asks the node for, and what it prints."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from userlan.cli import manage_commands, owner_commands
from userlan.cli.main import cli
from userlan.lan.invite import Invite

INVITE = str(Invite((("192.0.2.1", 41414),), bytes(range(32)), "home", b"s" * 16))
ROW = {"network": "home", "key": "K" * 43, "name": "ben", "since": 0.0}


class Node:
    """Answers each command from ``answers``, and keeps what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.folder = folder
        for module in (manage_commands, owner_commands):
            monkeypatch.setattr(module, "call", self.call)
        started = SimpleNamespace(undone_on_failure=nullcontext)
        monkeypatch.setattr(manage_commands, "ensure_running", lambda settings, mediator=None: started)

    def call(self, state: Path, command: str, /, **arguments: Any) -> Any:
        self.asked.append((command, arguments))
        return self.answers[command]

    def run(self, *arguments: str, stdin: str = "") -> Result:
        result = CliRunner().invoke(cli, ["--state", str(self.folder), *arguments], input=stdin)
        assert result.exit_code == 0, result.output
        return result


def test_approval_is_asked_for_when_it_is_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = Node(monkeypatch, tmp_path, create={"invite": INVITE, "network": "home"})
    assert node.run("create", "home", "--approve").stdout == f"{INVITE}\n"
    node.run("create", "home")
    assert [arguments["approval"] for _, arguments in node.asked] == [True, False]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"network": "home", "waiting": True, "owner": "anna"}, "asked to join home; its owner (anna) has to approve\n"),
        ({"network": "home", "waiting": True, "owner": ""}, "asked to join home; its owner has to approve\n"),
        (
            {"network": "home", "waiting": False, "name": "ben", "ipv4": "25.1.2.3", "members": 3},
            "joined home as ben (25.1.2.3), with 2 other members\n",
        ),
        ({"network": "home", "name": "ben", "ipv4": "25.1.2.3", "members": 2}, "joined home as ben (25.1.2.3), with 1 other member\n"),
    ],
    ids=["waiting", "nobody's", "joined", "an older node"],
)
def test_who_joins_is_told_whether_it_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: dict[str, Any], says: str) -> None:
    assert Node(monkeypatch, tmp_path, join=answer).run("join", INVITE).stdout == says


def test_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = Node(monkeypatch, tmp_path, lock={}, unlock={})
    assert node.run("lock", "Home").stdout == "locked home: nobody else can join it\n"
    assert node.run("unlock", "home").stdout == "unlocked home\n"
    assert node.asked == [("lock", {"network": "Home"}), ("unlock", {"network": "home"})]


def test_a_password_comes_from_a_file_or_standard_input_and_its_invite_alone_goes_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = Node(monkeypatch, tmp_path, password={"invite": INVITE, "network": "home"})
    (tmp_path / "password").write_text("open sesame\nnot this\n")
    result = node.run("password", "home", "--password-file", str(tmp_path / "password"))
    assert result.stdout == f"{INVITE}\n"
    assert "earlier invites are void" in result.stderr
    node.run("password", "home", "--password-file", "-", stdin="by hand\n")
    assert [arguments["password"] for _, arguments in node.asked] == ["open sesame", "by hand"]


def test_applicants(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = ROW | {"since": time.time() - 180}
    node = Node(monkeypatch, tmp_path, applicants=[row])
    _, line = node.run("applicants").stdout.splitlines()
    assert line.split()[:2] == ["ben", "home"]
    assert "3 min ago" in line
    assert line.endswith("K" * 43)
    assert json.loads(node.run("applicants", "--json").stdout) == [row]
    assert Node(monkeypatch, tmp_path, applicants=[]).run("applicants").stdout == "nobody waits\n"


def test_an_owners_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = Node(monkeypatch, tmp_path, approve=ROW, deny=ROW)
    assert node.run("approve", "ben").stdout == "ben is a member of home\n"
    assert node.run("deny", "K" * 43, "home").stdout == "ben is not let into home\n"
    assert node.asked == [("approve", {"member": "ben", "network": None}), ("deny", {"member": "K" * 43, "network": "home"})]


def test_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = Node(monkeypatch, tmp_path, block=ROW, unblock=ROW)
    assert node.run("block", "ben").stdout == "blocked ben\n"
    assert node.run("unblock", "ben").stdout == "unblocked ben\n"
    assert node.asked == [("block", {"peer": "ben"}), ("unblock", {"peer": "ben"})]


def test_what_the_mediator_does_not_know_yet_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    later = {"network": "home", "name": "ben", "later": True}
    node = Node(monkeypatch, tmp_path, evict=later, leave=later, nick=later, password=later | {"invite": INVITE})
    when = "; the mediator learns it when it is back"
    assert node.run("evict", "ben").stdout.rstrip().endswith(f"prints the new one{when}")
    assert node.run("leave", "home").stdout == f"left home{when}\n"
    assert node.run("nick", "ben").stdout == "you are ben; the others learn it when the mediator is back\n"
    result = node.run("password", "home", "--password-file", "-", stdin="open sesame\n")
    assert result.stdout == f"{INVITE}\n"
    assert when in result.stderr
    node = Node(monkeypatch, tmp_path, leave=later | {"later": False}, nick=later | {"later": False})
    assert node.run("leave", "home").stdout == "left home\n"
    assert node.run("nick", "ben").stdout == "you are ben\n"
