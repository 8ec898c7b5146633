"""A computer behind a router, as a process: it asks the router for a port by the driver's own port mapping.

::

    python -m tests.lab.mapping_client HOST PORT [METHOD…]     HOST: the own address; METHOD: only these (pcp, nat-pmp, upnp)
      prints ``mapped METHOD TRANSPORT=HOST:PORT…`` at each change, answers what arrives at PORT by UDP with what it was, and a TCP
      connection with a line; ends, with its mappings, on end of input
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from tests.driver.loop import Loop
from userlan.driver.port_mapping import PortMapping
from userlan.traversal.port_mapping.mapper import Mapped
from userlan.wire.endpoint import host_port


class Echo(DatagramProtocol):
    """Answers with what came."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        transport: Any = self.transport
        transport.write(datagram, addr)


class Greeting(Protocol):
    """Says who it is."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(b"behind the router\n")
        transport.loseConnection()


def main() -> None:
    """See the module."""
    loop = Loop()
    host, port, methods = sys.argv[1], int(sys.argv[2]), sys.argv[3:]

    def observe(mapped: Mapped) -> None:
        ends = [f"{one.transport}={host_port(one.host, one.port)}" for one in mapped.endpoints]
        print("mapped", mapped.method or "nothing", *ends, flush=True)

    mapping = PortMapping(loop.reactor, os.urandom, port, observe, 6 if ":" in host else 4)
    start = mapping.mapper._start

    def only_these(now: float) -> None:
        start(now)
        mapping.mapper._methods = [method for method in mapping.mapper._methods if not methods or method.name in methods]

    mapping.mapper._start = only_these      # type: ignore[method-assign]  # a router that speaks one protocol alone
    loop.reactor.listenUDP(port, Echo())
    factory: Any = Factory.forProtocol(Greeting)
    loop.reactor.listenTCP(port, factory)
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    mapping.look([host])
    loop.until(ended.is_set, 600.0)
    loop.result(mapping.stop())
    print("stopped", flush=True)
    loop.close()


if __name__ == "__main__":
    main()
