"""``userlan``: the command group, its global options, and the one place that turns failures into exit statuses."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NoReturn

import attrs
import click

from userlan import __version__
from userlan.cli.client import ApiError, NotRunningError, starting_node

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

EXIT_FAILED = 1
EXIT_HELD = 75
"""Of a node that a command has started, to that command alone: another process holds the state folder (sysexits.h: EX_TEMPFAIL)."""
VARIABLE = "_USERLAN_COMPLETE"
"""Set where a shell asks what to complete."""


@attrs.frozen
class Settings:
    """The global options. ``state`` is the state folder, and whether it was named; ``config`` an explicitly named
    configuration file."""

    state: Path
    config: Path | None
    verbose: int
    state_named: bool = False


def default_state() -> Path:
    """``USERLAN_STATE``, else the platform's place for a user's data."""
    named = os.environ.get("USERLAN_STATE")
    return Path(named) if named else usual_state()


def usual_state() -> Path:
    """The platform's place for a user's data."""
    import platformdirs

    return Path(platformdirs.user_data_dir("userlan", appauthor=False))


def default_config() -> Path:
    """The platform's place for a user's configuration."""
    import platformdirs

    return Path(platformdirs.user_config_dir("userlan", appauthor=False)) / "config.yaml"


def wants_colours() -> bool:
    """Whether a terminal may be given colours (https://no-color.org); what is no terminal gets none in any case."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Commands(click.Group):
    """Commands in the order in which one meets them, loaded when first named, so that each starts quickly."""

    modules: ClassVar[dict[str, str]] = {
        "demo": "demo",
        "up": "up",
        "down": "manage",
        "create": "manage",
        "join": "manage",
        "leave": "manage",
        "invite": "manage",
        "evict": "manage",
        "lock": "owner",
        "unlock": "owner",
        "password": "owner",
        "applicants": "owner",
        "approve": "owner",
        "deny": "owner",
        "block": "manage",
        "unblock": "manage",
        "nick": "manage",
        "open": "page",
        "status": "show",
        "ping": "show",
        "path": "path",
        "netcheck": "netcheck",
        "doctor": "doctor",
        "proxy": "show",
        "expose": "reach",
        "unexpose": "reach",
        "forward": "reach",
        "unforward": "reach",
        "nc": "reach",
        "services": "service",
        "send": "file",
        "inbox": "file",
        "chat": "chat",
        "share": "share",
        "unshare": "share",
        "folder": "folder",
        "guest": "guest",
        "run": "run",
        "tap": "tap",
        "dns": "dns",
        "capture": "capture",
        "mediator": "up",
        "relay": "up",
        "service": "service_install",
        "completion": "completion",
        "config": "configuration",
    }
    groups: ClassVar[dict[str, tuple[str, ...]]] = {
        "First steps": ("demo", "create", "join", "invite", "open", "status"),
        "Together": ("chat", "send", "inbox", "services", "expose", "unexpose", "folder", "share", "unshare", "guest"),
        "Networks and members": (
            *("nick", "leave", "approve", "deny", "applicants", "lock", "unlock", "password", "evict", "block", "unblock"),
        ),
        "Programs in the LAN": ("run", "proxy", "forward", "unforward", "nc", "dns", "tap"),
        "Look closer": ("ping", "path", "netcheck", "doctor", "capture"),
        "Run it": ("up", "down", "service", "mediator", "relay", "config", "completion"),
    }
    """As ``--help`` has them; a test sees to it that each is somewhere."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, context: click.Context, cmd_name: str) -> click.Command | None:
        module = self.modules.get(cmd_name)
        if module is None:
            return None
        import importlib

        commands: dict[str, click.Command] = importlib.import_module(f"userlan.cli.{module}_commands").COMMANDS
        if VARIABLE in os.environ:
            from userlan.cli.completing import prepare

            return prepare(commands[cmd_name], cmd_name, default_state)
        return commands[cmd_name]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """The names alone, so that no command is loaded for them."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in self.modules if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """In groups, each in the order in which one meets them."""
        width = max(map(len, self.modules))
        for title, names in self.groups.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                if command is not None:
                    rows.append((name.ljust(width), command.get_short_help_str(formatter.width - width - 6)))
            with formatter.section(title):
                formatter.write_dl(rows)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.modules and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.modules, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "; see `userlan --help`"
            context.fail(f"there is no command {args[0]!r}{hint}")
        return super().resolve_command(context, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), help="State folder: identity, caches, control socket [USERLAN_STATE]."
)
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Configuration file.")
@click.option("-v", "--verbose", count=True, help="Say more; twice for everything.")
@click.version_option(__version__, prog_name="userlan")
@click.pass_context
def cli(context: click.Context, state: Path | None, config: Path | None, verbose: int) -> None:
    """The LAN over the Internet that just works, without root."""
    context.color = None if wants_colours() else False
    context.obj = Settings((state or default_state()).absolute(), config, verbose, state is not None or "USERLAN_STATE" in os.environ)


NO_ARGUMENTS: type[click.UsageError] | tuple[()] = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""A group without a command; before click 8.2 its help was no error."""


def main() -> None:
    """Entry point: run a command; a failure is one line on standard error and exit status 1 (2 for wrong usage)."""
    try:
        cli.main(prog_name="userlan", standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.UsageError as error:
        if isinstance(error, NO_ARGUMENTS):
            click.echo(error.format_message(), err=True)    # the help, as it is
            sys.exit(error.exit_code)
        where = error.ctx.command_path if error.ctx is not None and error.ctx.parent is not None else "userlan"
        click.echo(f"{where}: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        fail(error.format_message())
    except NotRunningError as error:
        fail(_starting(error) or str(error))
    except ApiError as error:
        fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _starting(error: NotRunningError) -> str:
    """What is to be said where a node does not answer yet, or no longer; empty where there is none."""
    process = starting_node(error.state) if error.state is not None else None
    if process is None:
        return ""
    return f"no node runs with the state folder {error.state} yet: process {process} is just starting one, or ending; try again in a moment"


def fail(text: str, status: int = EXIT_FAILED) -> NoReturn:
    """One line on standard error, exit status 1."""
    click.echo(f"userlan: {text}", err=True)
    sys.exit(status)
