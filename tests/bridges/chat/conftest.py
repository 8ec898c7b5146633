"""The store of these tests does not wait for the disk: nobody pulls the plug."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bridges.chat.party import Party


@pytest.fixture(autouse=True)
def unhurried_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridges.chat.schema.SYNCHRONOUS", "OFF")


@pytest.fixture
def party(tmp_path: Path) -> Iterator[Party]:
    """Three people with a chat each."""
    made = Party(tmp_path, "anna", "ben", "eve")
    for name in made.names:
        made.open(name)
    yield made
    for name in list(made.persons):
        made.close(name)
    made.run(1)
    assert made.clock.getDelayedCalls() == [], "nothing goes on after the end"
