"""``python -m tests.bench.traversal``: the matrix. See the package."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.traversal.cell import Setting
from tests.bench.traversal.kinds import KINDS, pairs
from tests.bench.traversal.population import SHARES, direct_rate, report
from tests.bench.traversal.runs import measure
from tests.bench.traversal.tables import HEAD, Cell, line, matrix, summary


def arguments() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.traversal", description="every pair of kinds of NATs, in virtual time")
    parser.add_argument("--seeds", type=int, default=200, help="runs of each cell (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=1, help="(default %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default %(default)s)")
    parser.add_argument("--cells", default="", metavar="A-B,…", help="only these; A- is every pair of A (default: all)")
    parser.add_argument("--udp", action="store_true", help="where UDP passes unless a box blocks it (the default)")
    parser.add_argument("--tcp", action="store_true", help="where nobody's UDP passes")
    parser.add_argument("--one-way", type=float, default=40.0, metavar="MS", help="between the two members (default %(default)s)")
    parser.add_argument("--loss", type=float, default=0.0, metavar="PERCENT", help="of each member's line, each way (default %(default)s)")
    parser.add_argument("--population", action="store_true", help="also the rate over the population; all pairs of its kinds are needed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="a row for each cell")
    return parser


def chosen(words: str) -> list[tuple[str, str]]:
    """The pairs that ``--cells`` names, in the matrix's order."""
    everything = [(first.name, second.name) for first, second in pairs()]
    if not words:
        return everything
    found = []
    for word in words.split(","):
        first, _, second = word.partition("-")
        if first not in KINDS or (second and second not in KINDS):
            raise SystemExit(f"there is no cell {word!r}: the kinds are {', '.join(KINDS)}")
        found += [pair for pair in everything if first in pair and (not second or set(pair) == {first, second})]
    return list(dict.fromkeys(found))


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a cell is below the mark."""
    options = arguments().parse_args(words)
    begin = time.monotonic()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    cells: list[Cell] = []
    for tcp_only in (False, True):
        if options.tcp if tcp_only else options.udp or not options.tcp:
            setting = Setting(tcp_only, options.one_way / 1000, options.loss / 100)
            print(f"\n## {'Without UDP' if tcp_only else 'UDP'}: {len(seeds)} seeds a cell\n\n{HEAD}")
            part = []
            for cell in measure(chosen(options.cells), seeds, options.jobs, setting):
                print(line(cell), flush=True)
                part.append(cell)
            print(f"\n{matrix(part)}\n\n{summary(part)}")
            if options.population and set(SHARES) <= {kind.name for cell in part for kind in (cell.first, cell.second)}:
                print(f"\n{report(direct_rate(part))}")
            cells += part
    if options.json:
        options.json.write_text(json.dumps([cell.row() for cell in cells], indent=1))
    print(f"\n{(time.monotonic() - begin) / 60:.1f} minutes, {os.cpu_count()} processors", file=sys.stderr)
    return 1 if any(cell.bad for cell in cells) else 0


if __name__ == "__main__":
    sys.exit(main())
