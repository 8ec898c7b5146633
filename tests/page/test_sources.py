"""What holds for the page's files as they are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import userlan.web

STATIC = Path(userlan.web.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
WORDS = [path for path in SCRIPTS if path.name.startswith("strings")]
NEVER = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "createContextualFragment", "DOMParser", "eval(", "new Function",
    "setHTMLUnsafe", "srcdoc", "javascript:",
)
MOST_LINES = 480


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_markup_of_text(path: Path) -> None:
    source = path.read_text()
    assert [word for word in NEVER if word in source] == []
    assert not re.search(r"""setAttribute\(\s*["'](style|on\w+)""", source), "the policy forbids it"
    assert len(source.splitlines()) <= MOST_LINES


def test_no_markup_carries_script_or_style() -> None:
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", page)


@pytest.mark.parametrize("path", sorted(path for path in STATIC.rglob("*") if path.is_file()), ids=lambda path: path.name)
def test_nobody_else_is_asked(path: Path) -> None:
    found = set(re.findall(r"""(?:https?:)?//[\w.-]+\.\w+[^\s"'`)]*""", path.read_text()))
    assert found <= {"http://www.w3.org/2000/svg"}


def test_every_word_that_is_asked_for_is_there() -> None:
    keys = {key for path in WORDS for key in re.findall(r'^\s*"([\w.-]+)":', path.read_text(), re.M)}
    asked = {(path.name, key) for path in SCRIPTS for key in re.findall(r"""\bt\(\s*["']([\w.-]+)["']""", path.read_text())}
    assert {(name, key) for name, key in asked if key not in keys} == set()
    assert len(asked) > 100


def test_every_file_that_is_imported_is_there() -> None:
    asked = {name for path in SCRIPTS for name in re.findall(r"""(?:from|import)\s*\(?\s*["']\./([\w.-]+)["']""", path.read_text())}
    assert {name for name in asked if not (STATIC / name).is_file()} == set()
    page = (STATIC / "index.html").read_text()
    assert all((STATIC / name).is_file() for name in re.findall(r'(?:src|href)="([^"]+)"', page))
