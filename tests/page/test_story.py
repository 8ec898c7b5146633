"""From nothing to the parting: two strangers, two nodes, two windows, with a node killed in the middle of a file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.page.nodes import Node, start_all
from tests.page.story import WORDS, Story, film, site


@pytest.fixture
def strangers() -> Iterator[tuple[Node, Node]]:
    """Two nodes in no network."""
    folder = Path(tempfile.mkdtemp(prefix="userlan-page-"))     # short: a local socket's path has 108 octets
    carla, dave = Node(folder, "carla", telling=True), Node(folder, "dave", telling=True)
    try:
        start_all(carla, dave)
        yield carla, dave
    finally:
        carla.stop()
        dave.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_from_nothing_to_the_parting(strangers: tuple[Node, Node], show: Any, tmp_path: Path) -> None:
    carla, dave = strangers
    story = Story(carla, dave, show)
    story.create()
    assert story.link == carla.call("invite", network="garden")["invite"]
    story.join()
    story.meet()
    story.talk()
    show.tolerated |= {"WebSocket connection", "Failed to load resource"}      # to the node that was killed
    sent = film(tmp_path / "strawberries.mkv")
    story.send(sent)
    story.resume(sent)
    with site() as port:
        story.use(port, lambda page: page.get_by_text(WORDS).wait_for())
    story.part()
    assert carla.call("status")["peers"] == []
