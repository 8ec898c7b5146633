"""Figures of cells, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.measure import quantile
from tests.bench.traversal.cell import Result
from tests.bench.traversal.kinds import Kind
from userlan.traversal.ends import achievable

WORKABLE = 0.5
"""Theory from which a cell counts as workable."""
GOOD = 0.97
"""Share of theory that a workable cell reaches at least."""
IMPOSSIBLE_COST = 500
"""Packets that a pair may cost where nothing can come of it."""


@dataclass(frozen=True)
class Cell:
    """One pair of kinds with the results of all its seeds."""

    first: Kind
    second: Kind
    tcp_only: bool
    results: tuple[Result, ...]

    @property
    def name(self) -> str:
        return f"{self.first.name}-{self.second.name}"

    @property
    def theory(self) -> float:
        """The share that can meet directly, by UDP or, where that does not pass on one side, by TCP."""
        one, two = self.first.truth(self.tcp_only), self.second.truth(self.tcp_only)
        return achievable(one, two, "udp" if one.udp.passes and two.udp.passes else "tcp")

    @property
    def direct(self) -> float:
        return sum(result.direct for result in self.results) / len(self.results)

    @property
    def times(self) -> list[float]:
        """Milliseconds from when the pair was due."""
        return [1000 * result.since_due for result in self.results if result.direct]

    @property
    def greatest(self) -> int:
        return max(result.packets for result in self.results)

    @property
    def bad(self) -> bool:
        """Below what it should reach, or too dear for what it is."""
        if self.theory >= WORKABLE:
            return self.direct < GOOD * self.theory
        return self.greatest > IMPOSSIBLE_COST

    def row(self) -> dict[str, object]:
        """For JSON."""
        return {
            "cell": self.name, "transport": "tcp" if self.tcp_only else "udp", "seeds": len(self.results), "direct": self.direct,
            "theory": self.theory, "median_ms": median(self.times) if self.times else None,
            "p95_ms": quantile(self.times, 0.95) if self.times else None,
            "start_ms": median([1000 * result.since_start for result in self.results if result.direct]) if self.times else None,
            "packets": median([result.packets for result in self.results]), "packets_greatest": self.greatest, "bad": self.bad,
        }


def number(value: object, form: str = ".0f") -> str:
    return "–" if value is None else format(value, form)


HEAD = "| cell | direct | theory | | median | p95 | from start | packets |\n|---|---:|---:|---|---:|---:|---:|---:|"


def line(cell: Cell) -> str:
    """Its line of the table under ``HEAD``."""
    row = cell.row()
    rates = f"{100 * cell.direct:.1f} % | {100 * cell.theory:.1f} % | {'!' if cell.bad else ''}"
    times = " | ".join(number(row[name]) for name in ("median_ms", "p95_ms", "start_ms"))
    return f"| {cell.name} | {rates} | {times} | {number(row['packets'])} / {cell.greatest} |"


def matrix(cells: Sequence[Cell]) -> str:
    """The direct rates as a triangle, in per cent; in brackets what theory says where that is not 100."""
    names = list(dict.fromkeys(kind.name for cell in cells for kind in (cell.first, cell.second)))
    by_pair = {(cell.first.name, cell.second.name): cell for cell in cells}
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for first in names:
        entries = []
        for second in names:
            cell = by_pair.get((first, second))
            entries.append("" if cell is None else _entry(cell))
        lines.append(f"| **{first}** | " + " | ".join(entries) + " |")
    return "\n".join(lines)


def _entry(cell: Cell) -> str:
    shown = f"{100 * cell.direct:.0f}"
    if round(100 * cell.theory) != 100:
        shown += f" ({100 * cell.theory:.0f})"
    return f"**{shown}!**" if cell.bad else shown


def summary(cells: Iterable[Cell]) -> str:
    """What the matrix as a whole says."""
    cells = list(cells)
    workable = [cell for cell in cells if cell.theory >= WORKABLE]
    times = [time for cell in workable for time in cell.times]
    bad = [cell.name for cell in cells if cell.bad]
    middle = f"{median(times):.0f} ms, p95 {quantile(times, 0.95):.0f} ms" if times else "none"
    return (
        f"{len(cells)} cells, {len(workable)} workable; below the mark: {', '.join(bad) or 'none'}\n"
        f"time to direct over the workable cells: median {middle}"
    )
