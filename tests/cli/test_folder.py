"""`userlan folder`: shared by one node, fetched through another, both real processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.cli.two_nodes import PATIENCE, Nodes
from userlan.lan.ports import FOLDERS

WORDS = bytes(range(256)) * 5000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "Holiday \x1b[2J"
    made.mkdir()
    (made / "film.bin").write_bytes(WORDS)
    return made


def test_added_listed_fetched_removed(nodes: Nodes, folder: Path) -> None:
    assert "no folder is shared" in nodes.run("anna", "folder", "list").stdout
    added = nodes.run("anna", "folder", "add", str(folder), "--name", "Holiday")
    assert added.returncode == 0, added.stderr
    assert added.stdout.startswith("shared: Holiday → ")
    assert "\x1b" not in added.stdout
    (row,) = json.loads(nodes.run("anna", "folder", "list", "--json").stdout)
    assert (row["name"], row["path"], row["state"], row["port"]) == ("Holiday", str(folder), "shared", FOLDERS)
    listen = nodes.call("ben", "forward", rule=f"0:anna:{FOLDERS}")["listen"]
    try:
        with urlopen(f"http://{listen}/Holiday/", timeout=PATIENCE) as answer:
            assert b'<a href="/Holiday/film.bin">' in answer.read()
        with urlopen(f"http://{listen}/Holiday/film.bin", timeout=PATIENCE) as answer:
            assert answer.read() == WORDS
        part = Request(f"http://{listen}/Holiday/film.bin", headers={"Range": "bytes=1000000-1000999"})
        with urlopen(part, timeout=PATIENCE) as answer:
            assert (answer.status, answer.read()) == (206, WORDS[1_000_000:1_001_000])
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"http://{listen}/Holiday/..%2fconfig.yaml", timeout=PATIENCE)
        removed = nodes.run("anna", "folder", "remove", "Holiday")
        assert removed.stdout == "Holiday is not shared any more\n"
        with pytest.raises(OSError):
            urlopen(f"http://{listen}/Holiday/", timeout=PATIENCE)
    finally:
        nodes.call("ben", "unforward", rule=listen)
    assert nodes.run("anna", "folder", "list", "--json").stdout.strip() == "[]"
    assert (folder / "film.bin").read_bytes() == WORDS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (lambda folder: ("add", str(folder)), "choose another one with --name"),
        (lambda folder: ("add", str(folder / "film.bin")), "is a file"),
        (lambda folder: ("remove", "nothing"), "no folder is shared as 'nothing' (there are: none)"),
    ],
)
def test_one_clear_line(nodes: Nodes, folder: Path, words: Callable[[Path], tuple[str, ...]], said: str) -> None:
    told = nodes.run("anna", "folder", *words(folder))
    assert told.returncode != 0
    assert said in told.stderr
    assert "\x1b" not in told.stderr
