"""Round trips between real sites, and the sites that have relays.

``azure_2023_07.csv``: Microsoft, "Azure network round-trip latency statistics" (learn.microsoft.com/azure/networking, article
azure-network-latency; the documentation's text is under CC BY 4.0), the edition of 21 July 2023: medians of 30 days, in ms, measured every
minute between 43 regions on all inhabited continents, both ways. Changed by us: the two directions of a pair are averaged. One of them is
0 in the source (Japan West to Germany North); there the other one is taken.

These are data centres on one provider's network, whose paths are straighter than those between homes of different providers: detours
that a well chosen relay avoids, or even offers, are rarer here than in the Internet at large. So what is saved is rather understated.
"""

from __future__ import annotations

import csv
from pathlib import Path

FILE = Path(__file__).with_name("azure_2023_07.csv")

RELAY_SITES = (
    "East US", "West US 2", "Brazil South", "West Europe", "South Africa North", "UAE North", "Central India", "Southeast Asia",
    "Japan East", "Australia East",
)
"""A pool of ten, one in each part of the world, as somebody would place them who has ten."""

Rtt = dict[tuple[str, str], float]


def load(file: Path = FILE) -> tuple[list[str], Rtt]:
    """The sites' names, and the seconds of a round trip between any two; from a site to itself it is 0."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.reader(lines))
    names = rows[0][1:]
    rtt: Rtt = {}
    for row in rows[1:]:
        for name, cell in zip(names, row[1:], strict=True):
            rtt[row[0], name] = float(cell) / 1000 if cell else 0.0
    return names, rtt
