"""``userlan tap``: attach this computer to the LAN.

The command opens the TAP and sets its addresses, the node carries its frames::

    userlan tap (root)                                     node (nobody in particular)
      open TAP ── descriptor over the local API ──────────▶ reads and writes it
      set addresses ◀───────────── item: name, addresses ── at first and whenever they change
      Ctrl-C, SIGTERM, kill -9: the connection ends ──────▶ closes it: the interface is gone

Where the command may not open one it leaves that to the node, which may be allowed to.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from typing import Any

import attrs
import click

from userlan.cli.background import ensure_running
from userlan.cli.client import ApiError, Client, call
from userlan.cli.main import Settings


@click.command()
@click.option("--name", default="lan0", show_default=True, help="The interface's name.")
@click.option("--mtu", type=click.IntRange(1280, 65521), help="Octets of its largest packet (default: the LAN's).")
@click.option("--detach", is_flag=True, help="Detach what is attached, and end.")
@click.pass_obj
def tap(settings: Settings, name: str, mtu: int | None, detach: bool) -> None:
    """Attach this computer to the LAN by a TAP, until Ctrl-C (needs root or CAP_NET_ADMIN). Starts the node if none runs."""
    whose = _of_the_caller(settings)
    if detach:
        click.echo(call(whose.state, "tap-detach")["text"])
        return
    if whose is settings:
        ensure_running(settings)
    Attaching(whose, name, mtu).run()


def _of_the_caller(settings: Settings) -> Settings:
    """Under sudo: the state folder of whoever called it, as long as none was named; the node there is theirs."""
    user = os.environ.get("SUDO_USER")
    if not user or os.geteuid() != 0 or settings.state_named:
        return settings
    import pwd

    import platformdirs

    with suppress(KeyError):
        account = pwd.getpwnam(user)
        relative = os.path.relpath(platformdirs.user_data_dir("userlan", appauthor=False), os.path.expanduser("~"))
        state = type(settings.state)(account.pw_dir) / relative
        if state.is_dir():
            return attrs.evolve(settings, state=state)
    return settings


class Attaching:
    """One ``userlan tap``."""

    def __init__(self, settings: Settings, name: str, mtu: int | None) -> None:
        self._name = name
        self._mtu = mtu
        self._client = Client(settings.state)
        self._setup: Any = None
        self._told = ""
        self._opened = False
        self._ending = False

    def run(self) -> None:
        """Until it is detached; raises ApiError when that was not meant."""
        descriptor, ports = self._open()
        arguments = {"name": self._name, "mtu": self._mtu, "ports": ports}
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._end())
        try:
            self._client.send("tap", arguments, descriptor)
        finally:
            if descriptor is not None:
                os.close(descriptor)        # the node's is the only one now: when it goes, so does the interface
        try:
            result = self._client.answer(self._item)
        except ApiError:
            if not self._ending:
                raise
            click.echo(f"detached {self._name}")
            return
        click.echo(result["text"])

    def _open(self) -> tuple[int | None, tuple[int, int] | None]:
        """A TAP of our own and the stack's ports beside it; None where only the node may open one."""
        from userlan.driver.tap.device import TapError, open_tap, stack_ports

        if not hasattr(socket, "send_fds"):
            return None, None
        try:
            descriptor = open_tap(self._name)
        except TapError as error:
            if error.forbidden:
                return None, None
            raise ApiError(str(error)) from None
        self._opened = True
        return descriptor, stack_ports()

    def _item(self, told: dict[str, Any]) -> None:
        """The node says what the interface is to be."""
        from userlan.driver.tap.device import TapError
        from userlan.driver.tap.setup import InterfaceSetup

        if self._opened:
            try:
                if self._setup is None:
                    self._setup = InterfaceSetup(told["name"], bytes.fromhex(told["hardware"].replace(":", "")), told["mtu"])
                self._setup.follow(told["addresses"])
            except TapError as error:
                raise ApiError(str(error)) from None
            if self._setup.warning:
                click.echo(f"userlan: warning: {self._setup.warning}", err=True)
        if told["text"] != self._told:
            self._told = told["text"]
            click.echo(told["text"])

    def _end(self) -> None:
        """Detach: the node closes its end once the interface is gone."""
        if self._ending:
            raise KeyboardInterrupt     # asked twice: do not wait
        self._ending = True
        with suppress(OSError):
            self._client.socket.shutdown(socket.SHUT_WR)


COMMANDS: dict[str, click.Command] = {"tap": tap}
