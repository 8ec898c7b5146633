"""Opening a TAP: its name, its offloads, and what the kernel beside it may collide with (Linux, tun(4), tuntap.rst).

The device is not persistent: it vanishes, with its addresses and routes, when the last descriptor of it is closed.
Who opens it needs CAP_NET_ADMIN (in the user namespace of its network namespace); who reads and writes it does not, so
that a descriptor can be handed to a process without privileges.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from pathlib import Path

from userlan.driver.tap.frames import VNET

DEVICE = "/dev/net/tun"
MAX_NAME = 15
"""Octets of an interface's name (IFNAMSIZ less the zero)."""

_TUNSETIFF, _TUNGETIFF = 0x400454CA, 0x800454D2
_TUNSETOFFLOAD = 0x400454D0
_TUNSETVNETHDRSZ, _TUNGETVNETHDRSZ = 0x400454D8, 0x800454D7
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_TUN_EXCL = 0x0002, 0x1000, 0x4000, 0x8000
_REQUEST = struct.Struct("=16sH22x")
"""``struct ifreq``, with the flags of TUNSETIFF."""

_CSUM, _TSO4, _TSO6, _ECN, _USO4, _USO6 = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40
_OFFLOADS = (
    _CSUM | _TSO4 | _TSO6 | _ECN | _USO4 | _USO6,
    _CSUM | _TSO4 | _TSO6 | _ECN,
    _CSUM | _TSO4 | _TSO6,
    _CSUM,
    0,
)
"""What is asked for, best first (TUNSETOFFLOAD; UDP segmentation since Linux 6.2)."""

_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DEFAULT_RANGE = (32_768, 60_999)
LOWEST_PORT, HIGHEST_PORT = 16_384, 65_535
"""Between these the stack's ephemeral ports are chosen; below lie the ports of services."""
LEAST_PORTS = 1_024
"""Ports that are enough: each serves once for every pair of addresses and far port."""


class TapError(Exception):
    """There can be no TAP; ``str()`` is one clear line that says what to do."""

    def __init__(self, text: str, forbidden: bool = False) -> None:
        super().__init__(text)
        self.forbidden = forbidden
        """Whether it is a matter of privileges."""


def check_platform() -> None:
    """Raises TapError where there can be no TAP whoever asks."""
    if not sys.platform.startswith("linux"):
        system = {"darwin": "macOS", "win32": "Windows"}.get(sys.platform, sys.platform)
        raise TapError(
            f"`userlan tap` is built for Linux alone, not for {system}: the proxy, `userlan forward` and the bridges"
            " reach the LAN without a network adapter"
        )


def open_tap(name: str) -> int:
    """Make the TAP ``name`` and return its descriptor, non-blocking and not inherited. Raises TapError.

    Its interface is down and has no address yet (``netlink``).
    """
    check_platform()
    import fcntl

    if not name.isascii() or not 1 <= len(name) <= MAX_NAME or any(sign in "/: \t\n%" for sign in name) or name.strip(".") == "":
        raise TapError(f"{name!r} cannot be an interface's name: 1 to {MAX_NAME} letters and digits")
    descriptor = _open()
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_TUN_EXCL
        fcntl.ioctl(descriptor, _TUNSETIFF, _REQUEST.pack(name.encode(), flags))
        fcntl.ioctl(descriptor, _TUNSETVNETHDRSZ, struct.pack("=i", VNET.size))
        _offload(descriptor)
    except OSError as error:
        os.close(descriptor)
        raise _explained(error, name) from error
    return descriptor


def _open() -> int:
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise TapError(f"this system has no {DEVICE}: on Linux load it with `modprobe tun`") from None
    except OSError as error:
        raise _explained(error, "") from error


def _offload(descriptor: int) -> None:
    """The most that this kernel takes."""
    import fcntl

    for wanted in _OFFLOADS:
        try:
            fcntl.ioctl(descriptor, _TUNSETOFFLOAD, wanted)
            return
        except OSError as error:
            if error.errno != errno.EINVAL or not wanted:
                raise


def _explained(error: OSError, name: str) -> TapError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return TapError(
            "to attach a TAP takes the right to administer the network: run `sudo userlan tap`"
            " (the node itself stays without privileges), or give Python that right:"
            f" `sudo setcap cap_net_admin+ep {os.path.realpath(sys.executable)}`",
            forbidden=True,
        )
    if error.errno == errno.EBUSY:
        return TapError(f"there is an interface {name} already: choose another one with --name")
    return TapError(f"the TAP {name or DEVICE} cannot be opened: {error.strerror}")


def name_of(descriptor: int) -> str:
    """The name of an open TAP that somebody hands over. Raises TapError for what is none, or has other headers."""
    import fcntl

    try:
        answer = fcntl.ioctl(descriptor, _TUNGETIFF, bytes(_REQUEST.size))
        size = fcntl.ioctl(descriptor, _TUNGETVNETHDRSZ, bytes(4))
    except OSError as error:
        raise TapError(f"what was handed over is no TAP: {error.strerror}") from error
    name, flags = _REQUEST.unpack(answer)
    wanted = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
    if flags & wanted != wanted or struct.unpack("=i", size)[0] != VNET.size:
        raise TapError("what was handed over is no TAP with the headers that are needed")
    os.set_blocking(descriptor, False)
    return str(name.rstrip(b"\0").decode("ascii", "replace"))


def stack_ports() -> tuple[int, int]:
    """First and last ephemeral port for the stack, outside of those that this network namespace's kernel chooses from:
    above them, or where that leaves too few, below. The last resort is to share them."""
    try:
        low, high = (int(word) for word in _PORT_RANGE.read_text().split())
    except (OSError, ValueError):
        low, high = _DEFAULT_RANGE
    if HIGHEST_PORT - high >= LEAST_PORTS:
        return high + 1, HIGHEST_PORT
    if low - LOWEST_PORT >= LEAST_PORTS:
        return LOWEST_PORT, low - 1
    return _DEFAULT_RANGE
