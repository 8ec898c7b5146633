"""``userlan guest``: phones and other computers with an ordinary WireGuard program, in the LAN through this node."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from userlan.cli.background import ensure_running
from userlan.cli.client import ApiError, call
from userlan.cli.main import Settings
from userlan.cli.output import ago, as_json, byte_count, json_option, printable, table


@click.group()
def guest() -> None:
    """Let phones and others with an ordinary WireGuard app join the LAN through this node.

    Each guest is a member of its own, with a name and an address of its own, for as long as this node runs.
    """


output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the configuration to a file that only you can read."
)


@guest.command()
@click.argument("name")
@click.option("--endpoint", default="", metavar="HOST[:PORT]", help="Where the guest finds this node (default: found out).")
@click.option("--networks", "networks", multiple=True, metavar="NETWORK", help="Only this network (may be repeated; default: all).")
@click.option("--mtu", type=int, help="Octets of the guest's largest packet (default: 1280, which passes everywhere).")
@click.option("--no-dns", is_flag=True, help="Leave out the DNS line: the guest then knows members by address only.")
@output_option
@json_option
@click.pass_obj
def add(
    settings: Settings,
    name: str,
    endpoint: str,
    networks: tuple[str, ...],
    mtu: int | None,
    no_dns: bool,
    output: Path | None,
    json_output: bool,
) -> None:
    """Make a guest and print its WireGuard configuration, on a terminal with a QR code for the app to scan."""
    ensure_running(settings)
    wanted = [part for one in networks for part in one.replace(",", " ").split()]
    arguments: dict[str, Any] = {"name": name, "endpoint": endpoint, "networks": wanted, "dns": not no_dns}
    if mtu is not None:
        arguments["mtu"] = mtu
    _print(call(settings.state, "guest-add", **arguments), output, json_output)


@guest.command()
@click.argument("name")
@output_option
@json_option
@click.pass_obj
def show(settings: Settings, name: str, output: Path | None, json_output: bool) -> None:
    """Print a guest's configuration again."""
    _print(call(settings.state, "guest-show", name=name), output, json_output)


@guest.command("list")
@json_option
@click.pass_obj
def list_guests(settings: Settings, json_output: bool) -> None:
    """The guests: who is there, since when, from where."""
    guests = call(settings.state, "guest-list")["guests"]
    if json_output:
        click.echo(as_json(guests))
    elif not guests:
        click.echo("no guests: `userlan guest add NAME` makes one")
    else:
        click.echo(table([_row(one) for one in guests]))
        for one in guests:
            if one["trouble"]:
                click.echo(f"{one['name']}: {printable(one['trouble'])}", err=True)


@guest.command()
@click.argument("name")
@json_option
@click.pass_obj
def remove(settings: Settings, name: str, json_output: bool) -> None:
    """End a guest: it leaves the networks, and its configuration is void."""
    result = call(settings.state, "guest-remove", name=name)
    later = "" if result["left"] else "; the mediator is away: it leaves the networks as soon as that is back"
    click.echo(as_json(result) if json_output else f"removed {result['name']}{later}")


def _row(one: dict[str, Any]) -> dict[str, Any]:
    seen = ago(time.time() - one["handshake"]) if one["handshake"] else "never"
    return {
        "name": one["name"],
        "state": one["state"],
        "address": one["ipv4"],
        "networks": one["networks"],
        "endpoint": one["endpoint"],
        "handshake": seen,
        "received": byte_count(one["rx_bytes"]),
        "sent": byte_count(one["tx_bytes"]),
    }


def _print(result: dict[str, Any], output: Path | None, json_output: bool) -> None:
    """The configuration alone on standard output, so that it can be piped; what else there is to say on standard error."""
    config = result["config"]
    if output is not None:
        try:
            with open(output, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                os.chmod(output, 0o600)
                file.write(config)
        except OSError as error:
            raise ApiError(f"{output} cannot be written: {error.strerror}") from None
    if json_output:
        click.echo(as_json(result))
    elif output is None:
        click.echo(config, nl=False)
        if sys.stdout.isatty():
            import segno

            click.echo()
            segno.make(config, error="l").terminal(compact=True)
    _advise(result)


def _advise(result: dict[str, Any]) -> None:
    name, ipv4, where, port = result["name"], result["ipv4"], result["configured_endpoint"], result["port"]
    click.echo(f"{name} is {ipv4}: scan the code with the WireGuard app, or import the file; it finds this node at {where}", err=True)
    if result["reach"] == "site":
        click.echo(
            "That is an address of your own site: from elsewhere it is not reached. Forward a port of your router to UDP "
            f"{port} here, and name its public address: --endpoint HOST:PORT",
            err=True,
        )
    elif not result["sure"]:
        click.echo(f"Your router may not let it in: if it does not connect, forward UDP {port} to this computer", err=True)


COMMANDS: dict[str, click.Command] = {"guest": guest}
