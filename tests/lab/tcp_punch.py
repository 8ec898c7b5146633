"""One end of a punched TCP connection, as a process: run in a namespace, told on standard input whom to meet and when.

::

    python -m tests.lab.tcp_punch OBSERVER        OBSERVER: HOST:PORT to connect to first, so that there is a local port
      prints ``port N``, the local port of the group
      reads  ``HOST PORT[,PORT…] AT``             AT: when to begin, by the monotonic clock that all namespaces share
      prints ``began AT``, ``opened SECONDS`` since then, and ``heard TEXT`` for the frame that the other end sent
"""

from __future__ import annotations

import sys
import time
from typing import Any

from tests.driver.loop import Loop
from tests.driver.memory import entropy_of
from tests.driver.ways import NothingKept, Numbered
from userlan.driver.engine import Engine
from userlan.stack import Host
from userlan.tunnel.endpoint import Burst
from userlan.wire.endpoint import TCP, Endpoint

VIA = 5
GREETING = b"hello through two translators of addresses"


class Core(NothingKept):
    """Connects, greets by what opens, and says what it hears."""

    def __init__(self) -> None:
        self.host = Host(entropy=entropy_of(1))
        self.notes = Numbered()
        self.outgoing: list[Burst] = []
        self.began = 0.0
        self.ended = False
        self.socket_opened = self.notes.socket_opened       # type: ignore[method-assign]  # this one has numbers
        self.dismissed = self.notes.dismissed       # type: ignore[method-assign]

    def owns(self, data: Any) -> bool:
        return True

    def receive(self, data: Any, segment: int, source: Endpoint, now: float) -> None:
        print("heard", bytes(data).decode(), flush=True)
        self.ended = True

    def datagrams(self, now: float) -> list[Burst]:
        bursts, self.outgoing = self.outgoing, []
        return bursts

    def way_opened(self, endpoint: Endpoint) -> None:
        if self.began:
            print(f"opened {time.monotonic() - self.began:.3f}", flush=True)
            self.outgoing.append(Burst(GREETING, len(GREETING), endpoint))

    def deadline(self) -> float | None:
        return None

    def tick(self, now: float) -> None: ...

    def events(self) -> list[Any]:
        return []


def main() -> None:
    """See the module."""
    loop, core = Loop(), Core()
    engine = Engine(loop.reactor)
    runner = engine.add(core, lambda event: None)

    def punch(host: str, port: str) -> None:
        core.outgoing.append(Burst(b"", 0, Endpoint(TCP, host, int(port), VIA), True))
        runner.touch()

    host, _, port = sys.argv[1].rpartition(":")
    punch(host, port)
    loop.until(lambda: core.notes.opened)
    print("port", core.notes.opened[0][2], flush=True)
    host, ports, at = sys.stdin.readline().split()
    loop.run(max(0.0, float(at) - time.monotonic()))
    core.began = time.monotonic()
    print(f"began {core.began:.3f}", flush=True)
    for port in ports.split(","):
        punch(host, port)
    loop.until(lambda: core.ended, 15.0)
    loop.run(0.5)
    core.notes.to_dismiss.append(VIA)
    runner.touch()
    loop.result(engine.stop(linger=0))
    loop.close()


if __name__ == "__main__":
    main()
