"""Start a node in the background for the commands that need one, and wait until it answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from userlan.cli.client import ApiError, NotRunningError, call, starting_node, stop_node
from userlan.cli.main import EXIT_HELD, Settings

START_TIMEOUT = 60.0
"""Seconds in which a node that lives must answer on its socket: a cold start takes two, on a machine with much else to do many more."""
LOG_NAME = "node.log"


@attrs.frozen
class Started:
    """Whether this command started the node itself."""

    settings: Settings
    fresh: bool

    @contextmanager
    def undone_on_failure(self) -> Iterator[None]:
        """A node that was started for a command that then failed is stopped again."""
        try:
            yield
        except ApiError:
            if self.fresh:
                with suppress(ApiError):
                    stop_node(self.settings.state)
            raise


def ensure_running(settings: Settings, mediator: str | None = None, member: str | None = None) -> Started:
    """The node of the state folder answers; started in the background if none ran: ``mediator``, its first one; ``member``, the name of
    one beside this computer's own (``userlan.cli.companion``)."""
    try:
        call(settings.state, "hello")
    except NotRunningError:
        return Started(settings, _start(settings, mediator, member))
    return Started(settings, False)


def _start(settings: Settings, mediator: str | None, member: str | None) -> bool:
    """Whether it is the process started here that answers: another one may have been starting, and holds the folder."""
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    log_path = settings.state / LOG_NAME
    command = [sys.executable, "-m", "userlan", "--state", str(settings.state)]
    if settings.config is not None:
        command += ["--config", str(settings.config.absolute())]
    command += ["-v"] * settings.verbose + ["up", "--background"]
    if mediator is not None:
        command += ["--mediator", mediator]
    if member is not None:
        command += ["--member", member]
    with open(log_path, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
        begin = log.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/" if os.name == "posix" else None
        )
    give_up = time.monotonic() + START_TIMEOUT
    while time.monotonic() < give_up:
        try:
            return bool(call(settings.state, "hello").get("process") == process.pid)
        except NotRunningError:
            status = process.poll()
            if status is not None and (status != EXIT_HELD or starting_node(settings.state) is None):
                raise ApiError(_last_line(log_path, begin)) from None
            time.sleep(0.05)
    raise ApiError(f"the node did not start within {START_TIMEOUT:.0f} s: see {log_path}")


def _last_line(path: Path, begin: int) -> str:
    with open(path, "rb") as file:
        file.seek(begin)
        lines = file.read()[-65536:].decode("utf-8", "replace").strip().splitlines()
    last = lines[-1] if lines else f"the node stopped at once: see {path}"
    return last.removeprefix("userlan: ")
