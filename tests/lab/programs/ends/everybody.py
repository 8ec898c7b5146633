"""A program that asks everybody once, and one that answers each question once: ``answer PORT NAME``, ``ask PORT TOKEN NAME…``.

Both tell all that comes, so that what comes twice, or back to who sent it, is seen. Needs nothing but Python.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time

PATIENCE = 30.0
"""Seconds in which each of the names must have answered."""
AFTER = 1.0
"""Seconds without anything more, after which nothing more is to come."""


def answer(port: str, name: str) -> None:
    """Answer, and tell each question."""
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("", int(port)))
    print("ready", flush=True)
    while True:
        data, source = one.recvfrom(2000)
        print("heard", data.decode(), source[0], flush=True)
        one.sendto(f"{data.decode()} {name}".encode(), source)


def ask(port: str, token: str, *names: str) -> None:
    """Ask once; the answers as JSON: token, name and address of each, when these names have answered and it was quiet after that."""
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    one.sendto(token.encode(), ("255.255.255.255", int(port)))
    give_up, quiet = time.monotonic() + PATIENCE, time.monotonic() + AFTER
    answers: list[list[str]] = []
    one.settimeout(0.1)
    while time.monotonic() < (quiet if {row[1] for row in answers} >= set(names) else give_up):
        with contextlib.suppress(TimeoutError):
            data, source = one.recvfrom(2000)
            answers.append([*data.decode().split(), source[0]])
            quiet = time.monotonic() + AFTER
    print(json.dumps(answers))


if __name__ == "__main__":
    if sys.argv[1] == "answer":
        answer(*sys.argv[2:])
    else:
        ask(*sys.argv[2:])
