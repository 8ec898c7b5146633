"""A node without peers whose TAP stands in one network namespace, and its sockets in another: as ``userlan run`` has it.

    python -m tests.lab.uplink_node PID INTERNET RESOLVERS

in the inner namespace; PID is a process of the outer one; INTERNET: yes, no; RESOLVERS: the file for /etc/resolv.conf.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bridges.dns_upstream import SystemServers, Upstream
from bridges.internet import Internet
from userlan.driver.engine import Engine
from userlan.driver.lan import Lan
from userlan.driver.tap.device import open_tap
from userlan.driver.tap.port import TapPort
from userlan.driver.tap.setup import InterfaceSetup
from userlan.driver.uplink import Uplink
from userlan.node.memory import Memory
from userlan.node.node import Node

OWN = bytes((25, 1, 2, 3))
PORTS = (61_000, 65_000)


def lost(reason: str) -> None:
    raise SystemExit(reason)


def main(outer: str, internet: bool, resolvers: Path) -> None:
    from twisted.internet import reactor as installed

    reactor: Any = installed
    node = Node(bytes(range(32)), Memory(), name="anna", entropy=os.urandom, now=reactor.seconds(), wall_offset=1e9)
    node.roster.set_own("anna", OWN)
    node.host.add_address(OWN)
    engine = Engine(reactor)
    lan = Lan(engine.add(node, lambda event: None), node.lookup)
    port = TapPort(reactor, open_tap("lan0"), lost)
    services = Internet(lan, internet)
    if internet:
        services.server.upstream = Upstream(reactor, SystemServers(lan.is_lan, resolvers))
    link = lan.attach_link(port, PORTS, Uplink(services, internet))
    port.start(link, link.mtu)
    setup = InterfaceSetup("lan0", port.hardware, link.mtu)
    setup.follow(link.described())
    for family in ("-4", "-6"):
        subprocess.run(["ip", family, "route", "add", "default", "dev", "lan0"], check=True)
    with Path(f"/proc/{outer}/ns/net").open() as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")
    print("ready", flush=True)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "yes", Path(sys.argv[3]))
