"""The command that tells what members offer: services."""

from __future__ import annotations

import sys
from typing import Any

import click

from userlan.cli.client import call
from userlan.cli.main import Settings
from userlan.cli.output import as_json, table

NOTHING = "no member offers anything yet: `userlan expose PORT` on their side, or a program that announces itself (Bonjour, avahi)"


@click.command()
@click.option("--json", "json_output", is_flag=True, help="As JSON.")
@click.pass_obj
def services(settings: Settings, json_output: bool) -> None:
    """What the members offer, each with an address to click."""
    rows = call(settings.state, "services")
    if _is_inside(settings):
        rows = [row | {"where": row["lan"], "url": row["url"].replace(row["where"], row["lan"], 1)} for row in rows]
    click.echo(as_json(rows) if json_output else describe(rows))


def _is_inside(settings: Settings) -> bool:
    """Whether this is a program of `userlan run`, for which the members are at their own addresses."""
    if sys.platform != "linux":
        return False
    from userlan.cli.keeper import is_inside

    return is_inside(settings.state)


def describe(rows: list[dict[str, Any]]) -> str:
    """The services in columns."""
    if not rows:
        return NOTHING
    return table([_row(row) for row in rows])


def _row(row: dict[str, Any]) -> dict[str, Any]:
    where = row["url"] or row["where"]
    told = f"{where}  ({row['error']})" if row["error"] else where
    return {"peer": row["peer"], "name": row["name"], "type": row["type"], "where": told, "source": row["source"]}


COMMANDS: dict[str, click.Command] = {"services": services}
