"""systemd's manager of a user, a real one, in namespaces of its own: beside any that the computer itself may run.

It wants a computer that was started by systemd (a folder in ``/run``) and control groups that it may make. So it gets a mount namespace
with an empty ``/run``, and this process's control group; and a network of its own, in which nodes find nobody.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.architecture.source import ROOT
from tests.lab.network import end, until

SYSTEMD = Path("/lib/systemd/systemd")
PATIENCE = 60.0
START = """
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system "$XDG_RUNTIME_DIR"
chmod 700 "$XDG_RUNTIME_DIR"
ip link set lo up
"$@" > "$HOME/systemd.log" 2>&1 &
wait
"""


def unavailable() -> str | None:
    """Why there can be none, or None."""
    if not SYSTEMD.exists():
        return "missing: systemd"
    if os.geteuid() != 0:
        return "systemd's manager needs control groups of its own, which root alone may make here"
    own = Path("/sys/fs/cgroup/systemd")
    if not os.access(own if own.is_dir() else own.parent, os.W_OK):
        return "control groups cannot be made here"
    return None


class UserManager:
    """Runs until ``stop``."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        runtime = f"/run/user/{os.getuid()}"
        keep = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        self.environment = keep | {"HOME": str(folder), "XDG_RUNTIME_DIR": runtime, "PYTHONPATH": str(ROOT)}
        systemd = (str(SYSTEMD), "--user", "--log-level=info", "--log-target=console")
        self._process = subprocess.Popen(
            ("unshare", "-m", "-n", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-ec", START, "sh", *systemd),
            env=self.environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            self._inside = until(lambda: children.read_text().split(), PATIENCE, "the namespaces are there")[0]
            until(lambda: self.systemctl("is-system-running", check=False).strip() in ("running", "degraded"), PATIENCE, "systemd runs")
        except BaseException:
            self.stop()
            raise

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """One command inside, to its end."""
        entered = ("nsenter", "-t", self._inside, "-m", "-n", "-p", f"--wd={self.home}", *command)
        done = subprocess.run(
            entered, env=self.environment | environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def systemctl(self, *words: str, check: bool = True) -> str:
        """``systemctl --user``."""
        return self.run("systemctl", "--user", "--no-pager", *words, check=check).stdout

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.systemctl("show", unit, f"--property={name}", "--value").strip()

    def userlan(self, *words: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """The command, as it is installed."""
        return self.run(str(Path(sys.executable).with_name("userlan")), *words, check=check, **environment)

    def left(self) -> set[str]:
        """Files and links of the home folder."""
        found = (path for path in self.home.rglob("*") if path.is_symlink() or path.is_file())
        return {str(path.relative_to(self.home)) for path in found} - {"systemd.log"}

    def stop(self) -> None:
        """End all of it."""
        end(self._process)
