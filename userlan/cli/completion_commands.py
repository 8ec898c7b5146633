"""``userlan completion``: the script by which a shell completes ``userlan``'s words."""

from __future__ import annotations

import sys

import click
from click.shell_completion import ShellComplete, get_completion_class

from userlan.cli.main import VARIABLE, cli

WHERE = {
    "bash": 'for every shell, in ~/.bashrc:  eval "$(userlan completion bash)"',
    "zsh": 'for every shell, in ~/.zshrc, behind compinit:  eval "$(userlan completion zsh)"',
    "fish": "for every shell:  userlan completion fish > ~/.config/fish/completions/userlan.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(WHERE)))
def completion(shell: str) -> None:
    """Print the script that has SHELL complete commands, options, and the names of peers and networks."""
    kind = get_completion_class(shell)
    assert kind is not None
    # Not the class's own source(): that of bash starts a bash to ask its version.
    click.echo(ShellComplete.source(kind(cli, {}, "userlan", VARIABLE)))
    if sys.stdout.isatty():
        click.echo(WHERE[shell], err=True)


COMMANDS: dict[str, click.Command] = {"completion": completion}
