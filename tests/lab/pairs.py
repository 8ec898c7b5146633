"""Every pair of the lab's NATs, with real processes: which of them meet, by what path, how fast.

``python -m tests.lab.pairs [--output FILE] [KIND …]`` prints the table and writes what it knows of each cell as JSON.

All first homes of the kinds are members of one network, and each kind's two homes of one of their own: every cell of the table is one pair
of nodes, all with the same mediator and the same relay.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import attrs

from tests.lab.nats import KINDS, Kind
from tests.lab.network import Lab
from tests.lab.party import Party
from tests.lab.userlan_process import Member

#: How two of them shall come together. U: direct over UDP, T: direct over TCP, R: by a relay, ~: direct or by the relay, as luck has it.
#: An open side: the other one comes. Cones: both send at once, the symmetric side of a restricted cone first. Symmetric ones: prediction
#: where the port follows the one before, a birthday where a cone or an address-dependent NAT is the other side. Without UDP: both connect
#: at once, with prediction; not to random ports. Where only port 443 is open nobody is there but servers.
MATRIX = """
                          open full rest port move doub chun incr busy rand addr ad-r noud only ipv6
open                      U    U    U    U    U    U    U    U    U    U    U    U    T    R    U
full-cone                      U    U    U    U    U    U    U    U    U    U    U    T    R    U
restricted-cone                     U    U    U    U    U    U    U    U    U    U    T    R    U
port-restricted                          U    U    U    U    U    U    U    U    U    T    R    U
early-packets-move                            U    U    U    U    U    U    U    U    T    R    U
double                                             U    U    U    U    U    U    U    T    R    U
cgn-chunked                                             U    U    U    U    U    U    T    R    U
symmetric-incremental                                        U    ~    R    U    R    T    R    R
incremental-busy                                                  ~    R    U    R    ~    R    R
symmetric-random                                                       R    U    R    R    R    R
address-dependent                                                           U    U    R    R    U
address-dependent-random                                                         R    R    R    R
udp-blocked                                                                           T    R    R
only-tcp-443                                                                               R    R
ipv6-firewall                                                                                   U
"""
ROWS = [line.split() for line in MATRIX.strip().splitlines()[1:]]
NAMES = [row[0] for row in ROWS]
EXPECTED = {
    (name, NAMES[row + column]): cell for row, (name, *cells) in enumerate(ROWS) for column, cell in enumerate(cells)
}  # fmt: skip
"""By the two kinds' names, in the order of the table."""
WORDS = {"U": ("direct", "udp"), "T": ("direct", "tcp"), "R": ("relayed", "relay")}
PATIENCE = 100.0
"""Seconds after joining in which the pairs must have met: all of them want each other at the same moment, on two cores. A pair that fails
at first is introduced again a minute later (``userlan.node.peers.UPGRADE_INTERVAL``)."""
WAVE = 6
"""Nodes that start at one time: each measures its NAT then, and is to be a computer of its own."""
INTERVAL = 0.25


@attrs.define
class Cell:
    """One pair. ``seconds``: from when they knew of each other until the state that was reached last; to ``INTERVAL`` and the time that
    asking all nodes takes."""

    expected: str
    state: str = "none"
    path: str = "none"
    endpoint: str = ""
    rtt_ms: float | None = None
    seconds: float | None = None
    answered: bool = False
    known_at: float | None = None

    @property
    def come(self) -> bool:
        """Whether it is as it is meant to be."""
        return self.state in ("direct", "relayed") if self.expected == "~" else (self.state, self.path) == WORDS[self.expected]

    @property
    def right(self) -> bool:
        """That, and that it carries."""
        return self.come and self.answered


Pair = tuple[str, str]


def kinds(names: Iterable[str]) -> list[Kind]:
    """By name, in the order of the table."""
    known = {kind.name: kind for kind in KINDS}
    return [known[name] for name in NAMES if name in set(names)]


def measure(lab: Lab, folder: Path, chosen: Sequence[Kind]) -> dict[Pair, Cell]:
    """The cells of these kinds."""
    party = Party(lab, folder)
    sites = party.world.sites([kind for kind in chosen for _ in range(2)])
    members = {}
    for index, site in enumerate(sites):
        name = f"{chosen[index // 2].name}-{index % 2 + 1}"
        members[name] = party.member(name, site.host)
        if index % WAVE == WAVE - 1:
            party.ready()
    party.ready()
    firsts = [members[f"{kind.name}-1"] for kind in chosen]
    ends: dict[Pair, tuple[Member, Member]] = {
        (one.name, two.name): (members[f"{one.name}-1"], members[f"{two.name}-1"]) for one, two in combinations(chosen, 2)
    }
    ends |= {(kind.name, kind.name): (members[f"{kind.name}-1"], members[f"{kind.name}-2"]) for kind in chosen}
    begun = time.monotonic()
    if len(firsts) > 1:
        party.network("all", firsts)
    for kind in chosen:
        party.network(f"two-{kind.name}", [members[f"{kind.name}-1"], members[f"{kind.name}-2"]])
    cells = {pair: Cell(EXPECTED[pair]) for pair in ends}
    watch(cells, ends, begun)
    probe(cells, ends)
    return cells


def watch(cells: dict[Pair, Cell], ends: dict[Pair, tuple[Member, Member]], begun: float) -> None:
    """Look at all pairs until each is as it is meant to be, or patience ends; who is in time is noted with the time."""
    asked = {one.name: one for one, _ in ends.values()}
    while True:
        now = time.monotonic()
        shown = {name: {peer["name"]: peer for peer in one.call("status")["peers"]} for name, one in asked.items()}
        for pair, cell in cells.items():
            one, other = ends[pair]
            peer = shown[one.name].get(other.name)
            if peer is None:
                continue
            before, cell.known_at = cell.state, cell.known_at or now
            cell.state, cell.path, cell.endpoint, cell.rtt_ms = peer["state"], peer["path"], peer["endpoint"] or "", peer["rtt_ms"]
            if cell.state != before and cell.state in ("direct", "relayed"):
                cell.seconds = round(now - cell.known_at, 2)
        if now - begun > PATIENCE or all(cell.come for cell in cells.values()):
            return
        time.sleep(INTERVAL)


def probe(cells: dict[Pair, Cell], ends: dict[Pair, tuple[Member, Member]]) -> None:
    """An echo over the LAN through each pair's path."""

    def ask(pair: Pair) -> bool:
        one, other = ends[pair]
        heard: list[Any] = []
        if not cells[pair].come:
            return False
        one.call("ping", heard.append, peer=other.name, count=3, interval=0.3, size=56, timeout=3.0)
        return any(item["rtt_ms"] is not None for item in heard)

    with ThreadPoolExecutor(4) as pool:
        for pair, answered in zip(cells, pool.map(ask, cells), strict=True):
            cells[pair].answered = answered


def table(cells: dict[Pair, Cell]) -> str:
    """Markdown: each cell with its path and the seconds; wrong ones with what they should have been."""
    names = [name for name in NAMES if any(name in pair for pair in cells)]
    lines = ["| |" + "|".join(names) + "|", "|---" * (len(names) + 1) + "|"]
    for row, name in enumerate(names):
        words = [""] * row
        for other in names[row:]:
            cell = cells[name, other]
            word = f"{cell.path} {cell.seconds if cell.seconds is not None else '-'} s"
            words.append(word if cell.right else f"**{word}, not {cell.expected}**" + ("" if cell.answered else " (silent)"))
        lines.append(f"|{name}|" + "|".join(words) + "|")
    right, direct = sum(cell.right for cell in cells.values()), sum(cell.state == "direct" for cell in cells.values())
    return "\n".join([*lines, "", f"{right} of {len(cells)} pairs as expected, {direct} direct"])


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=NAMES, metavar="KIND")
    parser.add_argument("--output", type=Path, help="write the cells as JSON to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Lab(Path(name)) as lab:
        cells = measure(lab, Path(name), kinds(options.kinds))
    print(table(cells))
    if options.output:
        options.output.write_text(json.dumps({f"{one} × {two}": attrs.asdict(cell) for (one, two), cell in cells.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
