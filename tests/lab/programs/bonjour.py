"""python-zeroconf: a service with a TXT record and a subtype is browsed, resolved, and connected to..

What the browser connects to is what the record says, at once: no name is known to it but the type.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.lab.programs.place import PATIENCE, Place, Proof

TYPE = "_userlan-lab._tcp.local."
ENDS = Path(__file__).parent / "ends" / "bonjour.py"


@attrs.frozen
class Zeroconf:
    """One process that registers a service, one that browses for its type."""

    name: str = "python-zeroconf"
    needs: tuple[str, ...] = ()
    why_not: Mapping[str, str] = attrs.field(factory=dict)

    def prove(self, host: Place, guest: Place) -> Proof:
        with contextlib.ExitStack() as ending:
            server = host.start("zeroconf", sys.executable, "-u", str(ENDS), "publish", f"printer of {host.name}", TYPE)
            ending.callback(server.stop)
            server.line("registered")
            told = guest.run(sys.executable, "-u", str(ENDS), "browse", TYPE, timeout=2 * PATIENCE, check=False)
            assert told.returncode == 0, told.stdout + told.stderr
            found, used = told.stdout.splitlines()[-2:]
            assert f"printer of {host.name}" in found
            assert "paper=A4" in found
            assert f"printer of {host.name}" in used
            return Proof(found, used)
