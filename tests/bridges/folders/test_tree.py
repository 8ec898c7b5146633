"""What a path of a request leads to: never out of the folder, never to what blocks."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from bridges.folders import tree
from bridges.folders.tree import BY_DESCRIPTOR, AbsentError, GoneError, Listed, Opened, look


@pytest.fixture(params=[True, False] if BY_DESCRIPTOR else [False], ids=lambda by: "descriptors" if by else "paths")
def by(request: pytest.FixtureRequest) -> bool:
    """Both ways of reaching a file: that of systems with openat(2), and that of the others."""
    return bool(request.param)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    (folder / "inner" / ".hidden").mkdir(parents=True)
    (folder / "inner" / "deep.txt").write_text("deep")
    (folder / "inner" / ".hidden" / "key").write_text("secret")
    (folder / "Ärger & <b>.txt").write_text("text")
    (folder / ".secret").write_text("secret")
    (tmp_path / "outside.txt").write_text("secret")
    return folder


def read(found: Opened | Listed) -> bytes:
    assert isinstance(found, Opened)
    with os.fdopen(found.descriptor, "rb") as file:
        return file.read()


def test_files_and_folders(root: Path, by: bool) -> None:
    listed = look(str(root), [], by)
    assert isinstance(listed, Listed)
    assert [(one.name, one.is_folder, one.size) for one in listed.entries if not one.is_folder] == [("Ärger & <b>.txt", False, 4)]
    assert [one.name for one in listed.entries] == ["inner", "Ärger & <b>.txt"], "folders first"
    assert read(look(str(root), ["inner", "deep.txt"], by)) == b"deep"
    inner = look(str(root), ["inner"], by)
    assert isinstance(inner, Listed)
    assert [one.name for one in inner.entries] == ["deep.txt"]


@pytest.mark.parametrize(
    "parts",
    [
        ["..", "outside.txt"], [".."], ["."], ["inner", "..", "..", "outside.txt"], ["inner/../../outside.txt"], ["/etc/passwd"], [""],
        ["inner", ""], [".secret"], ["inner", ".hidden", "key"], ["inner", ".hidden"], ["nothing"], ["inner", "deep.txt", "more"],
        ["\0"], ["inner\0"], ["x" * 5000], ["inner", "deep.txt", ".."],
    ],
)
def test_nothing_else_is_there(root: Path, by: bool, parts: list[str]) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(AbsentError):
        look(str(root), parts, by)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before, "nothing stays open"


def test_links_lead_nowhere(root: Path, by: bool) -> None:
    (root / "to file").symlink_to("../outside.txt")
    (root / "to folder").symlink_to("..")
    (root / "to inner").symlink_to("inner")
    (root / "to all").symlink_to("/")
    for parts in (["to file"], ["to folder"], ["to folder", "outside.txt"], ["to inner", "deep.txt"], ["to all", "etc", "passwd"]):
        with pytest.raises(AbsentError):
            look(str(root), parts, by)
    listed = look(str(root), [], by)
    assert isinstance(listed, Listed)
    assert len(listed.entries) == 2
    assert listed.seen == 2


def test_pipes_sockets_and_devices_are_not_opened(root: Path, by: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """To open a pipe waits for its other end for ever."""
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for parts in (["pipe"], ["socket"]):
            with pytest.raises(AbsentError):
                look(str(root), parts, by)
        with pytest.raises(AbsentError):
            look("/dev", ["null"], by)
        listed = look(str(root), [], by)
        assert isinstance(listed, Listed)
        assert {one.name for one in listed.entries} == {"inner", "Ärger & <b>.txt"}


def test_a_folder_that_is_gone(root: Path, by: bool) -> None:
    for where in (root / "nothing", root / "inner" / "deep.txt"):
        with pytest.raises(GoneError):
            look(str(where), ["x"], by)


def test_names_that_are_no_text(root: Path, by: bool) -> None:
    name = os.fsdecode(b"\xff\xfe.txt")
    try:
        (root / name).write_text("octets")
    except OSError:      # some file systems have text alone
        assert not (root / name).exists()
        return
    assert read(look(str(root), [name], by)) == b"octets"


def test_more_entries_than_are_shown(root: Path, by: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_LISTED", 10)
    monkeypatch.setattr(tree, "MAX_READ", 30)
    (root / "many").mkdir()
    for number in range(40):
        (root / "many" / f"{number:02}").touch()
    listed = look(str(root), ["many"], by)
    assert isinstance(listed, Listed)
    assert (len(listed.entries), listed.seen, listed.more) == (10, 30, True)
    monkeypatch.setattr(tree, "MAX_READ", 100)
    listed = look(str(root), ["many"], by)
    assert isinstance(listed, Listed)
    assert (len(listed.entries), listed.seen, listed.more) == (10, 40, False)
