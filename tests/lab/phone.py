"""A phone: wireguard-go in a namespace, set up from a configuration as ``wg-quick`` and the apps do it."""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
from pathlib import Path

from tests.lab.network import Namespace, end, tun_unavailable, unavailable, until

INTERFACE = "wg0"
OF_WG = ("[", "PrivateKey", "PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive")
"""Beginnings of the lines that ``wg setconf`` takes; the others are for whoever sets the interface up."""
START = f"mount -t tmpfs none /run && mkdir /run/wireguard && exec wireguard-go --foreground {INTERFACE}"


def missing() -> str | None:
    """Why there can be no phone here, or None."""
    for program in ("wireguard-go", "wg"):
        if shutil.which(program) is None:
            return f"the program {program} is missing"
    return unavailable() or tun_unavailable()


class Phone:
    """``config``: as ``userlan guest add`` prints it."""

    def __init__(self, namespace: Namespace, folder: Path, config: str) -> None:
        self.namespace = namespace
        self._folder = folder
        self._lines = [line.partition("#")[0].strip() for line in config.splitlines()]
        self._start()

    def _start(self) -> None:
        log = (self._folder / "phone.log").open("ab")
        with log:
            self._process = self.namespace.start(
                "unshare", "--mount", "sh", "-c", START, stdout=log, stderr=log,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "verbose"},
            )  # fmt: skip
        self._beside = self.namespace.through("nsenter", "--mount", "-t", str(self._process.pid))
        until(lambda: self._beside.run("wg", "show", INTERFACE, check=False).returncode == 0, 60, "wireguard-go listens")
        for address in self._values("Address"):
            self.namespace.ip("addr", "add", address, "dev", INTERFACE)
        self.namespace.ip("link", "set", INTERFACE, "mtu", self._values("MTU")[0], "up")
        setup = self._folder / "wg.conf"
        setup.write_text("\n".join(line for line in self._lines if line.startswith(OF_WG)) + "\n")
        self._beside.run("wg", "setconf", INTERFACE, str(setup))
        for allowed in self._values("AllowedIPs"):
            version = ipaddress.ip_network(allowed).version
            self.namespace.run("ip", f"-{version}", "route", "replace", allowed, "dev", INTERFACE)

    def _values(self, name: str) -> list[str]:
        found = [line.partition("=")[2] for line in self._lines if line.startswith(f"{name} ")]
        return [value.strip() for one in found for value in one.split(",")]

    @property
    def resolver(self) -> str:
        return self._values("DNS")[0]

    def run(self, *command: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A program of the phone's."""
        return self.namespace.run(*command, check=check, timeout=timeout)

    def handshakes(self) -> int:
        """When the latest was, wall seconds; 0: never."""
        return int(self._beside.run("wg", "show", INTERFACE, "latest-handshakes").stdout.split()[1])

    def restart(self) -> None:
        """The app is killed and started again."""
        self._process.kill()
        self._process.wait(60)
        until(lambda: INTERFACE not in self.namespace.run("ip", "-o", "link").stdout, 60, "the interface is gone")
        self._start()

    def stop(self) -> None:
        end(self._process)
