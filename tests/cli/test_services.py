"""`userlan services`: what members offer, for people and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from userlan.cli import service_commands
from userlan.cli.main import cli

ROW = {
    "peer": "nas", "name": "Laser\x1b[2J", "type": "_ipp._tcp", "where": "127.1.2.3:631", "url": "ipp://127.1.2.3:631", "source": "bonjour",
    "text": {}, "error": "",
}


def told(monkeypatch: pytest.MonkeyPatch, folder: Path, rows: list[dict[str, Any]], *arguments: str) -> str:
    monkeypatch.setattr(service_commands, "call", lambda state, command: rows)
    result = CliRunner().invoke(cli, ["--state", str(folder), "services", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_an_address_to_click(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown = told(monkeypatch, tmp_path, [ROW, ROW | {"url": "", "error": "there are 64 forwards to nas already"}])
    first, second = shown.splitlines()[-2:]
    assert first.split()[0] == "nas"
    assert "ipp://127.1.2.3:631" in first
    assert "127.1.2.3:631  (there are 64 forwards to nas already)" in second
    assert "\x1b" not in shown, "a member's name does not move the cursor"


def test_nothing_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "userlan expose" in told(monkeypatch, tmp_path, [])


@pytest.mark.parametrize("name", ["Laser", "Küche 打印机", "\x9b2J", "\x7f", "\u202egnp.exe", "\U000e0041", "\ud800", "a\nb"])
def test_as_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """C1 controls are a terminal's commands as well (ECMA-48 5.4), and so it does with what turns the direction of text."""
    row = ROW | {"name": name}
    shown = told(monkeypatch, tmp_path, [row], "--json")
    assert json.loads(shown) == [row]
    assert shown.replace("\n", "").isprintable()
    assert name in shown or not name.isprintable()


@pytest.mark.parametrize("where", ["peer", "name", "type", "where", "source", "error"])
def test_nothing_that_a_member_says_moves_the_cursor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str) -> None:
    row = ROW | {"url": "", where: "\x1b[2J\x9b2J\n\u202e"}
    lines = told(monkeypatch, tmp_path, [row]).splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
