"""`userlan chat`: what it prints, and that nothing others write is more than text."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from userlan.cli import chat_commands
from userlan.cli.chat_text import Printer, conversations_text, lines, message_text, preview, state_text
from userlan.cli.client import ApiError
from userlan.cli.main import cli

NOON = time.mktime((2026, 3, 4, 12, 34, 56, 0, 0, -1))


def message(**changes: Any) -> dict[str, Any]:
    base = {
        "id": "x", "seq": 5, "conversation": "peer:K", "from": "K", "name": "ben", "text": "hello", "time": NOON, "own": False,
        "state": "received", "delivered": 0, "recipients": 0, "reason": "",
    }  # fmt: skip
    return base | changes


def own(state: str, delivered: int = 0, recipients: int = 1, **changes: Any) -> dict[str, Any]:
    return message(own=True, name="anna", state=state, delivered=delivered, recipients=recipients, **changes)


class Told:
    """A node that answers what it is given, and notes what it was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, state: Path, command: str, **arguments: Any) -> Any:
        self.asked.append((command, arguments))
        answer = self.answers[command]
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, told: Told, *arguments: str, stdin: str = "") -> Result:
    monkeypatch.setattr(chat_commands, "call", told)
    return CliRunner().invoke(cli, ["--state", str(folder), "chat", *arguments], input=stdin)


def test_a_message_in_a_line() -> None:
    assert message_text(message()) == "12:34  ben: hello"
    assert message_text(message(text="a\n\tb")) == "12:34  ben: a\n           b"
    assert message_text(own("delivered", 1)) == "12:34  anna: hello"
    assert message_text(own("waiting")) == "12:34  anna: hello  (kept)"
    assert message_text(own("waiting", 2, 3)) == "12:34  anna: hello  (2 of 3 have it)"
    assert message_text(own("failed", reason="gone\x1b")) == "12:34  anna: hello  (not delivered: gone�)"


def test_what_becomes_of_it() -> None:
    assert state_text(own("delivered", 1), "ben") == "delivered"
    assert state_text(own("waiting"), "ben") == "kept until ben is seen"
    assert state_text(own("waiting", 0, 3, conversation="network:home"), "home") == "kept until a member is seen"
    assert state_text(own("waiting", 1, 3, conversation="network:home"), "home") == "delivered to 1 of 3, kept until the others are seen"
    assert state_text(own("delivered", 2, 3, reason="not in home any more"), "home") == "delivered to 2 of 3; else: not in home any more"
    assert state_text(own("failed", reason="not seen for 30 days"), "ben") == "not delivered: not seen for 30 days"


HOSTILE = ["\x1b[2J", "a\x9b2Jb", "\u202egnp.exe", "a\r\nb", "\x07", "\u2028x", "a\n12:34  anna: forged", "\U000e0041"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_no_command_and_no_other_message(text: str) -> None:
    for shown in (message_text(message(text=text)), message_text(message(name=text))):
        first, *rest = shown.split("\n")
        assert first.isprintable()
        assert all(line.isprintable() and line.startswith("       ") for line in rest)
    assert preview(text).isprintable()
    assert conversations_text([conversation(last=message(text=text, name=text), title=text)]).count("\n") == 1


def conversation(**changes: Any) -> dict[str, Any]:
    base = {"id": "peer:K", "kind": "peer", "title": "ben", "unread": 0, "last": message(), "muted": False, "here": True}
    return base | changes


def test_conversations_in_columns() -> None:
    rows = [conversation(unread=3), conversation(kind="network", title="home", last=own("waiting", text="x" * 100))]
    head, first, second = conversations_text(rows).splitlines()
    assert head.split() == ["WITH", "UNREAD", "LAST", "TEXT"]
    assert first.split() == ["ben", "3", "2026-03-04", "ben:", "hello"]
    assert second.startswith("home (network)  -")
    assert second.endswith("me: " + "x" * 59 + "…")
    assert "userlan chat PEER TEXT" in conversations_text([])


def test_days_are_told_once() -> None:
    printer = Printer()
    assert printer.text(message()).splitlines()[0] == time.strftime("— %A, %d %B %Y —", time.localtime(NOON))
    assert printer.text(message()) == "12:34  ben: hello"
    assert printer.text(message(time=NOON + 86400), "home").splitlines()[1] == "[home] 12:34  ben: hello"


def test_lines() -> None:
    assert lines("a\tb\n\nc") == ["a   b", "", "c"]


def test_sending(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = Told({"chat-send": {"message": own("delivered", 1)}})
    result = run(monkeypatch, tmp_path, told, "ben", "hello", "there")
    assert (result.exit_code, result.output) == (0, "delivered\n")
    assert told.asked[0][1]["text"] == "hello there"
    result = run(monkeypatch, tmp_path, told, "ben", stdin="from\na pipe\n")
    assert told.asked[1][1]["text"] == "from\na pipe\n"
    result = run(monkeypatch, tmp_path, told, "ben", "x", "--json")
    assert json.loads(result.output)["state"] == "delivered"
    told.answers["chat-send"] = {"message": own("failed", reason="gone")}
    result = run(monkeypatch, tmp_path, told, "ben", "x")
    assert isinstance(result.exception, ApiError)
    assert str(result.exception) == "not delivered: gone"


def test_history_is_read_by_people_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = Told({"chat-history": {"messages": [message()], "more": False, "conversation": "peer:K"}, "chat-read": {}})
    assert "12:34  ben: hello" in run(monkeypatch, tmp_path, told, "ben", "--history", "-n", "7").output
    assert told.asked == [("chat-history", {"conversation": "ben", "limit": 7}), ("chat-read", {"conversation": "peer:K"})]
    told.asked.clear()
    assert json.loads(run(monkeypatch, tmp_path, told, "ben", "--history", "--json").output)["messages"][0]["text"] == "hello"
    assert [command for command, _ in told.asked] == ["chat-history"]


def test_finding_asks_on_until_there_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = [{"messages": [message(seq=9, text="jam 2")], "before": 7}, {"messages": [], "before": 5},
               {"messages": [message(seq=4, text="jam 1", conversation="network:home")], "before": None}]  # fmt: skip
    told = Told({"chat-conversations": [conversation(), conversation(id="network:home", kind="network", title="home")]})

    def search(state: Path, command: str, **arguments: Any) -> Any:
        told.answers["chat-search"] = answers[min(len(told.asked), 2)]
        return Told.__call__(told, state, command, **arguments)

    monkeypatch.setattr(chat_commands, "call", search)
    printed = CliRunner().invoke(cli, ["--state", str(tmp_path), "chat", "--find", "jam", "-n", "5"]).output.splitlines()
    assert printed[1:] == ["[home] 12:34  ben: jam 1", "[ben] 12:34  ben: jam 2"]
    asked = [(arguments["before"], arguments["limit"]) for command, arguments in told.asked if command == "chat-search"]
    assert asked == [(None, 5), (7, 4), (5, 4)]
    told.asked.clear()
    printed = CliRunner().invoke(cli, ["--state", str(tmp_path), "chat", "ben", "--find", "jam", "-n", "1", "--json"]).output.splitlines()
    assert [one["text"] for one in json.loads("".join(printed))["messages"]] == ["jam 2"]
    assert told.asked == [("chat-search", {"text": "jam", "conversation": "ben", "before": None, "limit": 1})]
    nothing = run(monkeypatch, tmp_path, Told({"chat-search": {"messages": [], "before": None}}), "ben", "--find", "jam")
    assert nothing.output == "nobody has written that in the chat with ben\n"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(("ben", "x", "--history"), "either"), (("ben", "x", "--follow"), "either"), (("--history",), "of whom"), (("ben", "-n", "0"), "-n"),
     (("ben", "x", "--find", "y"), "either"), (("ben", "--history", "--find", "y"), "either")],
)  # fmt: skip
def test_wrong_usage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...], part: str) -> None:
    result = run(monkeypatch, tmp_path, Told({}), *arguments)
    assert result.exit_code == 2
    assert part in result.output


def test_no_node(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["--state", str(tmp_path), "chat"])
    assert isinstance(result.exception, ApiError)
    assert "userlan up" in str(result.exception)
