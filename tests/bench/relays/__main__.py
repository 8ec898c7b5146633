"""``python -m tests.bench.relays``: see the package."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from statistics import median

from tests.bench.measure import quantile
from tests.bench.relays.choice import Pair, by_size, compare, savings
from tests.bench.relays.sites import RELAY_SITES, load

SIZES = (2, 3, 5, 8, 12, 16, 24)


def table(pairs: Sequence[Pair]) -> str:
    """Round trips, and what is saved."""
    lines = ["| round trip | median ms | p90 ms |", "|---|---:|---:|"]
    for label, name in (
        ("the pair's relay", "ours"), ("the best relay", "least"), ("a's home relay", "home_a"), ("b's home relay", "home_b"),
        ("direct", "direct"),
    ):
        values = [1000 * getattr(pair, name) for pair in pairs]
        lines.append(f"| {label} | {median(values):.0f} | {quantile(values, 0.9):.0f} |")
    lines += ["", "| saved against | median ms | p90 ms | mean ms | slower pairs | faster pairs | these save |", "|---|" + "---:|" * 6]
    for label, saving in savings(pairs).items():
        gain = f"{100 * saving.better:.1f} % | {saving.gain:.0f} ms"
        lines.append(f"| {label} | {saving.median:.1f} | {saving.p90:.1f} | {saving.mean:.1f} | {100 * saving.worse:.1f} % | {gain} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.relays", description="a relay for each pair, or one for each node")
    parser.add_argument("--relays", default=",".join(RELAY_SITES), help="sites with a relay (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=20, help="random pools of each size (default %(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a PNG (needs matplotlib)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a line for each pair, in seconds")
    options = parser.parse_args(words)
    names, rtt = load()
    relays = [word.strip() for word in options.relays.split(",")]
    for relay in relays:
        if relay not in names:
            print(f"there is no site {relay!r}: {', '.join(names)}", file=sys.stderr)
            return 1
    pairs = compare(names, rtt, relays)
    print(f"{len(names)} sites, {len(pairs)} pairs, {len(relays)} relays\n\n{table(pairs)}")
    sizes = by_size(names, rtt, SIZES, options.draws)
    print("\n| relays, at random sites | saved against a home relay: median ms | p90 ms | mean ms |\n|---:|---:|---:|---:|")
    for size, saving in sizes.items():
        print(f"| {size} | {saving.median:.1f} | {saving.p90:.1f} | {saving.mean:.1f} |")
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Pair)])
            writer.writeheader()
            writer.writerows(asdict(pair) for pair in pairs)
    if options.plot:
        from tests.bench.relays.plot import draw

        draw(pairs, sizes, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
