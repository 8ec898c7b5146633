"""A desktop's session for tests: a bus of its own, an X server without a screen, and dunst as the server of notices."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.lab.network import end, until

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""
PATIENCE = 60.0


class Session:
    """Runs until ``stop``. ``environment``: of the session's programs."""

    def __init__(self, folder: Path, markup: bool = True) -> None:
        """``markup``: whether dunst says to read it."""
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._begin(folder, markup)
        except BaseException:
            self.stop()
            raise

    def _begin(self, folder: Path, markup: bool) -> None:
        bus = folder / "bus"
        (folder / "bus.conf").write_text(BUS.format(path=bus))
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}"}
        self._start(folder / "bus.log", "dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork", "--nopidfile")
        until(bus.exists, PATIENCE, "the bus listens")
        display = folder / "display"
        with display.open("wb") as number:
            where = number.fileno()
            self._start(folder / "x.log", "Xvfb", "-displayfd", str(where), "-screen", "0", "640x480x24", pass_fds=[where])
        until(lambda: display.read_text().strip(), PATIENCE, "the X server runs")
        self.environment["DISPLAY"] = f":{display.read_text().strip()}"
        self._shown, self._signals = folder / "dunst.log", folder / "signals.log"
        self._start(self._signals, "dbus-monitor", "--session", "interface=org.freedesktop.Notifications")
        until(lambda: "member=NameLost" in self._signals.read_text(), PATIENCE, "the bus is watched")
        (folder / "dunstrc").write_text(f"[global]\nmarkup = {'full' if markup else 'no'}\n")
        self._start(self._shown, "dunst", "-print", "-conf", str(folder / "dunstrc"))
        waiting = ("gdbus", "wait", "--session", "--timeout", str(int(PATIENCE)), "org.freedesktop.Notifications")
        subprocess.run(waiting, env=self.environment, check=True, capture_output=True)

    def _start(self, log: Path, *command: str, pass_fds: list[int] | None = None) -> None:
        with log.open("wb") as output:
            self._processes.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=self.environment,
                    pass_fds=pass_fds or [],
                    start_new_session=True,
                )
            )

    def shown(self) -> list[tuple[int, str, str]]:
        """Number, title and body as they were asked for, of each notice, in order."""
        told = self._shown.read_text(errors="replace")
        pattern = r"\n\tsummary: '(.*)'\n\tbody: '(.*)'\n(?:\t.*\n|[^\t{}].*\n)*?\tid: (\d+)\n"
        return [(int(number), title, body) for title, body, number in re.findall(pattern, told)]

    def formatted(self) -> str:
        """All that was drawn, as the markup that dunst made of it, and what it complained of."""
        return self._shown.read_text(errors="replace")

    def closed(self) -> list[int]:
        """The numbers of the notices that were closed."""
        return [int(number) for number in re.findall(r"member=NotificationClosed\n   uint32 (\d+)\n", self._signals.read_text())]

    def stop(self) -> None:
        """End all of it."""
        for process in reversed(self._processes):
            end(process)
