"""What needs a link and not only IP: a ping to everybody, and frames that are not IP."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.lab.programs.place import PATIENCE, Place, Proof, Running

ENDS = Path(__file__).parent / "ends" / "frames.py"
NO_LINK = {
    "bridge": "no: needs an interface",
    "bridge-run": "no: needs an interface",
    "run-bridge": "no: needs an interface",
}


@attrs.frozen
class PingEverybody:
    """``ping -b``: who is there?"""

    name: str = "ping -b"
    needs: tuple[str, ...] = ("ping",)
    why_not: Mapping[str, str] = attrs.field(factory=lambda: {"bridge": NO_LINK["bridge"], "run-bridge": NO_LINK["run-bridge"]})

    def prove(self, host: Place, guest: Place) -> Proof:
        with contextlib.ExitStack() as ending:
            present = host.start("present", "sleep", "600")     # behind ``run`` a computer is there while a program is
            ending.callback(present.stop)
            told = guest.run("ping", "-n", "-b", "-c", "4", "-w", "20", "255.255.255.255", check=False).stdout
            own = guest.run("ip", "-4", "-o", "addr").stdout
            found = sorted(one for one in set(re.findall(r"bytes from ([\d.]+): icmp_seq=\d+ ttl=\d+", told)) if f" {one}/" not in own)
            assert found, told
            return Proof(f"answers from {', '.join(found)}", told.strip().splitlines()[-2])


@attrs.frozen
class Frames:
    """IPX in three framings. No unprivileged program may send frames: at either end it is the lab's root, on that user's link."""

    name: str = "IPX frames"
    needs: tuple[str, ...] = ()
    why_not: Mapping[str, str] = attrs.field(factory=lambda: dict(NO_LINK))

    def prove(self, host: Place, guest: Place) -> Proof:
        with contextlib.ExitStack() as ending:
            there, here = (ending.enter_context(one.entered()) for one in (host, guest))
            log = host.folder / "frames.log"
            with log.open("wb") as file:
                server = Running(there.start("python3", "-u", str(ENDS), "answer", host.name, stdout=file, stderr=file), log)
            ending.callback(server.stop)
            server.line("ready")
            told = here.run("python3", "-u", str(ENDS), "call", check=False, timeout=2 * PATIENCE)
            assert told.returncode == 0, told.stdout + told.stderr
            return Proof("; ".join(told.stdout.splitlines()), "each answer was a frame to the caller alone")
