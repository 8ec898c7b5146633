"""Files that the page has uploaded to be sent: the node's own copies, removed once their transfer has ended for good."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

ORPHAN_AGE: Final = 86400.0
"""Seconds after which an upload that is no transfer's is removed: it was broken off."""


class Spool:
    """``folder/ID/NAME``, a folder for each. Everything blocks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, path: str) -> bool:
        """Whether a file lies in it, links followed."""
        try:
            real = Path(path).resolve(strict=True)
            return real.parent.parent == self._folder.resolve(strict=True)
        except (OSError, RuntimeError):
            return False

    def remove(self, path: str) -> None:
        """Remove a file of it, and its folder; nothing where it is not in it."""
        if not self.holds(path):
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
            os.rmdir(os.path.dirname(path))

    def sweep(self, known: set[str | None]) -> None:
        """Remove old files of which no transfer knows."""
        try:
            folders = [entry.path for entry in os.scandir(self._folder) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return
        for folder in folders:
            with contextlib.suppress(OSError):
                for entry in os.scandir(folder):
                    if entry.path not in known and time.time() - entry.stat(follow_symlinks=False).st_mtime > ORPHAN_AGE:
                        os.unlink(entry.path)
                os.rmdir(folder)
