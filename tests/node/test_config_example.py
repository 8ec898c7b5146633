"""The example configuration shows every key, its default, and what it is for."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import yaml
from msgspec import inspect

from userlan.node import config
from userlan.node.config import check_file, load_file
from userlan.node.config_reader import Field, fields_of

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "config.example.yaml"


def shipped_sections() -> dict[str, type[msgspec.Struct]]:
    """The options of the bridges that the project itself brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sections = {}
    for entry in project["entry-points"]["userlan.bridges"].values():
        module, _, name = entry.partition(":")
        bridge_class = getattr(importlib.import_module(module), name)
        sections[bridge_class.name] = bridge_class.Options
    return sections


def key_paths(fields: dict[str, Field], path: str = "") -> list[str]:
    paths = []
    for key, field in fields.items():
        place = f"{path}{key}"
        if isinstance(field.type, inspect.StructType) and not hasattr(field.type.cls, "parse"):
            paths += key_paths(fields_of(field.type.cls), f"{place}.")
        else:
            paths.append(place)
    return paths


def written_paths(node: yaml.Node | None, path: str = "") -> dict[str, int]:
    paths: dict[str, int] = {}
    assert isinstance(node, yaml.MappingNode)
    for key, value in node.value:
        place = f"{path}{key.value}"
        if isinstance(value, yaml.MappingNode) and value.value:
            paths |= written_paths(value, f"{place}.")
        else:
            paths[place] = key.start_mark.line
    return paths


def test_the_example_loads_to_the_defaults() -> None:
    sections = shipped_sections()
    assert check_file(EXAMPLE, sections) == []
    assert load_file(EXAMPLE, sections) == config.defaults(sections)


def test_the_example_has_every_key_with_a_comment() -> None:
    fields = fields_of(config.Keys)
    for section, options in shipped_sections().items():
        fields[section] = Field(inspect.type_info(options), options)
    text = EXAMPLE.read_text()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    written = written_paths(root)
    wanted = key_paths(fields)
    short = {path: [one for one in wanted if one.startswith(f"{path}.")] for path in written if path not in wanted}
    assert all(len(whole) == 1 for whole in short.values()), f"no such keys: {short}"
    assert sorted(short[path][0] if path in short else path for path in written) == sorted(wanted)
    lines = text.splitlines()
    for path, line in written.items():
        assert lines[line - 1].lstrip().startswith("#"), f"{path} has no comment above it"


def test_importing_the_configuration_does_not_import_yaml() -> None:
    program = "import sys, userlan.node.config; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
