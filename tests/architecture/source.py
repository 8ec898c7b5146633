"""The project's source as syntax trees: what each module imports and how long it is, without importing anything."""

from __future__ import annotations

import ast
import functools
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Import(NamedTuple):
    """One imported name: `module` is where it comes from, absolute; `typing_only` when under `if TYPE_CHECKING`."""

    module: str
    name: str
    line: int
    typing_only: bool
    top_level: bool


class Module(NamedTuple):
    """One file."""

    name: str
    path: Path
    tree: ast.Module
    lines: int
    imports: tuple[Import, ...]

    @property
    def where(self) -> str:
        """The path as people write it."""
        return self.path.relative_to(ROOT).as_posix()


@functools.cache
def modules(package: str) -> dict[str, Module]:
    """Every module of a top-level package by its dotted name."""
    files = sorted((ROOT / package).rglob("*.py"))
    names = {_dotted(path, ROOT): path for path in files}
    known = frozenset(names)
    gc.disable()        # millions of nodes that stay: looking through them again and again is half of the time
    try:
        return {name: _read(name, path, known) for name, path in names.items()}
    finally:
        gc.freeze()
        gc.enable()


def from_text(name: str, text: str, known: frozenset[str] = frozenset()) -> Module:
    """A module out of a string, for testing the rules themselves."""
    path = ROOT / (name.replace(".", "/") + ".py")
    tree = ast.parse(text)
    return Module(name, path, tree, text.count("\n"), tuple(_imports(name, path, tree, known)))


def _dotted(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _read(name: str, path: Path, known: frozenset[str]) -> Module:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, filename=str(path))
    return Module(name, path, tree, len(text.splitlines()), tuple(_imports(name, path, tree, known)))


def _imports(name: str, path: Path, tree: ast.Module, known: frozenset[str]) -> Iterator[Import]:
    """Each import, at any depth; `from package import module` counts as that module where it is one."""
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        typing_only, top_level = id(node) in guarded, id(node) not in lazy
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, alias.name, node.lineno, typing_only, top_level)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, base] if base else package)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                module = full if full in known or base == name else base
                yield Import(module, alias.name, node.lineno, typing_only, top_level)


def within(name: str, package: str) -> bool:
    """Whether a dotted name is a package or something in it."""
    return name == package or name.startswith(package + ".")
