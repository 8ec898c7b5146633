"""``userlan`` and ``python -m userlan``: from the first moment on an interrupt ends the command; then the command."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

AGAIN = 0.05
"""Seconds after which an interrupt that was lost comes again."""


def keep_interrupts() -> None:
    """An interrupt that falls into a callback from which nothing can be raised (the import of a module has such) comes again: Python
    would write it down and forget it, and the command would go on."""
    before = sys.unraisablehook

    def again(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            later = threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGINT))
            later.daemon = True
            later.start()
        else:
            before(unraisable)

    sys.unraisablehook = again


def main() -> None:
    """Run a command."""
    try:
        keep_interrupts()
        from userlan.cli.main import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
