"""What an idle TCP connection costs the stack itself, without sockets, bridges and Twisted around it.

Two hosts in one process open connections to each other, send a kilobyte each way over every one and fall silent. Printed: octets that
Python has allocated, by connection and side.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc

from tests.sim.lan import packed, pair
from tests.sim.world import World
from userlan.stack.events import TcpAccepted, TcpEvent
from userlan.stack.tcp.state import State

PAYLOAD = bytes(1024)
IDLE = 30.0
"""Virtual seconds of silence: every timer but those of idle connections has run out."""


def main() -> None:
    """See the module."""
    count = int(sys.argv[1])
    world = World(seed=1)
    one, two = pair(world, "10.0.0.1", "10.0.0.2", checksums=False)
    accepted = []

    def opened(event: object) -> None:
        if isinstance(event, TcpAccepted):
            accepted.append(event.connection)
        elif isinstance(event, TcpEvent):
            while event.connection.receive():
                pass

    one.handler = two.handler = opened
    two.core.tcp_listen(80, backlog=1024)
    gc.collect()
    tracemalloc.start()
    connections = []
    for number in range(count):
        connections.append(one.core.tcp_connect((packed("10.0.0.2"), 80), world.now))
        if number % 100 == 99 or number == count - 1:
            world.run(0.01)
    for connection in (*connections, *accepted):
        connection.send(PAYLOAD, world.now)
    world.run(IDLE)
    gc.collect()
    octets, _ = tracemalloc.get_traced_memory()
    alive = sum(connection.state is State.ESTABLISHED for connection in (*connections, *accepted))
    if alive != 2 * count:
        sys.exit(f"{alive} of {2 * count} ends are established")
    print(json.dumps({"octets": octets / (2 * count)}))


if __name__ == "__main__":
    main()
