"""``path``: what the program adds to the node's report, and what it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tests.app.anna import Anna
from userlan.app.program import NodeProgram
from userlan.app.ways import CELLS, STEP, Ways
from userlan.driver.bridge import CommandError
from userlan.lan.addresses import key_text


class Program(Anna):
    """With what is tested."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ways = Ways(cast(NodeProgram, self))
        self.ways.start()

    def run(self, seconds: float) -> None:
        """World and reactor go on together."""
        for _ in range(int(seconds / STEP)):
            self.lan.world.run(STEP)
            self.clock.advance(STEP)

    def path(self, written: str = "ben") -> dict[str, Any]:
        return self.ways.path({"peer": written})


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def test_the_history_has_what_was_measured_and_nothing_else(program: Program) -> None:
    program.run(60)
    told = program.path()
    assert (told["name"], told["state"], told["why"]) == ("ben", "direct", ["punched"])
    history = told["history"]
    assert (history["step"], len(history["rtt_ms"]), len(history["states"])) == (STEP, CELLS, CELLS)
    assert history["until"] == pytest.approx(program.lan.world.now + program.node.wall_offset)
    assert history["states"][-12:] == ["direct"] * 12
    assert history["states"][: CELLS - 13] == [None] * (CELLS - 13)
    measured = [rtt for rtt in history["rtt_ms"] if rtt is not None]
    assert 2 <= len(measured) <= 12
    assert all(rtt == pytest.approx(measured[0], abs=1) for rtt in measured)


def test_a_peer_that_goes_is_seen_to_go(program: Program) -> None:
    program.run(30)
    program.lan.kill("ben")
    program.run(120)
    states = program.path()["history"]["states"]
    assert "direct" in states
    assert states[-1] in ("offline", "connecting")
    assert program.path()["history"]["rtt_ms"][-10:] == [None] * 10


def test_a_ping_is_a_measurement_too_and_the_shortest_counts(program: Program) -> None:
    for seconds in (0.030, 0.012, 0.5):
        program.ways.measured(program.ben.key, seconds)
    assert program.path()["history"]["rtt_ms"][-1] == pytest.approx(min(12, program.path()["rtt_ms"]))
    program.ways.measured(b"?" * 32, 0.1)


def test_ten_minutes_and_no_more_are_kept(program: Program) -> None:
    program.run(CELLS * STEP + 60)
    assert program.path()["history"]["states"] == ["direct"] * CELLS


def test_a_member_that_left_is_forgotten(program: Program) -> None:
    program.run(10)
    program.lan.finish(program.ben, program.ben.leave("home", program.lan.world.now))
    program.run(10)
    assert program.ben.key not in program.ways._rings


def test_whoever_means_nobody_is_told_so(program: Program) -> None:
    for written, said in (("bne", "ben"), ("anna", "itself"), ("", "missing")):
        with pytest.raises(CommandError, match=said):
            program.path(written)
    assert program.path(key_text(program.ben.key))["name"] == "ben"


def test_the_clock_is_stopped_with_the_program(program: Program) -> None:
    program.ways.stop()
    assert program.clock.getDelayedCalls() == []
