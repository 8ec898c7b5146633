"""The entrance to the place of ``userlan run``: closed until the place is made, whatever becomes of who asked for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.network import until
from userlan.cli.keeper import KEEPER_NAME, keeper_of, take_lock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="`userlan run` takes Linux's namespaces")

ASK = """
import os, sys, time
from pathlib import Path
from userlan.cli import keeper
from userlan.cli.client import ApiError

state = Path(sys.argv[1])

class Made(keeper.Keeper):
    '''Takes as long over the place as the test wants it to.'''

    def open(self):
        self._go_to_the_background()
        (state / "begun").touch()
        give_up = time.monotonic() + 60
        while not (state / "go-on").exists() and time.monotonic() < give_up:
            time.sleep(0.01)
        os.write(self._name, b"%d %d" % (os.getpid(), os.stat("/proc/self/ns/net").st_ino))
        raise ApiError("this is all")

keeper.Keeper = Made
keeper.start_keeper(state, keeper.Wanted(None, False), keeper.take_lock(state))
"""


@contextlib.contextmanager
def asking(state: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has a place made; the keeper is at it, until the file ``go-on`` is there, or the block ends."""
    process = subprocess.Popen([sys.executable, "-c", ASK, str(state)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    try:
        until((state / "begun").exists, 60, "the keeper makes the place")
        yield process
    finally:
        (state / "go-on").touch()
        process.kill()
        process.wait(60)
        process.stderr.close()


def is_closed(state: Path) -> bool:
    try:
        os.close(take_lock(state, wait=False))
    except BlockingIOError:
        return True
    return False


def test_nobody_enters_a_place_that_is_being_made_for_who_was_killed(tmp_path: Path) -> None:
    """Its keeper, which goes on, is not known by number yet, and has neither interface nor resolver for whoever would come in."""
    with asking(tmp_path) as process:
        process.kill()
        process.wait(60)
        assert (tmp_path / KEEPER_NAME).read_text() == ""
        assert is_closed(tmp_path)
    until(lambda: not is_closed(tmp_path), 60, "the entrance is open for the next one")
    assert keeper_of(tmp_path) is None


def test_who_asked_hears_why_there_is_no_place(tmp_path: Path) -> None:
    """And the entrance is open for the next one."""
    with asking(tmp_path) as process:
        assert is_closed(tmp_path)
        (tmp_path / "go-on").touch()
        assert process.stderr is not None
        assert b"ApiError: this is all" in process.stderr.read()
        assert process.wait(60) == 1
        until(lambda: not is_closed(tmp_path), 60, "the entrance is open")
