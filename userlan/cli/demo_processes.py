"""The processes of ``userlan demo``: how they are started, asked and ended, and patience with them."""

from __future__ import annotations

import functools
import http.server
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from userlan.cli.client import ApiError, NotRunningError, call

NAMES = ("anna", "ben", "carla")
NETWORK = "home"
START_TIMEOUT = 60.0
"""Seconds in which each process must be up, each pair direct and each service found; generous, for a loaded machine."""
HERE, ELSEWHERE = "127.0.0.1:0", "[::1]:0"
"""Where the nodes listen: between the two no UDP passes."""


ENDINGS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""What ends the demo: Ctrl-C, whoever ends programs, and a terminal that is closed."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What would end the demo meanwhile ends it afterwards: a process that was begun is then known to whoever ends it. A node that is left
    behind would take the closing of the terminal for the word to read its configuration again."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


class Process:
    """One of the demo's processes: started with its own state folder, its output in that folder's log."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir(mode=0o700, parents=True)
        self.folder = folder
        self.log = folder / "output.log"
        self.start(*arguments)

    def start(self, *arguments: str) -> None:
        """Start it (again, when it has ended: with the same folder)."""
        self.arguments = arguments
        with self.log.open("wb") as log, uninterrupted():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "userlan", "--state", str(self.folder), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_for(self, word: str) -> str:
        """The first line of output that begins with ``word``; ApiError when the process ends first."""
        give_up = time.monotonic() + START_TIMEOUT
        while time.monotonic() < give_up:
            lines = self.log.read_text("utf-8", "replace").splitlines()
            found = next((line for line in lines if line.startswith(word)), None)
            if found is not None:
                return found
            if self.process.poll() is not None:
                raise ApiError(f"{self.folder.name} stopped: {lines[-1] if lines else 'it said nothing'}")
            time.sleep(0.02)
        raise ApiError(f"{self.folder.name} was not ready within {START_TIMEOUT:.0f} s")

    def call(self, command: str, **arguments: Any) -> Any:
        """What a node answers to a command; ApiError."""
        try:
            return call(self.folder, command, **arguments)
        except NotRunningError:
            lines = self.log.read_text("utf-8", "replace").splitlines()
            raise ApiError(f"{self.folder.name} is not running: {lines[-1] if lines else 'it said nothing'}") from None

    def kill(self) -> None:
        """End the process as ``kill -9`` does."""
        self.process.kill()
        self.process.wait(5)

    def stop(self) -> None:
        """End the process: kindly, then not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()


def until(condition: Callable[[], bool], failure: str) -> None:
    """Wait for a condition; ApiError when it does not come true."""
    give_up = time.monotonic() + START_TIMEOUT
    while not condition():
        if time.monotonic() > give_up:
            raise ApiError(f"{failure} within {START_TIMEOUT:.0f} s")
        time.sleep(0.05)


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and remembers who asked."""

    def __init__(self, visitors: set[str], *arguments: Any, **named: Any) -> None:
        self._visitors = visitors
        super().__init__(*arguments, **named)

    def log_message(self, format: str, *arguments: Any) -> None:
        self._visitors.add(self.client_address[0])


class _Server(http.server.ThreadingHTTPServer):
    """Says nothing of a visitor who goes away in the middle, as at the end of an interrupted demo."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


def serve(folder: Path, stack: ExitStack) -> tuple[int, set[str]]:
    """A web server with a folder, on loopback, until the stack is left: its port, and who has asked it for something."""
    visitors: set[str] = set()
    server = _Server(("127.0.0.1", 0), functools.partial(_Handler, visitors, directory=str(folder)))
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1], visitors
