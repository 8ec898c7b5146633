"""Real programs find each other and use what they found, over the LAN of two nodes that only routed packets reach.

``python -m tests.lab.programs`` shows the same as a table, with the evidence, and with the method itself on a plain switch.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import attrs
import pytest

from tests.lab.network import tun_unavailable, unavailable
from tests.lab.programs.catalogue import PROGRAMS
from tests.lab.programs.place import FOLDERS, Program
from tests.lab.programs.ways import WAYS, Pair

pytestmark = [pytest.mark.lab, pytest.mark.interop]

EVERY_WAY = ("bridge", "run", "tap")
MIXED = {"bridge-run": ("minidlna", "OpenTTD"), "run-bridge": ("avahi", "Samba")}
"""A bridge and a kernel of the LAN understand each other: one program for each kind of translation."""


def spelt(program: Program) -> str:
    return program.name.replace(" ", "-")


@attrs.define
class Current:
    """The way that stands at the moment."""

    name: str
    pair: Pair


@pytest.fixture(scope="module")
def current(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Current]:
    """One lab for all programs of a way."""
    reason = unavailable() or tun_unavailable()
    if reason:
        pytest.skip(reason)
    with WAYS[request.param](tmp_path_factory.mktemp(request.param)) as pair:
        yield Current(request.param, pair)


@pytest.mark.parametrize("current", EVERY_WAY, indirect=True, scope="module")
@pytest.mark.parametrize("program", [program for program in PROGRAMS if not program.why_not], ids=spelt)
def test_found_and_used(current: Current, program: Program) -> None:
    prove(current, program)


@pytest.mark.parametrize("current", ["run", "tap"], indirect=True, scope="module")
@pytest.mark.parametrize("program", [program for program in PROGRAMS if program.why_not], ids=spelt)
def test_on_a_link(current: Current, program: Program) -> None:
    prove(current, program)


@pytest.mark.parametrize("current", MIXED, indirect=True, scope="module")
def test_server_and_client_on_different_ways(current: Current) -> None:
    for program in PROGRAMS:
        if program.name in MIXED[current.name]:
            prove(current, program)


def prove(current: Current, program: Program) -> None:
    """With the evidence printed."""
    missing = [name for name in program.needs if shutil.which(name, path=FOLDERS) is None]
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")
    proof = program.prove(current.pair.host, current.pair.guest)
    print(f"{program.name}, {current.name}\n   found: {proof.found}\n   used:  {proof.used}")
