"""Three real nodes on loopback talk: both ways, in a network, with one that is away, and with restarts in between."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.page.nodes import Node, until
from userlan.cli.client import ApiError


def texts(node: Node, conversation: str) -> list[str]:
    try:
        messages = node.call("chat-history", conversation=conversation)["messages"]
    except ApiError:
        return []       # it does not know that member yet
    return [message["text"] for message in messages]


def state(node: Node, conversation: str) -> str:
    return str(node.call("chat-history", conversation=conversation, limit=1)["messages"][0]["state"])


def userlan(node: Node, *arguments: str, stdin: str | None = None) -> str:
    """The command as a person gives it."""
    command = [sys.executable, "-m", "userlan", "--state", str(node.folder), *arguments]
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    done: subprocess.CompletedProcess[str] = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, **given)
    return done.stdout


class Terminal:
    """``userlan chat PEER`` on a terminal of its own."""

    def __init__(self, node: Node, peer: str) -> None:
        self.screen = ""
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.environ["TERM"] = "xterm"
            os.execv(sys.executable, [sys.executable, "-m", "userlan", "--state", str(node.folder), "chat", peer])

    def shows(self, what: str) -> bool:
        while select.select([self._terminal], [], [], 0.05)[0]:
            try:
                self.screen += os.read(self._terminal, 65536).decode()
            except OSError:
                break
        return what in self.screen

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def status(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node, Node]]:
    folder = tmp_path_factory.mktemp("nodes")
    anna, ben, eve = people = Node(folder, "anna"), Node(folder, "ben"), Node(folder, "eve")
    try:
        anna.start()
        invite = anna.call("create", network="home")["invite"]
        for one in (ben, eve):
            one.start()
            one.call("join", invite=invite)
        until(lambda: all(one.sees(other) for one in people for other in people if one is not other), "all see each other")
        yield people
    finally:
        for one in people:
            one.stop()


def test_people_talk(nodes: tuple[Node, Node, Node]) -> None:
    anna, ben, eve = nodes
    assert userlan(anna, "chat", "ben", "hello", "ben") == "delivered\n"
    assert userlan(ben, "chat", "anna", stdin="hello\nanna\n") == "delivered\n"
    assert texts(anna, "ben") == texts(ben, "anna") == ["hello ben", "hello\nanna"]
    told = userlan(ben, "chat", "anna", "--history").splitlines()
    assert [line.partition("  ")[2] for line in told[1:3]] == ["anna: hello ben", "ben: hello"]
    assert told[3].strip() == "anna"

    assert userlan(anna, "chat", "home", "everybody") == "delivered\n"
    assert texts(ben, "home") == texts(eve, "home") == ["everybody"]


def test_who_is_away_gets_it_later_across_restarts(nodes: tuple[Node, Node, Node]) -> None:
    anna, ben, eve = nodes
    before = texts(ben, "anna")
    ben.stop()
    assert userlan(anna, "chat", "ben", "later 1") == "kept until ben is seen\n"
    anna.call("chat-send", to="ben", text="later 2")
    anna.call("chat-send", to="home", text="to all, later")
    until(lambda: texts(eve, "home")[-1] == "to all, later", "who is there has it")
    assert state(anna, "home") == "waiting"
    anna.stop()
    anna.start()
    ben.start()
    until(lambda: texts(ben, "anna") == [*before, "later 1", "later 2"], "ben has them, once and in order")
    until(lambda: texts(ben, "home")[-1] == "to all, later", "of the network too")
    until(lambda: state(anna, "ben") == state(anna, "home") == "delivered", "anna knows")
    assert texts(eve, "home").count("to all, later") == 1


def test_a_conversation_on_a_terminal(nodes: tuple[Node, Node, Node]) -> None:
    anna, ben, _ = nodes
    until(lambda: anna.sees(ben) and ben.sees(anna), "they see each other")
    terminal = Terminal(anna, "ben")
    until(lambda: terminal.shows("you talk with ben"), "it begins")
    terminal.type("typed by anna\n")
    until(lambda: texts(ben, "anna")[-1] == "typed by anna", "ben has it")
    terminal.type("half a li")
    until(lambda: terminal.shows("half a li"), "it is echoed")
    ben.call("chat-send", to="anna", text="from ben\x1b[31m\nin two lines")
    until(lambda: terminal.shows("in two lines\r\n> half a li"), "what is half written stands below what has come")
    assert "ben: from ben[31m\r\n" in terminal.screen
    terminal.type("ne\n")
    until(lambda: texts(ben, "anna")[-1] == "half a line", "ben has it, and whole")
    until(lambda: anna.call("chat-conversations")[0]["unread"] == 0, "what was shown is read")
    terminal.type("\x04")
    assert terminal.status() == 0


def test_following(nodes: tuple[Node, Node, Node], tmp_path: Path) -> None:
    anna, ben, _ = nodes
    log = tmp_path / "followed"
    with log.open("wb") as output:
        following = subprocess.Popen(
            [sys.executable, "-m", "userlan", "--state", str(anna.folder), "chat", "ben", "--follow", "-n", "1"], stdout=output
        )
    try:
        until(lambda: log.read_bytes(), "the last message is shown")
        ben.call("chat-send", to="anna", text="a line to follow")
        until(lambda: b"ben: a line to follow" in log.read_bytes(), "so is what comes")
    finally:
        following.terminate()
        following.wait(60)


def test_a_newer_history_keeps_the_node_from_nothing(nodes: tuple[Node, Node, Node]) -> None:
    import sqlite3

    _, _, eve = nodes
    terminal = Terminal(eve, "anna")
    until(lambda: terminal.shows("you talk with anna"), "it begins")
    eve.stop()
    until(lambda: terminal.shows("userlan: the node"), "whoever talks learns of it")
    assert terminal.status() == 1
    with sqlite3.connect(eve.folder / "chat.sqlite") as database:
        database.execute("PRAGMA user_version = 77")
    database.close()
    begin = time.monotonic()
    eve.start()
    with pytest.raises(ApiError, match="newer userlan"):
        eve.call("chat-conversations")
    assert "newer userlan" in eve.call("status")["bridges"]["chat"]
    assert time.monotonic() - begin < 120
