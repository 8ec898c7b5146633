"""Fixtures of the running node's tests."""

from tests.driver.conftest import logged_failures, loop, nothing_fails

__all__ = ["logged_failures", "loop", "nothing_fails"]
