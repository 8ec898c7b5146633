"""``userlan://`` links: what the freedesktop.org programs make of the entry."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.lab.network import until
from userlan.cli import link_handler

LINK = "userlan://192.0.2.1:41414/KEY/home#SE-CRET_"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    places = {"HOME": "", "XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config", "XDG_RUNTIME_DIR": "run", "XDG_CACHE_HOME": "cache"}
    for place in places.values():
        (tmp_path / place).mkdir(exist_ok=True)
    found = {name: str(tmp_path / place) for name, place in places.items()}
    return found | {"PATH": os.environ["PATH"], "XDG_DATA_DIRS": str(tmp_path / "nothing"), "DBUS_SESSION_BUS_ADDRESS": "disabled:"}


def ask(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def left(environment: dict[str, str]) -> list[Path]:
    return sorted(path for path in Path(environment["HOME"]).rglob("*") if path.is_file())


def test_the_desktop_knows_the_entry_and_forgets_it(environment: dict[str, str]) -> None:
    assert link_handler.available(environment)
    link_handler.install(["/bin/true"], environment)
    entry = Path(environment["XDG_DATA_HOME"]) / "applications" / "userlan.desktop"
    assert ask(environment, "desktop-file-validate", str(entry)) == ""
    assert ask(environment, "xdg-mime", "query", "default", "x-scheme-handler/userlan").strip() == "userlan.desktop"
    assert "userlan.desktop" in ask(environment, "gio", "mime", "x-scheme-handler/userlan")
    link_handler.install(["/bin/true"], environment)
    link_handler.remove(environment)
    assert left(environment) == []
    assert link_handler.remove(environment) == []


def test_other_associations_stay(environment: dict[str, str]) -> None:
    listing = Path(environment["XDG_CONFIG_HOME"]) / "mimeapps.list"
    listing.write_text("[Default Applications]\ntext/plain=editor.desktop\n")
    link_handler.install(["userlan"], environment)
    assert "userlan" in listing.read_text()
    link_handler.remove(environment)
    assert listing.read_text() == "[Default Applications]\ntext/plain=editor.desktop\n"


def test_a_link_arrives_as_it_is_whatever_the_folders_are_called(environment: dict[str, str], tmp_path: Path) -> None:
    """By GLib's own reading of ``Exec``, which looks for a program with ``%`` in its path by that path's escaped form, and so in vain."""
    folder = tmp_path / "it's $HOME `id` \"q\" \\ ä"
    folder.mkdir()
    program = folder / "userlan"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/told.new\nmv {tmp_path}/told.new {tmp_path}/told\n')
    program.chmod(0o700)
    link_handler.install([str(program), "--state", "100% %u"], environment)
    entry = Path(environment["XDG_DATA_HOME"]) / "applications" / "userlan.desktop"
    told = tmp_path / "told"
    ask(environment, "gio", "launch", str(entry), LINK)
    until(told.exists, 60, "the program was started")
    assert told.read_text().splitlines() == ["--state", "100% %u", "open", "--", LINK]
    told.unlink()
    ask(environment, "gio", "launch", str(entry))
    until(told.exists, 60, "the program was started")
    assert told.read_text().splitlines() == ["--state", "100% %u", "open", "--"]


def test_the_icon_is_an_image() -> None:
    from xml.etree import ElementTree

    assert ElementTree.fromstring(link_handler.ICON).tag == "{http://www.w3.org/2000/svg}svg"
