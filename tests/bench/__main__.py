"""``python -m tests.bench``: the table. See the package."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.measure import Result, cpu_seconds, download, during, peak_memory, percentiles
from tests.bench.systems import SERVICE, SYSTEMS, WIRE_A, WIRE_B, System
from tests.lab.network import Lab, Namespace, tun_unavailable, unavailable, until

NGINX = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 0.0.0.0:{port}; root {folder}; }}
}}
"""


def serve(lab: Lab, namespace: Namespace, folder: Path, size: int) -> None:
    """nginx with one file of ``size`` octets."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    with (folder / "file").open("wb") as file:
        file.truncate(size)
    configuration = folder / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""
    configuration.write_text(user + NGINX.format(folder=folder, port=SERVICE))
    namespace.start("nginx", "-c", str(configuration), "-g", "daemon off;", stderr=subprocess.DEVNULL)
    until(lambda: namespace.run("curl", "-sI", f"http://{WIRE_A}:{SERVICE}/file", check=False).returncode == 0, 10, "nginx")


def measure(system: System, size: int) -> Result:
    """One round of one system."""
    start = system.start()
    try:
        arguments = system.download_arguments("file")
        idle = subprocess.run(system.ping_command(40, 0.05), capture_output=True, text=True, check=True, timeout=60)
        before = cpu_seconds(system.pids())
        seconds = download(system.b, arguments, size)
        cpu = cpu_seconds(system.pids()) - before
        _, loaded = during(system.ping_command(None, 0.05), lambda: download(system.b, arguments, size))
        return Result(
            seconds,
            cpu,
            percentiles(system.ping_times(idle.stdout)),
            percentiles(system.ping_times(loaded)),
            peak_memory(system.pids()),
            start,
        )
    finally:
        system.stop()


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def report(results: dict[str, list[Result]], size: int) -> str:
    """The table, with ratios to the first peer and to the bare wire."""
    gib = size / (1 << 30)
    speeds = {name: median([size * 8 / 1e6 / one.download for one in rounds]) for name, rounds in results.items()}
    lines = [
        "| system | HTTP download, Mbit/s | × wireguard-go | × bare veth | daemons' CPU s/GiB | peak MiB "
        "| ping idle p50 / p99, ms | ping under load p50 / p99, ms | start to first answer, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rounds in results.items():
        versus = [speeds[name] / speeds[other] if other in speeds else float("nan") for other in ("wireguard-go", "bare veth")]
        idle = [median([one.idle[i] for one in rounds]) for i in (0, 1)]
        load = [median([one.load[i] for one in rounds]) for i in (0, 1)]
        starts = [one.start for one in rounds if one.start is not None]
        lines.append(
            f"| {name} | {speeds[name]:,.0f} | {versus[0]:.2f} | {versus[1]:.3f} | {median([one.cpu for one in rounds]) / gib:.2f} "
            f"| {median([one.peak for one in rounds]):.0f} | {idle[0]:.2f} / {idle[1]:.2f} | {load[0]:.2f} / {load[1]:.2f} "
            f"| {median(starts) if starts else 0:.2f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="userlan beside wireguard-go and the bare wire")
    parser.add_argument("--size", type=int, default=1024, help="MiB to download (default 1024)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each system (default 3)")
    parser.add_argument("--only", action="append", help="only these systems, by name")
    options = parser.parse_args()
    reason = unavailable() or tun_unavailable()
    if reason:
        print(f"the benchmark needs network namespaces and TUN devices: {reason}", file=sys.stderr)
        return 1
    size = options.size << 20
    chosen = [kind for kind in SYSTEMS if not options.only or kind.name in options.only]
    results: dict[str, list[Result]] = {kind.name: [] for kind in chosen}
    with tempfile.TemporaryDirectory(prefix="userlan-bench-") as name, Lab(Path(name)) as lab:
        folder = Path(name)
        folder.chmod(0o755)
        a, b = lab.namespace("a"), lab.namespace("b")
        lab.wire(a, b, "eth0", "eth0")
        a.ip("addr", "add", f"{WIRE_A}/24", "dev", "eth0")
        b.ip("addr", "add", f"{WIRE_B}/24", "dev", "eth0")
        serve(lab, a, folder / "www", size)
        for number in range(options.rounds):
            for kind in chosen:
                print(f"round {number + 1}: {kind.name}", file=sys.stderr, flush=True)
                results[kind.name].append(measure(kind(lab, a, b, folder / f"{kind.name}-{number}"), size))
    print(report(results, size))
    return 0


if __name__ == "__main__":
    sys.exit(main())
