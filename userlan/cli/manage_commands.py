"""Commands that change membership: create, join, leave, invite, evict, block, unblock, nick, down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from userlan.cli.background import ensure_running
from userlan.cli.client import ApiError, call, stop_node
from userlan.cli.main import Settings
from userlan.cli.output import as_json, heard_later, json_option, say

MAX_PASSWORD_FILE = 4096
"""Bytes. A password is a line; anything longer is the wrong file."""


def read_password(path: Path) -> str:
    """The first line of a password file (``-`` is standard input)."""
    try:
        with click.open_file(str(path), "r", encoding="utf-8") as file:
            text = file.read(MAX_PASSWORD_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ApiError(f"the password file {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(text) > MAX_PASSWORD_FILE:
        raise ApiError(f"the password file {path} is longer than {MAX_PASSWORD_FILE} bytes: is it the right one?")
    password: str = text.split("\n", 1)[0].rstrip("\r")
    if not password:
        raise ApiError(f"the password file {path} begins with an empty line")
    return password


password_option = click.option(
    "--password-file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="File whose first line is the network's password (- for standard input).",
)


@click.command()
@click.argument("network")
@password_option
@click.option("--approve", is_flag=True, help="Whoever wants to join waits until you say `userlan approve`.")
@json_option
@click.pass_obj
def create(settings: Settings, network: str, password_file: Path | None, approve: bool, json_output: bool) -> None:
    """Make a network and print its invite. Starts the node if none runs."""
    password = read_password(password_file) if password_file else None
    started = ensure_running(settings)
    with started.undone_on_failure():
        result = call(settings.state, "create", network=network, password=password, approval=approve)
    print_invite(result, json_output)


@click.command()
@click.argument("invite_or_network", metavar="INVITE|NETWORK")
@password_option
@json_option
@click.pass_obj
def join(settings: Settings, invite_or_network: str, password_file: Path | None, json_output: bool) -> None:
    """Join by an invite, or a network by its password. Starts the node if none runs."""
    arguments: dict[str, Any] = {"password": read_password(password_file) if password_file else None}
    mediator = None
    if "://" in invite_or_network:
        from userlan.lan.invite import Invite

        try:
            invite = Invite.parse(invite_or_network)
        except ValueError as error:
            raise ApiError(str(error)) from None
        if invite.network is None:
            raise ApiError("this is a mediator's address, not an invite: it names no network")
        if invite.secret is None and password_file is None:
            raise ApiError("the invite carries no secret: add --password-file, or ask for the whole link")
        mediator = str(invite.mediator)
        arguments["invite"] = str(invite)
    else:
        if password_file is None:
            raise click.UsageError("to join by a name, add --password-file; or pass a whole invite (userlan://…)")
        arguments["network"] = invite_or_network
    started = ensure_running(settings, mediator)
    with started.undone_on_failure():
        result = call(settings.state, "join", **arguments)
    if json_output:
        click.echo(as_json(result))
        return
    if result.get("waiting"):
        owner = f" ({result['owner']})" if result["owner"] else ""
        click.echo(f"asked to join {result['network']}; its owner{owner} has to approve")
        return
    click.echo(f"joined {result['network']} as {result['name']} ({result['ipv4']}), {_members(result['members'])}")


def _members(count: int) -> str:
    return "with no other member yet" if count <= 1 else f"with {count - 1} other member{'s' if count > 2 else ''}"


@click.command()
@click.argument("network")
@json_option
@click.pass_obj
def leave(settings: Settings, network: str, json_output: bool) -> None:
    """Leave a network, or ask no more to be let in."""
    result = call(settings.state, "leave", network=network)
    say(result, f"left {network}{heard_later(result)}", json_output)


@click.command()
@click.argument("network")
@json_option
@click.pass_obj
def invite(settings: Settings, network: str, json_output: bool) -> None:
    """Print the invite of a network again."""
    print_invite(call(settings.state, "invite", network=network), json_output)


@click.command()
@click.argument("member")
@click.argument("network", required=False)
@json_option
@click.pass_obj
def evict(settings: Settings, member: str, network: str | None, json_output: bool) -> None:
    """Put MEMBER out of a network that you own, and give the others a new secret."""
    result = call(settings.state, "evict", member=member, network=network)
    where = result["network"]
    told = f"evicted {result['name']} from {where}; earlier invites are void, `userlan invite {where}` prints the new one"
    say(result, told + heard_later(result), json_output)


@click.command()
@click.argument("peer")
@json_option
@click.pass_obj
def block(settings: Settings, peer: str, json_output: bool) -> None:
    """Have nothing to do with PEER: no packet to it or from it, until `userlan unblock`. The others are not concerned."""
    result = call(settings.state, "block", peer=peer)
    say(result, f"blocked {result['name']}", json_output)


@click.command()
@click.argument("peer")
@json_option
@click.pass_obj
def unblock(settings: Settings, peer: str, json_output: bool) -> None:
    """Take a blocked PEER back."""
    result = call(settings.state, "unblock", peer=peer)
    say(result, f"unblocked {result['name']}", json_output)


@click.command()
@click.argument("name")
@json_option
@click.pass_obj
def nick(settings: Settings, name: str, json_output: bool) -> None:
    """Change the name under which others see this computer."""
    result = call(settings.state, "nick", name=name)
    later = "; the others learn it when the mediator is back" if result.get("later") else ""
    say(result, f"you are {result['name']}{later}", json_output)


@click.command()
@click.pass_obj
def down(settings: Settings) -> None:
    """Stop the node of this state folder."""
    stop_node(settings.state)
    click.echo("stopped")


def print_invite(result: dict[str, Any], json_output: bool = False) -> None:
    """The link alone on standard output, so that it can be piped; on a terminal also as a QR code, and what to do with it."""
    import sys

    if json_output:
        click.echo(as_json(result))
        return
    link = result["invite"]
    click.echo(link)
    if sys.stdout.isatty():
        import segno

        segno.make(link, error="l").terminal(compact=True)
        click.echo(f"\nOn the other computer:  userlan join '{link}'", err=True)


COMMANDS: dict[str, click.Command] = {
    "create": create,
    "join": join,
    "leave": leave,
    "invite": invite,
    "evict": evict,
    "block": block,
    "unblock": unblock,
    "nick": nick,
    "down": down,
}
