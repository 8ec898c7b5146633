"""``userlan status --watch``: the status as it changes, until one has seen enough."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from userlan.cli.client import Client

REDRAWS = 2
"""Redraws a second on a terminal, also when nothing has changed: "3 s ago" gets older."""


class Mirror:
    """The node's status, kept up by what ``watch`` tells."""

    def __init__(self) -> None:
        self.snapshot: dict[str, Any] = {}

    def take(self, item: dict[str, Any]) -> None:
        """The next item: the whole, or what has changed."""
        if "snapshot" in item:
            self.snapshot = item["snapshot"]
            return
        changes = dict(item.get("changes", {}))
        rows = changes.pop("peers", {})
        if rows:
            kept = {peer["key"]: peer for peer in self.snapshot["peers"]} | rows
            changes["peers"] = sorted((row for row in kept.values() if row is not None), key=lambda row: str(row["name"]))
        self.snapshot = self.snapshot | changes


def watch(state: Path, as_json: bool, describe: Callable[[dict[str, Any]], str]) -> None:
    """Show it until interrupted, which is no failure. ``as_json``: one item a line, as the node tells them."""
    client = Client(state)
    try:
        with suppress(KeyboardInterrupt):
            if as_json:
                client.request("watch", {}, lambda item: click.echo(json.dumps(item)))
            elif sys.stdout.isatty():
                _live(client, describe)
            else:
                _lines(client, describe)
    finally:
        client.close()


def _lines(client: Client, describe: Callable[[dict[str, Any]], str]) -> None:
    """For a pipe: each status after an empty line."""
    mirror = Mirror()

    def item(item: dict[str, Any]) -> None:
        mirror.take(item)
        click.echo(describe(mirror.snapshot) + "\n")

    client.request("watch", {}, item)


def _live(client: Client, describe: Callable[[dict[str, Any]], str]) -> None:
    """On a terminal, in place; what it does not hold is cut off at its end."""
    from rich.live import Live
    from rich.text import Text

    mirror = Mirror()

    def view() -> Text:
        return Text.from_ansi(describe(mirror.snapshot) if mirror.snapshot else "", no_wrap=True, overflow="ellipsis")

    with Live(get_renderable=view, refresh_per_second=REDRAWS, vertical_overflow="ellipsis"):
        client.request("watch", {}, mirror.take)
