"""What is measured and how: downloads, round trips, processor time, memory."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence

import attrs

from tests.lab.network import Namespace

TICKS = os.sysconf("SC_CLK_TCK")


@attrs.define
class Result:
    """One round of one system. Times in seconds, round trips in milliseconds; None where it does not apply."""

    download: float
    cpu: float
    idle: tuple[float, float]
    load: tuple[float, float]
    peak: float
    start: float | None


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time that processes have used, their waited-for children included."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += sum(int(field) for field in fields[11:15])
    return total / TICKS


def peak_memory(pids: Iterable[int]) -> float:
    """The largest resident size of the processes so far, MiB: the greatest one's."""
    return max((_status(pid, "VmHWM") for pid in pids), default=0.0)


def _status(pid: int, field: str) -> float:
    with open(f"/proc/{pid}/status") as file:
        found = re.search(rf"^{field}:\s+(\d+) kB", file.read(), re.M)
    return int(found[1]) / 1024 if found else 0.0


def download(namespace: Namespace, command: Sequence[str], size: int) -> float:
    """Seconds that curl took; AssertionError where it did not get ``size`` octets."""
    result = namespace.run(
        "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_download} %{time_total}", *command, timeout=900
    )
    code, count, seconds = result.stdout.split()
    assert (code, int(count)) == ("200", size), f"download went wrong: {result.stdout}"
    return float(seconds)


def percentiles(samples: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    ordered = sorted(samples)
    assert ordered, "no echo was answered"
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def during(command: Sequence[str], work: Callable[[], float]) -> tuple[float, str]:
    """Run ``command`` in the background while ``work`` runs; ends it by SIGINT; the work's value and the command's output."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)
    time.sleep(0.2)
    try:
        value = work()
    finally:
        process.send_signal(2)
        output, _ = process.communicate(timeout=20)
    return value, output
