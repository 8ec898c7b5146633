"""Freed memory that is kept: the page faults that it saves."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from userlan.driver.heap import keep_freed
if sys.argv[1] == "keep":
    assert keep_freed(32 << 20)
source = bytearray(65000)
def turn():
    return [bytes(source) for _ in range(16)]
for _ in range(10):
    turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    turn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(word: str) -> int:
    result = subprocess.run([sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, timeout=60, check=True)
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc: its heap is its own")
def test_a_process_that_keeps_freed_memory_takes_few_page_faults() -> None:
    assert faults("keep") < 1_000 < faults("give back")
