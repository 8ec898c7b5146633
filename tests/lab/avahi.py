"""avahi in a namespace, beside any that the computer itself may run: a daemon, a bus for it, and its programs.

The daemon believes to be the system's own: it wants ``/run`` for itself, a user ``avahi``, and a system bus. So it gets a mount namespace
with an empty ``/run`` and a ``passwd`` in which ``avahi`` is the one user that an unprivileged user namespace has; and a D-Bus daemon of
its own, which its programs are told of by ``DBUS_SYSTEM_BUS_ADDRESS``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from tests.lab.network import Namespace, end, until

PROGRAMS = ("avahi-daemon", "avahi-browse", "avahi-publish", "avahi-resolve", "dbus-daemon")

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""

DAEMON = """[server]
host-name={host}
use-ipv4=yes
use-ipv6={ipv6}
enable-dbus=yes
{interfaces}
[publish]
publish-workstation=no
publish-hinfo=no
"""

START = r"""
mount -t tmpfs tmpfs /run
sed 's/^avahi:.*/avahi:x:0:0::\/:\/bin\/false/' /etc/passwd > passwd
sed 's/^avahi:.*/avahi:x:0:/' /etc/group > group
grep -q '^avahi:' passwd || echo 'avahi:x:0:0::/:/bin/false' >> passwd
grep -q '^avahi:' group || echo 'avahi:x:0:' >> group
mount --bind passwd /etc/passwd
mount --bind group /etc/group
exec avahi-daemon -f "$PWD/avahi.conf" --no-chroot --no-drop-root --no-rlimits
"""


def unavailable() -> str | None:
    """Which program is missing, or None."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"missing: {', '.join(missing)}" if missing else None


@attrs.frozen
class Found:
    """One line of ``avahi-browse -rp``, resolved."""

    interface: str
    protocol: str
    """IPv4 or IPv6: over which it was heard."""
    name: str
    type: str
    host: str
    address: str
    port: int
    text: tuple[str, ...]


class Avahi:
    """An avahi-daemon in a namespace."""

    def __init__(self, namespace: Namespace, folder: Path, host: str, interfaces: Sequence[str] = (), ipv6: bool = True) -> None:
        """``host``: its name, ``HOST.local``. ``interfaces``: those that it speaks on; none for all."""
        self.namespace = namespace
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._bus = folder / "bus"
        (folder / "bus.conf").write_text(BUS.format(path=self._bus))
        allowed = f"allow-interfaces={','.join(interfaces)}" if interfaces else ""
        (folder / "avahi.conf").write_text(DAEMON.format(host=host, ipv6="yes" if ipv6 else "no", interfaces=allowed))
        self._environment = ("env", f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={self._bus}", "LC_ALL=C.UTF-8")
        self.log = folder / "avahi.log"
        self._start()

    def _start(self) -> None:
        with self.log.open("wb") as log:
            bus = ("dbus-daemon", f"--config-file={self.folder / 'bus.conf'}", "--nofork", "--nopidfile")
            self._daemons = [self.namespace.start(*bus, stdout=log, stderr=log)]
            until(self._bus.exists, 60, "the bus listens")
            inside = (*self._environment, "unshare", "-m", "sh", "-ec", START)
            self._daemons.append(self.namespace.start(*inside, cwd=self.folder, stdout=log, stderr=log))
        until(self._ready, 60, f"avahi is ready: {self.log}")

    def _ready(self) -> bool:
        told = self.log.read_text(errors="replace")
        assert self._daemons[-1].poll() is None, told
        return "Server startup complete" in told

    def run(self, *arguments: str, check: bool = True, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """One of avahi's programs, to its end."""
        return self.namespace.run(*self._environment, *arguments, check=check, timeout=timeout)

    def publish(self, name: str, service_type: str, port: int, *text: str, subtypes: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """``avahi-publish`` in the background: the service is offered until the process is ended."""
        told = self.folder / f"publish-{port}.log"
        under = [f"--subtype={subtype}" for subtype in subtypes]
        with told.open("wb") as log:
            process = self.namespace.start(
                *self._environment, "avahi-publish", "-s", *under, name, service_type, str(port), *text, stdout=log, stderr=log
            )
        until(lambda: "Established" in told.read_text(errors="replace"), 60, f"avahi has published {name}: {told}")
        return process

    def browse(self, service_type: str = "-a", timeout: float = 30) -> list[Found]:
        """What is there now, by ``avahi-browse -rpt`` (a type, a subtype ``_printer._sub._http._tcp``, or -a for all)."""
        try:
            told = self.run("avahi-browse", "-rptk", service_type, check=False, timeout=timeout).stdout
        except subprocess.TimeoutExpired as late:       # one that cannot be resolved keeps it waiting
            told = late.stdout.decode("utf-8", "replace") if isinstance(late.stdout, bytes) else late.stdout or ""
        return parse(told)

    def wait_for(self, name: str, service_type: str, patience: float = 60, where: Mapping[str, str] | None = None) -> Found:
        """Until a service of this name is there (``where``: with these attributes)."""

        def look() -> Found | None:
            wanted = (where or {}).items()
            found = (one for one in self.browse(service_type, 10) if one.name == name)
            return next((one for one in found if all(getattr(one, key) == value for key, value in wanted)), None)

        found: Found = until(look, patience, f"avahi shows {name!r} of type {service_type}", 0.5)
        return found

    def stop(self) -> None:
        """End the daemon (which says goodbye), then its bus. Idempotent."""
        for daemon in reversed(self._daemons):
            end(daemon)
        self._bus.unlink(missing_ok=True)


def parse(told: str) -> list[Found]:
    """The resolved lines of ``avahi-browse -p``."""
    found = []
    for line in told.splitlines():
        parts = line.split(";", 9)
        if parts[0] == "=" and len(parts) == 10:
            _, interface, protocol, name, service_type, _, host, address, port, text = parts
            found.append(Found(interface, protocol, unescape(name), service_type, host, address, int(port), quoted(text)))
    return found


def unescape(name: str) -> str:
    r"""A name as avahi writes it: ``\032`` is the octet 32, ``\.`` a dot."""
    octets = re.sub(rb"\\(\d{3}|.)", lambda match: bytes([int(match[1])]) if match[1].isdigit() else match[1], name.encode())
    return octets.decode("utf-8", "replace")


def quoted(text: str) -> tuple[str, ...]:
    """The strings of ``"a=b" "c=d"``, sorted: avahi turns their order around."""
    return tuple(sorted(re.findall(r'"((?:[^"\\]|\\.)*)"', text)))
