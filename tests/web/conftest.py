"""Fixtures of the page's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.driver.conftest import logged_failures, loop, nothing_fails
from tests.driver.loop import Loop
from tests.web.harness import Scene

__all__ = ["logged_failures", "loop", "nothing_fails"]


@pytest.fixture
def scene(loop: Loop, tmp_path: Path) -> Iterator[Scene]:
    """A page over real sockets, and clients of it."""
    made = Scene(loop, tmp_path)
    yield made
    made.close()
