"""Commands that run in the foreground: up, mediator, relay. Here the global reactor is named."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from userlan.cli.client import ApiError
from userlan.cli.configuration import discover_bridges, load_configuration
from userlan.cli.links import mediator_link
from userlan.cli.main import EXIT_HELD, Settings, fail

if TYPE_CHECKING:
    from userlan.node.config import Config

MAX_FILES = 65_536
"""Open files asked for: 16,384 connections of the stack, each with a local socket, and room for as many again."""
MAX_REGION = 40
"""Characters of a region's name (``control.meeting.Serve``)."""


def parse_listen(written: tuple[str, ...]) -> tuple[tuple[str, int], ...] | None:
    """``HOST:PORT`` options as numbers; a usage error for anything else. Port 0 takes a free one."""
    from userlan.node.config_values import ListenAddress

    found = []
    for one in written:
        try:
            address = ListenAddress.parse(one)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--listen") from None
        found.append((address.host, address.port))
    return tuple(found) or None


listen_option = click.option(
    "--listen", multiple=True, metavar="HOST:PORT", help="Where UDP and TCP arrive (default: all addresses, port 41414)."
)


@click.command()
@click.option("--mediator", metavar="URL", help="The mediator to use: userlan://HOST:PORT/KEY.")
@listen_option
@click.option("--background", is_flag=True, hidden=True)
@click.option("--member", metavar="NAME", hidden=True)
@click.option("--companion", metavar="PORT", type=click.IntRange(1, 65535), hidden=True)
@click.pass_obj
def up(
    settings: Settings, mediator: str | None, listen: tuple[str, ...], background: bool, member: str | None, companion: int | None
) -> None:
    """Run the node in the foreground. Without a mediator anywhere it runs one itself."""
    config, path = load_configuration(settings)
    link = mediator_link(mediator) if mediator else None
    listening = parse_listen(listen)
    bridges = discover_bridges()
    alone = member is None and companion is None        # a member beside the node has its name, and more, not from the file
    process = _Process(settings, config, path if alone else None, bridges)
    from userlan.app.foreground import StartError
    from userlan.app.program import NodeProgram, Options
    from userlan.driver.state import FolderHeldError, StateError, StateFolder

    options = Options(config, path, bridges, link, listening, background)
    if member is not None:
        from userlan.cli.companion import as_companion

        options = as_companion(options, member)
    if companion is not None:
        from userlan.app import companions

        options = companions.as_companion(options, settings.state.name, companion)
    try:
        folder = StateFolder(settings.state, lambda text: print(f"userlan: {text}", file=sys.stderr, flush=True))
        program = NodeProgram(process.reactor, folder, options)
    except (StateError, StartError) as error:
        if background and isinstance(error, FolderHeldError):
            fail(str(error), EXIT_HELD)
        raise ApiError(str(error)) from None
    if member is not None:
        from userlan.cli.companion import end_when_left

        end_when_left(process.reactor, program)
    if companion is not None:
        companions.Companion(process.reactor, program)
    process.run(program)


@click.command()
@listen_option
@click.option(
    "--store",
    metavar="URL",
    help="The directory: a path, or postgresql://USER@HOST/DATABASE by userlan[postgresql] (default: directory.sqlite in --state).",
)
@click.option("--public", multiple=True, metavar="HOST:PORT", help="Addresses to print in the link instead of this computer's own.")
@click.option("--relay-key", "relay_keys", multiple=True, metavar="KEY", help="A relay that may join the pool (default: any may).")
@click.pass_obj
def mediator(
    settings: Settings, listen: tuple[str, ...], store: str | None, public: tuple[str, ...], relay_keys: tuple[str, ...]
) -> None:
    """Run a mediator in the foreground; prints its link once it is ready.

    --listen may be repeated: what nodes' routers do is measured best with two addresses. The next port of each address is used for that
    too, where it is free.
    """
    from userlan.lan.addresses import key_bytes

    config, path = load_configuration(settings)
    try:
        relays = tuple(key_bytes(one) for one in relay_keys)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--relay-key") from None
    listening = parse_listen(listen)
    named = parse_listen(public)
    process = _Process(settings, config, path, discover_bridges())
    from userlan.app.foreground import StartError
    from userlan.cli.mediator_program import MediatorProgram
    from userlan.driver.state import StateError, StateFolder

    try:
        folder = StateFolder(settings.state, lambda text: print(f"userlan: {text}", file=sys.stderr, flush=True), "mediator")
        program = MediatorProgram(process.reactor, folder, config, listening, store, named, relays)
    except (StateError, StartError) as error:
        raise ApiError(str(error)) from None
    process.run(program)


@click.command()
@click.option("--mediator", "mediators", multiple=True, required=True, metavar="URL", help="Join its pool: userlan://HOST:PORT/KEY.")
@click.option(
    "--listen", multiple=True, metavar="HOST:PORT", help="Where UDP and TCP arrive (default: 41414 or the next free one; 443 if permitted)."
)
@click.option("--region", metavar="NAME", help="Where it is, for nodes that have not measured it yet.")
@click.option("--public", multiple=True, metavar="HOST:PORT", help="Addresses to name instead of this computer's own.")
@click.pass_obj
def relay(settings: Settings, mediators: tuple[str, ...], listen: tuple[str, ...], region: str | None, public: tuple[str, ...]) -> None:
    """Run a relay in the foreground: it carries what pairs without a direct path send; it cannot read it.

    It prints a line for each mediator whose pool it has joined, with its key. Its name, capacity and limits are in the configuration.
    """
    import msgspec

    config, path = load_configuration(settings)
    links = tuple(mediator_link(one).mediator for one in mediators)
    if region is not None:
        if len(region) > MAX_REGION or not region.isprintable():
            raise click.BadParameter(f"a region has at most {MAX_REGION} printable characters", param_hint="--region")
        config = msgspec.structs.replace(config, relay=msgspec.structs.replace(config.relay, region=region))
    listening, named = parse_listen(listen), parse_listen(public)
    process = _Process(settings, config, path, discover_bridges())
    from userlan.app.foreground import StartError
    from userlan.cli.relay_program import RelayProgram
    from userlan.driver.state import StateError, StateFolder

    try:
        state = settings.state if settings.state_named else settings.state / "relay"    # a node or a mediator may hold the other one
        folder = StateFolder(state, lambda text: print(f"userlan: {text}", file=sys.stderr, flush=True), "relay")
        program = RelayProgram(process.reactor, folder, config, links, listening, named)
    except (StateError, StartError) as error:
        raise ApiError(str(error)) from None
    process.run(program)


class _Process:
    """What the programs of this module have of their process: the global reactor with a monotonic clock, the log on standard error."""

    def __init__(self, settings: Settings, config: Config, path: Path | None, bridges: Mapping[str, Any]) -> None:
        """``path``: the file that the configuration is from."""
        from twisted.internet import reactor
        from twisted.logger import globalLogBeginner

        from userlan.app.log import Logs
        from userlan.driver.reactor import use_monotonic_time

        use_monotonic_time(reactor)
        self.reactor: Any = reactor
        self._path = path
        self._sections = {name: kind.Options for name, kind in bridges.items()}
        self._logs = Logs(sys.stderr, {name: kind.__module__ for name, kind in bridges.items()}, settings.verbose)
        self._logs.set(config.log)
        observer: Any = self._logs
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)

    def _read_config(self) -> Config:
        from userlan.node.config import load_file

        assert self._path is not None
        config = load_file(self._path, self._sections)
        self._logs.set(config.log)
        return config

    def run(self, program: Any) -> NoReturn:
        """Run a program to its end, and exit with its status; systemd, where it started the process, is told how it stands."""
        from userlan.app.notify import Manager

        program.manager = Manager(self.reactor, os.environ)
        if self._path is not None:
            program.read_config = self._read_config
        _run(self.reactor, program)
        sys.exit(program.exit_status)


def _raise_file_limit() -> None:
    """As many open files as this user may have: a thousand streams need two thousand, and the usual soft limit is 1024."""
    try:
        import resource
    except ImportError:      # a platform without such limits
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _run(reactor: Any, program: Any) -> None:
    """Start the program inside the reactor; SIGTERM and SIGINT end it in order, SIGHUP reloads its configuration."""
    from twisted.logger import Logger

    def started() -> None:
        reactor.callFromThread(lambda: None)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: reactor.callFromThread(stop))
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(program.manager.reloading, program.reload))
        program.start().addCallbacks(lambda _: program.manager.ready(program.standing), failed)

    def stop() -> None:
        program.stop().addErrback(program.stop_failed)

    def failed(failure: Any) -> None:
        from userlan.app.foreground import StartError
        from userlan.driver.bridge import CommandError

        if not failure.check(StartError, CommandError):
            Logger().failure("the program failed", failure)
        program.fail(failure.getErrorMessage())

    _raise_file_limit()
    # What was loaded at the start stays: the collector need not look at it again, and its pauses stay out of the round trips.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    reactor.callWhenRunning(started)
    reactor.run(installSignalHandlers=True)


COMMANDS: dict[str, click.Command] = {"up": up, "mediator": mediator, "relay": relay}
