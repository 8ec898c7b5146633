"""The keeper's name, between two of its writes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from userlan.cli import keeper as keeper_module
from userlan.cli.client import ApiError
from userlan.cli.keeper import ENTERING_POLL, KEEPER_NAME, KEEPER_PATIENCE, KeptBy, keeper_of


class Time:
    """Passes where somebody sleeps; what then happens."""

    def __init__(self) -> None:
        self.now = 100.0
        self.then: list[Callable[[], object]] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.then:
            self.then.pop(0)()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(keeper_module, "time", made)
    return made


@pytest.fixture
def held(tmp_path: Path) -> Iterator[int]:
    """By a keeper that has not said yet who it is."""
    descriptor = os.open(tmp_path / KEEPER_NAME, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    os.close(descriptor)


def test_a_keeper_that_is_making_its_place_is_waited_for(tmp_path: Path, time: Time, held: int) -> None:
    """Its command was killed, and the next one comes."""
    time.then = [lambda: None, lambda: None, lambda: os.write(held, b"77 4026531840")]
    assert keeper_of(tmp_path) == KeptBy(77, 4026531840)
    assert time.now == pytest.approx(100 + 3 * ENTERING_POLL)


@pytest.mark.parametrize("tidy", [True, False], ids=["in order", "killed"])
def test_a_keeper_that_gives_up_meanwhile_is_none(tmp_path: Path, time: Time, held: int, tidy: bool) -> None:
    time.then = [(tmp_path / KEEPER_NAME).unlink if tidy else lambda: fcntl.flock(held, fcntl.LOCK_UN)]
    assert keeper_of(tmp_path) is None


def test_one_that_never_says_who_it_is_is_not_waited_for_for_ever(tmp_path: Path, time: Time, held: int) -> None:
    with pytest.raises(ApiError, match="not ready"):
        keeper_of(tmp_path)
    assert time.now == pytest.approx(100 + KEEPER_PATIENCE, abs=2 * ENTERING_POLL)


def test_nobody_keeps_what_is_not_there(tmp_path: Path) -> None:
    assert keeper_of(tmp_path) is None
