"""Commands for files: send, inbox."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from userlan.cli.client import ApiError, Client, call
from userlan.cli.file_progress import FINAL, Bars, Display, Lines, outcome, size_text, state_text
from userlan.cli.main import Settings
from userlan.cli.output import ago, as_json, json_option, printable, table

NOTHING = "the inbox is empty, and nothing is being sent: `userlan send FILE PEER`"


class _OverError(Exception):
    """There is nothing to wait for any more."""


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@click.argument("peer")
@click.option("--wait/--no-wait", default=True, help="Wait until all has been received, or not.")
@click.option("--json", "json_output", is_flag=True, help="How it has ended, as JSON.")
@click.pass_obj
def send(settings: Settings, files: tuple[Path, ...], peer: str, wait: bool, json_output: bool) -> None:
    """Send files to a peer: offered at once or when it is seen, fetched once it has accepted, gone on with after each break."""
    paths = [_absolute(path) for path in files]
    transfers = call(settings.state, "files-send", to=peer, paths=paths)["transfers"]
    if not wait:
        if json_output:
            click.echo(as_json(transfers))
        else:
            click.echo("\n".join(f"{one['id']}  {printable(one['file'])}  {size_text(one['size'])}" for one in transfers))
        return
    if not json_output:
        click.echo("until it is received; Ctrl-C ends the waiting, not the transfer", err=True)
    rows = _follow(settings, transfers, quiet=json_output)
    if json_output:
        click.echo(as_json(rows))
    _check(rows)


@click.group(invoke_without_command=True)
@click.option("--watch", is_flag=True, help="Show what happens until interrupted.")
@click.option("--json", "json_output", is_flag=True, help="As JSON; with --watch a line for each change.")
@click.pass_context
def inbox(context: click.Context, watch: bool, json_output: bool) -> None:
    """What others offer and have sent, and what is being sent."""
    settings: Settings = context.obj
    if context.invoked_subcommand is not None:
        return
    if watch:
        _watch(settings, json_output)
        return
    rows = call(settings.state, "files-list")
    click.echo(as_json(rows) if json_output else describe(rows))


@inbox.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID|all")
@click.option("--wait", is_flag=True, help="Wait until all has been received, or cannot be for something on this computer.")
@json_option
@click.pass_obj
def accept(settings: Settings, ids: tuple[str, ...], wait: bool, json_output: bool) -> None:
    """Take files that are offered."""
    transfers = _each(settings, "files-accept", ids)
    if wait and transfers:
        transfers = _follow(settings, transfers, quiet=json_output)
    if json_output:
        click.echo(as_json(transfers))
    elif not transfers:
        click.echo("nothing is offered")
    elif not wait:
        _say(transfers)
    if wait:
        _check(transfers)


@inbox.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID|all")
@json_option
@click.pass_obj
def decline(settings: Settings, ids: tuple[str, ...], json_output: bool) -> None:
    """Do not take files that are offered."""
    transfers = _each(settings, "files-decline", ids)
    if json_output:
        click.echo(as_json(transfers))
    else:
        _say(transfers)


@inbox.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID")
@json_option
@click.pass_obj
def cancel(settings: Settings, ids: tuple[str, ...], json_output: bool) -> None:
    """Call transfers off, of either direction."""
    transfers = _each(settings, "files-cancel", ids)
    if json_output:
        click.echo(as_json(transfers))
    else:
        _say(transfers)


@inbox.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID|all")
@click.pass_obj
def forget(settings: Settings, ids: tuple[str, ...]) -> None:
    """List what has ended no more; files stay where they are."""
    count = len(_each(settings, "files-forget", ids))
    click.echo(f"forgot {count}")


@inbox.command("open")
@click.argument("identifier", required=False, metavar="[ID]")
@click.pass_obj
def open_inbox(settings: Settings, identifier: str | None) -> None:
    """Show the folder of received files on the desktop, or print where it is."""
    told = call(settings.state, "files-open", id=identifier)
    click.echo(told["folder"])


def describe(rows: list[dict[str, Any]]) -> str:
    """The transfers in columns: what waits for an answer last, so that it is seen."""
    if not rows:
        return NOTHING
    order = sorted(rows, key=lambda row: (row["direction"] == "in" and row["state"] == "offered", row["time"]))
    text = table([_row(row) for row in order])
    offers = [row for row in rows if row["direction"] == "in" and row["state"] == "offered"]
    if offers:
        text += f"\n\n`userlan inbox accept {offers[-1]['id'] if len(offers) == 1 else 'all'}` takes what is offered"
    return text


def _row(row: dict[str, Any]) -> dict[str, Any]:
    import time

    what = row["path"] if row["state"] == "done" and row["direction"] == "in" else state_text(row)
    return {
        "id": row["id"],
        "peer": ("from " if row["direction"] == "in" else "to ") + row["name"],
        "file": row["file"],
        "size": size_text(row["size"]),
        "since": ago(time.time() - row["time"]),
        "state": what,
    }


def _absolute(path: Path) -> str:
    text = str(path.expanduser().absolute())
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ApiError(f"the name of {printable(text)} is not UTF-8: rename it first") from None
    return text


def _each(settings: Settings, command: str, ids: Iterable[str]) -> list[dict[str, Any]]:
    done: list[dict[str, Any]] = []
    for identifier in ids:
        done += call(settings.state, command, id=identifier)["transfers"]
    return done


def _say(transfers: list[dict[str, Any]]) -> None:
    for one in transfers:
        click.echo(f"{printable(one['file'])}: {printable(state_text(one))}")
    if not transfers:
        click.echo("nothing is offered")


def _follow(settings: Settings, transfers: list[dict[str, Any]], quiet: bool) -> list[dict[str, Any]]:
    """Show transfers until all have ended, but for those that this computer cannot take, which a person has to see to; their last rows."""
    rows = {one["id"]: one for one in transfers}
    display: Display = Display() if quiet else Bars() if sys.stdout.isatty() else Lines()
    client = Client(settings.state)

    def item(told: dict[str, Any]) -> None:
        row = told.get("transfer")
        if row is not None and row["id"] in rows:
            rows[row["id"]] = row
            display.show(row)
        if told.get("gone") in rows or "listed" in told or row is not None:
            rows.pop(told.get("gone", ""), None)
            if all(one["state"] in FINAL or one.get("held_up") for one in rows.values()):
                raise _OverError

    try:
        with display:
            client.request("files-watch", {}, item)
    except _OverError:
        pass
    except KeyboardInterrupt:
        left = [one for one in rows.values() if one["state"] not in FINAL]
        click.echo(
            f"no longer waiting for {len(left)} of {len(rows)}: they go on by themselves; `userlan inbox` shows them, "
            f"`userlan inbox cancel {left[0]['id'] if left else 'ID'}` calls one off",
            err=True,
        )
        raise
    finally:
        client.close()
    return list(rows.values())


def _check(rows: list[dict[str, Any]]) -> None:
    """Fail where one was not received."""
    wrong = [row for row in rows if row["state"] != "done"]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ApiError(f"{printable(wrong[0]['file'])}: {printable(outcome(wrong[0]))}{more}")


def _watch(settings: Settings, json_output: bool) -> None:
    import json

    display = Lines()
    listing = True

    def item(told: dict[str, Any]) -> None:
        nonlocal listing
        if json_output:
            click.echo(json.dumps(told))
        elif "listed" in told:
            listing = False
        elif "transfer" in told and not (listing and told["transfer"]["state"] in FINAL):
            display.show(told["transfer"])

    Client(settings.state).request("files-watch", {}, item)


COMMANDS: dict[str, click.Command] = {"send": send, "inbox": inbox}
