"""``python -m tests.lab.programs``: every program on every way, as a table, with what was found as the evidence."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.lab.network import unavailable
from tests.lab.programs.catalogue import PROGRAMS
from tests.lab.programs.ways import WAYS


def main() -> int:
    """Exit status 1 when something did not work."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.programs", description=__doc__)
    names = [program.name for program in PROGRAMS]
    parser.add_argument("--way", action="append", choices=WAYS, help="only this one (may be repeated)")
    parser.add_argument("--program", action="append", choices=names, help="only this one (may be repeated)")
    chosen = parser.parse_args()
    reason = unavailable()
    if reason:
        sys.exit(reason)
    told: tuple[str, ...]
    table: dict[str, dict[str, str]] = {}
    programs = [program for program in PROGRAMS if not chosen.program or program.name in chosen.program]
    for way in chosen.way or WAYS:
        with tempfile.TemporaryDirectory(prefix="userlan-programs-") as folder, WAYS[way](Path(folder)) as pair:
            for program in programs:
                begin = time.monotonic()
                if way in program.why_not:
                    table.setdefault(program.name, {})[way] = program.why_not[way]
                    continue
                try:
                    proof = program.prove(pair.host, pair.guest)
                    told, cell = (f"found: {proof.found}", f"used:  {proof.used}"), "works"
                except (AssertionError, RuntimeError, OSError) as error:
                    told, cell = (f"failed: {str(error)[:1500]}",), "FAILED"
                table.setdefault(program.name, {})[way] = cell
                print(f"== {program.name}, {way}: {cell} ({time.monotonic() - begin:.1f} s)", *told, sep="\n   ", flush=True)
    ways = list(chosen.way or WAYS)
    print(f"\n{'program':<18}" + "".join(f"{way:<25}" for way in ways))
    for name, cells in table.items():
        print(f"{name:<18}" + "".join(f"{cells[way]:<25}" for way in ways))
    return int(any(cell == "FAILED" for cells in table.values() for cell in cells.values()))


if __name__ == "__main__":
    sys.exit(main())
