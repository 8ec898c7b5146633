"""Commands that need a node start one, or wait for the one that is just starting."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cli.two_nodes import QUIET
from userlan.cli.client import NotRunningError, call, stop_node
from userlan.driver.state import holding_node

COMMAND = """
import sys, pathlib
from userlan.cli.background import ensure_running
from userlan.cli.client import ApiError
from userlan.cli.main import Settings

try:
    settings = Settings(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) if sys.argv[2:] else None, 0)
    print("started" if ensure_running(settings).fresh else "found")
except ApiError as error:
    print(error)
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
"""What is started in the background is of the same code as this."""

SLOW_START = """
import os, sys, pathlib
from twisted.internet import reactor
from userlan.cli.background import LOG_NAME
from userlan.driver.commands import Commands
from userlan.driver.local import LocalServer
from userlan.driver.state import StateFolder

path, holder, ends = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "ends"
folder = StateFolder(path, print, holder)
commands = Commands()
commands.register("hello", lambda arguments: {"process": os.getpid(), "ending": ends})
local = LocalServer(reactor, path, commands)

def look():
    # it goes on once somebody was turned away: that is the moment that is meant
    log = path / LOG_NAME
    if holder == "node" and log.exists() and "is held by" in log.read_text():
        reactor.stop() if ends else local.start()
    else:
        reactor.callLater(0.05, look)

if ends:
    local.start()
print("held", flush=True)
reactor.callWhenRunning(look)
reactor.callLater(120, reactor.stop)
reactor.run()
"""
"""A process that holds the folder for long before it answers, or as one that answers and is about to end."""


@contextmanager
def slow_start(folder: Path, holder: str, then: str = "answers") -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", SLOW_START, str(folder), holder, then], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process.pid
        finally:
            process.kill()


def command(folder: Path, *config: str) -> str:
    """What a command that needs a node says of it."""
    ask = [sys.executable, "-c", COMMAND, str(folder), *config]
    done = subprocess.run(ask, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_node_that_is_just_starting_is_waited_for(tmp_path: Path) -> None:
    with slow_start(tmp_path, "node") as process:
        assert holding_node(tmp_path) == process
        assert command(tmp_path) == "found", "it is not this command's to stop"


def test_one_that_is_about_to_end_is_waited_for_and_another_started(tmp_path: Path) -> None:
    """It answers still, and holds the folder; what it was asked now would be lost with it."""
    state, config = tmp_path / "state", tmp_path / "config.yaml"
    config.write_text(QUIET)
    with slow_start(state, "node", "ends") as process:
        try:
            assert command(state, str(config)) == "started"
            assert call(state, "hello")["process"] == holding_node(state) != process
        finally:
            with suppress(NotRunningError):
                stop_node(state)


def test_a_command_that_starts_no_node_says_that_one_is_just_starting(tmp_path: Path) -> None:
    """It is not worth waiting for: whoever asks for the status asks again."""
    ask = [sys.executable, "-m", "userlan", "--state", str(tmp_path), "status"]
    with slow_start(tmp_path, "node") as process:
        told = subprocess.run(ask, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
        assert told.returncode == 1
        assert f" yet: process {process} is just starting one, or ending; try again in a moment\n" in told.stderr
    assert holding_node(tmp_path) == process, "its lock still names the one that has ended"
    told = subprocess.run(ask, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert told.stderr.startswith(f"userlan: no node runs with the state folder {tmp_path}: ")


def test_a_mediator_that_holds_the_folder_is_no_node_to_wait_for(tmp_path: Path) -> None:
    with slow_start(tmp_path, "mediator") as process:
        assert holding_node(tmp_path) is None
        assert f"is held by another userlan (process {process})" in command(tmp_path)
