"""Bulk: HTTP and iperf3 with one stream and eight, what it costs, and the round trips beside it."""

from __future__ import annotations

import json
import shutil
import time

from tests.bench.measure import Plan, Samples, cpu_seconds, download, downloads, load, peak_memory, pings
from tests.bench.systems import System

STREAMS = 8
RAMP = 0.5
"""Seconds of load before the first ping under it."""


def measure(system: System, plan: Plan, samples: Samples) -> None:
    """One round of one system that is up."""
    count = max(10, int(plan.seconds / plan.ping_interval))
    idle = pings(system, max(10, count // 4), 4 * plan.ping_interval)
    before = cpu_seconds(system.pids())
    one = download(system.b, system.download_arguments("file"), plan.size)
    cpu = cpu_seconds(system.pids()) - before
    eight = downloads(system.b, system.download_arguments("part"), plan.size // STREAMS, STREAMS)
    with load(system.b, system.download_arguments("endless")):
        time.sleep(RAMP)
        loaded = pings(system, count, plan.ping_interval)
    megabits = plan.size * 8 / 1e6
    samples.add(
        "bulk", system.name, http_1=megabits / one, http_8=megabits / eight, cpu_per_gib=cpu / (plan.size / (1 << 30)),
        ping_idle=idle, ping_loaded=loaded,
    )
    if system.kernel and shutil.which("iperf3"):
        samples.add("bulk", system.name, iperf_1=iperf(system, 1, plan.seconds), iperf_8=iperf(system, STREAMS, plan.seconds))
    samples.add("bulk", system.name, peak=peak_memory(system.pids()))


def iperf(system: System, streams: int, seconds: float) -> float:
    """Megabits a second that iperf3's server received."""
    result = system.b.run(*system.iperf_command(streams, max(1.0, seconds)), timeout=seconds + 60)
    return float(json.loads(result.stdout)["end"]["sum_received"]["bits_per_second"]) / 1e6
