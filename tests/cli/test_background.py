"""Commands that need a node start one, or wait for the one that is just starting."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from userlan.driver.state import holding_node

COMMAND = """
import sys, pathlib
from userlan.cli.background import ensure_running
from userlan.cli.client import ApiError
from userlan.cli.main import Settings

try:
    print("started" if ensure_running(Settings(pathlib.Path(sys.argv[1]), None, 0)).fresh else "found")
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

path, holder = pathlib.Path(sys.argv[1]), sys.argv[2]
folder = StateFolder(path, print, holder)
commands = Commands()
commands.register("hello", lambda arguments: {"process": os.getpid()})
local = LocalServer(reactor, path, commands)

def look():
    # it goes on once somebody was turned away: that is the moment that is meant
    log = path / LOG_NAME
    if holder == "node" and log.exists() and "is held by" in log.read_text():
        local.start()
    else:
        reactor.callLater(0.05, look)

print("held", flush=True)
reactor.callWhenRunning(look)
reactor.callLater(120, reactor.stop)
reactor.run()
"""
"""A process that holds the folder for long before it answers."""


@contextmanager
def slow_start(folder: Path, holder: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", SLOW_START, str(folder), holder], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process.pid
        finally:
            process.kill()


def command(folder: Path) -> str:
    """What a command that needs a node says of it."""
    done = subprocess.run([sys.executable, "-c", COMMAND, str(folder)], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_node_that_is_just_starting_is_waited_for(tmp_path: Path) -> None:
    with slow_start(tmp_path, "node") as process:
        assert holding_node(tmp_path) == process
        assert command(tmp_path) == "found", "it is not this command's to stop"


def test_a_mediator_that_holds_the_folder_is_no_node_to_wait_for(tmp_path: Path) -> None:
    with slow_start(tmp_path, "mediator") as process:
        assert holding_node(tmp_path) is None
        assert f"is held by another userlan (process {process})" in command(tmp_path)
