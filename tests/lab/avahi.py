"""Avahi in a namespace: a bus and a daemon of its own, of which no other namespace's hears."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab.network import Namespace, end, until

INTERFACE = "lan0"
PATIENCE = 20.0

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth><auth>ANONYMOUS</auth><allow_anonymous/>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_destination="*" eavesdrop="true"/>
<allow receive_sender="*" eavesdrop="true"/></policy></busconfig>
"""

CONFIG = """[server]
host-name={name}
use-ipv4=yes
use-ipv6=yes
allow-interfaces={interface}
enable-dbus=yes
ratelimit-interval-usec=1000000
ratelimit-burst=1000
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
[rlimits]
"""


class Avahi:
    """``avahi-daemon`` on the interface lan0 of a namespace, whose host name is ``name``. Use as a context manager."""

    def __init__(self, space: Namespace, folder: Path, name: str, interface: str = INTERFACE) -> None:
        self._space = space
        self._folder = folder / f"avahi-{name}"
        self._folder.mkdir()
        self._socket = self._folder / "bus"
        self._log = self._folder / "daemon.log"
        (self._folder / "bus.conf").write_text(BUS.format(socket=self._socket))
        (self._folder / "avahi.conf").write_text(CONFIG.format(name=name, interface=interface))
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A client of it in the background."""
        with (self._folder / "clients.log").open("ab") as log:
            process = self._space.start(*self._on_the_bus, *command, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def run(self, *command: str) -> str:
        """What a client prints."""
        return self._space.run(*self._on_the_bus, *command, check=False, timeout=PATIENCE).stdout

    @property
    def _on_the_bus(self) -> tuple[str, str]:
        return "env", f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={self._socket}"

    def __enter__(self) -> Avahi:
        with self._log.open("wb") as log:
            bus = ("dbus-daemon", "--nofork", "--nopidfile", "--nosyslog", f"--config-file={self._folder / 'bus.conf'}")
            self._processes.append(self._space.start(*bus, stdout=log, stderr=log))
            until(self._socket.exists, PATIENCE, "a bus")
            # its files have fixed places below /run: those of a mount namespace of its own
            daemon = f"avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {self._folder / 'avahi.conf'}"
            own = f"mount -t tmpfs none /run && mkdir /run/avahi-daemon && exec {daemon}"
            self._processes.append(self._space.start(*self._on_the_bus, "unshare", "-m", "sh", "-c", own, stdout=log, stderr=log))
        until(lambda: "Server startup complete" in self._log.read_text(), PATIENCE, f"avahi-daemon: {self._log}")
        return self

    def __exit__(self, *failure: object) -> None:
        for process in reversed(self._processes):
            end(process)
