"""Who holds which port of this computer: ``/proc/net/{udp,tcp}{,6}`` (proc(5)), and the processes whose files this user may see.

One line of these files::

    sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode …
    12: 0100007F:14EB 00000000:0000 07 …                                       1000        0 34567

Addresses are words of 32 bits in the byte order of the machine.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import attrs

PROC = Path("/proc")
_UDP_BOUND, _TCP_LISTENS = "07", "0A"
_INODE = re.compile(r"socket:\[(\d+)\]")
INTERPRETERS = ("python", "node", "ruby", "perl")
MAX_LINES = 65_536
"""Lines of one file: as many as there are ports."""


@attrs.frozen
class Socket:
    """A UDP socket that is bound, or a TCP one that listens. ``pid`` 0: not to be seen by this user."""

    protocol: str
    host: str
    port: int
    uid: int = 0
    pid: int = 0
    program: str = ""

    @property
    def everywhere(self) -> bool:
        """Whether it takes what comes to any address."""
        return self.host in ("0.0.0.0", "::")

    @property
    def of_many(self) -> bool:
        """Whether it is bound to a broadcast's or a group's own address."""
        address = ipaddress.ip_address(self.host)
        return address.is_multicast or self.host.endswith(".255")

    @property
    def holder(self) -> str:
        """Whose it is, for people."""
        if self.pid:
            return f"{self.program} (process {self.pid})"
        return f"a program of another user ({self.uid}: `sudo ss -tulpn` names it)"


class Entry(NamedTuple):
    """One line."""

    host: str
    port: int
    uid: int
    inode: int


def parse(text: str, protocol: str) -> Iterator[Entry]:
    """The sockets that wait for anybody: UDP's that are bound and not connected, TCP's that listen."""
    state = _UDP_BOUND if protocol == "udp" else _TCP_LISTENS
    for line in text.splitlines()[1:MAX_LINES]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == state:
            host, _, port = fields[1].partition(":")
            yield Entry(_address(host), int(port, 16), int(fields[7]), int(fields[9]))


def _address(written: str) -> str:
    words = bytes.fromhex(written)
    packed = b"".join(words[place : place + 4][:: -1 if sys.byteorder == "little" else 1] for place in range(0, len(words), 4))
    return str(ipaddress.ip_address(packed))


def waiting(proc: Path = PROC) -> tuple[Socket, ...]:
    """All of them, each with its process where this user may see it; nothing where there is no /proc."""
    found: list[tuple[str, Entry]] = []
    for protocol in ("udp", "tcp"):
        for name in (protocol, f"{protocol}6"):
            with suppress(OSError):
                found += [(protocol, entry) for entry in parse((proc / "net" / name).read_text(), protocol)]
    owners = _owners({entry.inode for _, entry in found}, proc)
    return tuple(Socket(protocol, one.host, one.port, one.uid, *owners.get(one.inode, (0, ""))) for protocol, one in found)


def _owners(inodes: set[int], proc: Path) -> dict[int, tuple[int, str]]:
    found: dict[int, tuple[int, str]] = {}
    for process in proc.iterdir() if proc.is_dir() else ():
        if not process.name.isdecimal():
            continue
        with suppress(OSError):
            for descriptor in os.scandir(process / "fd"):
                with suppress(OSError):
                    match = _INODE.fullmatch(os.readlink(descriptor.path))
                    if match is not None and int(match[1]) in inodes:
                        found[int(match[1])] = (int(process.name), _program(process))
    return found


def _program(process: Path) -> str:
    """Its name for people; of what an interpreter runs, the module's or the script's."""
    name = (process / "comm").read_text().strip()
    if not name.startswith(INTERPRETERS):
        return name
    words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[1:]
    for place, word in enumerate(words):
        if word == "-m":
            return "".join(words[place + 1 : place + 2]) or name
        if word and not word.startswith("-"):
            return Path(word).stem or name
        if word in ("-c", "-e"):
            break
    return name


def only_ipv6(sockets: tuple[Socket, ...]) -> frozenset[tuple[str, int]]:
    """Where a program has all IPv6 addresses and not those of IPv4: found by trying to have these, which would fail otherwise."""
    wide = {(one.protocol, one.port) for one in sockets if one.host == "::"}
    narrow = {(one.protocol, one.port) for one in sockets if ":" not in one.host}
    return frozenset(one for one in wide - narrow if _free(*one))


def _free(protocol: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
