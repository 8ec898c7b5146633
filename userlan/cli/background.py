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

from userlan.cli.client import ApiError, NodeGoneError, NotRunningError, call, starting_node, stop_node
from userlan.cli.main import EXIT_HELD, Settings

START_TIMEOUT = 60.0
"""Seconds in which a node that lives must answer on its socket: a cold start takes two, on a machine with much else to do many more."""
START_TRIES = 3
"""Processes that are started where each finds the folder held, and then nobody holds it: by one that was ending."""
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
    if answering(settings.state) is not None:
        return Started(settings, False)
    return Started(settings, _start(settings, mediator, member))


def answering(state: Path) -> int | None:
    """The process of the node that answers, and goes on to; None where there is none, or it is about to end. Raises ApiError."""
    try:
        told = call(state, "hello")
    except (NotRunningError, NodeGoneError):
        return None
    return None if told.get("ending") else int(told.get("process", 0))      # an older version tells neither


def _start(settings: Settings, mediator: str | None, member: str | None) -> bool:
    """Whether it is a process started here that answers: another one may have been starting, and holds the folder; or was ending, and
    held it still."""
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    from userlan.driver.state import holding_node

    log_path = settings.state / LOG_NAME
    process, begin = _launch(settings, log_path, mediator, member)
    tries, give_up = 1, time.monotonic() + START_TIMEOUT
    while time.monotonic() < give_up:
        found = answering(settings.state)
        if found is not None:
            return found == process.pid
        status = process.poll()
        if status == EXIT_HELD and starting_node(settings.state) is None:
            if holding_node(settings.state) is None or tries == START_TRIES:
                raise ApiError(_last_line(log_path, begin))
            process, begin = _launch(settings, log_path, mediator, member)
            tries += 1
        elif status not in (None, EXIT_HELD):
            raise ApiError(_last_line(log_path, begin))
        time.sleep(0.05)
    raise ApiError(f"the node did not start within {START_TIMEOUT:.0f} s: see {log_path}")


def _launch(settings: Settings, log_path: Path, mediator: str | None, member: str | None) -> tuple[subprocess.Popen[bytes], int]:
    """Begin a node in the background; its process, and where in the log its words begin."""
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
    return process, begin


def _last_line(path: Path, begin: int) -> str:
    with open(path, "rb") as file:
        file.seek(begin)
        lines = file.read()[-65536:].decode("utf-8", "replace").strip().splitlines()
    last = lines[-1] if lines else f"the node stopped at once: see {path}"
    return last.removeprefix("userlan: ")
