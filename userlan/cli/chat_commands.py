"""The command that talks: chat."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from userlan.cli.chat_text import Printer, conversations_text, state_text
from userlan.cli.client import ApiError, Client, call
from userlan.cli.main import Settings
from userlan.cli.output import as_json, printable

DELIVERY_PATIENCE = 5.0
"""Seconds that a message's delivery is waited for: a path may have to be found first."""
MAX_INPUT = 64 * 1024
"""Octets that are read from a pipe: more than a message can have, so that the node says so."""


@click.command()
@click.argument("to", metavar="[PEER|NETWORK]", required=False)
@click.argument("text", metavar="[TEXT]...", nargs=-1)
@click.option("--history", "history", is_flag=True, help="Print the last messages.")
@click.option("-n", "--number", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many of them.")
@click.option("--find", "wanted", metavar="TEXT", help="Print the last messages that hold it; without a name, of all conversations.")
@click.option("--follow", is_flag=True, help="Print the last messages, then what is said from now on; without a name, of everybody.")
@click.option("--json", "json_output", is_flag=True, help="As JSON; with --follow one object a line.")
@click.pass_obj
def chat(
    settings: Settings,
    to: str | None,
    text: tuple[str, ...],
    history: bool,
    number: int,
    wanted: str | None,
    follow: bool,
    json_output: bool,
) -> None:
    """Talk with a peer, or with everybody in a network.

    With TEXT, or something from a pipe, it is sent; without, on a terminal, both sides are shown as they come until Ctrl-D. Without a
    name: the conversations that there are. What cannot be delivered now is kept until the peer is seen.
    """
    if (bool(text), history, wanted is not None, follow).count(True) > 1:
        raise click.UsageError("either a text to send, or one of --history, --find and --follow")
    if to is None and history:
        raise click.UsageError("the history of whom? name a peer or a network")
    if wanted is not None:
        find(settings, wanted, to, number, json_output)
    elif follow:
        Follower(settings, to, json_output).run(number)
    elif to is None:
        rows = call(settings.state, "chat-conversations")
        click.echo(as_json(rows) if json_output else conversations_text(rows))
    elif history:
        show_history(settings, to, number, json_output)
    elif text:
        send(settings, to, " ".join(text), json_output)
    elif not sys.stdin.isatty():
        send(settings, to, sys.stdin.buffer.read(MAX_INPUT).decode("utf-8", "replace"), json_output)
    else:
        from userlan.cli.chat_talk import Talk

        Talk(settings.state, to).run(number)


def send(settings: Settings, to: str, text: str, json_output: bool) -> None:
    """Send one message and tell what becomes of it."""
    message = call(settings.state, "chat-send", to=to, text=text, wait=DELIVERY_PATIENCE)["message"]
    if json_output:
        click.echo(as_json(message))
    elif message["state"] == "failed":
        raise ApiError(state_text(message, to))
    else:
        click.echo(state_text(message, to))


def show_history(settings: Settings, to: str, number: int, json_output: bool) -> None:
    """The last messages; a person who sees them has read them."""
    told = call(settings.state, "chat-history", conversation=to, limit=number)
    if json_output:
        click.echo(as_json(told))
        return
    printer = Printer()
    for message in told["messages"]:
        click.echo(printer.text(message))
    if not told["messages"]:
        click.echo(f"nothing has been said with {to} yet")
    call(settings.state, "chat-read", conversation=told["conversation"])


def find(settings: Settings, wanted: str, to: str | None, number: int, json_output: bool) -> None:
    """The last ``number`` messages that hold a text, in one conversation or in all."""
    found: list[dict[str, Any]] = []
    begin: int | None = None
    while len(found) < number:
        told = call(settings.state, "chat-search", text=wanted, conversation=to, before=begin, limit=number - len(found))
        found, begin = told["messages"] + found, told.get("before")     # a node of an earlier version looks at all at once
        if begin is None:
            break
    if json_output:
        click.echo(as_json({"messages": found}))
        return
    titles = {} if to is not None else {one["id"]: printable(one["title"]) for one in call(settings.state, "chat-conversations")}
    printer = Printer()
    for message in found:
        click.echo(printer.text(message, titles.get(message["conversation"], "")))
    if not found:
        click.echo(f"nobody has written that{f' in the chat with {to}' if to is not None else ''}")


class Follower:
    """``--follow``: everything that is said, or what is said in one conversation, until interrupted."""

    def __init__(self, settings: Settings, to: str | None, json_output: bool) -> None:
        self._settings, self._to, self._json = settings, to, json_output
        self._printer = Printer()
        self._conversation = ""
        self._last = 0

    def run(self, number: int) -> None:
        """Until Ctrl-C, or the node ends."""
        client = Client(self._settings.state)
        try:
            client.request("chat-watch", {}, lambda item: self._item(item, number))
        except KeyboardInterrupt:
            client.close()

    def _item(self, item: dict[str, Any], number: int) -> None:
        if "watching" in item and self._to is not None:
            told = call(self._settings.state, "chat-history", conversation=self._to, limit=number)
            self._conversation = told["conversation"]
            for message in told["messages"]:
                self._show(message)
        elif "message" in item:
            self._show(item["message"])

    def _show(self, message: dict[str, Any]) -> None:
        conversation = message["conversation"]
        if message["seq"] <= self._last or (self._to is not None and conversation != self._conversation):
            return
        self._last = message["seq"]
        if self._json:
            click.echo(json.dumps(message))
            return
        kind, _, network = conversation.partition(":")
        click.echo(self._printer.text(message, network if self._to is None and kind == "network" else ""))
        if self._to is not None and not message["own"]:
            call(self._settings.state, "chat-read", conversation=conversation)


COMMANDS: dict[str, click.Command] = {"chat": chat}
