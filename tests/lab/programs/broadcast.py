"""A program that broadcasts and takes what answers: the way in which most old games find each other.

The server binds a UDP port of every address and answers whoever asks; the client sends to 255.255.255.255 from a port of its own, and
prints each answer with where it came from; then it says good-bye to that address alone, and is answered from there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.lab.programs.place import PATIENCE, Place, Proof

PORT = 27777
"""In no profile: the relay has it by hand, where one is between."""
ENDS = Path(__file__).parent / "ends" / "broadcast.py"


@attrs.frozen
class Broadcaster:
    """Both ends are this file."""

    name: str = "a broadcaster"
    needs: tuple[str, ...] = ()
    why_not: Mapping[str, str] = attrs.field(factory=dict)

    def prove(self, host: Place, guest: Place) -> Proof:
        with contextlib.ExitStack() as ending:
            server = host.start("broadcaster", "python3", "-u", str(ENDS), "serve", str(PORT), host.name)
            ending.callback(server.stop)
            server.line("ready")
            told = guest.run("python3", "-u", str(ENDS), "seek", str(PORT), timeout=2 * PATIENCE, check=False)
            assert told.returncode == 0, told.stdout + told.stderr + "\n".join(server.said())
            found, used = told.stdout.splitlines()
            assert host.name in found
            assert "good-bye" in used
            return Proof(found, used)
