"""Where programs run, and what one is."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs

from tests.lab.network import Namespace, end, until

PATIENCE = 60.0
"""Seconds in which a program must have done what takes it one or two: the computer may be a busy one."""
FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/games:/usr/local/games"
"""Where systems keep servers and games."""


@attrs.frozen
class Running:
    """A program in the background and what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> list[str]:
        """All lines until now."""
        return self.log.read_bytes().decode("utf-8", "replace").splitlines()

    def line(self, word: str, patience: float = PATIENCE, meanwhile: Callable[[], object] | None = None) -> str:
        """The first line with ``word``. ``meanwhile`` is done before each look: what a person tries again."""

        def look() -> str | None:
            found = next((line for line in self.said() if word in line), None)
            if found is None:
                self.goes_on()
                if meanwhile is not None:
                    meanwhile()
            return found

        try:
            found: str = until(look, patience, f"{word!r} in {self.log.name}", 0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.said()[-8:]}") from None
        return found.strip()

    def goes_on(self) -> None:
        """AssertionError with its last words when it has ended."""
        ended = self.process.poll()
        assert ended is None, f"stopped with {ended}"

    def stop(self, kill: bool = False) -> None:
        """End it; ``kill``: one that asks back when told to go."""
        if kill and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        end(self.process)


@attrs.frozen
class Place:
    """A computer's user: a namespace, a folder for files, and what stands before each command (``userlan run --``)."""

    name: str
    namespace: Namespace
    folder: Path
    prefix: tuple[str, ...] = ()
    root: Namespace | None = None
    """The same computer as its administrator has it."""

    @property
    def inside(self) -> Namespace:
        """Where its commands run: behind the prefix."""
        return self.namespace.through(*self.prefix)

    def run(self, *command: str, check: bool = True, timeout: float = PATIENCE, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run to the end, with its output as text."""
        return self.inside.run(*command, check=check, timeout=timeout, env=self._environment(), **options)

    def start(self, name: str, *command: str, environment: Mapping[str, str] | None = None, **options: Any) -> Running:
        """Start in the background; what it says goes into ``NAME.log``."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            env = self._environment() | dict(environment or {})
            process = self.inside.start(*command, stdout=file, stderr=file, env=env, **options)
        return Running(process, log)

    def home(self, name: str) -> Path:
        """An empty folder for one program's files."""
        folder = self.folder / name
        folder.mkdir()
        return folder

    def beside(self) -> Place:
        """The same user outside of ``userlan run``: where the screen is."""
        return attrs.evolve(self, prefix=())

    @contextlib.contextmanager
    def entered(self) -> Iterator[Namespace]:
        """The network that its programs see, for the administrator, who may capture there and send frames."""
        assert self.root is not None
        if not self.prefix:
            yield self.root
            return
        inside = self.start("entered", "sh", "-c", "echo inside; exec sleep 600")
        try:
            inside.line("inside")
            yield self.root.through("nsenter", "-n", "-t", str(inside.process.pid))
        finally:
            inside.stop()

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in ("LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")}
        return kept | {"PATH": f"{os.environ.get('PATH', '')}:{FOLDERS}", "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}


@attrs.frozen
class Proof:
    """What the client's own search found, and what it did with it."""

    found: str
    used: str


class Program(Protocol):
    """One real program."""

    @property
    def name(self) -> str:
        """As in the table."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The programs that must be installed."""

    @property
    def why_not(self) -> Mapping[str, str]:
        """Ways on which it cannot work, and why."""

    def prove(self, host: Place, guest: Place) -> Proof:
        """Serve at ``host``, find and use from ``guest``; AssertionError that says what was missing. Ends what it started."""
