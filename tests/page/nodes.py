"""``userlan up`` as a process on loopback, with a state folder of its own."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from userlan.cli.client import NotRunningError, call

PATIENCE = 60.0
"""Seconds for a program to begin, for two members to meet, for a page to show it: the machine may have other work."""
CONFIG = """\
name: {name}
traversal: {{port_mapping: no, lan_discovery: no}}
discovery: {{enabled: no}}
mdns: {{enabled: no}}
dns: {{listen: none}}
proxy: {{listen: 127.0.0.1:0}}
page: {{listen: 127.0.0.1:{page}}}
files: {{inbox: {inbox}}}
notices: {{enabled: no}}
"""
"""Nothing of it leaves this computer, and several nodes fit on it."""
TELLING = {"mdns: {enabled: no}": "mdns: {show: no, interfaces: [lo]}", "discovery: {enabled: no}": "discovery: {}"}
"""Members tell each other of what they offer; the programs of this computer hear nothing of it."""
PORTS = range(11_000, 19_000)
"""Below those that Linux chooses from (ip_local_port_range), and none that a discovery profile listens at."""
_given: set[int] = set()


def until(holds: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Polls until it holds; its value."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        value = holds()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {patience} s: {what}")


class Node:
    """One person's node."""

    def __init__(self, folder: Path, name: str, *, telling: bool = False) -> None:
        self.name = name
        self.folder = folder / name
        self.inbox = self.folder / "inbox"
        self.folder.mkdir(mode=0o700)
        self.inbox.mkdir()
        self.config = self.folder / "config.yaml"
        written = CONFIG.format(name=name, inbox=self.inbox, page=free_port())
        for before, after in TELLING.items() if telling else ():
            assert before in written
            written = written.replace(before, after)
        self.config.write_text(written)
        self.log = self.folder / "output.log"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start (again, at the same port); waits until it answers."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start, without waiting for it."""
        listen = ("--listen", f"127.0.0.1:{self.port}")
        command = [sys.executable, "-m", "userlan", "--state", str(self.folder), "--config", str(self.config), "up", *listen]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def wait(self) -> None:
        """Until it answers, and is at its mediator."""
        process = self.process
        assert process is not None

        def ready() -> bool:
            if process.poll() is not None:
                raise AssertionError(self.log.read_text())
            try:
                return bool(self.call("status")["mediator"]["state"] == "connected")
            except NotRunningError:
                return False

        until(ready, f"{self.name} runs", 3 * PATIENCE)

    def stop(self) -> None:
        """End it as a person does, and with a signal that nothing withstands where that takes long."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(60)
        self.process = None

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)
        self.process = None

    def call(self, command: str, /, **arguments: Any) -> Any:
        """A command, as the command line asks for it."""
        return call(self.folder, command, **arguments)

    def address(self, invite: str | None = None) -> str:
        """What ``userlan open`` shows a browser, with a fresh token."""
        url: str = self.call("page")["url"]
        return url if invite is None else f"{url}#join={quote(invite, safe='')}"

    @property
    def key(self) -> str:
        """Its key as the commands write it."""
        key: str = self.call("status")["self"]["key"]
        return key

    def sees(self, other: Node) -> bool:
        """Whether the other one is reached."""
        return any(row["key"] == other.key and row["state"] in ("direct", "relayed") for row in self.call("status")["peers"])

    def networks(self) -> list[str]:
        """In which networks it is."""
        return [network["name"] for network in self.call("status")["networks"]]


def start_all(*nodes: Node) -> None:
    """Start several at once."""
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait()


def free_port() -> int:
    """A port that is free for UDP and TCP on loopback, and stays it while its node is away: the kernel gives it to nobody by itself."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            try:
                stream.bind(("127.0.0.1", port))
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in _given:
                _given.add(port)
                return port
