"""``userlan path``: the node's facts in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.node.test_path_report import homes, told
from tests.relay.test_pairs import relayed_pair
from userlan.cli.path_commands import WHY, describe
from userlan.node import path_report

NOW = 1_700_001_100.0


def test_each_reason_has_words() -> None:
    assert path_report.__doc__ is not None
    assert all(why in path_report.__doc__ or why.rpartition("-")[0] in path_report.__doc__ for why in WHY)


def test_a_direct_one(tmp_path: Path) -> None:
    lan, anna, ben = homes(tmp_path)
    lan.world.run(20)
    lines = describe(told(lan, anna, ben), lan.world.now + 1_700_000_000).splitlines()
    assert lines[0].startswith("ben is reached directly: udp 198.51.100.2:")
    assert "both sent at one moment" in lines[1]
    assert any("NAT there" in line and "ports preserving" in line for line in lines)
    assert any("simultaneous" in line and "met" in line for line in lines)
    assert any("in use" in line for line in lines)
    assert any("relay near" in line and "in reserve" in line for line in lines)


def test_a_relayed_one(tmp_path: Path) -> None:
    lan, anna, ben = relayed_pair(tmp_path)
    lan.world.run(60)
    text = describe(told(lan, anna, ben), lan.world.now + 1_700_000_000)
    assert text.startswith("ben is reached by the relay near: ")
    assert "neither side knows where to send" in text
    assert "not met" in text


@pytest.mark.parametrize(("state", "words"), [("offline", "is not reached; last heard never"), ("connecting", "is being sought")])
def test_one_that_is_not_reached(tmp_path: Path, state: str, words: str) -> None:
    lan, anna, ben = homes(tmp_path)
    changes: dict[str, Any] = {"state": state, "endpoint": None, "heard": None, "why": ["offline", "a word of later"]}
    text = describe(told(lan, anna, ben) | changes, NOW)
    assert words in text.splitlines()[0]
    assert "nobody says that it is online" in text
    assert "a word of later" not in text


def test_what_a_relay_calls_itself_is_safe_for_a_terminal(tmp_path: Path) -> None:
    lan, anna, ben = homes(tmp_path)
    text = describe(told(lan, anna, ben) | {"state": "relayed", "relay": {"name": "\x1b[2J", "region": None, "rtt_ms": 1.0}}, NOW)
    assert "\x1b" not in text
