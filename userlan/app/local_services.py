"""What programs of this computer offer, and what of it the LAN is offered: the rows behind one switch each.

::

    /proc/net ── sockets that wait ──┐
                                     ├── one row for each port ──▶ ``local-services``
    the bridge ``expose`` ── rules ──┘

A row without a socket is a service that is exposed and not served at present, or one of another computer. Where the system does not
tell of other programs' sockets, there are only such rows: whoever knows the port exposes it by hand.

What is left out: the sockets of this node itself, and of others like it; those that are bound to a group, to a broadcast's address, or
to a loopback address of their own (a node's forwards, a resolver's stub); and of UDP's, what is a client's or everybody's: ports that the
kernel gives away, and those by which programs find each other, which discovery carries.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from userlan.driver import sockets
from userlan.driver.sockets import PROC, Socket
from userlan.driver.threads import in_thread
from userlan.lan.hostport import join_host_port

if TYPE_CHECKING:
    from userlan.app.program import NodeProgram

MAX_TOLD = 512
"""Rows of one answer: more than a page has switches for."""
DYNAMIC = range(49152, 65536)
"""Ports that are given to whoever wants any (RFC 6335 6), where the system does not say which."""
FINDING = frozenset({67, 68, 123, 137, 138, 546, 547, 1900, 3702, 5353, 5355})
"""UDP ports of what every computer runs: DHCP, NTP, NetBIOS, SSDP, WS-Discovery, multicast DNS, LLMNR (IANA's registry)."""
LOOPBACK = ("127.0.0.1", "::1")

Key = tuple[str, str, int]
"""(host as ``expose`` writes it: empty for this computer's loopback, protocol, port)."""


def listing(waiting: Iterable[Socket], exposed: Iterable[Mapping[str, Any]], own: int, dynamic: range = DYNAMIC) -> list[dict[str, Any]]:
    """The rows, the exposed ones first, then by port. ``exposed``: as ``ExposeBridge.diagnosis`` tells them; ``own``: this process."""
    rows: dict[Key, dict[str, Any]] = {}
    for one in waiting:
        if one.pid != own and _offers(one, dynamic):
            key = (_host(one), one.protocol, one.port)
            before = rows.get(key)
            if before is None or (not before["program"] and one.program):
                rows[key] = _row(key, one)
    for rule in exposed:
        key = (_written(str(rule["host"]), str(rule["protocol"])), str(rule["protocol"]), int(rule["service_port"]))
        row = rows.setdefault(key, _row(key, None))
        if row["exposed"]:      # the same one at several ports of the LAN: each is a row
            row = rows[*key[:2], -int(rule["port"])] = _row(key, None) | {"program": row["program"], "serving": row["serving"]}
        row |= {
            "exposed": True,
            "exposed_as": rule["port"],
            "name": rule["name"] or row["name"],
            "service": rule["service"],
            "configured": rule["configured"],
            "allow": list(rule["allow"]),
            "error": rule["error"],
            "streams": rule["streams"],
        }
    return sorted(rows.values(), key=lambda row: (not row["exposed"], row["port"], row["protocol"], row["host"]))[:MAX_TOLD]


def _offers(one: Socket, dynamic: range) -> bool:
    address = ipaddress.ip_address(one.host)
    if one.program == "userlan" or one.of_many or not one.port or (address.is_loopback and one.host not in LOOPBACK):
        return False
    return one.protocol == "tcp" or (one.port not in dynamic and one.port not in FINDING)


def _host(one: Socket) -> str:
    return "" if one.everywhere else _written(one.host, one.protocol)


def _written(host: str, protocol: str) -> str:
    """A host as ``expose`` writes it. Of TCP it tries ::1 by itself, of UDP nothing says that nobody is there."""
    loopback = LOOPBACK if protocol == "tcp" else LOOPBACK[:1]
    return "" if host in ("localhost", *loopback) else host


def _row(key: Key, one: Socket | None) -> dict[str, Any]:
    host, protocol, port = key
    suffix = "/udp" if protocol == "udp" else ""
    known = ""
    with suppress(OSError, OverflowError):
        known = socket.getservbyport(port, protocol)
    return {
        "host": host or "127.0.0.1",
        "port": port,
        "protocol": protocol,
        "program": one.program if one is not None else "",
        "name": known,
        "service": f"{join_host_port(host, port) if host else port}{suffix}",
        "serving": one is not None,
        "everywhere": one is not None and one.everywhere,
        "exposed": False,
        "exposed_as": None,
        "configured": False,
        "allow": [],
        "error": "",
        "streams": 0,
    }


def dynamic_ports(proc: Path = PROC) -> range:
    """The ports that the kernel gives to clients (ip(7), ip_local_port_range)."""
    with suppress(OSError, ValueError):
        first, last = (proc / "sys/net/ipv4/ip_local_port_range").read_text().split()
        return range(int(first), int(last) + 1)
    return DYNAMIC


def local_services(program: NodeProgram) -> Deferred[list[dict[str, Any]]]:
    """``local-services``. The processes' files are looked at in a thread: there are thousands."""
    bridge: Any = program.bridges.get("expose")
    exposed = bridge.diagnosis(None) if hasattr(bridge, "diagnosis") else []

    def look() -> list[dict[str, Any]]:
        return listing(sockets.waiting(), exposed, os.getpid(), dynamic_ports())

    return in_thread(program.reactor, look)
