"""Small requests: one after the other, each over a connection of its own, by every way that a system has."""

from __future__ import annotations

from tests.bench.measure import Plan, Samples, cpu_seconds
from tests.bench.stage import SMALL
from tests.bench.systems import System


def measure(system: System, plan: Plan, samples: Samples) -> None:
    """One round of one system that is up."""
    for way, arguments in system.request_routes().items():
        count = ("--count", str(plan.requests), "--size", str(SMALL))
        before = cpu_seconds(system.pids())
        told = system.stage.python(system.b, "requests", *arguments, "/small", *count)
        seconds = told["seconds"]
        assert isinstance(seconds, list)
        name = f"{system.name}, {way}" if way else system.name
        cpu = (cpu_seconds(system.pids()) - before) / len(seconds)
        samples.add("small", name, rate=len(seconds) / sum(seconds), times=[one * 1000 for one in seconds], cpu_ms=cpu * 1000)
