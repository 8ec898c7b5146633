"""The examples, run as a person runs them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples import ROOT

PATIENCE = 60
"""Seconds for a program to do what it is for: the machine may have other work."""


def example(name: str, *arguments: str) -> subprocess.Popen[str]:
    """One example as a process."""
    command = [sys.executable, "-W", "error", "-m", f"tests.examples.{name}", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def invite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the web server's network, while it serves."""
    server = example("web_server", "--state", str(tmp_path_factory.mktemp("site")))
    try:
        assert server.stdout is not None
        line = server.stdout.readline().strip()
        assert line.startswith("userlan://")
        yield line
    finally:
        server.terminate()
        server.communicate(timeout=PATIENCE)


def test_a_page_is_fetched_by_name(invite: str, tmp_path: Path) -> None:
    for _ in range(2):      # the second time it is a member already
        with example("fetch", "--state", str(tmp_path / "reader"), invite, "http://site:8000/") as reader:
            try:
                assert reader.communicate(timeout=PATIENCE)[0] == "hello, reader\n"
            finally:
                reader.kill()
        assert reader.returncode == 0


def test_beacons_find_each_other(invite: str, tmp_path: Path) -> None:
    names = ("kim", "lee", "max")
    programs = {name: example("beacon", "--state", str(tmp_path / name), "--name", name, "--others", "2", invite) for name in names}
    try:
        for name, program in programs.items():
            told = program.communicate(timeout=PATIENCE)[0]
            assert program.returncode == 0
            assert {line.split(" is there")[0] for line in told.splitlines()} == {*names} - {name}
    finally:
        for program in programs.values():
            program.kill()
            program.communicate()
