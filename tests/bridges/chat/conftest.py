"""The store of these tests does not wait for the disk: nobody pulls the plug."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def unhurried_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridges.chat.schema.SYNCHRONOUS", "OFF")
