"""A conversation on a terminal: what its two threads and its timer do at one moment."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest

from tests.cli.test_chat import own
from userlan.cli import chat_talk
from userlan.cli.chat_talk import Talk
from userlan.cli.client import ApiError

PATIENCE = 60.0
Act = Callable[[], str]


class Timers:
    """Go off when the test says so."""

    def __init__(self, after: float, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.daemon = False
        self._go_off = lambda: action(*arguments)

    def start(self) -> None:
        """Not by itself."""
        started.append(self._go_off)

    def cancel(self) -> None:
        """It has gone off already."""


started: list[Callable[[], None]] = []


class Scene:
    """A node, and a person who does one thing after another. ``history``: asked for once for the beginning, then by the timer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        started.clear()
        monkeypatch.setenv("TERM", "dumb")
        self.acts: list[Act] = []
        self.items: Queue[dict[str, Any] | None] = Queue()
        self.history: Callable[[], list[dict[str, Any]]] = list
        monkeypatch.setattr(chat_talk, "Client", lambda state: self)
        monkeypatch.setattr(chat_talk, "call", self.call)
        names = {"Thread": threading.Thread, "Event": threading.Event, "RLock": threading.RLock, "Timer": Timers}
        monkeypatch.setattr(chat_talk, "threading", SimpleNamespace(**names))
        monkeypatch.setattr(builtins, "input", lambda prompt: self.acts.pop(0)())

    def request(self, command: str, arguments: dict[str, Any], item: Callable[[dict[str, Any]], None]) -> None:
        """``chat-watch``: in its thread; None: the node ends."""
        item({"watching": True})
        while (told := self.items.get(timeout=PATIENCE)) is not None:
            item(told)
            self.items.task_done()

    def close(self) -> None:
        """Of the connection."""
        self.items.put(None)

    def call(self, state: Path, command: str, **arguments: Any) -> Any:
        if command == "chat-send":
            return {"message": own("waiting")}
        messages = self.history() if "before" in arguments else []
        return {"messages": messages, "conversation": "peer:K"}


def leave() -> str:
    raise EOFError


def due() -> str:
    """The timer goes off while the next line is written."""
    started.pop()()
    return ""


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_what_waits_is_said_to_be_kept_and_then_delivered(scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene.history = lambda: [own("waiting")]
    scene.acts = [lambda: "hello", due, lambda: deliver(scene), leave]
    Talk(tmp_path, "ben").run(10)
    assert [line for line in capsys.readouterr().out.splitlines() if "hello" in line] == [
        "  (kept until ben is seen: hello)", "  (delivered: hello)",
    ]  # fmt: skip


def deliver(scene: Scene) -> str:
    """It is, and the other thread knows."""
    scene.items.put({"delivery": own("delivered", 1)})
    scene.items.join()
    return ""


def test_what_is_delivered_while_the_node_is_asked_is_not_said_to_be_kept(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The timer has gone off and cannot be stopped; its answer is older than the delivery."""

    def answer() -> list[dict[str, Any]]:
        deliver(scene)
        return [own("waiting")]

    scene.history = answer
    scene.acts = [lambda: "hello", due, leave]
    Talk(tmp_path, "ben").run(10)
    assert "hello" not in capsys.readouterr().out


def test_a_node_that_ends_just_before_the_prompt_is_noticed(scene: Scene, tmp_path: Path) -> None:
    class Late(Talk):
        """The node ends when the loop has looked whether it has, and nobody waits for input yet."""

        def __setattr__(self, name: str, value: Any) -> None:
            if (name, value) == ("_prompting", True):
                scene.close()
                for thread in threading.enumerate():
                    if thread.name == "chat-watch":
                        thread.join(PATIENCE)
            super().__setattr__(name, value)

    with pytest.raises(ApiError, match="the node ended"):
        Late(tmp_path, "ben").run(10)


def test_a_timer_that_finds_no_node_says_nothing(scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def gone() -> list[dict[str, Any]]:
        raise ApiError("the node went away")

    scene.history = gone
    scene.acts = [lambda: "hello", due, leave]
    Talk(tmp_path, "ben").run(10)
    assert "hello" not in capsys.readouterr().out
