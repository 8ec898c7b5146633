"""userlan in its modes: by the proxy, over UDP alone, and with a TAP on both sides."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

from tests.bench.peers import Peers
from tests.bench.stage import SINK_PORT, WEB_PORT, WIRE_A, Stage
from tests.bench.systems.base import FIRST_ANSWER, INTERFACES, System
from tests.lab.network import end, until
from tests.lab.userlan_process import USERLAN, Mediator, Member

PROXY = "127.0.0.1:1055"
FORWARDED = 8001
"""B's port that leads to A's web server."""
UDP_ALONE = "tunnel:\n  bulk_over_tcp: false\n"
"""The configuration that keeps bulk off TCP."""


class Userlan(System):
    """Two nodes and a mediator (on A's side), the proxy and a forward on B, the services exposed on A.

    ``configuration``: YAML that both nodes get beside their names.
    """

    name = "userlan"
    kernel = False
    configuration = ""

    def __init__(self, stage: Stage, folder: Path, peers: Peers) -> None:
        super().__init__(stage, folder, peers)
        self.members: list[Member] = []
        self.mediator: Mediator | None = None

    def start(self) -> float | None:
        self.join()
        anna, ben = self.members
        anna.run("expose", str(WEB_PORT))
        anna.run("expose", f"{SINK_PORT}/udp")
        ben.run("forward", f"{FORWARDED}:anna:{WEB_PORT}")
        ben.stop()
        begin = time.monotonic()
        ben.up(wait=False)
        until(lambda: ben.run("ping", "anna", "-c", "1", check=False).returncode == 0, FIRST_ANSWER, "the first ping", 0.01)
        return time.monotonic() - begin

    def join(self) -> None:
        """Both are in one network and direct."""
        self.mediator = Mediator(self.a, self.folder / "mediator", f"{WIRE_A}:41414")
        self.members = [
            Member(space, self.folder / name, name, self.configuration) for space, name in ((self.a, "anna"), (self.b, "ben"))
        ]
        anna, ben = self.members
        anna.up("--mediator", self.mediator.url, "--listen", "0.0.0.0:41424")
        ben.up("--mediator", self.mediator.url)
        ben.run("join", anna.run("create", "bench").stdout.split()[0])
        ben.wait_state("anna", "direct")

    def stop(self) -> None:
        for member in self.members:
            member.stop()
        if self.mediator is not None:
            end(self.mediator.process)

    def pids(self) -> list[int]:
        return [member.process.pid for member in self.members if member.process is not None]

    @property
    def address(self) -> str:
        return "anna"

    def download_arguments(self, path: str) -> list[str]:
        return ["--socks5-hostname", PROXY, f"http://anna:{WEB_PORT}/{path}"]

    def sink(self) -> list[str]:
        return ["anna", str(SINK_PORT), "--socks", PROXY]

    def request_routes(self) -> Mapping[str, list[str]]:
        return {"proxy": ["anna", str(WEB_PORT), "--socks", PROXY], "forward": ["127.0.0.1", str(FORWARDED)]}

    def ping_command(self, count: int | None, interval: float) -> list[str]:
        arguments = [*USERLAN, "--state", str(self.members[1].folder), "ping", "anna", "--json"]
        return self.b.command(*arguments, "-i", str(interval), *(["-c", str(count)] if count else []))

    def ping_times(self, output: str) -> list[float]:
        items = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        return [item["rtt_ms"] for item in items if item["rtt_ms"] is not None]


class UserlanUdp(Userlan):
    """Bulk over UDP, too."""

    name = "userlan, UDP alone"
    configuration = UDP_ALONE


class UserlanTap(Userlan):
    """``userlan tap`` on both sides: the kernels' own TCP over the tunnel."""

    name = "userlan, TAP"
    kernel = True

    @classmethod
    def missing(cls, peers: Peers) -> str | None:
        command = [sys.executable, "-m", "userlan", "tap", "--help"]
        if subprocess.run(command, capture_output=True, timeout=30).returncode:
            return "this userlan has no command `tap`"
        if "tap" not in {found.name for found in entry_points(group="userlan.bridges")}:
            return "the bridge `tap` is missing from what is installed: `pip install -e .` again"
        return super().missing(peers)

    def start(self) -> float | None:
        self.join()
        anna, ben = self.members
        self._address = str(anna.status()["self"]["ipv4"])
        self._taps: list[subprocess.Popen[bytes]] = []
        self._attach(0, anna)
        ben.stop()
        begin = time.monotonic()
        ben.up()
        self._attach(1, ben)
        until(self._answered, FIRST_ANSWER, "the first ping through the TAPs", 0.01)
        return time.monotonic() - begin

    def _attach(self, index: int, member: Member) -> None:
        with (self.folder / f"tap{index}.log").open("wb") as log:
            command = (*USERLAN, "--state", str(member.folder), "--config", str(member.config), "tap", "--name", INTERFACES[index])
            self._taps.append(member.namespace.start(*command, stdout=log, stderr=log))

    def _answered(self) -> bool:
        for index, process in enumerate(self._taps):
            log = (self.folder / f"tap{index}.log").read_text()
            assert process.poll() in (None, 0), f"userlan tap stopped with {process.returncode}: {log[-500:]}"
        return self.b.run("ping", "-c", "1", "-W", "0.3", self._address, check=False).returncode == 0

    def stop(self) -> None:
        for process in getattr(self, "_taps", ()):
            end(process)
        super().stop()

    def pids(self) -> list[int]:
        return super().pids() + [process.pid for process in self._taps if process.poll() is None]

    @property
    def address(self) -> str:
        return self._address

    download_arguments = System.download_arguments
    sink = System.sink
    request_routes = System.request_routes
    ping_command = System.ping_command
    ping_times = System.ping_times


def variant(name: str, configuration: str) -> type[Userlan]:
    """One more row of userlan by the proxy, with other keys of the configuration (YAML)."""
    return type("UserlanVariant", (Userlan,), {"name": name, "configuration": configuration})
