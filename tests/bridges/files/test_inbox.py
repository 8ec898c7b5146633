"""The inbox on a real disk: nothing outside, nothing replaced, nothing followed, nothing lost."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from bridges.files.hashing import CATCH_UP, Hashing
from bridges.files.inbox import ORPHAN_AGE, PARTS, Inbox, InboxError
from bridges.files.source import Reader, SourceError, look
from bridges.files.spool import Spool


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "downloads" / "inbox")


def receive(inbox: Inbox, name: str, data: bytes, identifier: str = "id") -> Path:
    part = inbox.open_part(identifier, len(data), 0, None)
    if data:
        part.append([data])
    path = part.finish(name, 10**18)
    inbox.discard(identifier)
    return path


def names(inbox: Inbox) -> set[str]:
    return {path.name for path in inbox.folder.iterdir()}


@pytest.fixture(params=["links", "no links"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a file system that has links, and with one that has none (FAT)."""
    if request.param == "no links":

        def link(*arguments: Any, **options: Any) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)


@pytest.mark.usefixtures("either")
def test_nothing_is_ever_overwritten(inbox: Inbox) -> None:
    paths = [receive(inbox, "a.tar.gz", str(number).encode()) for number in range(3)]
    assert [path.name for path in paths] == ["a.tar.gz", "a (2).tar.gz", "a (3).tar.gz"]
    assert [path.read_bytes() for path in paths] == [b"0", b"1", b"2"]
    assert names(inbox) == {"a.tar.gz", "a (2).tar.gz", "a (3).tar.gz"}, "and no part is left"


@pytest.mark.usefixtures("either")
def test_links_are_not_followed(inbox: Inbox, tmp_path: Path) -> None:
    inbox.folder.mkdir(parents=True)
    victim = tmp_path / "victim"
    (inbox.folder / "a").symlink_to(victim)
    (inbox.folder / "b").symlink_to(tmp_path)
    assert receive(inbox, "a", b"x").name == "a (2)"
    assert receive(inbox, "b", b"x").name == "b (2)"
    assert not victim.exists()


def test_a_link_in_place_of_a_part_is_refused(inbox: Inbox, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    inbox.part_path("id").parent.mkdir(parents=True)
    inbox.part_path("id").symlink_to(victim)
    with pytest.raises(InboxError):
        inbox.open_part("id", 100, 0, None)
    inbox.part_path("id").unlink()
    os.link(victim, inbox.part_path("id"))
    part = inbox.open_part("id", 100, 0, None)
    assert part.size == 0
    part.append([b"evil"])
    part.close()
    assert victim.read_bytes() == b"precious"


def test_a_file_that_has_its_name_is_not_emptied(inbox: Inbox) -> None:
    """Its end was interrupted, and it was changed since: what is fetched once more becomes another file."""
    part = inbox.open_part("id", 4, 0, None)
    part.append([b"sent"])
    first = part.finish("x.txt", 0)
    with first.open("r+b") as file:
        file.write(b"mine")
    part = inbox.open_part("id", 4, 0, None)
    assert part.size == 4
    part.restart()
    assert part.size == 0
    part.append([b"sent"])
    second = part.finish("x.txt", 0)
    assert first.read_bytes() == b"mine"
    assert second.name == "x (2).txt"
    assert second.read_bytes() == b"sent"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_folder_of_parts_is_for_nobody_else(inbox: Inbox) -> None:
    """Others could put links into it."""
    inbox.folder.mkdir(parents=True)
    (inbox.folder / PARTS).mkdir()
    (inbox.folder / PARTS).chmod(0o777)
    inbox.open_part("id", 4, 0, None).close()
    assert stat.S_IMODE((inbox.folder / PARTS).stat().st_mode) == 0o700


def test_a_link_in_place_of_the_folder_of_parts_is_refused(inbox: Inbox, tmp_path: Path) -> None:
    inbox.folder.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (inbox.folder / PARTS).symlink_to(elsewhere)
    with pytest.raises(InboxError, match="not a folder of yours"):
        inbox.open_part("id", 1, 0, None)
    assert not list(elsewhere.iterdir())


def test_what_is_kept(inbox: Inbox) -> None:
    old = os.umask(0o022)
    try:
        path = receive(inbox, "run.sh", b"#!/bin/sh\n")
    finally:
        os.umask(old)
    status = path.stat()
    assert status.st_mtime_ns == 10**18
    assert stat.S_IMODE(status.st_mode) == 0o644
    part = inbox.open_part("other", 1, 0, None)
    assert stat.S_IMODE((inbox.folder / PARTS).stat().st_mode) == 0o700
    part.append([b"1"])
    future = part.finish("future", 2**62)
    assert future.stat().st_mtime <= time.time()


def test_an_interrupted_end_gives_no_second_file(inbox: Inbox) -> None:
    part = inbox.open_part("id", 3, 0, None)
    part.append([b"abc"])
    first = part.finish("a", 0)        # the process ends here, before it has noted that it is done
    again = inbox.open_part("id", 3, 0, None)
    assert again.size == 3
    assert again.finish("a", 0) == first
    inbox.discard("id")
    assert names(inbox) == {"a"}


def test_a_part_is_gone_on_with_and_hashed_from_its_beginning(inbox: Inbox) -> None:
    data = os.urandom(3 * CATCH_UP)
    half = len(data) // 2
    part = inbox.open_part("id", len(data), 0, None)
    part.append([data[:half]])
    part.close()
    part = inbox.open_part("id", len(data), 0, None)
    assert part.size == half
    part.append([data[half : half + 100], memoryview(data)[half + 100 :]])
    while not part.hash_on():
        pass
    assert part.hashing.hexdigest() == hashlib.sha256(data).hexdigest()
    assert part.finish("a", 0).read_bytes() == data


def test_a_part_that_is_too_long_is_begun_anew(inbox: Inbox) -> None:
    part = inbox.open_part("id", 100, 0, None)
    part.append([bytes(100)])
    part.close()
    assert inbox.open_part("id", 50, 0, None).size == 0


def test_room_on_the_disk(inbox: Inbox) -> None:
    with pytest.raises(InboxError, match=r"has room for .* are to come: make room, it goes on by itself"):
        inbox.open_part("id", 1 << 52, 0, None)
    with pytest.raises(InboxError, match="has room for 0 B"):
        inbox.open_part("id", 10, 1 << 52, None)
    inbox.open_part("id", 10, 0, None).close()


def test_a_disk_that_fills_up_is_one_clear_line_and_keeps_what_came(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    part = inbox.open_part("id", 100, 0, None)
    part.append([bytes(10)])

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(InboxError, match="is full: make room, it goes on by itself"):
            part.append([bytes(10)])
    part.close()
    assert inbox.length("id") == 10


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InboxError, match="cannot be written"):
        Inbox(tmp_path / "file" / "inbox").open_part("id", 1, 0, None)


def test_old_parts_of_nobody_are_removed(inbox: Inbox) -> None:
    for identifier in ("mine", "old", "young"):
        part = inbox.open_part(identifier, 5, 0, None)
        part.close()
    past = time.time() - ORPHAN_AGE - 1
    for identifier in ("mine", "old"):
        os.utime(inbox.part_path(identifier), (past, past))
    inbox.sweep({"mine"})
    assert {path.name for path in (inbox.folder / PARTS).iterdir()} == {"mine.part", "young.part"}


# --- the other side ---------------------------------------------------------------------------------------------------


def test_what_can_be_sent(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    ready = look(str(tmp_path / "link"))
    assert (ready.file, ready.path, ready.source.size) == ("link", str(tmp_path / "a"), 3)
    for path, wrong in (
        ("a", "not an absolute path"),
        (str(tmp_path), "is a folder: pack it first"),
        (str(tmp_path / "pipe"), "not a plain file"),
        (str(tmp_path / "nothing"), "No such file"),
        (str(tmp_path / "loop"), "cannot be read"),
        ("/a\0b", "not an absolute path"),
    ):
        with pytest.raises(SourceError, match=wrong):
            look(path)


def read_all(reader: Reader) -> bytes:
    data = b""
    while (block := reader.block(1000)) is not None:
        data += bytes(block[4:])
    return data


def test_a_file_is_sent_from_anywhere_and_hashed_whole(tmp_path: Path) -> None:
    data = os.urandom(10_000)
    (tmp_path / "a").write_bytes(data)
    ready = look(str(tmp_path / "a"))
    for offset in (0, 1, 9_999, 10_000):
        reader = Reader(ready.path, ready.source, offset, Hashing())
        assert read_all(reader) == data[offset:]
        while not reader.hash_on():
            pass
        assert reader.hashing.hexdigest() == hashlib.sha256(data).hexdigest()
        reader.close()


@pytest.mark.parametrize("change", ["longer", "shorter", "touched", "replaced", "gone"])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_another_file_is_not_sent_in_its_place(tmp_path: Path, change: str, when: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(10_000))
    ready = look(str(path))
    reader = Reader(ready.path, ready.source, 0, Hashing())
    if change == "longer":
        path.write_bytes(bytes(10_001))
    elif change == "shorter":
        path.write_bytes(bytes(5_000))
    elif change == "touched":
        os.utime(path, ns=(1, 1))
    else:
        path.unlink()
        if change == "replaced":
            path.write_bytes(bytes(10_000))
    if when == "before":
        with pytest.raises(SourceError, match=r"changed since|not there any more"):
            Reader(ready.path, ready.source, 0, Hashing())
    elif change in ("replaced", "gone"):
        assert len(read_all(reader)) == 10_000, "what is open is still what was offered"
    else:
        with pytest.raises(SourceError, match="changed since"):
            read_all(reader)
    reader.close()


def test_only_spooled_files_are_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "uploads")
    (tmp_path / "uploads" / "1").mkdir(parents=True)
    mine, other = tmp_path / "uploads" / "1" / "a", tmp_path / "a"
    mine.write_bytes(b"")
    other.write_bytes(b"")
    (tmp_path / "uploads" / "1" / "link").symlink_to(other)
    assert not spool.holds(str(tmp_path / "uploads" / "1" / "link"))
    assert not spool.holds(str(tmp_path / "uploads" / "1" / ".." / ".." / "a"))
    spool.remove(str(other))
    spool.remove(str(tmp_path / "uploads" / "1" / "link"))
    assert other.exists()
    (tmp_path / "uploads" / "1" / "link").unlink()
    spool.remove(str(mine))
    assert not (tmp_path / "uploads" / "1").exists()
