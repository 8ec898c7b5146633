"""The LAN's names on an attached computer: systemd-resolved is told that ``*.internal`` is asked of the resolver on the link.

    resolvectl dns lan0 fd75:6c61:6e00::53 · resolvectl domain lan0 ~internal · resolvectl default-route lan0 false

Where systemd-resolved does not run, nothing is changed: ``/etc/resolv.conf`` belongs to whoever wrote it. What is told holds
for the link, and resolved forgets it when that goes, however it ends: nothing has to be taken back.

The link is named by its number, which means nothing to a resolved in another network namespace: so it must be in ours.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from userlan.lan.addresses import RESOLVER, text

SERVICE = Path("/run/systemd/resolve/io.systemd.Resolve")
"""Where resolved answers while it runs (systemd-resolved.service(8), varlink)."""

NAMESPACES = (Path("/proc/1/ns/net"), Path("/proc/self/ns/net"))
"""Of the system's services, and of this process; only root may look at the first."""

DOMAIN = "~internal"
"""A routing domain: names below it are asked of this link, and no others because of it (systemd.network(5))."""

PATIENCE = 5.0
"""Seconds for each call: over D-Bus it takes milliseconds."""


def point(interface: str) -> str:
    """Have names of the LAN resolved by way of ``interface``. What went wrong, as one line; empty when it is done, or when
    systemd-resolved does not run here. Waits for it: up to ``PATIENCE`` for each of three calls."""
    program = shutil.which("resolvectl")
    if program is None or not _runs():
        return ""
    for words in (("dns", interface, text(RESOLVER)), ("domain", interface, DOMAIN), ("default-route", interface, "false")):
        try:
            done = subprocess.run((program, *words), capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError) as error:
            return f"resolvectl cannot be asked: {type(error).__name__}"
        if done.returncode:
            *_, reason = ["no reason is given", *done.stderr.strip().splitlines()]
            return f"names of the LAN are not resolved by systemd-resolved: {reason}"
    return ""


def _runs() -> bool:
    """Whether resolved runs, and its links are ours."""
    try:
        if len({os.readlink(path) for path in NAMESPACES}) != 1:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(PATIENCE)
            probe.connect(str(SERVICE))
    except OSError:
        return False
    return True
