"""What is measured and how: downloads, round trips, processor time, memory."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

import attrs

from tests.bench.systems import System
from tests.lab.network import Namespace, end

TICKS = os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Plan:
    """How much of everything. Sizes in octets, times in seconds."""

    size: int = 1 << 30
    rounds: int = 3
    seconds: float = 10.0
    """Of each iperf3 run, of a loaded ping, of the idle one."""
    flood: float = 3.0
    """Of each trial of 64-byte packets."""
    search: int = 7
    """Trials of the search for the rate that is carried without loss."""
    requests: int = 1000
    link_seconds: float = 20.0
    seeds: int = 3
    connections: int = 10_000
    members: int = 500
    ping_interval: float = 0.01


class Samples:
    """Raw figures: section → system → metric → one value a round, in the order of the rounds."""

    def __init__(self) -> None:
        self.data: dict[str, dict[str, dict[str, list[object]]]] = {}

    def add(self, section: str, system: str, **metrics: object) -> None:
        """One round's figures. A list is one sample, too: the raw round trips."""
        place = self.data.setdefault(section, {}).setdefault(system, {})
        for metric, value in metrics.items():
            place.setdefault(metric, []).append(value)

    def numbers(self, section: str, system: str, metric: str) -> list[float]:
        """All rounds of one metric; empty where it was not measured."""
        values = self.data.get(section, {}).get(system, {}).get(metric, [])
        return [float(value) for value in values if isinstance(value, int | float)]

    def median(self, section: str, system: str, metric: str) -> float | None:
        """The median over the rounds, or None."""
        values = self.numbers(section, system, metric)
        return statistics.median(values) if values else None

    def times(self, section: str, system: str, metric: str) -> list[float]:
        """All rounds' round trips together."""
        lists = self.data.get(section, {}).get(system, {}).get(metric, [])
        return [float(value) for one in lists if isinstance(one, list) for value in one]


class Troubles:
    """What went wrong, a line each. A run of an hour goes on without the part that failed, and fails in the end."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextlib.contextmanager
    def watched(self, what: str) -> Iterator[None]:
        """Says what is done in the block, and keeps its failure."""
        print(what, file=sys.stderr, flush=True)
        try:
            yield
        except (AssertionError, RuntimeError, subprocess.SubprocessError) as error:
            self.lines.append(f"{what}: {error}")
            print(f"  went wrong: {error}", file=sys.stderr, flush=True)


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


def memory(pid: int) -> float:
    """The resident size of a process now, MiB."""
    return _status(pid, "VmRSS")


def _status(pid: int, field: str) -> float:
    with open(f"/proc/{pid}/status") as file:
        found = re.search(rf"^{field}:\s+(\d+) kB", file.read(), re.M)
    return int(found[1]) / 1024 if found else 0.0


CURL = ("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_download} %{time_total}")


def download(namespace: Namespace, arguments: Sequence[str], size: int) -> float:
    """Seconds that curl took; AssertionError where it did not get ``size`` octets."""
    result = namespace.run(*CURL, *arguments, timeout=900)
    code, count, seconds = result.stdout.split()
    assert (code, int(count)) == ("200", size), f"download went wrong: {result.stdout}"
    return float(seconds)


def downloads(namespace: Namespace, arguments: Sequence[str], size: int, streams: int) -> float:
    """Seconds from the first start to the last end of ``streams`` downloads of ``size`` octets each at once."""
    command = namespace.command(*CURL, *arguments)
    begin = time.monotonic()
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) for _ in range(streams)]
    outputs = [process.communicate(timeout=900)[0] for process in running]
    taken = time.monotonic() - begin
    for output in outputs:
        code, count, _ = output.split()
        assert (code, int(count)) == ("200", size), f"download went wrong: {output}"
    return taken


def for_seconds(namespace: Namespace, arguments: Sequence[str], seconds: float) -> float:
    """Octets a second of a download that is ended after ``seconds``; AssertionError where nothing came."""
    result = namespace.run(*CURL, "-m", f"{seconds:.1f}", *arguments, check=False, timeout=seconds + 60)
    code, count, taken = result.stdout.split()
    assert code == "200", f"download went wrong: {result.stdout} {result.stderr}"
    assert int(count) > 0, f"nothing was downloaded in {taken} s"
    return int(count) / float(taken)


@contextlib.contextmanager
def load(namespace: Namespace, arguments: Sequence[str]) -> Iterator[None]:
    """An endless download while the block runs."""
    process = namespace.start("curl", "-sS", "-o", "/dev/null", *arguments, stderr=subprocess.DEVNULL)
    try:
        yield
        assert process.poll() is None, "the download that was to be the load ended early"
    finally:
        end(process)


def pings(system: System, count: int, interval: float) -> list[float]:
    """Round trips in milliseconds; AssertionError where hardly any was answered."""
    command = system.ping_command(count, interval)
    result = subprocess.run(command, capture_output=True, text=True, timeout=60 + 4 * count * interval, stdin=subprocess.DEVNULL)
    times = system.ping_times(result.stdout)
    assert len(times) >= count / 2, f"{len(times)} of {count} echoes were answered: {result.stdout[-300:]} {result.stderr[-300:]}"
    return times


def quantile(samples: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the samples lie."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
