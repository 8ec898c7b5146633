"""Files between two real nodes, of which each is killed in the middle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.network import Lab, until
from tests.lab.userlan_process import PATIENCE, Member, together

pytestmark = pytest.mark.lab

MIB = 1 << 20
SIZE = 128 * MIB
BEGUN = 4 * MIB
"""Octets after which a node is killed: early enough on any machine."""


@pytest.fixture
def pair(lab: Lab) -> Iterator[tuple[Member, Member]]:
    """Two nodes that have nothing but loopback between them."""
    here = lab.namespace("here")
    members = []
    for name, port in (("anna", 41414), ("ben", 41424)):
        folder = lab.folder / name
        config = f"files: {{inbox: {folder / 'inbox'}}}\nproxy: {{listen: none}}\ndns: {{listen: none}}\nlisten: 127.0.0.1:{port}\n"
        members.append(Member(here, folder, name, config))
    together(members)
    yield members[0], members[1]
    for member in members:
        member.stop()


def row(member: Member) -> dict[str, Any]:
    """The only transfer."""
    rows: list[dict[str, Any]] = member.call("files-list")
    assert len(rows) == 1
    return rows[0]


def wait_row(member: Member, what: str, condition: Any) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        seen = row(member)
        assert seen["state"] not in ("failed", "cancelled", "declined"), seen
        return seen if condition(seen) else None

    found: dict[str, Any] = until(look, PATIENCE, f"{member.name}: {what}", 0.01)
    return found


def settled(part: Path) -> int:
    """The length of a part once what had arrived is written."""
    lengths = [-1]

    def same() -> bool:
        lengths.append(part.stat().st_size)
        return lengths[-1] == lengths[-2]

    until(same, PATIENCE, "it is written", 0.3)
    return lengths[-1]


def test_a_file_survives_kill_9_of_its_sender_and_of_its_receiver(pair: tuple[Member, Member], tmp_path: Path) -> None:
    anna, ben = pair
    block = os.urandom(MIB)
    path = tmp_path / "film.mkv"
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(SIZE // MIB):
            piece = number.to_bytes(8, "big") + block[8:]
            file.write(piece)
            digest.update(piece)
    anna.run("send", "--no-wait", str(path), "ben")
    until(lambda: ben.call("files-list"), PATIENCE, "ben hears of it")
    part = ben.folder / "inbox" / ".userlan-parts" / f"{row(ben)['id']}.part"
    ben.run("inbox", "accept", "all")

    wait_row(ben, "it comes", lambda seen: seen["done"] >= BEGUN)
    anna.kill()
    there = settled(part)
    assert BEGUN <= there < SIZE
    anna.up()
    seen = wait_row(anna, "it is asked for the rest", lambda seen: seen["state"] in ("active", "done"))
    assert seen["done"] >= there, "it begins where it was broken off"
    wait_row(ben, "it goes on", lambda seen: seen["done"] >= there + BEGUN)

    ben.kill()
    there = part.stat().st_size
    assert there < SIZE
    ben.up()
    seen = wait_row(ben, "it fetches the rest", lambda seen: seen["state"] in ("active", "done"))
    assert seen["done"] >= there
    done = wait_row(ben, "it is there", lambda seen: seen["state"] == "done")
    with open(done["path"], "rb") as received:
        assert hashlib.file_digest(received, "sha256").hexdigest() == digest.hexdigest() == done["sha256"]
    assert Path(done["path"]) == ben.folder / "inbox" / "film.mkv"
    wait_row(anna, "it is told", lambda seen: seen["state"] == "done")
    until(lambda: not part.exists(), PATIENCE, "the part has no other name any more")
