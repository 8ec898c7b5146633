"""Two nodes for all tests of the package that only look at them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.two_nodes import Nodes


@pytest.fixture(scope="package")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Whatever a test changes of them it changes back."""
    nodes = Nodes(tmp_path_factory.mktemp("nodes"))
    try:
        nodes.call("anna", "expose", service="8000")
        nodes.call("anna", "forward", rule="0:ben:80")
        yield nodes
    finally:
        nodes.stop()
