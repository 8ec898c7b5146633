"""What connections cost that do nothing: memory by ``tracemalloc``, and no work at all."""

from __future__ import annotations

import gc
import tracemalloc
from random import Random

from userlan.stack import Host, TcpAccepted, TcpEvent
from userlan.stack.tcp import Connection, State

FIRST, SECOND = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
PORT = 80
LIMIT = 8 * 1024
"""Octets for one idle connection with all its objects, and its places in the host's tables."""


class Hosts:
    """Two hosts whose packets arrive at once; what arrives is read."""

    def __init__(self) -> None:
        self.now = 100.0
        self.first, self.second = (self._host(address) for address in (FIRST, SECOND))
        self.second.tcp_listen(PORT, backlog=1024)
        self.opened: list[Connection] = []
        self.accepted: list[Connection] = []

    @staticmethod
    def _host(address: bytes) -> Host:
        host = Host(entropy=Random(address[-1]).randbytes)
        host.add_address(address)
        return host

    def open(self, count: int) -> None:
        for number in range(count):
            self.opened.append(self.first.tcp_connect((SECOND, PORT), self.now))
            if number % 500 == 499 or number == count - 1:
                self.exchange()
                self.now += 0.001

    def exchange(self) -> None:
        for _ in range(100):
            moved = False
            for source, target in ((self.first, self.second), (self.second, self.first)):
                for packet in source.packets(self.now):
                    target.receive(packet, self.now)
                    moved = True
                for event in source.events():
                    if isinstance(event, TcpAccepted):
                        self.accepted.append(event.connection)
                    if isinstance(event, TcpAccepted | TcpEvent):
                        while event.connection.receive():
                            pass
            if not moved:
                return
        raise AssertionError("the hosts do not come to rest")

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(100_000):
            times = [time for host in (self.first, self.second) if (time := host.deadline()) is not None]
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            self.first.tick(self.now)
            self.second.tick(self.now)
            self.exchange()
        self.now = end


def test_an_idle_connection_takes_less_than_eight_kilobytes() -> None:
    """Fresh, and after a request and its answer."""
    count = 1_000
    hosts = Hosts()
    hosts.open(10)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    hosts.open(count)
    gc.collect()
    fresh = (tracemalloc.get_traced_memory()[0] - before) / (2 * count)
    for connection in hosts.opened:
        connection.send(bytes(300), hosts.now)
    hosts.exchange()
    for connection in hosts.accepted:
        connection.send(bytes(20_000), hosts.now)
    hosts.pass_time(5.0)
    gc.collect()
    used = (tracemalloc.get_traced_memory()[0] - before) / (2 * count)
    tracemalloc.stop()
    assert all(connection.unsent == 0 for connection in [*hosts.opened, *hosts.accepted])
    assert len(hosts.accepted) == count + 10
    assert fresh < LIMIT * 0.75
    assert used < LIMIT


def test_ten_thousand_idle_connections_cost_no_work() -> None:
    """Nothing is due: whoever waits for ``deadline`` sleeps. And each of them still works."""
    hosts = Hosts()
    hosts.open(10_000)
    hosts.pass_time(60.0)
    assert hosts.first.deadline() is None
    assert hosts.second.deadline() is None
    assert hosts.second.tcp_states() == {State.ESTABLISHED: 10_000}
    assert hosts.first.tcp_memory == hosts.second.tcp_memory == 0
    hosts.opened[7_777].send(b"hello", hosts.now)
    hosts.exchange()
    assert sum(connection.receiver.consumed for connection in hosts.accepted) == 5
