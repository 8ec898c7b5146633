"""Two computers in one network, to be attached by ``userlan tap``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import attrs
import pytest

from tests.lab.network import Lab, Namespace, tun_unavailable, unavailable
from tests.lab.userlan_process import Mediator, Member, together, wait_for_line

MEDIATOR, ANNA, BEN = "10.98.0.1", "10.98.0.2", "10.98.0.3"


def tap_up(member: Member, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """``userlan tap`` in the background; waits until it is attached."""
    log = member.folder / "tap.log"
    with log.open("wb") as file:
        command = (*prefix, *member._command("tap", *arguments))
        process = member.namespace.start(*command, stdout=file, stderr=file)
    wait_for_line(log, "attached", process)
    return process


def traces(space: Namespace) -> tuple[str, str, str, str]:
    """Interfaces, addresses and routes: what must be as before."""
    commands = (("link",), ("addr",), ("route", "show", "table", "all"), ("-6", "route", "show", "table", "all"))
    return tuple(space.run("ip", "-o", *command).stdout for command in commands)  # type: ignore[return-value]


@attrs.define
class Computers:
    """Two of them, in one network."""

    lab: Lab
    folder: Path
    spaces: dict[str, Namespace]
    anna: Member
    ben: Member

    def address(self, member: Member, version: int = 4) -> str:
        return str(member.status()["self"][f"ipv{version}"])

    def from_ben(self, *command: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return self.ben.namespace.run(*command, check=check, timeout=timeout)


def computers(lab: Lab, folder: Path) -> Computers:
    spaces = {name: lab.namespace(name) for name in ("mediator", "anna", "ben")}
    wires = zip(spaces.values(), (MEDIATOR, ANNA, BEN), strict=True)
    lab.switch("switch", [(space, f"{address}/24") for space, address in wires])
    mediator = Mediator(spaces["mediator"], folder / "mediator", f"{MEDIATOR}:41414")
    anna, ben = (Member(spaces[name], folder / name, name) for name in ("anna", "ben"))
    together((anna, ben), "--mediator", mediator.url)
    return Computers(lab, folder, spaces, anna, ben)


def needed() -> None:
    reason = unavailable() or tun_unavailable()
    if reason:
        pytest.skip(reason)
