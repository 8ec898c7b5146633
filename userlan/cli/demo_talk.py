"""``userlan demo``: people talk and give each other files; and where the page is, on which they would do so."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import click

from userlan.cli.chat_text import state_text
from userlan.cli.client import ApiError
from userlan.cli.demo_processes import NETWORK, START_TIMEOUT, Process, until
from userlan.cli.demo_transfer import FILM
from userlan.cli.output import byte_count

QUESTION, ANSWER = "Did my film arrive?", "Send it again, I lost it."
INBOX = "inbox"


def config_of(name: str, folder: Path) -> str:
    """Of a node: what others send stays in the demo's folder, the page takes no port that somebody knows, and the desktop hears nothing."""
    inbox = json.dumps(str(folder / f"{INBOX}-{name}"))
    return f"files: {{inbox: {inbox}}}\npage: {{listen: '127.0.0.1:0'}}\nnotices: {{enabled: no}}\n"


def show_talk(folder: Path, nodes: dict[str, Process]) -> None:
    """A message to one, a message to all, a file; nothing passes a server."""
    click.echo("9. They talk and give each other files, from member to member")
    _say(nodes, "ben", "anna", QUESTION)
    _say(nodes, "anna", NETWORK, ANSWER)
    until(lambda: _heard(nodes["carla"]), "carla did not hear what anna said to all")
    click.echo(f"   carla$ userlan chat {NETWORK} --history\n          anna: {ANSWER}")
    _send(folder, nodes)
    click.echo()


def _say(nodes: dict[str, Process], name: str, to: str, text: str) -> None:
    message = nodes[name].call("chat-send", to=to, text=text, wait=START_TIMEOUT)["message"]
    click.echo(f'   {name}$ userlan chat {to} "{text}"\n          {state_text(message, to)}')
    if message["state"] != "delivered":
        raise ApiError(f"what {name} said did not arrive: {message['state']}")


def _heard(node: Process) -> bool:
    told = node.call("chat-history", conversation=f"network:{NETWORK}")["messages"]
    return any(message["text"] == ANSWER for message in told)


def _send(folder: Path, nodes: dict[str, Process]) -> None:
    film = folder / FILM
    click.echo(f"   ben$ userlan send {film.name} anna")
    (sent,) = nodes["ben"].call("files-send", to="anna", paths=[str(film)])["transfers"]
    until(lambda: _state(nodes["anna"]) == "offered", "ben's offer did not reach anna")
    offer = nodes["anna"].call("files-list")[0]
    click.echo(f"   anna$ userlan inbox accept {offer['id']}          {offer['file']}, {byte_count(offer['size'])}, from {offer['name']}")
    begin = time.monotonic()
    nodes["anna"].call("files-accept", id=offer["id"])
    until(lambda: _state(nodes["anna"]) in ("done", "failed"), "the file did not arrive")
    seconds = time.monotonic() - begin
    arrived: dict[str, Any] = nodes["anna"].call("files-list")[0]
    if arrived["state"] != "done" or _digest(Path(arrived["path"])) != _digest(film):
        raise ApiError(f"the file that arrived is not the file that was sent: {arrived['error'] or arrived['path']}")
    rate = f"{sent['size'] * 8 / seconds / 1e6:.0f} Mbit/s"
    click.echo(f"          {Path(arrived['path']).name} in {seconds:.2f} s: {rate}, SHA-256 right")


def _state(node: Process) -> str:
    rows = node.call("files-list")
    return str(rows[0]["state"]) if rows else ""


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def show_page(nodes: dict[str, Process]) -> None:
    """Where it all is to be seen and clicked."""
    click.echo("10. All of it in a window: the roster, chat, files, services, how each one is reached")
    for name, node in nodes.items():
        click.echo(f"   {name}$ userlan open{' ' * (8 - len(name))}{node.call('page')['url']}")
