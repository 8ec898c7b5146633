"""Commands of a network's owner: lock, unlock, password, applicants, approve, deny."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from userlan.cli.client import call
from userlan.cli.main import Settings
from userlan.cli.manage_commands import print_invite, read_password
from userlan.cli.output import ago, as_json, heard_later, json_option, say, table


@click.command()
@click.argument("network")
@json_option
@click.pass_obj
def lock(settings: Settings, network: str, json_output: bool) -> None:
    """Let nobody else join a network that you own."""
    say(call(settings.state, "lock", network=network), f"locked {network.lower()}: nobody else can join it", json_output)


@click.command()
@click.argument("network")
@json_option
@click.pass_obj
def unlock(settings: Settings, network: str, json_output: bool) -> None:
    """Let others join again."""
    say(call(settings.state, "unlock", network=network), f"unlocked {network.lower()}", json_output)


@click.command()
@click.argument("network")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, allow_dash=True),
    required=True,
    help="File whose first line is the new password (- for standard input).",
)
@json_option
@click.pass_obj
def password(settings: Settings, network: str, password_file: Path, json_output: bool) -> None:
    """Give a network that you own another password, and print its new invite. The members stay; earlier invites are void."""
    result = call(settings.state, "password", network=network, password=read_password(password_file))
    told = f"{result['network']} has another password; earlier invites are void{heard_later(result)}; this is the new one:"
    click.echo(told, err=True)
    print_invite(result, json_output)


@click.command()
@json_option
@click.pass_obj
def applicants(settings: Settings, json_output: bool) -> None:
    """Who waits for your word to join a network."""
    rows = call(settings.state, "applicants")
    if json_output:
        click.echo(as_json(rows))
    elif rows:
        click.echo(table([_row(row) for row in rows]))
    else:
        click.echo("nobody waits")


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {"name": row["name"], "network": row["network"], "asked": ago(time.time() - row["since"]), "key": row["key"]}


@click.command()
@click.argument("member")
@click.argument("network", required=False)
@json_option
@click.pass_obj
def approve(settings: Settings, member: str, network: str | None, json_output: bool) -> None:
    """Let MEMBER in, who waits for that (by its name or key)."""
    result = call(settings.state, "approve", member=member, network=network)
    say(result, f"{result['name']} is a member of {result['network']}", json_output)


@click.command()
@click.argument("member")
@click.argument("network", required=False)
@json_option
@click.pass_obj
def deny(settings: Settings, member: str, network: str | None, json_output: bool) -> None:
    """Do not let MEMBER in. It is told so, and can ask again after ten minutes."""
    result = call(settings.state, "deny", member=member, network=network)
    say(result, f"{result['name']} is not let into {result['network']}", json_output)


COMMANDS: dict[str, click.Command] = {
    "lock": lock,
    "unlock": unlock,
    "password": password,
    "applicants": applicants,
    "approve": approve,
    "deny": deny,
}
