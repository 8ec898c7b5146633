"""A program that broadcasts, and one that answers: ``serve PORT NAME``, ``seek PORT``. Needs nothing but Python."""

from __future__ import annotations

import contextlib
import socket
import sys
import time

WAIT = 40.0
"""Seconds that the client goes on asking."""
AGAIN = 0.5
"""Seconds between two questions."""


def serve(port: str, name: str) -> None:
    """Answer."""
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("", int(port)))
    print("ready", flush=True)
    while True:
        data, source = one.recvfrom(2000)
        print(f"{data!r} from {source}", flush=True)
        one.sendto((f"{name} plays here" if data == b"who plays?" else "good-bye").encode(), source)


def seek(port: str) -> None:
    """Ask until there is an answer."""
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    one.settimeout(AGAIN)
    give_up = time.monotonic() + WAIT
    answer, server = ask(one, b"who plays?", ("255.255.255.255", int(port)), give_up)
    print(f"{answer.decode()!r} from {server[0]}:{server[1]}")
    answer, server = ask(one, b"good-bye", server, give_up)
    print(f"{answer.decode()!r} from {server[0]}:{server[1]}")


def ask(one: socket.socket, data: bytes, where: tuple[str, int], give_up: float) -> tuple[bytes, tuple[str, int]]:
    """Send until something comes that is no answer to what was asked before."""
    while time.monotonic() < give_up:
        one.sendto(data, where)
        with contextlib.suppress(TimeoutError):
            answer, source = one.recvfrom(2000)
            if (answer == b"good-bye") == (data == b"good-bye"):
                return answer, source
    raise SystemExit(f"nobody answers {data!r} at {where}")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:])
    else:
        seek(*sys.argv[2:])
