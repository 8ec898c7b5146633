"""State folders of the first format go on: the same identities, networks, services; nothing has to be joined again.

``first/`` was written by the program before it knew chat, files, approval and blocked members: anna, who runs the mediator itself, has a
network, an exposed service and a profile that is not shared; ben is a member, with a forward. The keys in it were made for this, and the
directory is its SQL text.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.lab.network import Lab
from tests.lab.userlan_process import Member
from userlan.cli.client import ApiError

pytestmark = pytest.mark.lab

FIRST = Path(__file__).parent / "first"
ANNA = ("kJ1pHaqsx3qHVpYS5ahOoi_d6La3mZjud32edqUAAWc", "25.56.198.251")
BEN = ("B-hhsKrKYTLv9bBIQNGcGC9F-_fi2onmn-SOrdDaaDE", "25.9.159.221")
QUIET = "proxy: {listen: '127.0.0.1:0'}\ntraversal: {port_mapping: no, lan_discovery: no}\nmdns: {enabled: no}\ndns: {listen: none}\n"


def restored(lab: Lab, folder: Path) -> tuple[Member, Member]:
    """Both, on one computer, as they were left; neither runs."""
    shutil.copytree(FIRST, folder, dirs_exist_ok=True)
    database = folder / "anna" / "directory.sql"
    with sqlite3.connect(folder / "anna" / "directory.sqlite") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(database.read_text())
    connection.close()
    database.unlink()
    space = lab.namespace("computer")
    return Member(space, folder / "anna", "anna", QUIET), Member(space, folder / "ben", "ben", QUIET)


def test_the_first_state_goes_on(lab: Lab, tmp_path: Path) -> None:
    anna, ben = restored(lab, tmp_path)
    port = json.loads((FIRST / "anna" / "memory.json").read_text())["mediators"][0]["url"].split("/")[2]
    try:
        anna.up("--listen", port)
        ben.up("--listen", "127.0.0.1:0")
        for member, (key, ipv4), other in ((anna, ANNA, "ben"), (ben, BEN, "anna")):
            me = member.status()["self"]
            assert (me["key"], me["ipv4"]) == (key, ipv4)
            member.wait_state(other, "direct")
        (network,) = anna.status()["networks"]
        assert (network["name"], network["owner"], network["locked"]) == ("home", ANNA[0], False)
        assert sorted(network["members"]) == sorted([ANNA[0], BEN[0]])
        assert [one["text"] for one in anna.status()["bridges"]["expose"]] == ["port 8000 → 127.0.0.1:8000 (web)"]
        assert "127.0.0.1:18080 → anna:8000" in json.dumps(ben.status()["bridges"]["forward"], ensure_ascii=False)
        shared = {row["profile"]: row for row in json.loads(anna.run("share", "--json").stdout)["profiles"]}
        assert not shared["minecraft"]["on"]
        assert "anna" in ben.run("ping", "-c", "1", "anna").stdout
    finally:
        for member in (ben, anna):
            member.stop()
            assert "Traceback" not in member.log.read_text()


@pytest.mark.parametrize(("file", "says"), [("memory.json", "version 99"), ("directory.sqlite", "schema 99")])
def test_what_a_newer_one_has_written_is_left_alone(lab: Lab, tmp_path: Path, file: str, says: str) -> None:
    """One clear line, exit status 1, and not an octet changed."""
    anna, _ = restored(lab, tmp_path)
    path = anna.folder / file
    if file == "memory.json":
        path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE schema_version SET version = 99")
        connection.close()
    before = path.read_bytes()
    told = anna.run("up", "--listen", "127.0.0.1:0", check=False)
    assert told.returncode == 1
    (line,) = told.stderr.strip().splitlines()
    assert line.startswith("userlan: ")
    assert says in line
    assert path.read_bytes() == before
    with pytest.raises(ApiError):
        anna.call("status")
