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
LONG_ENOUGH = 20.0
"""Seconds after which it has been looked at for long enough on a computer where nothing runs evenly."""
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


class Watcher:
    """A process that watches a stream."""

    def __init__(self, member: Member, name: str, port: int) -> None:
        self.name = name
        command = (*PROGRAM, "watch", str(port))
        self._process = member.namespace.start(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=str(ROOT))

    def show(self) -> tuple[int, int]:
        """The longest gap since the last time, in milliseconds, and the lines that came."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"show\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the stream {self.name} broke"
        shown = json.loads(line)
        return shown["gap_ms"], shown["lines"]


class Stream:
    """Lines from one member's service to another member, by expose and forward; and the same beside the service, for comparison.

    ``machine``: the longest gap, in milliseconds, of the latter during the last :meth:`interruption`: nothing is between the two
    processes, and where they stand still it is the computer's doing.
    """

    def __init__(self, source: Member, sink: Member, port: int) -> None:
        self.name = f"from {source.name} to {sink.name}"
        self.machine = 0
        server = source.namespace.start(*PROGRAM, "serve", str(port), stdout=subprocess.PIPE, cwd=str(ROOT))
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        source.call("expose", service=str(port), port=port, name=None)
        sink.call("forward", rule=f"{port}:{source.name}:{port}")
        self._beside = Watcher(source, f"of {source.name} alone", port)
        self._watcher = Watcher(sink, self.name, port)
        for watcher in (self._beside, self._watcher):
            until(lambda watcher=watcher: _even(*watcher.show()), 60, f"the stream {watcher.name} runs", 0.3)

    def interruption(self, seconds: float = 4.0, patience: float = 30.0) -> int:
        """The longest gap, in milliseconds, from the last call (or the beginning) until the stream has run evenly for ``seconds``,
        or has been watched for ``LONG_ENOUGH`` and runs; AssertionError when it does not within ``patience`` seconds."""
        longest, self.machine, begun = 0, 0, time.monotonic()
        even_since = begun
        while (now := time.monotonic()) - even_since < seconds:
            time.sleep(INTERVAL)
            gap, lines = self._watcher.show()
            longest, self.machine = max(longest, gap), max(self.machine, self._beside.show()[0])
            if lines and now - begun > LONG_ENOUGH:
                break
            assert lines or now - begun < patience, f"the stream {self.name} stands still for {gap} ms"
            if gap > HICCUP or not lines:
                even_since = time.monotonic()
        return longest


def _even(gap: int, lines: int) -> bool:
    return lines > 10 and gap < HICCUP


if __name__ == "__main__":
    serve(int(sys.argv[2])) if sys.argv[1] == "serve" else watch(int(sys.argv[2]))
