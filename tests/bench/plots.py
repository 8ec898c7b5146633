"""The figures as PNG: bars of medians with every round as a dot, and the distributions of the round trips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.curves.plots import DPI, pyplot
from tests.bench.measure import Samples

BARS = (
    ("bulk", "http_1", "HTTP download, one stream", "Mbit/s"),
    ("bulk", "http_8", "HTTP download, eight streams", "Mbit/s"),
    ("bulk", "iperf_1", "iperf3, one stream", "Mbit/s"),
    ("bulk", "iperf_8", "iperf3, eight streams", "Mbit/s"),
    ("bulk", "cpu_per_gib", "Daemons' processor time", "s/GiB"),
    ("bulk", "peak", "Peak memory of a daemon", "MiB"),
    ("udp", "flood", "64-byte UDP packets received of a flood", "packets/s"),
    ("udp", "clean", "64-byte UDP packets with at most 1 % lost", "packets/s"),
    ("small", "rate", "Small HTTP requests, a connection each", "requests/s"),
)
DISTRIBUTIONS = (
    ("bulk", "ping_idle", "Ping, idle"),
    ("bulk", "ping_loaded", "Ping during a download"),
    ("small", "times", "A small request"),
)
BASELINE = "bare wire"
"""Left out of the bars, which it would make invisible; the tables have it."""


def draw(samples: Samples, folder: Path) -> None:
    """Everything that there are figures for."""
    plot = pyplot()
    folder.mkdir(parents=True, exist_ok=True)
    for section, metric, title, unit in BARS:
        systems = [name for name in samples.data.get(section, {}) if name != BASELINE]
        _bars(plot, folder / f"{section}-{metric}.png", samples, section, metric, systems, title, unit)
    for section in samples.data:
        if section.startswith("link: "):
            name = "".join(letter if letter.isalnum() else "-" for letter in section)
            title = f"Goodput, {section.removeprefix('link: ')}"
            _bars(plot, folder / f"{name}.png", samples, section, "goodput", list(samples.data[section]), title, "Mbit/s")
            _distribution(plot, folder / f"{name}-ping.png", samples, section, "ping_loaded", f"Ping during a download, {section}")
    for section, metric, title in DISTRIBUTIONS:
        _distribution(plot, folder / f"{section}-{metric}.png", samples, section, metric, title)


def _bars(
    plot: Any, path: Path, samples: Samples, section: str, metric: str, systems: Sequence[str], title: str, unit: str
) -> None:
    """One bar a system that has the metric."""
    names = [name for name in systems if samples.numbers(section, name, metric)]
    if not names:
        return
    figure, axes = plot.subplots(figsize=(8, 0.45 * len(names) + 1.5))
    colours = ["C1" if name.startswith("userlan") else "C0" for name in names]
    axes.barh(names, [samples.median(section, name, metric) for name in names], color=colours, alpha=0.8)
    for place, name in enumerate(names):
        rounds = samples.numbers(section, name, metric)
        axes.plot(rounds, [place] * len(rounds), "k.", markersize=4)
    axes.invert_yaxis()
    axes.set(title=title, xlabel=unit)
    axes.grid(True, axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=DPI)
    plot.close(figure)


def _distribution(plot: Any, path: Path, samples: Samples, section: str, metric: str, title: str) -> None:
    """The share of round trips that took no longer, by time."""
    found = {name: sorted(samples.times(section, name, metric)) for name in samples.data.get(section, {})}
    found = {name: times for name, times in found.items() if times}
    if not found:
        return
    figure, axes = plot.subplots(figsize=(8, 5))
    for name, times in found.items():
        shares = [(place + 1) / len(times) for place in range(len(times))]
        axes.step(times, shares, where="post", label=name, linewidth=2 if name.startswith("userlan") else 1)
    axes.set(title=title, xlabel="ms", ylabel="share of round trips", xscale="log")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=DPI)
    plot.close(figure)
