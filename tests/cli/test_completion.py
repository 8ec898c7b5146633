"""Completion in real shells, with names of a real node."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.cli.two_nodes import PATIENCE, Nodes
from userlan.cli.completing import ask
from userlan.cli.main import Commands, cli

ATTEMPTS = 20
"""A busy machine's node may not answer within the patience of a key that is pressed; then nothing is offered, and it is pressed again."""
BASH = """
eval "$(userlan completion bash)"
COMP_WORDS=({words}) COMP_CWORD={last}
_userlan_completion userlan
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def environment(state: Path, home: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": str(ROOT), "USERLAN_STATE": str(state), "HOME": str(home), "TERM": "dumb", "LC_ALL": "C.UTF-8"}


def bash(state: Path, home: Path, *words: str) -> list[str]:
    """What is offered."""
    script = BASH.format(words=" ".join(f"'{word}'" for word in words), last=len(words) - 1)
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment(state, home), capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def in_time(press: Callable[[], list[str]], offered: list[str]) -> None:
    """What is offered once the node has answered in time; less, and nothing else, may be offered before."""
    for _ in range(ATTEMPTS):
        found = press()
        if found == offered:
            return
        assert set(found) < set(offered), found
    raise AssertionError(f"never offered: {offered}")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("userlan", "st"), ["status"]),
        (("userlan", "service", "re"), ["remove"]),
        (("userlan", "status", "--js"), ["--json"]),
        (("userlan", "ping", ""), ["ben"]),
        (("userlan", "ping", "x"), []),
        (("userlan", "evict", "ben", ""), ["home"]),
        (("userlan", "create", ""), []),
        (("userlan", "leave", "h"), ["home"]),
        (("userlan", "chat", ""), ["ben", "home"]),
        (("userlan", "send", "file", "b"), ["ben"]),
        (("userlan", "unexpose", ""), ["8000"]),
        (("userlan", "share", "--peer", "b"), ["ben"]),
        (("userlan", "share", "openttd", "--network", ""), ["home"]),
        (("userlan", "inbox", "accept", ""), ["all"]),
        (("userlan", "completion", "f"), ["fish"]),
    ],
)
def test_bash(nodes: Nodes, tmp_path: Path, words: tuple[str, ...], offered: list[str]) -> None:
    in_time(lambda: bash(nodes.state("anna"), tmp_path, *words), offered)


def test_the_state_folder_of_the_line_counts(nodes: Nodes, tmp_path: Path) -> None:
    in_time(lambda: bash(tmp_path, tmp_path, "userlan", "--state", str(nodes.state("ben")), "ping", ""), ["anna"])


def test_fish(nodes: Nodes, tmp_path: Path) -> None:
    script = 'userlan completion fish | source; complete -C "userlan ping "; complete -C "userlan sta"'

    def fish() -> list[str]:
        done = subprocess.run(
            ["fish", "--no-config", "-c", script],
            env=environment(nodes.state("anna"), tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout.splitlines()

    in_time(fish, ["ben\tdirect", "status"])


class Terminal:
    """An interactive shell at a terminal."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.shown = ""
        process, self._end = pty.fork()
        if process == 0:
            os.execvpe(command[0], command, environment)
        self._process = process

    def type(self, text: str, until: str) -> None:
        """Press keys, and wait for what is then shown."""
        os.write(self._end, text.encode())
        give_up = time.monotonic() + PATIENCE
        begin = len(self.shown)
        while until not in self.shown[begin:]:
            assert time.monotonic() < give_up, f"not shown: {until!r}: {self.shown!r}"
            if select.select([self._end], [], [], 1)[0]:
                self.shown += os.read(self._end, 4096).decode(errors="replace")

    def press(self, key: str, until: str) -> None:
        """Press a key again and again, until something is shown of it."""
        begin = len(self.shown)
        for _ in range(ATTEMPTS):
            os.write(self._end, key.encode())
            give_up = time.monotonic() + PATIENCE / 4
            while time.monotonic() < give_up:
                if select.select([self._end], [], [], 0.1)[0]:
                    self.shown += os.read(self._end, 4096).decode(errors="replace")
                if until in self.shown[begin:]:
                    return
        raise AssertionError(f"not shown: {until!r}: {self.shown!r}")

    def close(self) -> None:
        os.kill(self._process, 9)
        os.waitpid(self._process, 0)
        os.close(self._end)


@pytest.mark.parametrize(
    ("command", "setup"),
    [
        (["bash", "--norc", "-i"], 'eval "$(userlan completion bash)"'),
        (["zsh", "-f", "-i"], 'autoload -U compinit; compinit -D; eval "$(userlan completion zsh)"'),
    ],
)
def test_the_key_at_a_terminal(nodes: Nodes, tmp_path: Path, command: list[str], setup: str) -> None:
    terminal = Terminal(command, environment(nodes.state("anna"), tmp_path))
    try:
        terminal.type(f"{setup}; echo do''ne\n", "done")
        terminal.type("userlan pi\t", "userlan ping ")
        terminal.press("\t", "ben")
        terminal.type("-c 1 2>&1 | grep -c answ''ered\n", "\n1")
    finally:
        terminal.close()


def test_where_nothing_answers_nothing_is_offered_and_nobody_waits(tmp_path: Path) -> None:
    assert ask(tmp_path, "status") is None
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control.sock"))
        silent.listen(5)
        assert ask(tmp_path, "status") is None
    assert bash(tmp_path, tmp_path, "userlan", "ping", "") == []


def test_each_command_is_in_one_group_of_the_help() -> None:
    listed = [name for names in Commands.groups.values() for name in names]
    assert sorted(listed) == sorted(Commands.modules)
    assert isinstance(cli, Commands)
