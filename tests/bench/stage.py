"""Where a system is measured: two namespaces joined by a wire or a slow link; a web server, an iperf3 server, a datagram sink on A."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.programs import ROOT
from tests.lab.network import Lab, Namespace, until
from tests.lab.userlan_process import wait_for_line

WIRE_A, WIRE_B = "10.77.0.1", "10.77.0.2"
WEB_PORT, IPERF_PORT, SINK_PORT = 8000, 5201, 7001
SMALL = 1000
"""Octets of the file of small requests."""
ENDLESS = 1 << 40
"""Octets of a file that no download comes to the end of (sparse)."""

NGINX = """
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ {listen} root {folder}; }}
}}
"""


class Stage:
    """Namespaces A (server) and B (client) and what runs in them. ``link``: options of ``tests.lab.slow_link``; None: a veth."""

    def __init__(self, lab: Lab, folder: Path, size: int, link: tuple[str, ...] | None = None) -> None:
        self.lab = lab
        self.folder = folder
        self.size = size
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.a, self.b = lab.namespace("a"), lab.namespace("b")
        if link is None:
            lab.wire(self.a, self.b, "eth0", "eth0")
            self.a.ip("addr", "add", f"{WIRE_A}/24", "dev", "eth0")
            self.b.ip("addr", "add", f"{WIRE_B}/24", "dev", "eth0")
        else:
            self._slow(link)
        self._serve()

    def _slow(self, options: tuple[str, ...]) -> None:
        log = self.folder / "link.log"
        with log.open("wb") as output:
            process = self.a.start(
                sys.executable, "-m", "tests.lab.slow_link", str(self.b.pid), "--addresses", f"{WIRE_A}/24", f"{WIRE_B}/24", *options,
                stdout=output, cwd=str(ROOT),
            )
        wait_for_line(log, "ready", process)

    def _serve(self) -> None:
        folder = self.folder / "www"
        folder.mkdir()
        folder.chmod(0o755)
        for name, size in (("file", self.size), ("part", self.size // 8), ("endless", ENDLESS)):
            with (folder / name).open("wb") as file:
                file.truncate(size)
        (folder / "small").write_bytes(bytes(range(250)) * (SMALL // 250))
        listen = f"listen 0.0.0.0:{WEB_PORT};" + (f" listen [::]:{WEB_PORT};" if Path("/proc/net/if_inet6").exists() else "")
        configuration = folder / "nginx.conf"
        configuration.write_text(NGINX.format(folder=folder, listen=listen))
        self.a.start("nginx", "-c", str(configuration), "-g", "daemon off;", stderr=subprocess.DEVNULL)
        if shutil.which("iperf3"):
            self.a.start("iperf3", "-s", "-p", str(IPERF_PORT), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.sink = self.folder / "sink.log"
        with self.sink.open("wb") as output:
            sink = self.a.start(
                sys.executable, "-m", "tests.bench.programs.datagrams", "receive", "--port", str(SINK_PORT), stdout=output, cwd=str(ROOT)
            )
        wait_for_line(self.sink, "ready", sink)
        url = f"http://{WIRE_A}:{WEB_PORT}/small"
        until(lambda: self.b.run("curl", "-sI", "-m", "2", url, check=False).returncode == 0, 15, "nginx")

    def use_cubic(self) -> None:
        """Let the kernels' connections over every route of this moment use CUBIC and forget what earlier ones learnt.

        By route, since a namespace other than the first may not choose a default that its host does not allow everybody, and hosts
        come with others (BBR). RuntimeError where this kernel has no CUBIC.
        """
        for namespace in (self.a, self.b):
            for family in ("-4", "-6"):
                for route in namespace.run("ip", family, "route", "show").stdout.splitlines():
                    if "congctl" not in route:
                        namespace.ip(family, "route", "change", *route.split(), "congctl", "cubic")
            namespace.run("ip", "tcp_metrics", "flush", check=False)

    def python(self, namespace: Namespace, module: str, *arguments: str, timeout: float = 120) -> dict[str, object]:
        """Run one of the bench's own programs to its end; the JSON that it prints last."""
        result = namespace.run(sys.executable, "-m", f"tests.bench.programs.{module}", *arguments, cwd=str(ROOT), timeout=timeout)
        value: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
        return value


@contextlib.contextmanager
def staged(size: int, link: tuple[str, ...] | None = None) -> Iterator[Stage]:
    """A stage with a lab and a folder of its own, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="userlan-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Lab(folder) as lab:
            yield Stage(lab, folder / "stage", size, link)
