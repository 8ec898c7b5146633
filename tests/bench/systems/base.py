"""What a system is: one way from B to A, and how it is reached, started and weighed."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.peers import Peers
from tests.bench.stage import IPERF_PORT, SINK_PORT, WEB_PORT, WIRE_A, Stage
from tests.lab.network import Namespace, end, until

INTERFACES = ("ulb0", "ulb1")
"""Distinct on the two sides: wireguard-go's control sockets lie in one folder for all namespaces."""
NETWORK = ("10.78.0.1", "10.78.0.2")
FIRST_ANSWER = 30.0
"""Seconds in which a system must carry its first ping."""


class System:
    """One way from B to the services on A. Subclasses say how it is brought up."""

    name = ""
    kernel = True
    """Whether B has a kernel interface to A, so that any program can use it."""

    def __init__(self, stage: Stage, folder: Path, peers: Peers) -> None:
        self.stage, self.a, self.b, self.folder, self.programs = stage, stage.a, stage.b, folder, peers
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def missing(cls, peers: Peers) -> str | None:
        """Why it cannot run here and how to change that; None when it can."""
        return None

    def start(self) -> float | None:
        """Bring it up; seconds from the start of B's program to the first answered ping."""
        return None

    def stop(self) -> None:
        """Take it down."""

    def pids(self) -> list[int]:
        """The daemons of both sides."""
        return []

    @property
    def address(self) -> str:
        """A, as programs on B name it."""
        return WIRE_A

    def download_arguments(self, path: str) -> list[str]:
        """curl's arguments."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return ["--globoff", f"http://{host}:{WEB_PORT}/{path}"]

    def iperf_command(self, streams: int, seconds: float) -> list[str]:
        """iperf3 from B to A; its JSON on standard output."""
        return ["iperf3", "-c", self.address, "-p", str(IPERF_PORT), "-P", str(streams), "-t", f"{seconds:.0f}", "-J"]

    def sink(self) -> list[str]:
        """Arguments of ``tests.bench.programs.datagrams send`` that reach A's datagram sink."""
        return [self.address, str(SINK_PORT)]

    def request_routes(self) -> Mapping[str, list[str]]:
        """Arguments of ``tests.bench.programs.requests`` that reach A's web server, by the name of the way."""
        return {"": [self.address, str(WEB_PORT)]}

    def ping_command(self, count: int | None, interval: float) -> list[str]:
        """An echo request every ``interval`` seconds, ``count`` times or until SIGINT."""
        return self.b.command("ping", "-n", "-i", str(interval), *(["-c", str(count)] if count else []), self.address)

    def ping_times(self, output: str) -> list[float]:
        """Round trips of a ping's output, milliseconds."""
        return [float(found) for found in re.findall(r"time=([\d.]+) ms", output)]


class BareVeth(System):
    """No tunnel at all: the baseline, and Linux's own TCP over a slow link."""

    name = "bare wire"


class TunSystem(System):
    """A daemon on each side with a TUN or TAP device. ``prepare`` makes keys and files, ``launch`` starts one side."""

    addresses = NETWORK
    program = ""
    package = ""
    """Where the program comes from, for the line that says that it is missing."""

    def __init__(self, stage: Stage, folder: Path, peers: Peers) -> None:
        super().__init__(stage, folder, peers)
        self.processes: list[subprocess.Popen[bytes]] = []

    @classmethod
    def missing(cls, peers: Peers) -> str | None:
        if peers.find(cls.program) is None:
            return f"the program {cls.program} is missing: {cls.package}"
        return None

    def prepare(self) -> None:
        """Keys and configuration files of both sides, before any clock runs."""

    def launch(self, index: int, namespace: Namespace) -> None:
        """Start one side (0: A) and give its interface its address."""
        raise AssertionError("a subclass starts its program")

    def start(self) -> float | None:
        self.prepare()
        self.launch(0, self.a)
        begin = time.monotonic()
        self.launch(1, self.b)
        until(self._answered, FIRST_ANSWER, f"the first ping through {self.name}", 0.01)
        return time.monotonic() - begin

    def _answered(self) -> bool:
        """One ping; a daemon that has died ends the wait."""
        for process in self.processes:
            log = self.folder / "daemon.log"
            assert process.poll() is None, f"{self.name} stopped with {process.returncode}: {log.read_text()[-500:]}"
        return self.b.run("ping", "-c", "1", "-W", "0.3", self.address, check=False).returncode == 0

    def stop(self) -> None:
        for process in self.processes:
            end(process)

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    @property
    def address(self) -> str:
        return self.addresses[0]

    def daemon(self, namespace: Namespace, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a daemon in the foreground; its output goes to ``daemon.log``."""
        variables = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **(environment or {})}
        with (self.folder / "daemon.log").open("ab") as log:
            self.processes.append(namespace.start(*arguments, stdout=log, stderr=log, env=variables))

    def path(self) -> str:
        """The daemon's program."""
        found = self.programs.find(self.program)
        assert found is not None, f"{self.program} was there a moment ago"
        return found

    def interface(self, index: int, namespace: Namespace, mtu: int | None = None, up: bool = True) -> None:
        """Wait for the interface, then give it its address."""
        name = INTERFACES[index]
        until(lambda: namespace.run("ip", "link", "show", name, check=False).returncode == 0, 10, f"{self.name}'s interface", 0.005)
        if up:
            namespace.ip("addr", "add", f"{self.addresses[index]}/24", "dev", name)
            namespace.ip("link", "set", name, *(["mtu", str(mtu)] if mtu else []), "up")


def output_of(command: Sequence[str], given: str = "") -> str:
    """What a program prints, stripped."""
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def absent(*programs: str) -> str | None:
    """The first of these programs that is not on the path."""
    search = "/usr/local/sbin:/usr/sbin:/sbin"
    return next((one for one in programs if shutil.which(one) is None and shutil.which(one, path=search) is None), None)
