"""Sites on the lab's Internet: hosts behind a NAT of some kind, and hosts with public addresses.

    host eth0 192.168.1.2 ── lan 192.168.1.1 [router] wan ══ Internet ══ eth0 44.0.0.1, 44.0.0.2 mediator

Every home has the same private network, as real ones do. Each NAT kind has a router: it translates by nftables, or only forwards to the
box that the Internet's process keeps.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

from tests.lab.nats import PUBLIC, Kind
from tests.lab.network import Lab, Namespace

ROOT = Path(__file__).parents[2]
ONE_WAY = 0.040
"""Seconds between two sites, one way; half of it belongs to each wire."""
LAN = "192.168.1"
BETWEEN = "100.64.1"
"""Between the two NATs of a double one (RFC 6598)."""


@attrs.frozen
class Site:
    """A home: its computers, the router (None where the host itself is public), the wire's name, and its public addresses."""

    name: str
    kind: Kind | None
    hosts: tuple[Namespace, ...]
    router: Namespace | None
    wire: str
    addresses: tuple[str, ...]

    @property
    def host(self) -> Namespace:
        """The first computer."""
        return self.hosts[0]


class World:
    """The Internet and everything on it. ``one_way``: seconds between any two sites."""

    def __init__(self, lab: Lab, one_way: float = ONE_WAY) -> None:
        self.lab = lab
        self.half = one_way / 2
        self._space = lab.namespace("internet")
        self._process = self._space.start(
            sys.executable, "-m", "tests.lab.internet", stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=str(ROOT)
        )
        self._lock = threading.Lock()
        self._sites = 0
        self._answer("ready")

    def do(self, command: str, **arguments: Any) -> Any:
        """A command to the Internet's process (``tests.lab.internet.Internet``); its answer."""
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write((json.dumps({"do": command, **arguments}) + "\n").encode())
            self._process.stdin.flush()
            return json.loads(self._answer(command))

    def public(self, name: str, addresses: Sequence[str], one_way: float | None = None) -> Site:
        """A host with public addresses (IPv4, and IPv6 ones of a network of its own)."""
        host = self.lab.namespace(name)
        hosts = [address if "." in address else f"{address}/64" for address in addresses]
        wire = self._wire(host, "eth0", hosts, half=None if one_way is None else one_way - self.half)
        lines = [f"addr add {address}/32 dev eth0" if '.' in address else f"addr add {address}/128 dev eth0 nodad" for address in addresses]
        set_up(host, [*lines, *upstream("eth0", any(":" in address for address in addresses))])
        return Site(name, None, (host,), None, wire, tuple(addresses))

    def site(self, kind: Kind, name: str = "", hosts: int = 1) -> Site:
        """A home behind a NAT of this kind."""
        with self._lock:
            self._sites += 1
            number = self._sites
        name = name or f"{kind.name}-{number}"
        addresses = tuple(f"44.0.{number}.{last}" for last in range(1, kind.pool + 1))
        if kind.open:
            return attrs.evolve(self.public(name, addresses), kind=kind)
        outermost = router = self._router(kind, name, addresses)
        if kind.outer is not None:
            router = self._router(attrs.evolve(kind, outer=None), f"{name}-inner", (f"{BETWEEN}.2",))
            self._connect(outermost, router, "wan", f"{BETWEEN}.1")
            set_up(router, [f"addr add {BETWEEN}.2/24 dev wan", "link set wan up", f"route add default via {BETWEEN}.1"])
        wire = self._upstream(kind, outermost, addresses, number)
        spaces = tuple(self.lab.namespace(f"{name}-host{index}") for index in range(hosts))
        prefix = f"2a00:{number:x}::" if kind.ipv6 else ""
        self._lan(router, spaces, prefix)
        return Site(name, kind, spaces, router, wire, addresses)

    def sites(self, kinds: Sequence[Kind]) -> list[Site]:
        """One home of each, built side by side."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(self.site, kinds))

    def reboot(self, site: Site) -> None:
        """The NAT forgets all that it knows."""
        assert site.kind is not None
        assert site.router is not None
        if site.kind.character is not None:
            self.do("reset", name=site.addresses[0])
        else:
            site.router.run(sys.executable, "-m", "tests.lab.conntrack", cwd=str(ROOT))

    def move(self, host: Namespace, site: Site) -> None:
        """A computer leaves its network for another home's, where it gets an address by which nobody knew it."""
        assert site.router is not None
        number = self.lab.number()
        set_up(host, ["link del eth0"])
        port = f"m{number}"
        set_up(site.router, [f"link add {port} type veth peer name eth0 netns {host.pid}", f"link set {port} master lan up"])
        set_up(host, [f"addr add {LAN}.{100 + number % 100}/24 dev eth0", "link set eth0 up", f"route add default via {LAN}.1"])

    def _upstream(self, kind: Kind, router: Namespace, addresses: Sequence[str], number: int) -> str:
        """The router's wire: to the Internet, or to the box."""
        if kind.character is None:
            hosts = [*addresses, *([f"2a00:{number:x}::/64"] if kind.ipv6 else [])]
            wire = self._wire(router, "wan", hosts)
            own = [f"addr add {addresses[0]}/32 dev wan"]
        else:
            gate = addresses[0]
            self.do("gate", name=gate, character=kind.character, addresses=list(addresses), seed=number, delay=self.half)
            wire = self._wire(router, "wan", [f"{LAN}.0/24"], gate=gate)
            own = []
        set_up(router, [*own, *upstream("wan", kind.ipv6)])
        return wire

    def _router(self, kind: Kind, name: str, addresses: Sequence[str]) -> Namespace:
        """A forwarding namespace with the kind's rules; its interfaces come later."""
        router = self.lab.namespace(f"{name}-router")
        settings = {"net/ipv4/ip_forward": 1, "net/bridge/bridge-nf-call-iptables": 0}
        if kind.ipv6:
            settings["net/ipv6/conf/all/forwarding"] = 1
        rules = (kind.outer or kind).rules.replace(PUBLIC, addresses[0])
        if kind.udp_timeout:
            settings |= {f"net/netfilter/nf_conntrack_udp_timeout{suffix}": kind.udp_timeout for suffix in ("", "_stream")}
        set_up(router, [], settings, rules)
        return router

    def _lan(self, router: Namespace, hosts: Sequence[Namespace], prefix: str) -> None:
        lines = ["link add lan type bridge", f"addr add {LAN}.1/24 dev lan", "link set lan up"]
        if prefix:
            lines.append(f"addr add {prefix}1/64 dev lan nodad")
        for index, host in enumerate(hosts):
            lines += [f"link add l{index} type veth peer name eth0 netns {host.pid}", f"link set l{index} master lan up"]
        set_up(router, lines)
        for index, host in enumerate(hosts):
            own = [f"addr add {LAN}.{2 + index}/24 dev eth0", "link set eth0 up", f"route add default via {LAN}.1"]
            if prefix:
                own += [f"addr add {prefix}{2 + index}/64 dev eth0 nodad", f"route add ::/0 via {prefix}1"]
            set_up(host, own)

    def _connect(self, outer: Namespace, inner: Namespace, interface: str, address: str) -> None:
        set_up(outer, [
            f"link add lan type veth peer name {interface} netns {inner.pid}", f"addr add {address}/24 dev lan", "link set lan up",
        ])  # fmt: skip

    def _wire(self, space: Namespace, interface: str, hosts: Sequence[str], gate: str = "", half: float | None = None) -> str:
        name = f"w{self.lab.number()}"
        delay = self.half if half is None else half
        self.do("wire", name=name, pid=space.pid, interface=interface, hosts=list(hosts), delay=delay, gate=gate)
        return name

    def _answer(self, what: str) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the Internet's process stopped at {what}: {self._process.wait(60)}"
        return line.decode()


def upstream(interface: str, ipv6: bool) -> list[str]:
    """A wire to the Internet: no neighbours, everything lies behind it."""
    lines = [f"link set {interface} arp off up", f"route add default dev {interface}"]
    return [*lines, f"route add ::/0 dev {interface}"] if ipv6 else lines


def set_up(space: Namespace, lines: Sequence[str], settings: dict[str, int] | None = None, rules: str = "") -> None:
    """``ip`` commands, values under /proc/sys (where this kernel has them) and nftables rules of one namespace, by one process."""
    text = "".join(f"[ ! -e /proc/sys/{key} ] || echo {value} > /proc/sys/{key}\n" for key, value in (settings or {}).items())
    if rules:
        text += f"nft -f - <<'RULES'\n{rules}\nRULES\n"
    if lines:
        text += "ip -batch - <<'LINES'\n" + "\n".join(lines) + "\nLINES\n"
    result = subprocess.run(space.command("sh", "-e"), input=text, text=True, capture_output=True, timeout=60)
    if result.returncode:
        raise RuntimeError(f"{space.name}: {result.stderr.strip()}\n{text}")
