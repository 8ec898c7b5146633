"""``python -m tests.bench.curves``: see the package."""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.bench.curves.flows import Sharing, convergence, response, share
from tests.bench.curves.theory import RATES
from tests.bench.measure import quantile
from userlan.stack.tcp.congestion import ALGORITHMS

LOSSES = (0.0003, 0.001, 0.003, 0.01, 0.03)
ROUND_TRIPS = (0.02, 0.1)
EPISODES = 60
"""Losses that a point of the response is the mean of, where that takes no more than ``MOST`` segments."""
LEAST, MOST = 6_000, 100_000
RATE, RTT, QUEUE = 20e6, 0.04, 0.04
"""The bottleneck: 20 Mbit/s, 40 ms, a queue of one bandwidth-delay product."""
FLOWS, APART, SECONDS = 4, 5.0, 100.0
"""Flows that share it, seconds between their starts, seconds in all."""
NEWCOMER = 20.0
"""Seconds that the first flow is alone before the second comes."""

ResponseRow = tuple[str, float, float, float, float]


def names() -> list[str]:
    """The congestion controls that this stack has."""
    return sorted(ALGORITHMS)


def responses(effort: float, seed: int) -> list[ResponseRow]:
    """(algorithm, round trip, loss, segments a second, those of the formula)."""
    rows = []
    for algorithm in names():
        for rtt in ROUND_TRIPS:
            for loss in LOSSES:
                segments = int(min(max(EPISODES / loss, LEAST), MOST) * effort)
                rate = response(algorithm, loss, rtt, segments, seed)
                rows.append((algorithm, rtt, loss, rate, RATES[algorithm](loss, rtt)))
                print(f"{algorithm}, {rtt * 1000:.0f} ms, {loss:.2%}: {rate:.0f}/s", file=sys.stderr, flush=True)
    return rows


def mixes() -> dict[str, list[str]]:
    """Who shares the bottleneck: flows of one kind, and half and half."""
    found = {f"{FLOWS} × {name}": [name] * FLOWS for name in names()}
    if len(names()) > 1:
        found["half and half"] = [names()[number % 2] for number in range(FLOWS)]
    return found


def sharings(effort: float, seed: int) -> dict[str, Sharing]:
    """The flows of each mix, started one after the other."""
    seconds = max(SECONDS * effort, FLOWS * APART + 10)
    starts = [number * APART for number in range(FLOWS)]
    return {mix: share(kinds, starts, RATE, RTT, QUEUE, seconds, seed) for mix, kinds in mixes().items()}


def newcomers(effort: float, seed: int) -> dict[str, Sharing]:
    """Two flows of each kind, the second late."""
    seconds = NEWCOMER + max(SECONDS * effort, 20)
    return {name: share([name] * 2, (0.0, NEWCOMER), RATE, RTT, QUEUE, seconds, seed, 0.5) for name in names()}


def response_table(rows: Sequence[ResponseRow]) -> str:
    """Markdown."""
    lines = ["| congestion control | round trip, ms | loss, % | segments/s | formula | × formula |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {name} | {rtt * 1000:.0f} | {loss * 100:g} | {rate:,.0f} | {formula:,.0f} | {rate / formula:.2f} |"
        for name, rtt, loss, rate, formula in rows
    ]
    return "\n".join(lines)


def sharing_table(found: dict[str, Sharing]) -> str:
    """Markdown."""
    lines = ["| flows | Jain's index, second half | link in use by data, % | queue p50 / p95, ms |", "|---|---|---|---|"]
    for mix, one in found.items():
        delays = [delay * 1000 for delay in one.late_delays()]
        queue = f"{statistics.median(delays):.1f} / {quantile(delays, 0.95):.1f}"
        lines.append(f"| {mix} | {one.fairness():.3f} | {one.use(RATE) * 100:.1f} | {queue} |")
    return "\n".join(lines)


def newcomer_table(found: dict[str, Sharing]) -> str:
    """Markdown."""
    lines = ["| congestion control | seconds until a newcomer has its share (Jain ≥ 0.9) |", "|---|---|"]
    for name, one in found.items():
        taken = convergence(one, NEWCOMER)
        lines.append(f"| {name} | {'never' if taken is None else f'{taken:.1f}'} |")
    return "\n".join(lines)


def write(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)


def series(found: dict[str, Sharing]) -> list[tuple[object, ...]]:
    """A row a window: mix, end of the window, Jain's index, the queue's mean delay, every flow's rate."""
    rows: list[tuple[object, ...]] = []
    for mix, one in found.items():
        for number in range(len(one.rates[0])):
            delay = statistics.fmean(one.delays[number * 10 : number * 10 + 10])
            rows.append((mix, (number + 1) * one.window, one.evenness(number), delay, *(flow[number] for flow in one.rates)))
    return rows


def main(words: Sequence[str] | None = None) -> int:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.curves", description="the TCP's curves beside theory, in virtual time")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for CSV and PNG")
    parser.add_argument("--effort", type=float, default=1.0, help="of the packets of a whole measurement (default 1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-plots", action="store_true", help="CSV and tables alone (no matplotlib needed)")
    options = parser.parse_args(words)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = responses(options.effort, options.seed)
    shared, late = sharings(options.effort, options.seed), newcomers(options.effort, options.seed)
    print("\n\n".join((response_table(rows), sharing_table(shared), newcomer_table(late))))
    write(options.out / "response.csv", ("congestion_control", "rtt_s", "loss", "segments_per_s", "formula"), rows)
    head = ("flows", "second", "jain", "queue_s")
    write(options.out / "fairness.csv", (*head, *(f"flow{number}_bit_per_s" for number in range(FLOWS))), series(shared))
    write(options.out / "convergence.csv", (*head, "flow0_bit_per_s", "flow1_bit_per_s"), series(late))
    if not options.no_plots:
        from tests.bench.curves.plots import draw

        draw(options.out, rows, shared, late)
    return 0


if __name__ == "__main__":
    sys.exit(main())
