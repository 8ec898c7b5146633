"""Commands around the local page: open."""

from __future__ import annotations

import os
import sys

import click

from userlan.cli.background import ensure_running
from userlan.cli.client import ApiError, call
from userlan.cli.main import Settings


@click.command("open")
@click.argument("invite", required=False)
@click.option("--print", "print_only", is_flag=True, help="Print the address instead. It lets one browser in, within five minutes.")
@click.pass_obj
def open_page(settings: Settings, invite: str | None, print_only: bool) -> None:
    """Show the local page in the browser. Starts the node if none runs. With INVITE the page asks whether to join."""
    fragment = ""
    if invite is not None:
        from urllib.parse import quote

        from userlan.lan.invite import Invite

        try:
            fragment = f"#join={quote(str(Invite.parse(invite)), safe='')}"
        except ValueError as error:
            raise ApiError(str(error)) from None
    ensure_running(settings)
    url = call(settings.state, "page")["url"] + fragment
    if print_only or not _browse(url):
        click.echo(url)


def _browse(url: str) -> bool:
    """Whether a browser was found that shows it."""
    import webbrowser

    desktop = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    if os.name == "posix" and sys.platform != "darwin" and not desktop:
        return False  # only browsers of the terminal are left, and the page is none for them
    return webbrowser.open(url)


COMMANDS: dict[str, click.Command] = {"open": open_page}
