"""Ctrl-C ends a command whenever it comes."""

from __future__ import annotations

import subprocess
import sys

LOST = """
import time
from userlan.__main__ import keep_interrupts

class Dying:
    def __init__(self, error):
        self.error = error

    def __del__(self):
        raise self.error

keep_interrupts()
Dying(ZeroDivisionError("of another kind"))
print("here", flush=True)
Dying(KeyboardInterrupt())
time.sleep(300)
print("never", flush=True)
"""


def test_an_interrupt_that_python_would_forget_comes_again() -> None:
    """In a callback from which nothing can be raised it is written down and forgotten: imports are full of them."""
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, timeout=120)
    assert (done.returncode != 0, done.stdout) == (True, "here\n")
    assert "KeyboardInterrupt" in done.stderr
    assert "of another kind" in done.stderr, "what else nobody can raise is told as before"
