"""What the shell completes: commands and options by click's own machinery, and names by asking the running node.

A key that is pressed must be answered at once: where no node runs, or it does not answer within ``PATIENCE``, nothing is offered. What an
argument holds is known by its name, so that a command gets its completion by calling it ``peer``, ``network`` and so on.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from userlan.cli.client import ApiError, Client

PATIENCE = 0.25
"""Seconds for the node to answer."""
MAX_OFFERED = 1000
"""Names that are offered at once."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@-]*")
"""What no shell takes apart or for something else."""

Offers = Iterable[tuple[str, str]]
"""Words, each with what it means."""


def ask(state: Path, command: str) -> Any:
    """The answer of the running node; None where there is none in time."""
    give_up = time.monotonic() + PATIENCE
    with suppress(ApiError, ValueError, OSError):
        client = Client(state, PATIENCE)
        try:
            client.send(command, {})
            while (left := give_up - time.monotonic()) > 0:
                client.socket.settimeout(left)
                for answer in client.arrived():
                    return answer.get("done")
        finally:
            client.close()
    return None


def peers(state: Path) -> Offers:
    """Members, with how they are reached."""
    return [(row["name"], row["state"]) for row in (ask(state, "status") or {}).get("peers", [])]


def networks(state: Path) -> Offers:
    """Networks that this node is in."""
    return [(row["name"], f"{len(row['members'])} members") for row in (ask(state, "status") or {}).get("networks", [])]


def peers_and_networks(state: Path) -> Offers:
    """Both, in one question."""
    told = ask(state, "status") or {}
    named = [(row["name"], row["state"]) for row in told.get("peers", [])]
    return [*named, *((row["name"], "network") for row in told.get("networks", []))]


def applicants(state: Path) -> Offers:
    """Who asks to be let in."""
    told = (ask(state, "status") or {}).get("networks", [])
    return [(row["name"], f"asks to join {network['name']}") for network in told for row in network.get("applicants", [])]


def transfers(state: Path) -> Offers:
    """Files that come and go, by their identifiers."""
    return [(str(row["id"]), f"{row['file']} ({row['name']}, {row['state']})") for row in ask(state, "files-list") or []] + [("all", "")]


def exposed(state: Path) -> Offers:
    """Services that members reach."""
    suffixes = {"udp": "/udp"}
    return [(f"{row['port']}{suffixes.get(row['protocol'], '')}", row["target"]) for row in ask(state, "exposes") or []]


def forwards(state: Path) -> Offers:
    """Local ports that lead to members."""
    return [(row["listen"].rpartition(":")[2], f"{row['peer']}:{row['port']}") for row in ask(state, "forwards") or []]


def profiles(state: Path) -> Offers:
    """Of discovery."""
    return [(row["profile"], row["title"]) for row in (ask(state, "shares") or {}).get("profiles", [])] + [("all", "")]


def guests(state: Path) -> Offers:
    """Guests of this node."""
    told = ask(state, "guest-list") or {}
    return [(row["name"], row.get("ipv4") or "") for row in told.get("guests", [])]


def folders(state: Path) -> Offers:
    """Folders that are shared."""
    return [(row["name"], row["path"]) for row in ask(state, "folder-list") or []]


SOURCES: dict[str, Callable[[Path], Offers]] = {
    "peer": peers,
    "peers": peers,
    "member": peers,
    "network": networks,
    "networks": networks,
    "to": peers_and_networks,
    "ids": transfers,
    "identifier": transfers,
    "profile": profiles,
    "invite_or_network": lambda state: (),
    "approve member": applicants,
    "deny member": applicants,
    "create network": lambda state: (),
    "send files": peers,
    "unexpose service": exposed,
    "unforward rule": forwards,
    "shared": folders,
    "show name": guests,
    "remove name": guests,
}
"""By the name of a parameter; with the name of its command before it where it is another thing there."""


class Completed(click.ParamType[Any]):
    """A parameter's own type, with the node's names to complete by."""

    def __init__(self, own: click.ParamType[Any], source: Callable[[Path], Offers], default: Callable[[], Path]) -> None:
        self.name = own.name
        self._own, self._source, self._default = own, source, default

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._own.convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        """What begins so, but for what the line holds already."""
        state = ctx.find_root().params.get("state") or self._default()
        given = ctx.params.get(param.name or "")
        arguments = [one for one in ctx.command.params if isinstance(one, click.Argument)]
        if isinstance(self._own, click.Path) and not any(ctx.params.get(one.name or "") for one in arguments):
            # FILE… PEER: first comes a file.
            return self._own.shell_complete(ctx, param, incomplete)
        held = set(map(str, given)) if isinstance(given, tuple | list) else set()
        offers = {
            word: meaning
            for word, meaning in self._source(Path(os.path.expanduser(state)))
            if word.startswith(incomplete) and word not in held and _PLAIN.fullmatch(word)
        }
        items = [CompletionItem(word, help=_line(meaning)) for word, meaning in sorted(offers.items())[:MAX_OFFERED]]
        return items or self._own.shell_complete(ctx, param, incomplete)


def prepare(command: click.Command, name: str, default: Callable[[], Path]) -> click.Command:
    """Have the parameters of a command, and of those in it, completed; ``default``: the state folder where the line names none."""
    for parameter in command.params:
        source = SOURCES.get(f"{name} {parameter.name}") or SOURCES.get(parameter.name or "")
        if source is not None and not isinstance(parameter.type, Completed):
            parameter.type = Completed(parameter.type, source, default)
    if isinstance(command, click.Group):
        for inner, one in command.commands.items():
            prepare(one, inner, default)
    return command


def _line(text: str) -> str | None:
    """Somebody else's text in the shell's list."""
    line = "".join(character for character in text if character.isprintable() and character not in "\t:\\`$")
    return line[:60] or None
