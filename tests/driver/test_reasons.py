"""Why a port of this computer cannot be had, in words for people."""

from __future__ import annotations

import errno
import os

import pytest

from userlan.driver.reasons import cannot_listen, is_taken, listen_error


@pytest.mark.parametrize(
    ("host", "number", "told"),
    [
        ("127.0.0.1", errno.EADDRINUSE, "127.0.0.1:41414 is in use by another program"),
        ("::", errno.EADDRINUSE, "[::]:41414 is in use by another program"),
        ("", errno.EACCES, "0.0.0.0:41414 needs more rights (ports below 1024 belong to root)"),
        ("192.0.2.1", errno.EADDRNOTAVAIL, "192.0.2.1:41414 is not an address of this computer"),
        ("127.0.0.1", errno.EMFILE, f"127.0.0.1:41414 cannot be listened on: {os.strerror(errno.EMFILE)}"),
    ],
)
def test_each_reason_is_said_plainly(host: str, number: int, told: str) -> None:
    problem = cannot_listen(host, 41414, OSError(number, os.strerror(number)))
    assert listen_error(problem) == told
    assert is_taken(problem) == (number == errno.EADDRINUSE)
