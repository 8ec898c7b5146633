"""Node, mediator and relay as systemd runs them: real processes that tell a real socket how they stand, and write their log as JSON."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.network import end, until

PATIENCE = 60.0
CONFIG = """
name: nas
log: {format: json, level: LEVEL}
proxy: {listen: none}
dns: {listen: none}
mdns: {enabled: no}
discovery: {enabled: no}
notices: {enabled: no}
traversal: {port_mapping: no, lan_discovery: no}
"""


class Managed:
    """One program, and its manager's socket."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir()
        self.config = folder / "config.yaml"
        self.config.write_text(CONFIG.replace("LEVEL", "warn"))
        self.log = folder / "log"
        self.messages: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.setblocking(False)
        environment = os.environ | {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "600000"}
        command = [sys.executable, "-m", "userlan", "--state", str(folder / "state"), "--config", str(self.config), *arguments]
        with (folder / "output").open("wb") as output, self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=log, start_new_session=True)
        self.output = folder / "output"

    def wait_for(self, word: str) -> str:
        """The next message that holds a word; those before it are forgotten."""

        def look() -> str | None:
            try:
                while True:
                    self.messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                pass
            assert self.process.poll() is None or self.messages, self.log.read_text()
            found = next((number for number, message in enumerate(self.messages) if word in message), None)
            if found is None:
                return None
            message = self.messages[found]
            del self.messages[: found + 1]
            return message

        found: str = until(look, PATIENCE, f"{word}: {self.messages}")
        return found

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def close(self) -> None:
        end(self.process)
        self._socket.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Managed]]:
    started: list[Managed] = []

    def begin(name: str, *arguments: str) -> Managed:
        started.append(Managed(tmp_path / name, *arguments))
        return started[-1]

    yield begin
    for one in reversed(started):
        one.close()


def live(program: Managed, standing: str, part: str) -> None:
    """A whole life; the log follows the configuration."""
    assert standing in program.wait_for("READY=1")
    for _ in range(2):
        assert program.wait_for("WATCHDOG") == "WATCHDOG=1"
    assert program.logged() == []
    program.config.write_text(CONFIG.replace("LEVEL", "info"))
    program.process.send_signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in program.wait_for("RELOADING=1")
    program.wait_for("READY=1")
    until(program.logged, PATIENCE, "the log tells of the reload")
    assert "was read again" in program.logged()[0]["message"]
    assert program.logged()[0]["part"].split(".")[0] == part
    program.config.write_text("log: {parts: {tunel: debug}}\n")
    program.process.send_signal(signal.SIGHUP)
    program.wait_for("READY=1")
    mistakes = until(lambda: [one for one in program.logged() if one["level"] == "error"], PATIENCE, "the mistake is told")
    assert "did you mean 'tunnel'?" in mistakes[0]["message"]
    program.process.send_signal(signal.SIGTERM)
    program.wait_for("STOPPING=1")
    assert program.process.wait(PATIENCE) == 0


def test_a_node(start: Callable[..., Managed]) -> None:
    live(start("node", "up", "--listen", "127.0.0.1:0"), "STATUS=nas ", "app")


def test_a_mediator_and_a_relay(start: Callable[..., Managed]) -> None:
    mediator = start("mediator", "mediator", "--listen", "127.0.0.1:0")
    mediator.wait_for("READY=1")
    link = mediator.output.read_text().split()[0]
    relay = start("relay", "relay", "--mediator", link, "--listen", "127.0.0.1:0")
    live(relay, "of 1 pools", "relay")
    mediator.process.send_signal(signal.SIGHUP)
    mediator.wait_for("RELOADING=1")
    mediator.wait_for("READY=1")
    mediator.process.send_signal(signal.SIGTERM)
    mediator.wait_for("STOPPING=1")
    assert mediator.process.wait(PATIENCE) == 0


def test_a_program_that_cannot_start_says_why(start: Callable[..., Managed]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        program = start("node", "up", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        assert "STATUS=" in program.wait_for("STOPPING=1")
        assert program.process.wait(PATIENCE) == 1
        assert program.log.read_text().startswith("userlan: ")
