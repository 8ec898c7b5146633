"""Commands that connect programs: expose, unexpose, forward, unforward, nc."""

from __future__ import annotations

import os
import socket
import sys
import threading

import click

from userlan.cli.client import ApiError, Client, call
from userlan.cli.main import Settings
from userlan.cli.output import as_json, json_option, say, say_rows

CHUNK = 65536
"""Bytes moved at once between standard input or output and the node."""


@click.command()
@click.argument("service", metavar="[HOST:]PORT[/udp]", required=False)
@click.option("--as", "port", type=click.IntRange(1, 65535), help="The port that peers see (default: the same).")
@click.option("--name", help="A name for the service.")
@click.option("--json", "json_output", is_flag=True, help="List what is exposed, as JSON.")
@click.pass_obj
def expose(settings: Settings, service: str | None, port: int | None, name: str | None, json_output: bool) -> None:
    """Let peers reach a local service; without an argument, list what is exposed."""
    if service is None:
        say_rows(call(settings.state, "exposes"), json_output, "nothing is exposed: `userlan expose PORT`")
        return
    result = call(settings.state, "expose", service=service, port=port, name=name)
    click.echo(as_json(result) if json_output else result["text"])


@click.command()
@click.argument("service", metavar="PORT[/udp]")
@json_option
@click.pass_obj
def unexpose(settings: Settings, service: str, json_output: bool) -> None:
    """Stop letting peers reach a local service."""
    result = call(settings.state, "unexpose", service=service)
    say(result, result["text"], json_output)


@click.command()
@click.argument("rule", metavar="[BIND:]PORT:PEER:PORT[/udp]", required=False)
@click.option("--json", "json_output", is_flag=True, help="List the forwards, as JSON.")
@click.pass_obj
def forward(settings: Settings, rule: str | None, json_output: bool) -> None:
    """Make a local port lead to a peer's service; without an argument, list the forwards."""
    if rule is None:
        say_rows(call(settings.state, "forwards"), json_output, "nothing is forwarded: `userlan forward PORT:PEER:PORT`")
        return
    result = call(settings.state, "forward", rule=rule)
    click.echo(as_json(result) if json_output else result["text"])


@click.command()
@click.argument("rule", metavar="[BIND:]PORT[:PEER:PORT][/udp]")
@json_option
@click.pass_obj
def unforward(settings: Settings, rule: str, json_output: bool) -> None:
    """Remove a forward."""
    result = call(settings.state, "unforward", rule=rule)
    say(result, result["text"], json_output)


@click.command()
@click.argument("peer")
@click.argument("port", type=click.IntRange(1, 65535))
@click.pass_obj
def nc(settings: Settings, peer: str, port: int) -> None:
    """Connect standard input and output to a peer's port (for `ssh -o ProxyCommand='userlan nc %h %p'`)."""
    client = Client(settings.state)
    first = client.request("nc", {"peer": peer, "port": port})
    _write_all(first)
    upload = threading.Thread(target=_upload, args=(client.socket,), daemon=True)
    upload.start()
    try:
        while data := client.socket.recv(CHUNK):
            _write_all(data)
    except ConnectionError:
        raise ApiError(f"{peer}:{port} ended the connection abruptly") from None


def _upload(connection: socket.socket) -> None:
    try:
        while data := os.read(sys.stdin.fileno(), CHUNK):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass      # the other direction tells


def _write_all(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(sys.stdout.fileno(), view) :]


COMMANDS: dict[str, click.Command] = {
    "expose": expose,
    "unexpose": unexpose,
    "forward": forward,
    "unforward": unforward,
    "nc": nc,
}
