"""64-byte UDP packets: how many a second arrive of a flood, and at which rate they still arrive without loss."""

from __future__ import annotations

import itertools
import json

from tests.bench.measure import Plan, Samples
from tests.bench.systems import System
from tests.lab.network import until

CLEAN = 0.01
"""The share that may be lost at a rate that counts as carried."""
TRIALS = itertools.count(1)


def measure(system: System, plan: Plan, samples: Samples) -> None:
    """One round of one system that is up."""
    trial(system, min(1.0, plan.flood), 1000.0)      # names, neighbours and flows are known afterwards
    sent, received, rate = trial(system, plan.flood, 0.0)
    samples.add("udp", system.name, flood=rate, flood_loss=1 - received / sent, offered=sent / plan.flood)
    best, low, high = 0.0, 500.0, max(2 * rate, 1000.0)
    for _ in range(plan.search):
        wanted = (low * high) ** 0.5
        sent, received, carried = trial(system, min(1.0, plan.flood), wanted)
        if received >= (1 - CLEAN) * sent:
            low, best = wanted, max(best, carried)
        else:
            high = wanted
    samples.add("udp", system.name, clean=best)


def trial(system: System, seconds: float, rate: float) -> tuple[int, int, float]:
    """Packets sent, packets received, packets received a second; ``rate`` 0 is a flood."""
    number = next(TRIALS)
    arguments = [*system.sink(), "--trial", str(number), "--seconds", str(seconds), "--rate", str(rate)]
    told = system.stage.python(system.b, "datagrams", "send", *arguments)
    sent = int(str(told["sent"]))

    def counted() -> dict[str, float] | None:
        for line in system.stage.sink.read_text().splitlines():
            if line.startswith("{") and json.loads(line)["trial"] == number:
                found: dict[str, float] = json.loads(line)
                return found
        return None

    result = until(counted, 15, f"the sink's count of {sent} packets through {system.name}", 0.05)
    received = int(result["received"])
    assert received <= sent, f"{received} packets arrived of {sent} that were sent"
    return sent, received, received / max(result["seconds"], seconds)
