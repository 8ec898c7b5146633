"""What ``userlan dns`` prints."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from userlan.cli import dns_commands
from userlan.cli.main import cli

TOLD: dict[str, Any] = {"listen": "127.0.0.1:5355", "host": "127.0.0.1", "port": 5355, "upstream": "none", "answer": "virtual"}


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A node that answers; the commands it was asked."""
    asked: list[str] = []

    def call(state: object, command: str) -> dict[str, Any]:
        asked.append(command)
        return TOLD

    monkeypatch.setattr(dns_commands, "call", call)
    return asked


def test_every_line_is_ready_to_be_copied(node: list[str]) -> None:
    result = CliRunner().invoke(cli, ["dns"])
    assert (result.exit_code, node) == (0, ["dns"])
    for line in (
        "dig @127.0.0.1 -p 5355 NAME.NETWORK.internal",
        "sudo resolvectl dns IFACE 127.0.0.1:5355",
        "DNS=127.0.0.1:5355",
        "Domains=~internal",
        "server=/internal/127.0.0.1#5355",
        "nameserver 127.0.0.1",
        "port 5355",
    ):
        assert line in [written.split("  #")[0].strip() for written in result.output.splitlines()], line
    assert "other names are refused" in result.output


def test_json(node: list[str]) -> None:
    assert json.loads(CliRunner().invoke(cli, ["dns", "--json"]).output) == TOLD


@pytest.mark.parametrize(("upstream", "says"), [("system", "asked of this computer's resolvers"), ("1.1.1.1", "asked of 1.1.1.1")])
def test_who_else_is_asked(upstream: str, says: str) -> None:
    assert says in dns_commands.describe({**TOLD, "upstream": upstream})
