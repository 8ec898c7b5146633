"""`userlan send` and `userlan inbox`, with a node that answers as a test wants."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.bridges.harness import Loop
from userlan.cli.client import ApiError
from userlan.cli.file_commands import describe
from userlan.cli.file_progress import Bars, Lines, size_text, state_text
from userlan.cli.main import cli
from userlan.driver.bridge import CommandError
from userlan.driver.commands import Commands, Reply
from userlan.driver.local import LocalServer


def transfer(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "abc234", "direction": "out", "peer": "K" * 43, "name": "ben", "file": "film.mkv", "size": 12_345_678, "done": 0,
        "rate": 0, "state": "waiting", "error": None, "path": "/home/anna/film.mkv", "sha256": None, "time": time.time(),
    }  # fmt: skip
    return row | changes


class Node:
    """The local API of a node; ``story`` is what ``files-watch`` tells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self.story: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.loop = Loop()
        commands = Commands()
        self.server = LocalServer(self.loop.reactor, folder, commands)
        for command in ("files-send", "files-accept", "files-decline", "files-cancel", "files-forget"):
            commands.register(command, lambda arguments, command=command: self._act(command, arguments))  # type: ignore[misc]
        commands.register("files-list", lambda arguments: self.rows)
        commands.register("files-open", lambda arguments: {"folder": "/inbox", "opened": False})
        commands.register_streaming("files-watch", self._watch)
        self.loop.call(self.server.start)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["--state", str(self.folder), *arguments])

    def stop(self) -> None:
        self.loop.call(self.server.stop)
        self.loop.stop()

    def _act(self, command: str, arguments: dict[str, Any]) -> object:
        self.asked.append((command, arguments))
        if arguments.get("id") == "nope":
            raise CommandError("there is no transfer 'nope': `userlan inbox` lists them")
        return {"transfers": self.rows}

    def _watch(self, arguments: dict[str, Any], reply: Reply) -> None:
        for item in self.story:
            reply.item(item)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.stop()


def story(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"transfer": rows[0]}, {"listed": True}, *({"transfer": row} for row in rows[1:])]


def test_sending_waits_and_tells_each_change_once(node: Node, tmp_path: Path) -> None:
    node.rows = [transfer()]
    node.story = story(
        transfer(),
        transfer(id="other", file="not-mine", state="done"),
        transfer(state="offered"),
        transfer(state="active", rate=1e6),
        transfer(state="active", rate=2e6, done=6_000_000),
        transfer(state="done", done=12_345_678),
    )
    result = node.run("send", str(tmp_path / "film.mkv"), "ben")
    assert result.exit_code == 0, result.output
    assert result.stderr == "until it is received; Ctrl-C ends the waiting, not the transfer\n"
    assert [line.split(": ", 1)[1] for line in result.stdout.splitlines()] == [
        "waits until ben is seen", "offered: waits for ben's answer", "begins", "ben has it",
    ]  # fmt: skip
    assert node.asked == [("files-send", {"to": "ben", "paths": [str(tmp_path / "film.mkv")]})]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ({"state": "declined"}, "film.mkv: ben declined it"),
        ({"state": "failed", "error": "the file was changed"}, "film.mkv: failed: the file was changed"),
        ({"state": "cancelled", "error": "ben called it off"}, "film.mkv: ben called it off"),
    ],
)
def test_what_is_not_received_fails(node: Node, end: dict[str, Any], said: str) -> None:
    node.rows = [transfer()]
    node.story = story(transfer(), transfer(**end))
    result = node.run("send", "film.mkv", "ben")
    assert isinstance(result.exception, ApiError)
    assert str(result.exception) == said


def test_accepting_waits_for_no_disk(node: Node) -> None:
    """What this computer cannot take is for the person to see to: that is said, and nothing waited for, but for what still comes."""
    problem = "/inbox cannot be written: Permission denied"
    held = transfer(direction="in", state="paused", error=problem, held_up=True)
    node.rows = [transfer(direction="in", state="accepted")]
    node.story = story(*node.rows, transfer(direction="in", state="active"), held)
    result = node.run("inbox", "accept", "abc234", "--wait")
    assert isinstance(result.exception, ApiError)
    assert str(result.exception) == f"film.mkv: paused at 0 %: {problem}"
    assert json.loads(node.run("inbox", "accept", "abc234", "--wait", "--json").stdout) == [held]
    other = transfer(id="def234", direction="in", state="active", file="tune.ogg")
    node.rows.append(other)
    node.story = [*story(held), {"transfer": other}, {"transfer": other | {"state": "done", "path": "/inbox/tune.ogg"}}]
    result = node.run("inbox", "accept", "all", "--wait")
    assert "def234  tune.ogg: received: /inbox/tune.ogg" in result.output
    assert str(result.exception) == f"film.mkv: paused at 0 %: {problem}"


def test_sending_without_waiting_and_as_json(node: Node) -> None:
    node.rows = [transfer()]
    result = node.run("send", "--no-wait", "film.mkv", "ben")
    assert result.output == "abc234  film.mkv  12 MB\n"
    assert json.loads(node.run("send", "--no-wait", "--json", "film.mkv", "ben").output) == node.rows
    node.story = story(transfer(state="done"))
    assert json.loads(node.run("send", "--json", "film.mkv", "ben").output)[0]["state"] == "done"


def test_an_interrupt_leaves_the_offer_and_says_so(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: object, row: object) -> None:
        raise KeyboardInterrupt

    node.rows = [transfer()]
    node.story = story(transfer())
    monkeypatch.setattr(Lines, "show", interrupted)
    result = node.run("send", "film.mkv", "ben")
    assert result.exit_code != 0
    assert re.search(r"no longer waiting for 1 of 1: they go on by themselves.*inbox cancel abc234", result.output)
    assert [command for command, _ in node.asked] == ["files-send"], "nothing is called off"


def test_the_inbox(node: Node) -> None:
    assert "the inbox is empty" in node.run("inbox").output
    node.rows = [
        transfer(id="aaa222", direction="in", state="offered", file="evil\x1b[2J", time=1.0),
        transfer(id="bbb222", direction="in", state="done", path="/inbox/a", time=2.0),
        transfer(id="ccc222", state="active", done=6_172_839, rate=1_500_000, time=3.0),
    ]
    lines = node.run("inbox").output.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["bbb222", "ccc222", "aaa222"], "what waits for an answer comes last"
    assert "/inbox/a" in lines[1]
    assert "50 % at 1.5 MB/s" in lines[2]
    assert "\x1b" not in "".join(lines)
    assert lines[-1] == "`userlan inbox accept aaa222` takes what is offered"
    assert json.loads(node.run("inbox", "--json").output) == node.rows


@pytest.mark.parametrize("word", ["accept", "decline", "cancel", "forget"])
def test_answers(node: Node, word: str) -> None:
    node.rows = [transfer(direction="in", state="done", path="/inbox/film.mkv")]
    result = node.run("inbox", word, "abc", "abd")
    assert result.exit_code == 0, result.output
    assert node.asked == [(f"files-{word}", {"id": "abc"}), (f"files-{word}", {"id": "abd"})]
    wrong = node.run("inbox", word, "nope")
    assert "there is no transfer" in str(wrong.exception)


def test_accepting_waits(node: Node) -> None:
    node.rows = [transfer(direction="in", state="accepted")]
    node.story = story(
        transfer(direction="in", state="accepted"),
        transfer(direction="in", state="paused", error="the disk is full", done=1_234_567),
        transfer(direction="in", state="done", path="/inbox/film.mkv"),
    )
    result = node.run("inbox", "accept", "all", "--wait")
    assert [line.split(": ", 1)[1] for line in result.output.splitlines()] == [
        "is about to come", "paused at 9 %: the disk is full", "received: /inbox/film.mkv",
    ]  # fmt: skip
    node.rows = []
    assert node.run("inbox", "accept", "all").output == "nothing is offered\n"


def test_the_folder_is_told_where_there_is_no_desktop(node: Node) -> None:
    assert node.run("inbox", "open").output == "/inbox\n"


def test_names_that_cannot_be_said_are_refused(node: Node) -> None:
    result = node.run("send", "a\udc80", "ben")
    assert "not UTF-8" in str(result.exception)
    assert node.asked == []


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("state", ["waiting", "offered", "accepted", "active", "paused", "done", "declined", "failed", "cancelled"])
def test_each_state_has_words(direction: str, state: str) -> None:
    words = state_text(transfer(direction=direction, state=state))
    assert words
    assert "None" not in words
    assert describe([transfer(direction=direction, state=state, size=0)])


def test_sizes_are_those_of_file_managers() -> None:
    assert [size_text(size) for size in (0, 999, 1000, 12_345_678, 2.5e9, 3e12)] == ["0 B", "999 B", "1.0 kB", "12 MB", "2.5 GB", "3.0 TB"]


def test_bars_show_what_lines_do(capsys: pytest.CaptureFixture[str]) -> None:
    for display in (Bars(), Lines()):
        with display:
            display.show(transfer(state="active", file="[bold]a[/bold]\x1b"))
            display.show(transfer(state="done", file="[bold]a[/bold]\x1b"))
        shown = capsys.readouterr().out
        assert "[bold]a[/bold]" in shown
        assert "ben has it" in shown
