"""Who is let in, and who is not: applications, denials, locks, passwords and blocks, with real processes and commands."""

from __future__ import annotations

import json

import pytest

from tests.lab.conftest import Site
from tests.lab.network import until
from tests.lab.userlan_process import Member, up_all

pytestmark = pytest.mark.lab


def applicants(owner: Member) -> list[str]:
    return [row["name"] for row in owner.call("applicants")]


def secret_of(member: Member) -> str:
    return str(member.call("invite", network="home")["invite"].partition("#")[2])


def pings(member: Member, other: str, patience: int = 30) -> bool:
    return member.run("ping", other, "-c", "1", "-W", str(patience), check=False).returncode == 0


def test_asked_restarted_approved_blocked_and_a_new_password(site: Site) -> None:
    """The whole story of a network whose owner wants to know who comes in."""
    anna, ben = site.anna, site.ben
    up_all((anna, ben), "--mediator", site.mediator.url)
    invite = anna.run("create", "home", "--approve").stdout.split()[0]
    assert ben.run("join", invite).stdout == "asked to join home; its owner (anna) has to approve\n"
    until(lambda: applicants(anna) == ["ben"], 60, "anna hears of it")
    assert "home (yours), joined with approval; ben waits" in anna.run("status").stdout
    assert "waiting to join home: its owner anna has to approve" in ben.run("status").stdout
    until(lambda: "home" in json.loads((ben.folder / "memory.json").read_text())["applications"], 60, "ben has written it down")
    ben.kill()
    ben.up()
    assert [row["network"] for row in ben.status()["waiting"]] == ["home"]
    assert anna.run("approve", "ben").stdout == "ben is a member of home\n"
    anna.wait_state("ben", "direct")
    ben.wait_state("anna", "direct")
    assert anna.status()["networks"][0] | {"approval": True, "applicants": [], "mine": True} == anna.status()["networks"][0]
    assert ben.status()["networks"][0]["mine"] is False

    assert anna.run("block", "ben").stdout == "blocked ben\n"
    assert [row["name"] for row in json.loads(anna.run("block", "--json").stdout)] == ["ben"]
    assert anna.wait_state("ben", "offline")["blocked"] is True
    assert not pings(ben, "anna", 1)
    assert anna.run("ping", "ben", "-c", "1", check=False).stderr.endswith("ben is blocked: userlan unblock ben\n")
    until(lambda: json.loads((anna.folder / "memory.json").read_text())["blocked"], 60, "anna has written it down")
    anna.kill()
    anna.up()
    assert anna.peer("ben")["blocked"] is True  # type: ignore[index]
    assert not pings(ben, "anna", 1)
    assert anna.run("unblock", "ben").stdout == "unblocked ben\n"
    anna.wait_state("ben", "direct")
    assert pings(ben, "anna")

    before = secret_of(ben)
    (site.folder / "password").write_text("open sesame\n")
    again = anna.run("password", "home", "--password-file", str(site.folder / "password")).stdout.split()[0]
    assert again != invite
    until(lambda: secret_of(ben) == secret_of(anna) != before, 60, "ben has the new secret")
    assert pings(ben, "anna")


def test_denied_locked_and_void(site: Site) -> None:
    anna, ben = site.anna, site.ben
    up_all((anna, ben), "--mediator", site.mediator.url)
    invite = anna.run("create", "home", "--approve").stdout.split()[0]
    ben.run("join", invite)
    until(lambda: applicants(anna) == ["ben"], 60, "anna hears of it")
    assert anna.run("deny", "ben").stdout == "ben is not let into home\n"
    until(lambda: ben.call("status")["denied"], 60, "ben is told")
    assert "not in home: the owner of home, anna, has denied this" in ben.run("status").stdout
    assert "ask again in" in ben.run("join", invite, check=False).stderr
    assert "nobody called 'ben' waits" in anna.run("approve", "ben", check=False).stderr
    anna.run("create", "club")
    club = anna.run("invite", "club").stdout.split()[0]
    assert anna.run("lock", "club").stdout.startswith("locked club")
    assert "club is locked" in ben.run("join", club, check=False).stderr
    anna.run("unlock", "club")
    assert ben.run("join", club).stdout.startswith("joined club")
    (site.folder / "password").write_text("open sesame\n")
    anna.run("password", "club", "--password-file", str(site.folder / "password"))
    ben.run("leave", "club")
    assert "wrong" in ben.run("join", club, check=False).stderr
    assert ben.run("join", "club", "--password-file", str(site.folder / "password")).stdout.startswith("joined club")
    for member in (anna, ben):
        member.stop()
        assert "Traceback" not in member.log.read_text()
