"""Fixtures of the driver's tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from tests.driver.loop import Loop


@pytest.fixture
def logged_failures() -> Iterator[list[Any]]:
    """The failures that are logged."""
    failures: list[Any] = []

    def observe(event: Any) -> None:
        if "log_failure" in event:
            failures.append(event["log_failure"])

    publisher: Any = globalLogPublisher
    publisher.addObserver(observe)
    yield failures
    publisher.removeObserver(observe)


@pytest.fixture(autouse=True)
def nothing_fails(logged_failures: list[Any]) -> Iterator[None]:
    """A failure that is only logged fails the test; one that expects some takes them out of the list."""
    yield
    assert not logged_failures, [failure.getTraceback() for failure in logged_failures]


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A real reactor."""
    made = Loop()
    yield made
    made.close()
