"""Whether AES pays is what a measurement says."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import timeit
from collections.abc import Callable, Iterator
from itertools import cycle

import pytest

from userlan.driver.ciphers import ADVANTAGE, aes_pays

WITHOUT_AES = {"OPENSSL_ia32cap": "~0x200000200000000"}
"""OpenSSL's own switch: no AES-NI, no PCLMULQDQ (OPENSSL_ia32cap(3))."""


def clock_of(chacha: float, aes: float) -> Callable[[], float]:
    """A clock by which rounds of the two take so many seconds by turns."""

    def readings() -> Iterator[float]:
        now = 0.0
        for duration in cycle((chacha, aes)):
            yield now
            now += duration
            yield now

    return readings().__next__


def test_the_faster_one_wins_by_a_margin() -> None:
    assert aes_pays(clock_of(1.0, 0.5))
    assert not aes_pays(clock_of(0.5, 1.0))
    assert aes_pays(clock_of(1.0, 0.99 / ADVANTAGE))
    assert not aes_pays(clock_of(1.0, 1.01 / ADVANTAGE))


def test_it_takes_a_moment_only() -> None:
    """The least of several: whatever else this machine does meanwhile only adds to it."""
    assert min(timeit.repeat(aes_pays, number=1, repeat=20)) < 0.1


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="the switch is for x86")
def test_a_processor_without_the_instructions_is_found_out() -> None:
    command = [sys.executable, "-c", "from userlan.driver.ciphers import aes_pays; print(aes_pays())"]
    told = subprocess.run(command, env=os.environ | WITHOUT_AES, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "False"
