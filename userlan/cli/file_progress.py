"""How transfers of files are shown while they last: bars on a terminal, else a line for each change of a state."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import click

from userlan.cli.output import printable

FINAL = frozenset(("done", "declined", "failed", "cancelled"))
"""States that stay."""


def size_text(octets: float) -> str:
    """``12 MB``, as file managers count: thousands."""
    for unit in ("B", "kB", "MB", "GB"):
        if octets < 1000:
            return f"{octets:.0f} {unit}" if unit == "B" or octets >= 10 else f"{octets:.1f} {unit}"
        octets /= 1000
    return f"{octets:.1f} TB"


def state_text(row: dict[str, Any]) -> str:
    """How a transfer stands, in words."""
    name, incoming = row["name"], row["direction"] == "in"
    match row["state"]:
        case "waiting":
            return row["error"] or f"waits until {name} is seen"
        case "offered":
            return "waits for your answer" if incoming else f"offered: waits for {name}'s answer"
        case "accepted":
            return row["error"] or ("is about to come" if incoming else f"{name} has accepted it")
        case "active":
            return f"{_share(row)} at {size_text(row['rate'])}/s"
        case "paused":
            return f"paused at {_share(row)}: {row['error'] or 'it goes on by itself'}"
        case _:
            return outcome(row)


def outcome(row: dict[str, Any]) -> str:
    """How a transfer has ended, in words."""
    name, incoming = row["name"], row["direction"] == "in"
    match row["state"]:
        case "done":
            return f"received: {row['path']}" if incoming else f"{name} has it"
        case "declined":
            return "you declined it" if incoming else f"{name} declined it"
        case "failed":
            return f"failed: {row['error'] or 'for no reason that is known'}"
        case "cancelled":
            return str(row["error"] or "called off")
        case _:
            return state_text(row)


def _share(row: dict[str, Any]) -> str:
    return f"{row['done'] * 100 // row['size']} %" if row["size"] else "0 %"


class Display:
    """Shows nothing."""

    def __enter__(self) -> Display:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        """Nothing to end."""

    def show(self, row: dict[str, Any]) -> None:
        """A transfer as it is now."""


class Lines(Display):
    """A line for each change of a state."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, str | None]] = {}

    def show(self, row: dict[str, Any]) -> None:
        state = (row["state"], row["error"])
        if self._last.get(row["id"]) != state:
            self._last[row["id"]] = state
            words = "begins" if row["state"] == "active" and not row["done"] else state_text(row)
            click.echo(f"{row['id']}  {printable(row['file'])}: {printable(words)}")


class Bars(Display):
    """A bar for each."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

        self._tasks: dict[str, Any] = {}
        self._progress = Progress(
            TextColumn("{task.fields[file]}", markup=False),
            BarColumn(bar_width=None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[words]}", markup=False),
        )

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._progress.stop()

    def show(self, row: dict[str, Any]) -> None:
        words = "" if row["state"] == "active" else printable(state_text(row))
        if row["id"] not in self._tasks:
            name = printable(row["file"])
            self._tasks[row["id"]] = self._progress.add_task("", total=max(1, row["size"]), file=name, words=words)
        done = max(1, row["size"]) if row["state"] == "done" else row["done"]
        self._progress.update(self._tasks[row["id"]], completed=done, words=words)
