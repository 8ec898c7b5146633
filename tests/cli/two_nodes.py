"""Two nodes on loopback, as real processes, that are members of one network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.architecture.source import ROOT
from tests.lab.network import end, until
from userlan.cli.client import ApiError, call

PATIENCE = 60.0
QUIET = """
listen: 127.0.0.1:0
proxy: {listen: none}
dns: {listen: none}
page: {listen: none}
mdns: {enabled: no}
discovery: {enabled: no}
notices: {enabled: no}
traversal: {port_mapping: no, lan_discovery: no}
"""
"""A node that takes nothing of this computer but a port that is free."""
CONFIG = f"""{QUIET}
log: {{level: warn, format: json, parts: {{tunnel: debug, control: debug}}}}
"""


class Nodes:
    """``anna``, whose mediator serves both and who owns the network ``home``, and ``ben``."""

    def __init__(self, folder: Path, session: Mapping[str, str] | None = None) -> None:
        """``session``: the environment of a desktop's session, in which they show notices."""
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), **(session or {})}
        self._config = CONFIG if session is None else CONFIG.replace("notices: {enabled: no}", "")
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._up("anna")
            invite = self.call("anna", "create", network="home")["invite"]
            self._up("ben", "--mediator", invite.rpartition("/")[0])
            self.call("ben", "join", invite=invite)
            until(lambda: any(peer["state"] == "direct" for peer in self.status("anna")["peers"]), PATIENCE, "they meet")
        except BaseException:
            self.stop()
            raise

    def _up(self, name: str, *options: str) -> None:
        state = self.state(name)
        state.mkdir()
        (state / "config.yaml").write_text(f"name: {name}\n{self._config}")
        command = [sys.executable, "-m", "userlan", "--state", str(state), "--config", str(state / "config.yaml"), "up", *options]
        with (state / "log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
            )
        until(lambda: b"ready" in (state / "log").read_bytes(), PATIENCE, f"{name} is ready: {state / 'log'}")

    def state(self, name: str) -> Path:
        """The state folder of one."""
        return self.folder / name

    def call(self, name: str, command: str, /, **arguments: Any) -> Any:
        """A command of the running node."""
        return call(self.state(name), command, **arguments)

    def status(self, name: str) -> dict[str, Any]:
        """``status --json``; empty while there is none."""
        try:
            told: dict[str, Any] = self.call(name, "status")
        except ApiError:
            return {"peers": []}
        return told

    def run(self, name: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The command, to its end."""
        command = [sys.executable, "-m", "userlan", "--state", str(self.state(name)), *words]
        return subprocess.run(
            command, env=self.environment | environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
        )

    def stop(self) -> None:
        """End both."""
        for process in reversed(self._processes):
            end(process)
