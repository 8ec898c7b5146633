"""Idle connections by the thousand: one side accepts and answers octets, the other opens, holds, and in the end asks every one.

``serve PORT PORTS`` listens on that many ports from ``PORT`` on and sends back what it gets. ``open PORT PORTS COUNT`` opens ``COUNT``
connections to 127.0.0.1, each proved by an octet that comes back, prints ``open``, waits for a line on standard input, asks all of them
once more and prints ``{"alive": …}``.
"""

from __future__ import annotations

import contextlib
import json
import resource
import selectors
import socket
import sys

BACKLOG = 4096
PATIENCE = 30.0


def serve(first: int, ports: int) -> None:
    """Answer for ever."""
    selector = selectors.DefaultSelector()
    for port in range(first, first + ports):
        listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ, True)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            one = key.fileobj
            assert isinstance(one, socket.socket)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                if key.data:
                    accepted, _ = one.accept()
                    accepted.setblocking(False)
                    selector.register(accepted, selectors.EVENT_READ, False)
                elif data := one.recv(4096):
                    one.send(data)
                else:
                    selector.unregister(one)
                    one.close()


def hold(first: int, ports: int, count: int) -> None:
    """Open, hold, ask."""
    held = []
    for number in range(count):
        one = socket.create_connection(("127.0.0.1", first + number % ports), timeout=PATIENCE)
        if not answers(one):
            sys.exit(f"connection {number} does not answer")
        held.append(one)
    print("open", flush=True)
    sys.stdin.readline()
    print(json.dumps({"alive": sum(answers(one) for one in held)}), flush=True)


def answers(one: socket.socket) -> bool:
    """Whether an octet comes back."""
    try:
        one.sendall(b"?")
        return one.recv(1) == b"?"
    except OSError:
        return False


def main() -> None:
    """See the module."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    command, *numbers = sys.argv[1:]
    if command == "serve":
        serve(int(numbers[0]), int(numbers[1]))
    else:
        hold(int(numbers[0]), int(numbers[1]), int(numbers[2]))


if __name__ == "__main__":
    main()
