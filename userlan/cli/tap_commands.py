"""``userlan tap``: attach this computer to the LAN.

The command opens the TAP and sets its addresses, the node carries its frames::

    userlan tap (root)                                     node (nobody in particular)
      open TAP ── descriptor over the local API ──────────▶ reads and writes it
      set addresses ◀───────────── item: name, addresses ── at first and whenever they change
      Ctrl-C, SIGTERM, kill -9: the connection ends ──────▶ closes it: the interface is gone
      waits, keeps the interface ◀──────────── the connection ends: the node stopped, or was killed
      hands it to the next node ───────────────────────────▶

Where the command may not open one it leaves that to the node, which may be allowed to.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from typing import Any

import attrs
import click

from userlan.cli.background import ensure_running
from userlan.cli.client import STOP_PATIENCE, ApiError, Client, NodeGoneError, call, stop_node
from userlan.cli.main import Settings

NODE_POLL = 0.1
"""Seconds between two looks whether there is a node again."""

STALE_FRAMES = 4_096
FRAME_SIZE = 1 << 17
"""Frames that may have waited in the kernel (its queue holds 500), and more octets than one has."""


@click.command()
@click.option("--name", default="lan0", show_default=True, help="The interface's name.")
@click.option("--mtu", type=click.IntRange(1280, 65521), help="Octets of its largest packet (default: the LAN's).")
@click.option("--broadcasts", is_flag=True, help="Programs' broadcasts go to the LAN, not where the default route leads.")
@click.option("--detach", is_flag=True, help="Detach what is attached, and end.")
@click.pass_obj
def tap(settings: Settings, name: str, mtu: int | None, broadcasts: bool, detach: bool) -> None:
    """Attach this computer to the LAN by a TAP, until Ctrl-C (needs root or CAP_NET_ADMIN). Starts the node if none runs."""
    from userlan.driver.tap.device import TapError, check_platform

    try:
        check_platform()
    except TapError as error:
        raise ApiError(str(error)) from None
    whose = _of_the_caller(settings)
    if detach:
        click.echo(call(whose.state, "tap-detach")["text"])
        return
    fresh = whose is settings and ensure_running(settings).fresh
    attaching = Attaching(whose, name, mtu, broadcasts)
    try:
        attaching.run()
    except ApiError:
        if fresh and not attaching.attached:
            with suppress(ApiError):
                stop_node(settings.state)
        raise


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

    def __init__(self, settings: Settings, name: str, mtu: int | None, broadcasts: bool) -> None:
        self._name = name
        self._mtu = mtu
        self._broadcasts = broadcasts
        self._settings = settings
        self.attached = False
        """Whether there has been an interface."""
        self._client = Client(settings.state)
        self._descriptor: int | None = None
        """The TAP that this command has opened. It is kept, so that the interface outlives a node; what ends the interface is
        the end of this process."""
        self._setup: Any = None
        self._told = ""
        self._stopping = False
        """Whether the node said that it would stop."""
        self._ending = False

    def run(self) -> None:
        """Until it is detached; raises ApiError when that was not meant."""
        ports = self._open()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._end())
        try:
            while (ended := self._attach(ports)) is None:
                self._await_node()
        except ApiError:
            if not self._ending:
                raise
            ended = f"detached {self._name}"
        click.echo(ended)

    def _attach(self, ports: tuple[int, int] | None) -> str | None:
        """Attach until it ends: why, in one line; None when it was the node that ended, and not as it was asked to."""
        arguments = {"name": self._name, "mtu": self._mtu, "broadcasts": self._broadcasts, "ports": ports}
        try:
            self._client.send("tap", arguments, self._descriptor)
            result = self._client.answer(self._item)
        except (NodeGoneError, OSError):
            if self._ending:
                raise ApiError("") from None
            return None
        finally:
            self._client.close()
        self._stopping = bool(result.get("again"))
        return None if self._stopping else str(result["text"])

    def _await_node(self) -> None:
        """Until a node answers again. Raises ApiError when this command is to end meanwhile."""
        click.echo("the node has stopped: waiting for it to come back (Ctrl-C ends)")
        self._told, give_up = "", time.monotonic() + STOP_PATIENCE
        while self._stopping and self._node_answers() and time.monotonic() < give_up and not self._ending:
            self._client.close()
            time.sleep(NODE_POLL)
        while not self._node_answers() and not self._ending:
            time.sleep(NODE_POLL)
        if self._ending:
            raise ApiError("")
        self._drain()

    def _node_answers(self) -> bool:
        """Whether a node is there, with all of its bridges; then there is a client of it, too."""
        try:
            if "tap" in call(self._settings.state, "status")["bridges"]:
                self._client = Client(self._settings.state)
                return True
        except ApiError:
            pass
        return False

    def _drain(self) -> None:
        """Forget the frames that have waited for a node: what was in them has long been said again, or given up."""
        if self._descriptor is None:
            return
        with suppress(OSError):
            for _ in range(STALE_FRAMES):
                os.read(self._descriptor, FRAME_SIZE)

    def _open(self) -> tuple[int, int] | None:
        """Open a TAP of our own; the stack's ports beside it, or None where only the node may open one."""
        from userlan.driver.tap.device import TapError, open_tap, stack_ports

        if not hasattr(socket, "send_fds"):
            return None
        try:
            self._descriptor = open_tap(self._name)
        except TapError as error:
            if error.forbidden:
                return None
            raise ApiError(str(error)) from None
        return stack_ports()

    def _item(self, told: dict[str, Any]) -> None:
        """The node says what the interface is to be."""
        self.attached = True
        from userlan.driver.tap.device import TapError

        if self._descriptor is not None:
            try:
                self._set_up(told)
            except TapError as error:
                raise ApiError(str(error)) from None
            if self._setup.warning:
                click.echo(f"userlan: warning: {self._setup.warning}", err=True)
        if told["text"] != self._told:
            self._told = told["text"]
            click.echo(told["text"])

    def _set_up(self, told: dict[str, Any]) -> None:
        """Raises TapError."""
        from userlan.driver.tap.names import point
        from userlan.driver.tap.setup import InterfaceSetup

        hardware = bytes.fromhex(told["hardware"].replace(":", ""))
        if self._setup is None:
            self._setup = InterfaceSetup(told["name"], hardware, told["mtu"], self._broadcasts)
            self._setup.follow(told["addresses"])
            warning = point(told["name"])
            if warning:
                click.echo(f"userlan: warning: {warning}", err=True)
            return
        if not self._told:      # another node than before
            self._setup.bring_up(hardware, told["mtu"])
        self._setup.follow(told["addresses"])

    def _end(self) -> None:
        """Detach: the node closes its end once this one's is closed."""
        if self._ending:
            raise KeyboardInterrupt     # asked twice: do not wait
        self._ending = True
        with suppress(OSError):
            self._client.socket.shutdown(socket.SHUT_WR)


COMMANDS: dict[str, click.Command] = {"tap": tap}
