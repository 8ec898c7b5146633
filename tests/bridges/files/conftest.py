"""Two members that send each other files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bridges.files.scene import Scene
from tests.bridges.harness import Loop


@pytest.fixture
def scene(loop: Loop, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(loop, tmp_path)
    yield made
    made.stop()
