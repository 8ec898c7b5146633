"""In CI a skipped test is a failure, unless ``allowed_skips.txt`` names it with its reason; no test reaches the real network, and none
the home or the desktop of whoever runs it."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.lab.network import find_servers

settings.register_profile("userlan", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI")))
settings.load_profile("userlan")

pytest_plugins = ["tests.fuzzing"]

SENDING = ("socket.sendto", "socket.sendmsg", "socket.connect")
"""Audit events (PEP 578) with a socket and an address."""


def stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    """Nothing leaves this computer from the tests' own process: what needs a network has one in namespaces, with processes of its own."""
    if event not in SENDING:
        return
    one, address = arguments[0], arguments[1]
    if not isinstance(address, tuple) or one.family not in (socket.AF_INET, socket.AF_INET6):
        return
    if event == "socket.connect" and one.type == socket.SOCK_DGRAM:
        return          # asks the kernel for a route, and sends nothing
    host = str(address[0]).partition("%")[0]
    try:
        to = ipaddress.ip_address(host.removeprefix("::ffff:"))
        nowhere = event == "socket.connect" and (
            to.is_multicast or to == ipaddress.ip_address("255.255.255.255") or (to.is_link_local and not any(address[3:]))
        )       # the kernel refuses a stream to these
        here = to.is_loopback or to.is_unspecified or nowhere or (to.is_multicast and by_loopback(one))
    except ValueError:
        here = host == "localhost"
    if not here:
        raise AssertionError(f"a test sends to {host}: {event}")


def by_loopback(one: socket.socket) -> bool:
    """Whether a socket's multicasts leave by the loopback interface."""
    if one.family == socket.AF_INET:
        return one.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4)[0] == 127
    index = one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF)
    return index > 0 and socket.if_indextoname(index) == "lo"


sys.addaudithook(stay_here)

OF_A_PERSON = (
    "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "XDG_DOWNLOAD_DIR",
    "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "USERLAN_STATE",
)  # fmt: skip
"""Where programs look for somebody's folders, session, screen and node."""
HOME = tempfile.mkdtemp(prefix="userlan-home-")
"""The home of all tests and of the programs that they start."""
os.environ["HOME"] = HOME
for _name in OF_A_PERSON:
    os.environ.pop(_name, None)
find_servers()


def pytest_unconfigure() -> None:
    """The tests' home goes with them."""
    shutil.rmtree(HOME, ignore_errors=True)


signal.signal(signal.SIGTERM, signal.default_int_handler)       # timeout(1) ends the tests as Ctrl-C does: what they started ends, too

ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def allowed_skips() -> set[str]:
    """Node ids (a prefix is enough) that may skip in CI."""
    lines = ALLOWED.read_text().splitlines()
    return {line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()}


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn an unexpected skip into a failure where CI runs."""
    if not os.environ.get("CI") or exitstatus != 0:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    allowed = allowed_skips()
    unexpected = [report.nodeid for report in skipped if not any(report.nodeid.startswith(prefix) for prefix in allowed)]
    if unexpected and reporter is not None:
        session.exitstatus = 1
        reporter.write_line(f"skipped, but not named in {ALLOWED.name}: {', '.join(unexpected)}", red=True)
