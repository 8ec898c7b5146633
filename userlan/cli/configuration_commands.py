"""``userlan config check``: every mistake in a configuration with its line."""

from __future__ import annotations

from pathlib import Path

import click

from userlan.cli.client import ApiError
from userlan.cli.configuration import sections
from userlan.cli.main import Settings, default_config
from userlan.cli.output import as_json


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--json", "json_output", is_flag=True, help="As JSON.")
@click.pass_obj
def check(settings: Settings, file: Path | None, json_output: bool) -> None:
    """Check FILE (default: the one that `userlan up` reads), line by line."""
    from userlan.node.config import check_file

    path = file or settings.config or default_config()
    if file is None and settings.config is None and not path.is_file():
        click.echo("[]" if json_output else f"{path}: there is none, every key has its default")
        return
    problems = check_file(path, sections())
    whole = len(problems) == 1 and not problems[0].line     # there is no line to look at: that is all there is to say
    if json_output:
        click.echo(as_json([{"file": str(path), "line": problem.line, "text": str(problem)} for problem in problems]))
    elif not whole:
        for problem in problems:
            click.echo(str(problem), err=True)
    if whole:
        raise ApiError(str(problems[0]))
    if problems:
        raise ApiError(f"{path}: {len(problems)} mistake{'s' if len(problems) > 1 else ''}")
    if not json_output:
        click.echo(f"{path}: good")


COMMANDS: dict[str, click.Command] = {"config": config}
