"""What programs expect of the network that they are in, beside an interface with addresses."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from userlan.driver.tap.netlink import Interface

_SYSCTLS = Path("/proc/sys/net/ipv4")


def furnish() -> None:
    """Switch loopback on, let this user send pings, and serve any port: no one else is here. Raises OSError.

    Where /proc/sys may not be written, as in many containers, the kernel's defaults stay.
    """
    Interface("lo").switch_on()
    gid = os.getegid()
    for name, value in (("ping_group_range", f"{gid} {gid}"), ("ip_unprivileged_port_start", "0")):
        with suppress(OSError):
            (_SYSCTLS / name).write_text(value)


def lead_out(name: str, addresses: list[str]) -> None:
    """Everything that is nowhere else goes to the interface ``name``, by each version of IP that it has an address of.

    There is no router to be named: whoever answers for an address there, answers (RFC 826, RFC 4861). Raises OSError.
    """
    interface = Interface(name)
    for version in {6 if ":" in written else 4 for written in addresses}:
        interface.add_default_route(version)
