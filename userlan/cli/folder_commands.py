"""``userlan folder``: folders that members may look into, and fetch from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from userlan.cli.background import ensure_running
from userlan.cli.client import call
from userlan.cli.main import Settings
from userlan.cli.output import as_json, json_option, printable, say


@click.group()
def folder() -> None:
    """Share folders: the members look into them with a browser, and fetch what they like.

    Nobody changes anything there. Hidden files (.name) and links are not shown.
    """


@folder.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--name", help="The name that members see (default: the folder's own).")
@click.option("--allow", "allow", multiple=True, metavar="PEER", help="Only for this member, or *.NETWORK (may be repeated; default: all).")
@json_option
@click.pass_obj
def add(settings: Settings, directory: Path, name: str | None, allow: tuple[str, ...], json_output: bool) -> None:
    """Share a folder with the members, until it is removed."""
    ensure_running(settings)
    result = call(settings.state, "folder-add", path=str(directory.absolute()), name=name, allow=allow)
    say(result, f"shared: {_line(result)}; members find it in `userlan services`", json_output)


@folder.command("list")
@json_option
@click.pass_obj
def list_folders(settings: Settings, json_output: bool) -> None:
    """The folders that are shared."""
    rows = call(settings.state, "folder-list")
    if json_output:
        click.echo(as_json(rows))
    else:
        click.echo("\n".join(map(_line, rows)) or "no folder is shared: `userlan folder add DIR`")


@folder.command()
@click.argument("shared", metavar="NAME")
@json_option
@click.pass_obj
def remove(settings: Settings, shared: str, json_output: bool) -> None:
    """Share a folder no more; the folder itself stays."""
    result = call(settings.state, "folder-remove", name=shared)
    say(result, printable(result["text"]), json_output)


def _line(row: dict[str, Any]) -> str:
    return printable(row["text"])


COMMANDS: dict[str, click.Command] = {"folder": folder}
