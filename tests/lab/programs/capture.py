"""What tshark sees on the link of a place, while something is searched there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import attrs

from tests.lab.network import until
from tests.lab.programs.place import PATIENCE, Place, Running

ARROW = re.compile(r"(\S+) (?:→|->) (\S+) (.*)")


@attrs.frozen
class Capture:
    """A capture that runs."""

    running: Running

    def exchange(self) -> str:
        """The first question to everybody, and the first answer to who asked; AssertionError when there is none."""

        def look() -> str | None:
            seen = [found.groups() for found in map(ARROW.search, self.running.said()) if found]
            for number, (asker, everybody, question) in enumerate(seen):
                if everybody.endswith(".255"):
                    for who, to, answer in seen[number + 1 :]:
                        if to == asker and not who.endswith(".255") and who != asker:
                            return f"{asker} > {everybody} {question.strip()} | {who} > {to} {answer.strip()}"
            return None

        found: str = until(look, PATIENCE, f"a question to everybody and its answer: {self.running.log}")
        return found


@contextlib.contextmanager
def capture(place: Place, which: str) -> Iterator[Capture]:
    """Capture all that the filter (pcap-filter(7)) lets pass, on every interface."""
    log = place.folder / "capture.log"
    with place.entered() as space:
        with log.open("wb") as file:
            running = Running(space.start("tshark", "-l", "-n", "-i", "any", "-f", which, stdout=file, stderr=file), log)
        try:
            running.line("Capture started")
            yield Capture(running)
        finally:
            running.stop()
