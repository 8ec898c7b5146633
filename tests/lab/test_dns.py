"""The LAN's resolver on a computer of its own beside another member, as `userlan dns` says it is used."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.network import Lab, unavailable, until
from tests.lab.userlan_process import Mediator, Member, up_all

pytestmark = pytest.mark.lab

MEDIATOR, ANNA, BEN = "10.96.0.1", "10.96.0.2", "10.96.0.3"


@pytest.fixture
def members(tmp_path: Path) -> Iterator[tuple[Member, Member]]:
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with Lab(tmp_path) as lab:
        spaces = [lab.namespace(name) for name in ("mediator", "anna", "ben")]
        lab.switch("switch", [(space, f"{where}/24") for space, where in zip(spaces, (MEDIATOR, ANNA, BEN), strict=True)])
        mediator = Mediator(spaces[0], tmp_path / "mediator", f"{MEDIATOR}:41414")
        anna = Member(spaces[1], tmp_path / "anna", "anna")
        ben = Member(spaces[2], tmp_path / "ben", "ben", "dns: {answer: alias}\n")
        up_all((anna, ben), "--mediator", mediator.url)
        yield anna, ben


def ask(member: Member, *words: str) -> str:
    """By hand, as it is printed."""
    told = json.loads(member.run("dns", "--json").stdout)
    command = f"dig @{told['host']} -p {told['port']}"
    assert command in member.run("dns").stdout
    return member.namespace.run(*command.split(), "+tries=1", "+time=10", *words).stdout


def test_names_come_and_go_with_the_members(members: tuple[Member, Member]) -> None:
    anna, ben = members
    assert "status: NXDOMAIN" in ask(anna, "ben.home.internal")
    ben.run("join", anna.run("create", "home").stdout.split()[0])
    found = anna.wait_state("ben", "direct")
    assert ask(anna, "+short", "ben.home.internal") == f"{found['ipv4']}\n"
    for way in ("+tcp", "+notcp"):
        assert ask(anna, way, "+short", "ben.internal", "AAAA") == f"{found['ipv6']}\n"
        for address in (found["ipv4"], found["ipv6"]):
            assert ask(anna, way, "+short", "-x", address) == "ben.home.internal.\n"
    own = anna.status()["self"]
    assert ask(ben, "+short", "anna.home.internal") == "127" + own["ipv4"][2:] + "\n"
    assert "status: REFUSED" in ask(anna, "example.com")
    assert anna.status()["bridges"]["dns"] == "127.0.0.1:5354"
    ben.run("leave", "home")
    until(lambda: "status: NXDOMAIN" in ask(anna, "ben.home.internal"), 60, "the name goes with its member")


def test_nodes_of_one_computer_each_have_a_port(members: tuple[Member, Member]) -> None:
    anna, _ = members
    other = Member(anna.namespace, anna.folder / "other", "other", "proxy: {listen: none}\nlisten: 0.0.0.0:0\n")
    other.up()
    first, second = (member.status()["bridges"]["dns"] for member in (anna, other))
    assert (first, second) == ("127.0.0.1:5354", "127.0.0.1:5355")
    listing = subprocess.run(anna.namespace.command("ss", "-lntu"), capture_output=True, text=True, timeout=60, check=True).stdout
    assert listing.count("127.0.0.1:5354") == listing.count("127.0.0.1:5355") == 2
