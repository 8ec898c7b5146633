"""A PostgreSQL server for the tests that ask for one: started once, a database for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mediator import postgresql


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    reason = postgresql.unavailable()
    if reason is not None:
        pytest.skip(reason)
    server = postgresql.Server()
    yield server
    server.close()


@pytest.fixture
def database(postgresql_server: postgresql.Server) -> str:
    """The URL of an empty PostgreSQL database."""
    return postgresql_server.fresh()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a directory can be: one test, either database."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("database"))
    return str(tmp_path / "directory.sqlite")
