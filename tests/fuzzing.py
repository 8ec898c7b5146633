"""``--fuzz-seconds N``: every chosen test that draws its examples at random goes on for its share of N seconds.

``python -m pytest tests/stack/tcp/test_machine.py --fuzz-seconds 600`` fuzzes TCP for ten minutes; with several such tests
(each parser has one: ``python -m pytest tests/wire tests/control tests/tunnel -k "any or malformed" --fuzz-seconds 600``)
they share the time. Other tests of the choice run once. Without the option each runs as often as its settings say, which
takes seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-seconds", type=float, default=0.0, help="fuzz the chosen tests that draw at random for so long, together")


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is imported, since a test takes its settings when it is made."""
    config.addinivalue_line("markers", "fuzz: draws at random, and goes on with --fuzz-seconds")
    if config.getoption("--fuzz-seconds"):
        settings.register_profile("fuzz", settings.get_profile("userlan"), derandomize=False)
        settings.load_profile("fuzz")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seconds = config.getoption("--fuzz-seconds")
    drawing = [item for item in items if _draws(item)]
    for item in drawing if seconds else ():
        item.runtest = _repeated(item.runtest, seconds / len(drawing))  # type: ignore[method-assign]


def _draws(item: pytest.Item) -> bool:
    test = getattr(item, "obj", None)
    return item.get_closest_marker("fuzz") is not None or getattr(test, "is_hypothesis_test", False)


def _repeated(run: Callable[[], None], seconds: float) -> Callable[[], None]:
    def repeat() -> None:
        end = time.monotonic() + seconds
        run()
        while time.monotonic() < end:
            run()

    return repeat
