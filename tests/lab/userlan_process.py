"""``userlan`` as a process in a namespace, the way a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.lab.network import Namespace, end, until
from userlan.cli.client import call

USERLAN = (sys.executable, "-m", "userlan")
PATIENCE = 60.0
"""Seconds for a program to begin, and for two members to meet: the machine may have other work."""


class Mediator:
    """``userlan mediator`` in a namespace."""

    def __init__(self, namespace: Namespace, folder: Path, *listen: str) -> None:
        self.namespace = namespace
        self.folder = folder
        self.listen = listen
        self.url = ""
        self.start()

    def start(self) -> None:
        """Start (again, with the same folder); waits for its link."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log = self.folder / "output.log"
        with self.log.open("wb") as log:
            listen = [word for where in self.listen for word in ("--listen", where)]
            self.process = self.namespace.start(*USERLAN, "--state", str(self.folder), "mediator", *listen, stdout=log, stderr=log)
        self.url = wait_for_line(self.log, "userlan://", self.process)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(60)


class Relay:
    """``userlan relay`` in a namespace, joined to a mediator's pool."""

    def __init__(self, namespace: Namespace, folder: Path, mediator: str, *listen: str) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log = folder / "output.log"
        where = [word for one in listen for word in ("--listen", one)]
        with self.log.open("wb") as log:
            self.process = namespace.start(
                *USERLAN, "--state", str(folder), "relay", "--mediator", mediator, *where, stdout=log, stderr=log
            )
        wait_for_line(self.log, "relay ", self.process)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(60)


class Member:
    """A node in a namespace, with its own state folder; commands go through the ``userlan`` command."""

    def __init__(self, namespace: Namespace, folder: Path, name: str, config: str = "") -> None:
        self.namespace = namespace
        self.folder = folder
        self.name = name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.config = folder / "config.yaml"
        self.config.write_text(f"name: {name}\n{config}")
        self.log = folder / "output.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._begin = 0

    def up(self, *arguments: str, wait: bool = True) -> None:
        """``userlan up`` in the foreground of a background process; waits for ``ready``."""
        with self.log.open("ab") as log:
            self._begin = log.tell()
            self.process = self.namespace.start(*self._command("up", *arguments), stdout=log, stderr=log)
        if wait:
            self.ready()

    def ready(self, patience: float = PATIENCE) -> None:
        """Until the process that ``up`` has started says so."""
        assert self.process is not None
        wait_for_line(self.log, "ready", self.process, self._begin, patience)

    def run(self, *arguments: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """One command to the end."""
        return self.namespace.run(*self._command(*arguments), check=check, timeout=timeout)

    def status(self) -> dict[str, Any]:
        """``userlan status --json``."""
        value: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return value

    def call(self, command: str, on_item: Callable[[Any], None] | None = None, /, **arguments: Any) -> Any:
        """One request to the running node, without a process for it: the control socket is in the state folder, not in a namespace."""
        return call(self.folder, command, on_item, **arguments)

    def peer(self, name: str) -> dict[str, Any] | None:
        """One peer of the status; without a process, since it is asked again and again."""
        return next((peer for peer in self.call("status")["peers"] if peer["name"] == name), None)

    def wait_state(self, name: str, state: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Until a peer has this state."""

        def reached() -> dict[str, Any] | None:
            peer = self.peer(name)
            return peer if peer is not None and peer["state"] == state else None

        found: dict[str, Any] = until(reached, patience, f"{self.name} sees {name} {state}", 0.1)
        return found

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)

    def stop(self) -> None:
        """End the process in order."""
        if self.process is not None:
            end(self.process)

    def _command(self, *arguments: str) -> tuple[str, ...]:
        return (*USERLAN, "--state", str(self.folder), "--config", str(self.config), *arguments)


def up_all(members: Sequence[Member], *arguments: str, patience: float = PATIENCE) -> None:
    """Start several at once, and wait for all."""
    for member in members:
        member.up(*arguments, wait=False)
    for member in members:
        member.ready(patience)


def together(members: Sequence[Member], *arguments: str, patience: float = PATIENCE) -> None:
    """All are up, in one network of the first one's, and see each other direct."""
    up_all(members, *arguments, patience=patience)
    invite = members[0].run("create", "home").stdout.split()[0]
    for member in members[1:]:
        member.run("join", invite)
    for member in members:
        for other in members:
            if other is not member:
                member.wait_state(other.name, "direct", patience)


def wait_for_line(log: Path, word: str, process: subprocess.Popen[bytes], begin: int = 0, patience: float = PATIENCE) -> str:
    """The first line of a log that begins with ``word``; AssertionError with the log's end when the process stops first."""

    def look() -> str | None:
        lines = log.read_bytes()[begin:].decode("utf-8", "replace").splitlines()
        found = next((line for line in lines if line.startswith(word)), None)
        assert found is not None or process.poll() is None, f"stopped with {process.returncode}: {lines[-5:]}"
        return found

    found: str = until(look, patience, f"{word!r} in {log}")
    return found
