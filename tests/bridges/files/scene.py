"""Two members that send each other files over the real stack: only the tunnel between them is left out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridges.files import FilesBridge, FilesOptions
from tests.bridges.harness import Loop
from tests.bridges.stacked import StackedPair
from userlan.driver.bridge import BridgeStore

PATIENCE = 60.0
"""Seconds that anything here may take on a machine with other work."""


class Party:
    """One member's bridge; it can be stopped and started again with what it kept."""

    def __init__(self, loop: Loop, lan: Any, folder: Path, **options: Any) -> None:
        self.loop = loop
        self.lan = lan
        self.folder = folder
        self.inbox = folder / "inbox"
        self.options = FilesOptions(inbox=str(self.inbox), **options)
        folder.mkdir(parents=True, exist_ok=True)
        self.bridge: Any = None
        self.start()

    def start(self) -> None:
        self.bridge = FilesBridge(self.lan, self.options, BridgeStore(self.folder / "files.json"))
        self.loop.call(self.bridge.start)

    def stop(self) -> None:
        self.loop.call(self.bridge.stop)

    def call(self, command: str, **arguments: object) -> Any:
        return self.loop.call(self.bridge.commands()[command], arguments)

    def send(self, to: str, *paths: Path, **more: object) -> list[str]:
        sent = self.call("files-send", to=to, paths=[str(path) for path in paths], **more)
        return [transfer["id"] for transfer in sent["transfers"]]

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.call("files-list")
        return rows

    def row(self, identifier: str) -> dict[str, Any]:
        return next(row for row in self.rows() if row["id"] == identifier)

    def wait(self, state: str, count: int = 1) -> list[dict[str, Any]]:
        """Until so many transfers are in a state."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [row for row in self.rows() if row["state"] == state]
            return len(found) >= count

        until(there, lambda: f"{count} {state}: {[(row['file'], row['state'], row['error']) for row in self.rows()]}")
        return found

    def received(self) -> dict[str, bytes]:
        """What lies in the inbox, by name."""
        return {path.name: path.read_bytes() for path in self.inbox.iterdir() if path.is_file()}


def until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.02)


class Scene:
    """``me`` and ``nas``."""

    def __init__(self, loop: Loop, folder: Path, **options: Any) -> None:
        self.loop = loop
        self.pair: StackedPair = loop.call(StackedPair, loop.reactor)
        self.me = Party(loop, self.pair.lans["me"], folder / "me", **options)
        self.nas = Party(loop, self.pair.lans["nas"], folder / "nas", **options)
        self.work = folder / "work"
        self.work.mkdir(parents=True)

    def file(self, name: str, data: bytes) -> Path:
        path = self.work / name
        path.write_bytes(data)
        return path

    def stop(self) -> None:
        self.me.stop()
        self.nas.stop()
        self.loop.call(self.pair.stop)
