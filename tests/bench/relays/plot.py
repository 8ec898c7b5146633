"""Two pictures: how long a round trip takes by each choice, and what is saved by pools of each size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.relays.choice import Pair, Saving


def draw(pairs: Sequence[Pair], sizes: Mapping[int, Saving], file: Path) -> None:
    """Write a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5))
    for label, values, style in (
        ("direct", [pair.direct for pair in pairs], "k:"),
        ("the pair's relay", [pair.ours for pair in pairs], "C0-"),
        ("a's home relay", [pair.home_a for pair in pairs], "C1--"),
        ("b's home relay", [pair.home_b for pair in pairs], "C3--"),
    ):
        ordered = sorted(1000 * value for value in values)
        left.plot(ordered, [(index + 1) / len(ordered) for index in range(len(ordered))], style, label=label)
    left.set(xlabel="round trip, ms", ylabel="share of the pairs", title=f"{len(pairs)} pairs of sites", xlim=(0, None), ylim=(0, 1))
    left.legend(loc="lower right")
    left.grid(alpha=0.3)
    for name, style in (("p90", "C0-o"), ("mean", "C2-s"), ("median", "C1-^")):
        right.plot(list(sizes), [getattr(saving, name) for saving in sizes.values()], style, label=name)
    right.set(xlabel="relays in the pool", ylabel="ms saved against a home relay", title="pools at random sites", ylim=(0, None))
    right.legend()
    right.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
