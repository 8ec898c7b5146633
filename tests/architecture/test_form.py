"""The shape of the project: what lies at its top, and how long files and functions may be."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.architecture.source import ROOT, Module, from_text, modules

TOP_LEVEL = {"userlan", "bridges", "tests", "config.example.yaml", "pyproject.toml", "README.md", "LICENSE"}
"""Beside them only dot files."""

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 80
"""Lines; what is longer holds two things."""

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
"""Marks of what is not done."""


def every_module() -> list[Module]:
    return [module for package in ("userlan", "bridges", "tests") for module in modules(package).values()]


def long_functions(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{module.where}:{node.lineno}: {node.name} has {length} lines"


def test_the_top_level_is_fixed() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("the files that belong to the project are known from git")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    names = {path.split("/")[0] for path in listed.split("\0") if path}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_files_are_short() -> None:
    assert [
        f"{module.where} has {module.lines} lines" for module in every_module() if module.lines > MAX_FILE_LINES
    ] == []


def test_functions_are_short() -> None:
    assert [line for module in every_module() for line in long_functions(module)] == []


def test_packages_open_with_their_theory_of_operation() -> None:
    silent = [
        module.where
        for module in modules("userlan").values()
        if module.path.name == "__init__.py" and not ast.get_docstring(module.tree)
    ]
    assert silent == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        module.where
        for package in ("userlan", "bridges")
        for module in modules(package).values()
        if module.lines and not ast.get_docstring(module.tree)
    ]
    assert silent == []


def test_nothing_is_marked_unfinished() -> None:
    marks = [
        f"{module.where}:{number}: {line.strip()}"
        for package in ("userlan", "bridges")
        for module in modules(package).values()
        for number, line in enumerate(module.path.read_text(encoding="utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert marks == []


def test_the_rules_notice() -> None:
    body = "    x = 1\n" * MAX_FUNCTION_LINES
    assert len(list(long_functions(from_text("userlan.x", f"def f():\n{body}")))) == 1
    assert list(long_functions(from_text("userlan.x", f"def f():\n{body[:-10]}"))) == []
    assert UNFINISHED.search("raise NotImplementedError")
    assert not UNFINISHED.search("a mailbox")
