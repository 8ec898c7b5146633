"""What is between two places. Each way is a context manager of a :class:`Pair`; programs do not know which one they are on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from tests.lab.network import Lab, Namespace
from tests.lab.programs.place import Place

HOST, GUEST = "10.97.0.2", "10.97.0.3"


@attrs.frozen
class Pair:
    """Where the server is, and where the client."""

    host: Place
    guest: Place


def computer(lab: Lab, name: str) -> Namespace:
    """A namespace for one computer. Ports below 1024 and pings are every user's: such servers (Samba) are started by the system."""
    space = lab.namespace(name)
    settings = {"ip_unprivileged_port_start": "0", "ping_group_range": "0 0", "icmp_echo_ignore_broadcasts": "0"}
    space.run("sh", "-ec", "\n".join(f"echo '{value}' > /proc/sys/net/ipv4/{key}" for key, value in settings.items()))
    return space


def plug(lab: Lab, hosts: list[tuple[Namespace, str]]) -> None:
    """All on one switch, with the broadcast address and the default route that a DHCP client would have set."""
    lab.switch("switch", [(space, f"{address}/24") for space, address in hosts])
    for space, address in hosts:
        space.ip("addr", "del", f"{address}/24", "dev", "eth0")
        space.ip("addr", "add", f"{address}/24", "brd", "+", "dev", "eth0")
        space.ip("route", "add", "default", "dev", "eth0")


def place(space: Namespace, folder: Path, name: str, prefix: tuple[str, ...] = ()) -> Place:
    """An ordinary user's place."""
    own = folder / f"at-{name}"
    own.mkdir(parents=True)
    return Place(name, space, own, prefix)


@contextlib.contextmanager
def native(folder: Path) -> Iterator[Pair]:
    """Two computers on one switch."""
    with Lab(folder) as lab:
        anna, ben = computer(lab, "anna"), computer(lab, "ben")
        plug(lab, [(anna, HOST), (ben, GUEST)])
        yield Pair(place(anna.ordinary(), folder, "anna"), place(ben.ordinary(), folder, "ben"))


WAYS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Pair]]] = {"native": native}
