"""Managers that start a program at login, each by its own tool: systemd's user manager, launchd, the Windows task scheduler.

Found by the tool, not by the platform's name. Each is idempotent: what is installed is replaced, what is not there is removed already. What
a tool says when it fails is what the person reads.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from userlan.cli.client import ApiError
from userlan.cli.service_units import Service, launchd_plist, systemd_unit, windows_task

TOOL_TIMEOUT = 100.0
"""Seconds: a start may take systemd's own limit of 90 s."""
TOLD = ("ActiveState", "SubState", "UnitFileState", "MainPID", "StatusText", "NRestarts", "Result")
"""Properties of a unit that are shown."""
ABSENT = "not installed"
"""How a service stands that is not there, for programs and for people."""


class ServiceManager(Protocol):
    """One of them. What is to be told is returned line by line."""

    name: str

    def runs(self) -> bool:
        """Whether it is there to start something now; else `install` only writes the file."""

    def file(self, service: Service) -> tuple[Path, bytes]:
        """What is written where."""

    def install(self, service: Service) -> list[str]:
        """Write the file, start at each login from now on, and start now; ApiError with what failed."""

    def remove(self, service: Service) -> list[str]:
        """Stop it, and leave nothing; no lines where there was nothing."""

    def status(self, service: Service) -> dict[str, Any]:
        """``installed``, ``running``, ``at_login`` (None: not known), ``text``."""


class Systemd:
    """The manager of this user's services."""

    name = "systemd"

    def __init__(self, tool: str, environment: Mapping[str, str]) -> None:
        self._tool, self._environment = tool, environment
        config = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME", "/"), ".config")
        self._folder = Path(config) / "systemd" / "user"

    def file(self, service: Service) -> tuple[Path, bytes]:
        return self._folder / f"{service.name}.service", systemd_unit(service).encode()

    def install(self, service: Service) -> list[str]:
        path, text = self.file(service)
        changed = not path.is_file() or path.read_bytes() != text
        write(path, text)
        told = [f"wrote {path}"]
        if not self.runs():
            later = f"with one: systemctl --user enable --now {service.name}"
            return [*told, f"nothing started: no user manager of systemd answers here; {later}"]
        self._do("daemon-reload")
        self._do("enable", service.name)
        self._do("restart" if changed else "start", service.name)
        return [*told, f"started {service.name}, now and at each login; its log: journalctl --user -u {service.name}", *self._linger()]

    def remove(self, service: Service) -> list[str]:
        path, _ = self.file(service)
        there = path.exists()
        if there and self.runs():
            self._do("disable", "--now", service.name)
        path.unlink(missing_ok=True)
        wanted = self._folder / "default.target.wants" / path.name
        wanted.unlink(missing_ok=True)
        if there and self.runs():
            self._do("daemon-reload")
            self._ask("reset-failed", service.name)
        return [f"removed {path}"] if there else []

    def status(self, service: Service) -> dict[str, Any]:
        path, _ = self.file(service)
        wanted = (self._folder / "default.target.wants" / path.name).exists()
        if not self.runs():
            text = ("" if path.exists() else f"{ABSENT}; ") + "no user manager of systemd answers here"
            return {"installed": path.exists(), "running": False, "at_login": wanted, "text": text}
        shown = self._ask("show", service.name, f"--property={','.join(TOLD)}").stdout
        told = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        text = f"{told.get('ActiveState', '')} ({told.get('SubState', '')})"
        text += f", process {told['MainPID']}" if told.get("MainPID", "0") != "0" else ""
        text += f", started anew {told['NRestarts']} times" if told.get("NRestarts", "0") != "0" else ""
        text += f": {told['StatusText']}" if told.get("StatusText") else ""
        running = told.get("ActiveState") in ("active", "reloading")
        text = text if running or path.exists() else ABSENT
        return {"installed": path.exists(), "running": running, "at_login": told.get("UnitFileState") == "enabled", "text": text}

    def runs(self) -> bool:
        return self._ask("show-environment").returncode == 0

    def _linger(self) -> list[str]:
        tool = shutil.which("loginctl", path=self._environment.get("PATH"))
        if tool is None:
            return []
        asked = run([tool, "show-user", "--property=Linger", "--value", str(os.getuid())], self._environment)
        if asked.returncode or asked.stdout.strip() == "yes":
            return []
        return ["it ends when you log out; to have it run from boot on: loginctl enable-linger"]

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run([self._tool, "--user", "--no-pager", *words], self._environment)

    def _do(self, *words: str) -> None:
        _must(self._ask(*words), f"systemctl --user {' '.join(words)}")


class Launchd:
    """The agents of this user on macOS."""

    name = "launchd"

    def __init__(self, tool: str, environment: Mapping[str, str]) -> None:
        self._tool, self._environment = tool, environment
        self._folder = Path(environment.get("HOME", "/")) / "Library" / "LaunchAgents"

    def file(self, service: Service) -> tuple[Path, bytes]:
        return self._folder / f"{service.name}.plist", launchd_plist(service)

    def install(self, service: Service) -> list[str]:
        path, text = self.file(service)
        self._ask("bootout", self._target(service))
        write(path, text)
        _must(self._ask("bootstrap", f"gui/{os.getuid()}", str(path)), "launchctl bootstrap")
        return [f"wrote {path}", f"started {service.name}, now and at each login; its log: {service.log}"]

    def remove(self, service: Service) -> list[str]:
        path, _ = self.file(service)
        self._ask("bootout", self._target(service))
        there = path.exists()
        path.unlink(missing_ok=True)
        return [f"removed {path}"] if there else []

    def status(self, service: Service) -> dict[str, Any]:
        path, _ = self.file(service)
        asked = self._ask("print", self._target(service))
        running = asked.returncode == 0 and "state = running" in asked.stdout
        text = "running" if running else ("loaded" if asked.returncode == 0 else "not loaded" if path.exists() else ABSENT)
        return {"installed": path.exists(), "running": running, "at_login": path.exists(), "text": text}

    def runs(self) -> bool:
        return True

    def _target(self, service: Service) -> str:
        return f"gui/{os.getuid()}/{service.name}"

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run([self._tool, *words], self._environment)


class TaskScheduler:
    """Tasks of this user on Windows."""

    name = "task scheduler"

    def __init__(self, tool: str, environment: Mapping[str, str]) -> None:
        self._tool, self._environment = tool, environment

    def runs(self) -> bool:
        return True

    def file(self, service: Service) -> tuple[Path, bytes]:
        domain = self._environment.get("USERDOMAIN")
        user = f"{domain}\\{getpass.getuser()}" if domain else getpass.getuser()
        return Path(tempfile.gettempdir()) / f"{service.name}-{os.getpid()}.xml", windows_task(service, user)

    def install(self, service: Service) -> list[str]:
        path, text = self.file(service)
        write(path, text)       # read by the scheduler, and kept by it
        try:
            _must(self._ask("/Create", "/TN", service.name, "/XML", str(path), "/F"), "schtasks /Create")
        finally:
            path.unlink(missing_ok=True)
        _must(self._ask("/Run", "/TN", service.name), "schtasks /Run")
        return [f"made the task {service.name}: it runs now and at each logon"]

    def remove(self, service: Service) -> list[str]:
        if self._ask("/Query", "/TN", service.name).returncode:
            return []
        self._ask("/End", "/TN", service.name)
        _must(self._ask("/Delete", "/TN", service.name, "/F"), "schtasks /Delete")
        return [f"removed the task {service.name}"]

    def status(self, service: Service) -> dict[str, Any]:
        asked = self._ask("/Query", "/TN", service.name, "/FO", "CSV", "/NH")
        there = asked.returncode == 0
        text = asked.stdout.strip().rpartition(",")[2].strip('"') if there else ABSENT
        return {"installed": there, "running": text.lower() == "running", "at_login": there, "text": text}

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run([self._tool, *words], self._environment)


KINDS: tuple[tuple[str, type[Systemd] | type[Launchd] | type[TaskScheduler]], ...] = (
    ("systemctl", Systemd),
    ("launchctl", Launchd),
    ("schtasks", TaskScheduler),
)


def find(environment: Mapping[str, str]) -> ServiceManager:
    """The one of this computer; ApiError where there is none that is known."""
    for tool, kind in KINDS:
        found = shutil.which(tool, path=environment.get("PATH"))
        if found is not None:
            return kind(found, environment)
    raise ApiError("neither systemd nor launchd nor the Windows task scheduler is here: have your system start `userlan up --background`")


def write(path: Path, content: bytes) -> None:
    """Whole or not at all; ApiError where it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise ApiError(f"{path} cannot be written: {error.strerror}") from None


def run(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TOOL_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {TOOL_TIMEOUT:.0f} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error.strerror))


def _must(done: subprocess.CompletedProcess[str], what: str) -> None:
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ApiError(f"{what}: {said[0] if said else f'exit status {done.returncode}'}")
