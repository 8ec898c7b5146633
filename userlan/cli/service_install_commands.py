"""``userlan service``: start at login, and open ``userlan://`` links."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import sys
from pathlib import Path
from typing import Any

import click

from userlan.cli import link_handler
from userlan.cli.background import LOG_NAME
from userlan.cli.client import ApiError, NotRunningError, stop_node
from userlan.cli.main import Settings, usual_state
from userlan.cli.output import as_json
from userlan.cli.service_managers import find
from userlan.cli.service_units import Service

TITLES = {"up": "userlan: the LAN over the Internet", "mediator": "userlan's mediator", "relay": "userlan's relay"}

of_option = click.option(
    "--of", type=click.Choice(["node", "mediator", "relay"]), default="node", show_default=True, help="Of which program."
)


@click.group()
def service() -> None:
    """Start at login: install, remove, status; and open userlan:// links."""


@service.command()
@of_option
@click.option("--links/--no-links", default=True, help="Have userlan:// links open with userlan (where a desktop is; of the node only).")
@click.option("--print", "only_print", is_flag=True, help="Show the files, and do nothing.")
@click.argument("options", nargs=-1, metavar="[-- OPTIONS]")
@click.pass_obj
def install(settings: Settings, of: str, links: bool, only_print: bool, options: tuple[str, ...]) -> None:
    """Start the node (or the mediator, a relay) at each login, and now; it is started anew when it fails.

    OPTIONS are those of the program: userlan service install --of relay -- --mediator URL
    """
    described = describe(settings, of, options)
    manager = find(os.environ)
    links = links and of == "node" and link_handler.available(os.environ)
    if only_print:
        shown = [manager.file(described), *(link_handler.files(command(settings), os.environ).items() if links else ())]
        for path, content in shown:
            encoding = "utf-16" if content.startswith(codecs.BOM_UTF16) else "utf-8"
            click.echo(f"# {path}\n{content.decode(encoding)}")
        return
    if of == "node" and manager.runs() and not manager.status(described)["running"]:
        _make_room(settings)
    for line in manager.install(described):
        click.echo(line)
    for line in link_handler.install(command(settings), os.environ) if links else []:
        click.echo(line)


@service.command()
@of_option
@click.pass_obj
def remove(settings: Settings, of: str) -> None:
    """Stop it, and start it at login no more. Nothing is left; what the program itself keeps (its state folder) stays."""
    removed = find(os.environ).remove(describe(settings, of, ()))
    if of == "node":
        removed += link_handler.remove(os.environ)
    click.echo("\n".join(removed) if removed else "nothing is installed")


@service.command()
@of_option
@click.option("--json", "json_output", is_flag=True, help="As JSON.")
@click.pass_obj
def status(settings: Settings, of: str, json_output: bool) -> None:
    """Whether it is installed, and how it stands. The exit status is 0 in any case: this tells, and fails only where it cannot."""
    described, manager = describe(settings, of, ()), find(os.environ)
    told: dict[str, Any] = {"name": described.name, "manager": manager.name, **manager.status(described)}
    told["links"] = of == "node" and all(path.exists() for path in link_handler.files((), os.environ))
    if json_output:
        click.echo(as_json(told))
        return
    where = "installed" if told["installed"] else told["text"] + (": `userlan service install`" if manager.runs() else "")
    click.echo(f"{told['name']} ({told['manager']})  {where}")
    if told["installed"]:
        running = "running" if told["running"] else "not running"
        click.echo(f"{running}, started {'' if told['at_login'] else 'not '}at login\n{told['text']}")
    if of == "node":
        click.echo(f"userlan:// links {'open with userlan' if told['links'] else 'are not set up: `userlan service links`'}")


@service.command()
@click.option("--remove", "away", is_flag=True, help="Leave them alone again.")
@click.pass_obj
def links(settings: Settings, away: bool) -> None:
    """Have userlan:// links open with userlan, and an entry in the desktop's menus."""
    if away:
        click.echo("\n".join(link_handler.remove(os.environ)) or "nothing is installed")
        return
    if not link_handler.available(os.environ):
        raise ApiError("no desktop that reads such entries is here: open a link with `userlan join LINK`")
    for line in link_handler.install(command(settings), os.environ):
        click.echo(line)


def describe(settings: Settings, of: str, options: tuple[str, ...]) -> Service:
    """The service of this state folder; wrong OPTIONS are refused now, not at the next login."""
    from userlan.cli.up_commands import COMMANDS

    program = "up" if of == "node" else of
    state = settings.state if settings.state_named or of == "node" else settings.state / of
    if options:
        with COMMANDS[program].make_context(f"service install --of {of} --", list(options)):
            pass
    elif of == "relay" and click.get_current_context().info_name == "install":
        raise click.UsageError("a relay needs a mediator: --of relay -- --mediator URL")
    background = ("--background",) if of == "node" else ()
    name = "userlan" if of == "node" else f"userlan-{of}"
    if state not in (usual_state(), usual_state() / of):
        name += f"-{_slug(state)}"
    settled = Settings(state, settings.config, settings.verbose, True)
    return Service(name, TITLES[program], (*command(settled), program, *background, *options), state / LOG_NAME)


def command(settings: Settings) -> tuple[str, ...]:
    """``userlan`` of this installation by its absolute path, and the global options that were given."""
    script = Path(sys.executable).with_name("userlan")
    words = [str(script)] if script.is_file() else [sys.executable, "-P", "-m", "userlan"]
    if settings.state_named:
        words += ["--state", str(settings.state)]
    if settings.config is not None:
        words += ["--config", str(settings.config.absolute())]
    return (*words, *(["-v"] * settings.verbose))


def _slug(state: Path) -> str:
    """A state folder in a service's name: its own name to know it by, and what tells it from others of that name."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", state.name).strip("-")[:20]
    return f"{readable or 'state'}-{hashlib.blake2s(os.fsencode(state)).hexdigest()[:6]}"


def _make_room(settings: Settings) -> None:
    """A node that runs in the state folder already holds it: the service takes its place."""
    try:
        stop_node(settings.state)
    except NotRunningError:
        return
    click.echo("stopped the node that ran: the service takes its place")


COMMANDS: dict[str, click.Command] = {"service": service}
