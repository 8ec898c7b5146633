"""``userlan run``: any program inside the LAN, without root.

::

    userlan run -- PROGRAM …      the first: a keeper makes the place (userlan.cli.keeper), then as the next ones
                                  enter it, become PROGRAM: same process, same terminal, no capabilities

The exit status is the program's; 127 where it is not found and 126 where it cannot be executed, as with a shell; 1 where
there can be no such place, with the reason.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn

import click

from userlan.cli.background import ensure_running
from userlan.cli.client import ApiError, call
from userlan.cli.main import Settings

if TYPE_CHECKING:
    from userlan.cli.keeper import KeptBy

EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND = 126, 127
BRIDGE = "namespace"
BRIDGE_PATIENCE, BRIDGE_POLL = 60.0, 0.05
"""Seconds in which a node that answers must have started its bridges, and between two looks."""


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--as", "member", metavar="NAME", help="As a member of its own, with an address of its own: the same one every time.")
@click.option("--internet", is_flag=True, help="Let it reach the Internet too (the LAN alone otherwise).")
@click.option("--mtu", type=click.IntRange(1280, 65521), help="Octets of the largest packet (default: the LAN's).")
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run(settings: Settings, member: str | None, internet: bool, mtu: int | None, program: tuple[str, ...]) -> None:
    """Run PROGRAM inside the LAN: it has this computer's address there, and everything that a LAN has (Linux; no root).

    Programs that run at the same time share the place. Starts the node if none runs.
    """
    if sys.platform != "linux":
        raise ApiError("`userlan run` takes Linux's namespaces: elsewhere programs reach the LAN by `userlan proxy` and `userlan forward`")
    found = _find(program[0])
    ensure_running(settings)
    if member is None:
        keeper, warnings = _place(settings, mtu, internet)
    else:
        keeper, warnings = _place_of_member(settings, member, mtu, internet)
    for line in warnings:
        click.echo(f"userlan: warning: {line}", err=True)
    _enter(keeper)
    _become(found, program)


def _place(settings: Settings, mtu: int | None, internet: bool) -> tuple[KeptBy, list[str]]:
    """The keeper of the place where the programs of this node are, and warnings; made where there is none.

    Nobody leaves or makes it before this process is there: it holds the entrance, an open file, until it becomes the program.
    """
    from userlan.cli.keeper import Wanted, keeper_of, start_keeper, take_lock

    entrance = take_lock(settings.state)
    keeper = keeper_of(settings.state)
    if keeper is None:
        _await_bridge(settings)
        return start_keeper(settings.state, Wanted(mtu, internet), entrance)
    return keeper, _same_place(settings, mtu, internet)


def _await_bridge(settings: Settings) -> None:
    """A node that has just been started answers before all of its bridges are there."""
    give_up = time.monotonic() + BRIDGE_PATIENCE
    while BRIDGE not in call(settings.state, "status")["bridges"]:
        if time.monotonic() > give_up:
            raise ApiError("the node cannot take programs in: it is an older version, or starts for very long")
        time.sleep(BRIDGE_POLL)


def _place_of_member(node: Settings, name: str, mtu: int | None, internet: bool) -> tuple[KeptBy, list[str]]:
    """As ``_place``, of a member beside the node, which is brought up first."""
    from userlan.cli.companion import bring_up, give_up, settings_of
    from userlan.cli.keeper import Wanted, keeper_of, start_keeper, take_lock

    settings = settings_of(node, name)
    entrance = take_lock(settings.state)
    held = bring_up(node, settings)
    keeper = keeper_of(settings.state)
    if keeper is not None:
        return keeper, _same_place(settings, mtu, internet)
    try:
        _await_bridge(settings)
        return start_keeper(settings.state, Wanted(mtu, internet, True), entrance)
    except ApiError:
        give_up(settings)
        raise
    finally:
        held.close()


def _find(name: str) -> str:
    """The program's file, before anything is made for it."""
    found = shutil.which(name)
    if found is not None:
        return found
    if os.path.exists(name) and os.sep in name:
        _fail(f"{name} cannot be executed: {'it is a folder' if os.path.isdir(name) else 'permission denied'}", EXIT_NOT_EXECUTABLE)
    _fail(f"there is no program {name}", EXIT_NOT_FOUND)


def _same_place(settings: Settings, mtu: int | None, internet: bool) -> list[str]:
    """What the programs that run already have goes for this one too; warnings. ApiError where it must not."""
    there = call(settings.state, "namespace-status")
    if there is None:
        return ["the programs that run have lost the node, and look for it"]
    otherwise = "end the programs that run first, or give this one its own member with --as NAME"
    if internet and not there["internet"]:
        raise ApiError(f"--internet: the programs that run have the LAN alone: {otherwise}")
    if mtu is not None and mtu != there["mtu"]:
        raise ApiError(f"--mtu: the interface of the programs that run has {there['mtu']} octets: {otherwise}")
    if there["internet"] and not internet:
        return ["the Internet can be reached, since a program that runs has asked for it"]
    return []


def _enter(keeper: KeptBy) -> None:
    from userlan.driver.namespace.calls import give_up_capabilities
    from userlan.driver.namespace.making import enter
    from userlan.driver.namespace.refusals import NamespaceError

    try:
        if keeper.is_here():
            return      # a program that runs there runs another
        if enter(keeper.pid):
            give_up_capabilities()
    except (NamespaceError, OSError) as error:
        raise ApiError(str(error)) from None


def _become(file: str, program: tuple[str, ...]) -> NoReturn:
    """Execute it in our place. What Python ignores, it does not."""
    for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(file, program)
    except OSError as error:
        status = EXIT_NOT_FOUND if error.errno == errno.ENOENT else EXIT_NOT_EXECUTABLE
        _fail(f"{program[0]} cannot be executed: {error.strerror}", status)


def _fail(text: str, status: int) -> NoReturn:
    click.echo(f"userlan: {text}", err=True)
    sys.exit(status)


COMMANDS: dict[str, click.Command] = {"run": run}
