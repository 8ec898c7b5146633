"""``advice``: the doctor as a child process, one at a time."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.driver.loop import Loop
from userlan.app import advice as module
from userlan.app.advice import MAX_WAITING, Advice
from userlan.app.program import NodeProgram
from userlan.driver.bridge import CommandError


def program(loop: Loop, folder: Path) -> Any:
    return SimpleNamespace(reactor=loop.reactor, folder=SimpleNamespace(path=folder), options=SimpleNamespace(config_path=None))


@pytest.fixture
def advice(loop: Loop, tmp_path: Path) -> Advice:
    """Of a state folder that no node has: the doctor looks at the computer alone."""
    return Advice(cast(NodeProgram, program(loop, tmp_path / "state")))


@pytest.fixture
def scripted(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The interpreter that is started is a script of the test's own, which notes its arguments."""
    notes = tmp_path / "notes"

    def made(body: str) -> tuple[Advice, Path]:
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\necho \"$@\" >> '{notes}'\n{body}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(script))
        return Advice(cast(NodeProgram, program(loop, tmp_path / "state"))), notes

    return made


def test_the_doctors_own_findings(loop: Loop, advice: Advice) -> None:
    told = loop.result(advice.advice({}))
    assert (told["wrong"], told["node"], told["peer"]) == (True, False, None)
    missing = next(one for one in told["findings"] if one["code"] == "node-not-running")
    assert set(missing) == {"code", "level", "what", "evidence", "remedy"}
    assert told["checked"]


def test_what_is_asked_is_said_as_arguments_and_never_as_options(loop: Loop, scripted: Any) -> None:
    asked, notes = scripted("echo '{\"wrong\": false}'")
    assert loop.result(asked.advice({"peer": "--help", "service": "8000"})) == {"wrong": False}
    assert notes.read_text().strip().endswith("doctor --json --service=8000 -- --help")


def test_who_asks_the_same_meanwhile_gets_the_same_answer(loop: Loop, scripted: Any) -> None:
    asked, notes = scripted("sleep 0.3; echo '{}'")
    answers = [asked.advice({}), asked.advice({}), asked.advice({"peer": "ben"})]
    assert [loop.result(answer) for answer in answers] == [{}, {}, {}]
    assert len(notes.read_text().splitlines()) == 2


def test_few_may_wait(loop: Loop, scripted: Any) -> None:
    asked, _ = scripted("sleep 0.2; echo '{}'")
    answers = [asked.advice({"peer": f"p{number}"}) for number in range(MAX_WAITING)]
    with pytest.raises(CommandError, match="wait already"):
        asked.advice({"peer": "one-more"})
    for answer in answers[1:]:
        answer.addErrback(lambda _: None)
        answer.cancel()
    assert loop.result(answers[0]) == {}


def test_nobody_is_examined_for_who_went_away(loop: Loop, scripted: Any) -> None:
    asked, notes = scripted("sleep 0.2; echo '{}'")
    first, second = asked.advice({}), asked.advice({"peer": "ben"})
    second.addErrback(lambda _: None)
    second.cancel()
    loop.result(first)
    loop.until(lambda: not asked._asked)
    assert len(notes.read_text().splitlines()) == 1


def test_one_that_says_nothing_sensible_is_told_in_one_line(loop: Loop, scripted: Any) -> None:
    asked, _ = scripted("echo 'userlan doctor: no such thing' >&2; exit 2")
    with pytest.raises(CommandError, match="no such thing"):
        loop.result(asked.advice({}))


def test_one_that_hangs_is_ended(loop: Loop, scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    asked, _ = scripted("exec sleep 60")
    with pytest.raises(CommandError, match="nothing out within"):
        loop.result(asked.advice({}))


def test_a_node_that_stops_ends_it(loop: Loop, scripted: Any) -> None:
    asked, notes = scripted("exec sleep 60")
    answer = asked.advice({})
    loop.until(lambda: asked._process is not None and notes.exists())
    pid = asked._process.pid
    asked.stop()
    with pytest.raises(CommandError, match="could not look"):
        loop.result(answer)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_node_that_stops_while_it_is_started_ends_it_too(loop: Loop, scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started in a thread: the word may come before anybody there has seen the process."""
    monkeypatch.setattr(module, "PATIENCE", 10.0)
    asked, _ = scripted("exec sleep 60")

    class Started(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            asked.stop()

    monkeypatch.setattr(subprocess, "Popen", Started)
    with pytest.raises(CommandError, match="could not look"):
        loop.result(asked.advice({}))


@pytest.mark.parametrize("arguments", [{"peer": "x" * 300}, {"peer": 7}, {"service": "a\nb"}])
def test_what_is_no_name_is_refused(advice: Advice, arguments: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match="is no name"):
        advice.advice(arguments)
