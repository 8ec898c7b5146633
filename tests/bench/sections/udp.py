"""64-byte UDP packets: how many a second arrive of a flood, and at which rate they still arrive without loss."""

from __future__ import annotations

import itertools
import json
import time

from tests.bench.measure import Plan, Samples
from tests.bench.systems import System

CLEAN = 0.01
"""The share that may be lost at a rate that counts as carried."""
QUIET = 1.0
"""Seconds without news of the sink after which a trial is over; what a queue still held has come by then."""
NEVER = 5.0
"""Seconds after the sender's end by which the first packet has come, if any will."""
PATIENCE = 30.0
"""Seconds after which it is over in any case."""
TRIALS = itertools.count(1)


def measure(system: System, plan: Plan, samples: Samples) -> None:
    """One round of one system that is up."""
    _, received, _ = trial(system, min(1.0, plan.flood), 1000.0)      # names, neighbours and flows are known afterwards
    assert received > 0, f"no packet arrives through {system.name}"
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
    received, taken = settled(system, number)
    assert received <= sent, f"{received} packets arrived of {sent} that were sent"
    return sent, received, received / max(taken, seconds)


def settled(system: System, number: int) -> tuple[int, float]:
    """The sink's count of a trial and the seconds that it arrived over, once it has not changed for ``QUIET``."""
    known, since, give_up = (0, 0.0), time.monotonic(), time.monotonic() + PATIENCE
    while time.monotonic() < min(since + (QUIET if known[0] else NEVER), give_up):
        time.sleep(0.05)
        told = [json.loads(line) for line in system.stage.sink.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        found = next(((one["received"], one["seconds"]) for one in reversed(told) if one["trial"] == number), known)
        if found != known:
            known, since = found, time.monotonic()
    return known
