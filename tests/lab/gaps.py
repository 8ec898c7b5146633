"""How long a stream stands still: what a person notices of an outage, in milliseconds.

``python -m tests.lab.gaps serve PORT`` sends every client on loopback a line every ``EVERY`` seconds, numbered.
``python -m tests.lab.gaps watch PORT`` reads them and answers ``show`` on standard input with one JSON line: ``gap_ms``, the longest time
between two lines since the last ``show`` (or until now, if that is longer), and ``lines``. It stops when a line is missing or the stream
ends.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import sys
import threading
import time

from tests.lab.network import until
from tests.lab.sites import ROOT
from tests.lab.userlan_process import Member

EVERY = 0.01
"""Seconds."""
INTERVAL = 0.5
HICCUP = 200
"""Milliseconds that are no outage: a loss and its repair, and two cores that many processes share."""
LINE = 64
"""Octets: small, so that every line is a segment of its own."""
PROGRAM = (sys.executable, "-m", "tests.lab.gaps")


def serve(port: int) -> None:
    """Until it is ended."""
    listener = socket.create_server(("127.0.0.1", port))
    print("ready", flush=True)
    while True:
        one, _ = listener.accept()
        threading.Thread(target=_talk, args=(one,), daemon=True).start()


def _talk(one: socket.socket) -> None:
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    number, begun = 0, time.monotonic()
    with contextlib.suppress(OSError), one:
        while True:
            one.sendall(f"{number}".ljust(LINE - 1).encode() + b"\n")
            number += 1
            time.sleep(max(0.0, begun + number * EVERY - time.monotonic()))


def watch(port: int) -> None:
    """Until the stream ends; exit status 1 where a line is missing."""
    stream = socket.create_connection(("127.0.0.1", port))
    expected, last, longest, lines, rest = 0, time.monotonic(), 0.0, 0, b""
    while True:
        readable = select.select((stream, sys.stdin), (), ())[0]
        now = time.monotonic()
        if stream in readable:
            data = stream.recv(65536)
            if not data:
                sys.exit("the stream ended")
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                if int(line) != expected:
                    sys.exit(f"line {expected} is missing")
                expected += 1
            if whole:
                longest, last, lines = max(longest, now - last), now, lines + len(whole)
        if sys.stdin in readable:
            if not sys.stdin.readline():
                return
            print(json.dumps({"gap_ms": round(1000 * max(longest, now - last)), "lines": lines}), flush=True)
            longest, lines = 0.0, 0


class Stream:
    """Lines from one member's service to another member, by expose and forward."""

    def __init__(self, source: Member, sink: Member, port: int) -> None:
        self.name = f"{source.name} to {sink.name}"
        server = source.namespace.start(*PROGRAM, "serve", str(port), stdout=subprocess.PIPE, cwd=str(ROOT))
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        source.call("expose", service=str(port), port=port, name=None)
        sink.call("forward", rule=f"{port}:{source.name}:{port}")
        self._watcher = sink.namespace.start(*PROGRAM, "watch", str(port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=str(ROOT))
        self.flowing(30)

    def show(self) -> tuple[int, int]:
        """The longest gap since the last time, in milliseconds, and the lines that came."""
        assert self._watcher.stdin is not None
        assert self._watcher.stdout is not None
        self._watcher.stdin.write(b"show\n")
        self._watcher.stdin.flush()
        line = self._watcher.stdout.readline()
        assert line, f"the stream from {self.name} broke"
        shown = json.loads(line)
        return shown["gap_ms"], shown["lines"]

    def flowing(self, patience: float) -> None:
        """Until it runs evenly; begins a new measurement."""
        until(lambda: self._even(), patience, f"the stream from {self.name} runs", 0.3)

    def _even(self) -> bool:
        gap, lines = self.show()
        return lines > 10 and gap < HICCUP

    def interruption(self, seconds: float = 4.0, patience: float = 30.0) -> int:
        """The longest gap, in milliseconds, from the last :meth:`show` until the stream has run evenly for ``seconds``."""
        longest, give_up = 0, time.monotonic() + patience
        even_since = time.monotonic()
        while time.monotonic() - even_since < seconds:
            assert time.monotonic() < give_up, f"the stream from {self.name} stands still for {longest} ms"
            time.sleep(INTERVAL)
            gap, lines = self.show()
            longest = max(longest, gap)
            if gap > HICCUP or not lines:
                even_since = time.monotonic()
        return longest


if __name__ == "__main__":
    serve(int(sys.argv[2])) if sys.argv[1] == "serve" else watch(int(sys.argv[2]))
