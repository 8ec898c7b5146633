"""``python -m userlan.cli.demo_game PLAYERS``: a program that finds its like by a broadcast, as games do, and knows nothing of userlan.

``userlan demo`` runs it inside the LAN by ``userlan run``; there it has a network interface as on any computer.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable

PORT = 47474
"""UDP port at which the game asks and answers: nobody's by the registry of RFC 6335, and none of a discovery profile."""
EVERYBODY = "255.255.255.255"
QUESTION = b"who is there?"
PATIENCE, AGAIN = 20.0, 0.5
"""Seconds in which all must have answered, and between two questions: UDP may lose one."""
MAX_ANSWER = 2048
"""Bytes of a datagram that is read."""


def answer(name: str, server: socket.socket) -> None:
    """Be found: answer the question at a socket for as long as it is open."""
    while True:
        try:
            question, asker = server.recvfrom(MAX_ANSWER)
            if question == QUESTION:
                server.sendto(f"{name} plays, come in".encode(), asker)
        except OSError:
            return


def answer_in_background(name: str) -> socket.socket:
    """As ``answer``, at a free port of loopback and in a thread; it ends when the socket is closed."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    threading.Thread(target=answer, args=(name, server), daemon=True).start()
    return server


def ask(players: int, send: Callable[[bytes], object], receive: Callable[[float], tuple[str, bytes]]) -> dict[str, str]:
    """Ask everybody until so many have answered: what each said, by its address.

    ``receive``: the sender and the text of the next datagram within so many seconds; TimeoutError."""
    found: dict[str, str] = {}
    give_up = time.monotonic() + PATIENCE
    while len(found) < players and time.monotonic() < give_up:
        send(QUESTION)
        next_question = time.monotonic() + AGAIN
        while len(found) < players and (left := next_question - time.monotonic()) > 0:
            try:
                host, text = receive(left)
            except TimeoutError:
                break
            if text != QUESTION:
                found[host] = text.decode("utf-8", "replace")
    return found


def main() -> None:
    """Ask, tell who is there; exit status 3 when too few are."""
    players = int(sys.argv[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

        def receive(seconds: float) -> tuple[str, bytes]:
            own.settimeout(seconds)
            text, (host, _) = own.recvfrom(MAX_ANSWER)
            return host, text

        found = ask(players, lambda question: own.sendto(question, (EVERYBODY, PORT)), receive)
    for host, text in sorted(found.items()):
        print(f"{host}: {text}")
    if len(found) < players:
        sys.exit(3)


if __name__ == "__main__":
    main()
