"""``userlan demo`` when it is ended in the middle: nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tests.lab.network import until
from userlan.cli.demo_processes import ENDINGS, uninterrupted

PATIENCE = 120.0


@pytest.fixture(autouse=True)
def as_the_demo_has_them() -> Iterator[None]:
    """All of them interrupt."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in ENDINGS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDINGS)
def test_an_interrupt_waits_until_what_was_begun_is_known(number: signal.Signals) -> None:
    known = []

    def begin() -> None:
        with uninterrupted():
            with uninterrupted():
                signal.raise_signal(number)
                known.append("process")
            known.append("callback")
        known.append("more")

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert known == ["process", "callback"]
    assert signal.getsignal(number) is signal.default_int_handler


def of_it(folder: Path) -> list[str]:
    """Processes whose command names something in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and entry.name != str(os.getpid()):
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:     # it has ended
                continue
            if str(folder) in command:
                found.append(command)
    return found


@pytest.mark.parametrize(("seen", "number"), [("mediator", "SIGINT"), ("mediator", "SIGTERM"), ("anna", "SIGHUP")])
def test_nothing_is_left_behind(tmp_path: Path, number: str, seen: str) -> None:
    """Also where the terminal is closed, or somebody else ends it than the person before it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "userlan", "demo", "--once"]
    with (tmp_path.parent / f"{tmp_path.name}.log").open("wb") as log:
        demo = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        until(lambda: list(tmp_path.glob(f"userlan-demo-*/{seen}/output.log")) or demo.poll() is not None, PATIENCE, f"{seen} was begun")
        demo.send_signal(getattr(signal, number))
        assert demo.wait(PATIENCE) == 130
    finally:
        demo.kill()
        demo.wait()
    assert of_it(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
