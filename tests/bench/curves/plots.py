"""The curves as PNG. matplotlib is imported here alone, where it is used."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.curves.flows import Sharing
from tests.bench.curves.theory import RATES

POINTS = 60
DPI = 120


def pyplot() -> Any:
    """matplotlib's pyplot, drawing into files; SystemExit with one line where it is not installed."""
    try:
        importlib.import_module("matplotlib").use("Agg")
    except ImportError:
        raise SystemExit("plots need matplotlib: pip install -e '.[bench]'") from None
    return importlib.import_module("matplotlib.pyplot")


def draw(
    folder: Path, rows: Sequence[tuple[str, float, float, float, float]], shared: Mapping[str, Sharing], late: Mapping[str, Sharing]
) -> None:
    """response.png, fairness.png, convergence.png."""
    plot = pyplot()
    _response(plot, folder / "response.png", rows)
    _series(plot, folder / "fairness.png", shared)
    _series(plot, folder / "convergence.png", late)


def _response(plot: Any, path: Path, rows: Sequence[tuple[str, float, float, float, float]]) -> None:
    figure, axes = plot.subplots(figsize=(8, 5.5))
    pairs = sorted({(name, rtt) for name, rtt, *_ in rows})
    losses = sorted({loss for _, _, loss, *_ in rows})
    for number, (name, rtt) in enumerate(pairs):
        colour = f"C{number}"
        points = sorted((loss, rate) for one, own, loss, rate, _ in rows if (one, own) == (name, rtt))
        label = f"{name}, {rtt * 1000:.0f} ms"
        axes.loglog([loss for loss, _ in points], [rate for _, rate in points], "o", color=colour, label=label)
        fine = [losses[0] * (losses[-1] / losses[0]) ** (step / POINTS) for step in range(POINTS + 1)]
        axes.loglog(fine, [RATES[name](loss, rtt) for loss in fine], "-", color=colour, alpha=0.6, label=f"{label}: formula")
    axes.set(xlabel="loss probability", ylabel="segments a second", title="Response to random loss: RFC 9438 5.1 and Mathis et al.")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=DPI)
    plot.close(figure)


def _series(plot: Any, path: Path, found: Mapping[str, Sharing]) -> None:
    """One column a mix: the flows' rates, Jain's index, the queue's delay, over time."""
    figure, grid = plot.subplots(3, len(found), figsize=(5 * len(found), 8), squeeze=False, sharex="col")
    for column, (mix, one) in enumerate(found.items()):
        times = [(number + 1) * one.window for number in range(len(one.rates[0]))]
        for number, flow in enumerate(one.rates):
            grid[0][column].plot(times, [rate / 1e6 for rate in flow], label=f"flow {number + 1}")
        grid[0][column].set(title=mix, ylabel="Mbit/s")
        grid[0][column].legend(fontsize=7)
        grid[1][column].plot(times, [one.evenness(number) for number in range(len(times))])
        grid[1][column].set(ylabel="Jain's index", ylim=(0, 1.05))
        delays = [statistics.fmean(one.delays[number * 10 : number * 10 + 10]) * 1000 for number in range(len(times))]
        grid[2][column].plot(times, delays)
        grid[2][column].set(ylabel="queue, ms", xlabel="virtual seconds")
        for row in range(3):
            grid[row][column].grid(True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=DPI)
    plot.close(figure)
