"""What programs expect of the network that they are in, beside an interface with addresses."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from userlan.driver.namespace import calls
from userlan.driver.tap.netlink import Interface

_SYSCTLS = Path("/proc/sys/net/ipv4")
_SYSFS = Path("/sys")
_INTERFACES = ("class/net", "devices/virtual/net")
"""Where sysfs shows interfaces: names, and what they are linked to."""


def furnish(place: Path) -> None:
    """Switch loopback on, let this user send pings, serve any port, and see the interfaces in /sys: no one else is here.
    ``place``: a folder that is there; something is mounted over it for a moment. Raises OSError.

    Where that may not be written or mounted, as in many containers, it stays as it is.
    """
    Interface("lo").switch_on()
    gid = os.getegid()
    for name, value in (("ping_group_range", f"{gid} {gid}"), ("ip_unprivileged_port_start", "0")):
        with suppress(OSError):
            (_SYSCTLS / name).write_text(value)
    with suppress(OSError):
        _show_interfaces(str(place))


def _show_interfaces(place: str) -> None:
    """A sysfs shows the interfaces of the network namespace in which it was mounted; all the rest of /sys stays, with what is
    mounted there. Raises OSError."""
    calls.mount("userlan", place, "sysfs", calls.MOUNT_HARMLESS | calls.MOUNT_READ_ONLY)
    try:
        for name in _INTERFACES:
            calls.mount(f"{place}/{name}", str(_SYSFS / name), flags=calls.MOUNT_BIND)
    finally:
        calls.unmount(place)


def lead_out(name: str, addresses: list[str]) -> None:
    """Everything that is nowhere else goes to the interface ``name``, by each version of IP that it has an address of.

    There is no router to be named: whoever answers for an address there, answers (RFC 826, RFC 4861). Raises OSError.
    """
    interface = Interface(name)
    for version in {6 if ":" in written else 4 for written in addresses}:
        interface.add_default_route(version)
