"""What is between two places. Each way is a context manager of a :class:`Pair`; programs do not know which one they are on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from tests.lab.network import Lab, Namespace
from tests.lab.programs.broadcast import PORT
from tests.lab.programs.place import PATIENCE, Place
from tests.lab.userlan_process import Mediator, Member, together, wait_for_line

HOST, GUEST = "10.97.0.2", "10.97.0.3"
MEDIATOR = "10.97.0.1"
WITHOUT_BRIDGES = "discovery: {enabled: no}\nmdns: {enabled: no}\n"
"""Where the kernel itself is on the LAN, nothing else may be what makes a program work."""
SERVES = f"discovery: {{custom: [{{port: {PORT}, name: broadcaster, search: no}}]}}\n"
"""A port that is in no profile."""
SEARCHES = (
    "discovery:\n  profiles: {openttd: {search: yes}, teeworlds: {search: yes}}\n"
    f"  custom: [{{port: {PORT}, name: broadcaster, search: yes}}]\n"
)
"""As ``userlan share openttd --search`` does it: these servers cannot share their port, so nobody but who does not serve may hold it."""


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


def place(user: Namespace, root: Namespace, folder: Path, name: str, prefix: tuple[str, ...] = ()) -> Place:
    """An ordinary user's place."""
    own = folder / f"at-{name}"
    own.mkdir(parents=True)
    return Place(name, user, own, prefix, root)


@contextlib.contextmanager
def native(folder: Path) -> Iterator[Pair]:
    """Two computers on one switch."""
    with Lab(folder) as lab:
        anna, ben = computer(lab, "anna"), computer(lab, "ben")
        plug(lab, [(anna, HOST), (ben, GUEST)])
        yield Pair(place(anna.ordinary(), anna, folder, "anna"), place(ben.ordinary(), ben, folder, "ben"))


@attrs.frozen
class Nodes:
    """Two computers that cannot reach each other but by the LAN: each has a router of its own, and an ordinary user's node."""

    lab: Lab
    folder: Path
    spaces: tuple[Namespace, Namespace]
    members: tuple[Member, Member]

    def place(self, which: int, prefix: tuple[str, ...] = ()) -> Place:
        """At a computer, outside of ``run`` or with what stands before a program."""
        member = self.members[which]
        return place(member.namespace, self.spaces[which], self.folder, member.name, prefix)

    def running(self, which: int) -> Place:
        """Behind ``userlan run``."""
        return self.place(which, self.members[which]._command("run", "--"))


@contextlib.contextmanager
def nodes(folder: Path, *configs: str) -> Iterator[Nodes]:
    """anna and ben in one network, direct."""
    with Lab(folder) as lab:
        middle = lab.namespace("mediator")
        spaces = computer(lab, "anna"), computer(lab, "ben")
        plug_apart(lab, middle, spaces)
        mediator = Mediator(middle, folder / "mediator", f"{MEDIATOR}:41414")
        anna, ben = (
            Member(space.ordinary(), folder / space.name, space.name, config) for space, config in zip(spaces, configs, strict=True)
        )
        together((anna, ben), "--mediator", mediator.url, patience=PATIENCE)
        yield Nodes(lab, folder, spaces, (anna, ben))


def plug_apart(lab: Lab, middle: Namespace, spaces: Sequence[Namespace]) -> None:
    """Each computer on a network of its own behind ``middle``, which forwards packets and, as every router, no broadcasts."""
    middle.run("sh", "-ec", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    middle.ip("addr", "add", f"{MEDIATOR}/32", "dev", "lo")
    for number, space in enumerate(spaces, 1):
        inner, _ = lab.wire(middle, space, f"lan{number}", "eth0")
        middle.ip("addr", "add", f"10.97.{number}.1/24", "brd", "+", "dev", inner)
        space.ip("addr", "add", f"10.97.{number}.2/24", "brd", "+", "dev", "eth0")
        space.ip("route", "add", "default", "via", f"10.97.{number}.1")


@contextlib.contextmanager
def bridge(folder: Path) -> Iterator[Pair]:
    """Programs beside the nodes: nothing is attached."""
    with nodes(folder, SERVES, SEARCHES) as made:
        yield Pair(made.place(0), made.place(1))


@contextlib.contextmanager
def run(folder: Path) -> Iterator[Pair]:
    """Both behind ``userlan run``."""
    with nodes(folder, WITHOUT_BRIDGES, WITHOUT_BRIDGES) as made:
        yield Pair(made.running(0), made.running(1))


@contextlib.contextmanager
def bridge_run(folder: Path) -> Iterator[Pair]:
    """The server beside its node, the client behind ``userlan run``."""
    with nodes(folder, SERVES, SEARCHES) as made:
        yield Pair(made.place(0), made.running(1))


@contextlib.contextmanager
def run_bridge(folder: Path) -> Iterator[Pair]:
    """The server behind ``userlan run``, the client beside its node."""
    with nodes(folder, SERVES, SEARCHES) as made:
        yield Pair(made.running(0), made.place(1))


@contextlib.contextmanager
def tap(folder: Path) -> Iterator[Pair]:
    """Both computers attached, by root; the nodes and the programs are still an ordinary user's."""
    with nodes(folder, WITHOUT_BRIDGES, WITHOUT_BRIDGES) as made:
        for space, member in zip(made.spaces, made.members, strict=True):
            log = member.folder / "tap.log"
            with log.open("wb") as file:
                process = space.start(*member._command("tap", "--broadcasts"), stdout=file, stderr=file)
            wait_for_line(log, "attached", process, patience=PATIENCE)
        yield Pair(made.place(0), made.place(1))


WAYS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Pair]]] = {
    "native": native, "bridge": bridge, "run": run, "tap": tap, "bridge-run": bridge_run, "run-bridge": run_bridge,
}  # fmt: skip
