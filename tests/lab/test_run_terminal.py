"""``userlan run`` at a terminal: the program has it as if nothing lay between, job control of the shell included."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.network import Lab, tun_unavailable, unavailable, until
from tests.lab.test_run import Inside, inside

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    reason = unavailable() or tun_unavailable()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("terminal")
    with Lab(folder) as lab:
        yield inside(lab, folder)


class Terminal:
    """An interactive shell with job control on a pseudo-terminal of its own (pty(7))."""

    def __init__(self, two: Inside) -> None:
        master, slave = pty.openpty()
        shell = two.ben.namespace.command("bash", "--norc", "--noprofile", "-i")
        environment = {**os.environ, "PS1": "$ ", "TERM": "dumb", "HISTFILE": ""}

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(shell, stdin=slave, stdout=slave, stderr=slave, env=environment, preexec_fn=take_terminal)
        os.close(slave)
        self.master = master
        self.shown = ""
        self.expect(r"\$ $")

    def type(self, text: str) -> None:
        self.shown = ""
        os.write(self.master, text.encode())

    def expect(self, pattern: str, patience: float = 60) -> re.Match[str]:
        """Until what is shown has it."""
        give_up = time.monotonic() + patience
        while True:
            found = re.search(pattern, self.shown)
            if found:
                return found
            left = give_up - time.monotonic()
            assert left > 0, f"not shown: {pattern!r} in {self.shown!r}"
            if select.select([self.master], [], [], left)[0]:
                self.shown += os.read(self.master, 65536).decode("utf-8", "replace").replace("\r", "")

    def close(self) -> None:
        """Hang up (SIGHUP for the session)."""
        os.close(self.master)
        self.process.wait(60)


@pytest.fixture
def terminal(two: Inside) -> Iterator[Terminal]:
    made = Terminal(two)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.close()
        until(lambda: two.gone(), 60, "the place is gone")


def typed(two: Inside, *program: str) -> str:
    return " ".join((*two.command(*program)[len(two.ben.namespace.command()) :], "\n"))


def test_interrupt(two: Inside, terminal: Terminal) -> None:
    """Ctrl-C ends the program, and only that."""
    terminal.type(typed(two, "sh", "-c", "'echo be''gun; exec sleep 60'"))
    terminal.expect("begun\n")
    terminal.type("\x03")
    terminal.expect(r"\$ $")
    terminal.type("echo status=$?\n")
    terminal.expect("status=130\n")


def test_suspend_and_continue(two: Inside, terminal: Terminal) -> None:
    """Ctrl-Z, bg, fg: the shell's job is the program itself."""
    terminal.type(typed(two, "sh", "-c", "'echo be''gun; read line; echo got $line; exit 5'"))
    terminal.expect("begun\n")
    terminal.type("\x1a")
    terminal.expect(r"Stopped.*\n\$ $")
    terminal.type("fg\n")
    terminal.expect("fg\n.*\n")
    terminal.type("words\n")
    terminal.expect("got words\n")
    terminal.type("echo status=$?\n")
    terminal.expect("status=5\n")


def test_in_the_background(two: Inside, terminal: Terminal) -> None:
    """A program in the background that reads from the terminal is stopped, as any is."""
    terminal.type(typed(two, "cat").rstrip() + " &\n")
    terminal.expect(r"\[1\] \d+\n")

    def stopped() -> bool:
        terminal.type("jobs; echo done\n")
        return "Stopped" in terminal.expect(r"(?s)(.*)done\n\$ $")[0]

    until(stopped, 60, "it waits for the terminal", 0.3)
    terminal.type("kill -KILL %1; wait; echo en''ded\n")
    terminal.expect("ended\n")


def test_size(two: Inside, terminal: Terminal) -> None:
    """The program hears of a new size (SIGWINCH) and sees it."""
    terminal.type(typed(two, "bash", "-c", "'trap \"stty size; exit\" WINCH; echo be''gun; while :; do sleep 0.1; done'"))
    terminal.expect("begun\n")
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    terminal.expect("33 77\n")


def test_hanging_up(two: Inside, terminal: Terminal, tmp_path: Path) -> None:
    """A terminal that is closed ends its programs; the keeper, which has none, ends after them."""
    note = tmp_path / "note"
    terminal.type(typed(two, "bash", "-c", f"'trap \"echo hup > {note}; exit\" HUP; echo be''gun; while :; do sleep 0.1; done'"))
    terminal.expect("begun\n")
    keeper = int((two.ben.folder / "namespace.keeper").read_text().split()[0])
    assert os.getsid(keeper) == keeper
    terminal.close()
    until(lambda: note.exists() and note.read_text() == "hup\n", 60, "the program was told")


def test_kill_of_the_whole_session_leaves_nothing(two: Inside, terminal: Terminal) -> None:
    terminal.type(typed(two, "sh", "-c", "'echo be''gun; sleep 60 & exec sleep 60'"))
    terminal.expect("begun\n")
    terminal.type("\x1a")
    terminal.expect(r"Stopped.*\n\$ $")
    terminal.type("kill -KILL %1; pkill -KILL -s $$ sleep; wait; echo en''ded\n")
    terminal.expect("ended\n")
    assert terminal.process.poll() is None
