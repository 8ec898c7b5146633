"""A core that fails, or names an endpoint that no system takes, does not take the sockets with it."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

from tests.driver.loop import Loop
from tests.driver.ways import NothingKept
from userlan.driver.engine import Engine
from userlan.stack.host import Host
from userlan.tunnel.endpoint import Burst
from userlan.wire.endpoint import UDP, Endpoint


class Failing(NothingKept):
    """Fails in ``events`` and wants to send to an address that no socket takes; counts what it receives."""

    def __init__(self) -> None:
        self.host = Host(entropy=bytes)
        self.received = 0
        self.fails = True

    def owns(self, data: object) -> bool:
        return True

    def receive(self, data: object, segment: int, source: Endpoint, now: float) -> None:
        self.received += 1

    def datagrams(self, now: float) -> list[Burst]:
        return [Burst(b"x", 1, Endpoint(UDP, "203.0.113.\0", 9))] if self.fails else []

    def has_received(self, number: int) -> bool:
        return self.received == number

    def deadline(self) -> float | None:
        return None

    def tick(self, now: float) -> None: ...

    def events(self) -> list[Any]:
        if self.fails:
            raise ValueError("a core failed")
        return []


def test_a_failing_core_keeps_its_socket(loop: Loop, logged_failures: list[Any]) -> None:
    engine = Engine(loop.reactor)
    core = Failing()
    engine.add(core, lambda event: None)
    port = engine.listen("127.0.0.1", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in (1, 2, 3):
            sender.sendto(b"hello", ("127.0.0.1", port))
            loop.until(partial(core.has_received, number))
    assert engine.counters["events-failed"] >= 1
    assert engine.counters["send-failed"] >= 1
    core.fails = False
    loop.result(engine.stop())
    logged_failures.clear()
