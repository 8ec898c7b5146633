"""The default gateway, as the system knows it: from /proc where it is, else from ``netstat``, which every other system has."""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
import socket
import subprocess
import sys
from pathlib import Path

ROUTES = Path("/proc/net/route")
ROUTES_IPV6 = Path("/proc/net/ipv6_route")
"""Linux (Documentation/networking; fib_route_seq_show, rt6_info_route)."""
RTF_UP_GATEWAY = 0x3
"""RTF_UP and RTF_GATEWAY (Linux, include/uapi/linux/route.h)."""
NETSTAT_TIMEOUT = 5.0
"""Seconds: it reads a table; with a broken resolver it may wait, in spite of ``-n``."""


def quick() -> bool:
    """Whether :func:`default_gateway` costs no more than reading a file, so that it may be asked in the reactor's thread."""
    return ROUTES.exists()


def default_gateway(version: int = 4) -> str | None:
    """The numeric address of the router for ``version`` 4 or 6, link-local ones with their zone; None where there is none."""
    if quick():
        with contextlib.suppress(OSError):
            return from_proc(ROUTES.read_text("ascii")) if version == 4 else from_proc_ipv6(ROUTES_IPV6.read_text("ascii"))
        return None
    netstat = shutil.which("netstat")
    if netstat is None:
        return None
    try:
        told = subprocess.run([netstat, "-rn"], capture_output=True, text=True, timeout=NETSTAT_TIMEOUT, errors="replace")
    except (OSError, subprocess.SubprocessError):
        return None
    return from_netstat(told.stdout, version)


def own_address(gateway: str) -> str | None:
    """The own address from which ``gateway`` is reached; None where it is not. Nothing is sent."""
    family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((gateway, 9))
            return str(asked.getsockname()[0])
    except OSError:
        return None


def from_proc(text: str) -> str | None:
    """The gateway with the least metric of Linux's IPv4 table."""
    best: tuple[int, str] | None = None
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            destination, gateway, flags, mask = (int(fields[at], 16) for at in (1, 2, 3, 7))
            metric = int(fields[6])
            host = str(ipaddress.IPv4Address(gateway.to_bytes(4, sys.byteorder)))
        except (ValueError, IndexError, OverflowError):
            continue
        if destination == mask == 0 and flags & RTF_UP_GATEWAY == RTF_UP_GATEWAY and (best is None or metric < best[0]):
            best = (metric, host)
    return best[1] if best is not None else None


def from_proc_ipv6(text: str) -> str | None:
    """The same of its IPv6 table."""
    best: tuple[int, str] | None = None
    for line in text.splitlines():
        fields = line.split()
        try:
            length, via, metric, flags = int(fields[1], 16), bytes.fromhex(fields[4]), int(fields[5], 16), int(fields[8], 16)
            gateway = ipaddress.IPv6Address(via)
            interface = fields[9]
        except (ValueError, IndexError):
            continue
        if length == 0 and flags & RTF_UP_GATEWAY == RTF_UP_GATEWAY and (best is None or metric < best[0]):
            best = (metric, f"{gateway}%{interface}" if gateway.is_link_local else str(gateway))
    return best[1] if best is not None else None


def from_netstat(text: str, version: int) -> str | None:
    """The first default route of ``netstat -rn``: ``default GATEWAY …`` (BSD, macOS), ``0.0.0.0 0.0.0.0 GATEWAY …`` (Windows)."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 3 or fields[0] not in ("default", "0.0.0.0", "::/0"):
            continue
        for field in fields[1:4]:
            with contextlib.suppress(ValueError):
                address = ipaddress.ip_address(field)
                if address.version == version and not address.is_unspecified:
                    return field
    return None
