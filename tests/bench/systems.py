"""The systems that are compared. Each joins namespace A (server) and B (client) over the wire between them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab.network import Lab, Namespace, end, until
from tests.lab.userlan_process import Mediator, Member

WIRE_A, WIRE_B = "10.77.0.1", "10.77.0.2"
SERVICE = 8000


class System:
    """One way from B to the web server on A."""

    name = ""

    def __init__(self, lab: Lab, a: Namespace, b: Namespace, folder: Path) -> None:
        self.lab, self.a, self.b, self.folder = lab, a, b, folder
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> float | None:
        """Bring it up; seconds from the start of B's program to the first answered ping."""
        return None

    def stop(self) -> None:
        """Take it down."""

    def pids(self) -> list[int]:
        """The daemons of both sides."""
        return []

    def download_arguments(self, path: str) -> list[str]:
        """curl's arguments."""
        return [f"http://{WIRE_A}:{SERVICE}/{path}"]

    def ping_command(self, count: int | None, interval: float) -> list[str]:
        """An echo request every ``interval`` seconds, ``count`` times or until SIGINT."""
        arguments = ["ping", "-n", "-i", str(interval), *(["-c", str(count)] if count else []), self.ping_target()]
        return self.b.command(*arguments)

    def ping_target(self) -> str:
        """The address that the kernel's ping is given."""
        return WIRE_A

    def ping_times(self, output: str) -> list[float]:
        """Round trips of a ping's output, milliseconds."""
        return [float(found) for found in re.findall(r"time=([\d.]+) ms", output)]


class BareVeth(System):
    """No tunnel at all: the baseline."""

    name = "bare veth"


class WireguardGo(System):
    """Debian's wireguard-go with a TUN device on each side."""

    name = "wireguard-go"
    addresses = ("10.78.0.1", "10.78.0.2")

    def start(self) -> float | None:
        keys = [subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout.strip() for _ in range(2)]
        publics = [
            subprocess.run(["wg", "pubkey"], input=key, capture_output=True, text=True, check=True).stdout.strip() for key in keys
        ]
        self.processes = []
        begin = time.monotonic()
        for index, namespace in enumerate((self.a, self.b)):
            interface = f"ulb{index}"
            # the control socket is shared by all namespaces: distinct names keep the two apart
            process = namespace.start(
                "wireguard-go", "-f", interface, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error"},
            )
            self.processes.append(process)
            show = (namespace, ("ip", "link", "show", interface))
            until(lambda show=show: show[0].run(*show[1], check=False).returncode == 0, 5, "wireguard-go's TUN", 0.01)
            key_file = self.folder / f"key{index}"
            key_file.write_text(keys[index])
            other = 1 - index
            namespace.run(
                "wg", "set", interface, "listen-port", "51820", "private-key", str(key_file), "peer", publics[other],
                "allowed-ips", f"{self.addresses[other]}/32", "endpoint", f"{(WIRE_A, WIRE_B)[other]}:51820",
            )
            namespace.ip("addr", "add", f"{self.addresses[index]}/24", "dev", interface)
            namespace.ip("link", "set", interface, "mtu", "1420", "up")
        until(lambda: self.b.run("ping", "-c", "1", "-W", "1", self.addresses[0], check=False).returncode == 0, 10, "first ping", 0.01)
        return time.monotonic() - begin

    def stop(self) -> None:
        for process in self.processes:
            end(process)

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    def download_arguments(self, path: str) -> list[str]:
        return [f"http://{self.addresses[0]}:{SERVICE}/{path}"]

    def ping_target(self) -> str:
        return self.addresses[0]


class Userlan(System):
    """Two nodes and a mediator (on A's side), the proxy on B, the server exposed on A."""

    name = "userlan"

    def start(self) -> float | None:
        self.mediator = Mediator(self.a, self.folder / "mediator", f"{WIRE_A}:41414")
        self.members = [Member(self.a, self.folder / "a", "anna"), Member(self.b, self.folder / "b", "ben")]
        anna, ben = self.members
        anna.up("--mediator", self.mediator.url, "--listen", "0.0.0.0:41415")
        ben.up("--mediator", self.mediator.url)
        invite = anna.run("create", "bench").stdout.split()[0]
        ben.run("join", invite)
        anna.run("expose", str(SERVICE))
        ben.wait_state("anna", "direct")
        ben.stop()
        begin = time.monotonic()
        ben.up(wait=False)
        until(lambda: ben.run("ping", "anna", "-c", "1", check=False).returncode == 0, 20, "first ping", 0.01)
        return time.monotonic() - begin

    def stop(self) -> None:
        for member in self.members:
            member.stop()
        end(self.mediator.process)

    def pids(self) -> list[int]:
        return [member.process.pid for member in self.members if member.process is not None]

    def download_arguments(self, path: str) -> list[str]:
        return ["--socks5-hostname", "127.0.0.1:1055", f"http://anna:{SERVICE}/{path}"]

    def ping_command(self, count: int | None, interval: float) -> list[str]:
        arguments = [sys.executable, "-m", "userlan", "--state", str(self.members[1].folder), "ping", "anna", "--json"]
        arguments += ["-i", str(interval), *(["-c", str(count)] if count else [])]
        return self.b.command(*arguments)

    def ping_times(self, output: str) -> list[float]:
        items = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        return [item["rtt_ms"] for item in items if item["rtt_ms"] is not None]


SYSTEMS: Sequence[type[System]] = (BareVeth, WireguardGo, Userlan)
