"""Find and read the configuration: the bridges found by entry points bring their own sections."""

from __future__ import annotations

import shlex
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from userlan.cli.client import ApiError
from userlan.cli.main import Settings, default_config

if TYPE_CHECKING:
    from userlan.node.config import Config

GROUP = "userlan.bridges"


def discover_bridges() -> dict[str, Any]:
    """Bridge classes by their name, found by entry points; one that cannot be imported is told and left out."""
    import sys

    found: dict[str, Any] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            kind = entry.load()
        except Exception as error:
            print(f"userlan: the bridge {entry.name} ({entry.value}) cannot be loaded: {error}", file=sys.stderr)
            continue
        found[kind.name] = kind
    return found


def sections() -> dict[str, Any]:
    """The sections that the bridges bring to the configuration."""
    return {name: kind.Options for name, kind in discover_bridges().items()}


def load_configuration(settings: Settings) -> tuple[Config, Path | None]:
    """The named file, else the user's own where there is one, else the defaults; ApiError with the first mistake, in one line."""
    from userlan.node.config import defaults, load_file
    from userlan.node.config_reader import ConfigError, UnreadableError

    path = settings.config or (default_config() if default_config().is_file() else None)
    try:
        return (load_file(path, sections()), path) if path is not None else (defaults(sections()), None)
    except UnreadableError as error:
        other = ", or leave it out: every key has its default" if settings.config is not None else ""
        raise ApiError(f"{error}; name another file with --config{other}") from None
    except ConfigError as error:
        first, *more = error.problems
        how = f" (and {len(more)} more: `userlan config check {shlex.quote(str(path))}` lists them)" if more else ""
        raise ApiError(f"{first}{how}") from None
