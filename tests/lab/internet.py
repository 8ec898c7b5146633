"""The Internet of the lab: one process that carries IP packets between wires, each with its own delay, and through userspace NATs.

It works on packet sockets, since a TUN device needs more rights than a user namespace gives, and ``tc netem`` is not in every kernel::

    a site's router ──wan═══w3── AF_PACKET ─▶ [gate: Box.outward] ─▶ route, TTL − 1 ─▶ delay ─▶ [gate: Box.inward] ─▶ AF_PACKET ── …
                     veth without ARP                                    of both wires

Run inside a namespace as root of its user namespace: ``python -m tests.lab.internet``. It reads commands, one JSON object a line, and
answers each with one line; prints ``ready`` first. See :class:`Internet` for them.

* A wire is a veth pair; its far end, named by the command, is moved into a site's namespace. What the far end sends has whole checksums
  (its offloads are switched off while both ends are here), since nothing behind this process would complete them.
* Destinations are whole IPv4 addresses, IPv4 /24s or IPv6 /64s.
* A packet that leaves one wire for another is on its way for the sum of both wires' delays.
* A gate is a NAT with several wires on its inside.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from typing import Any

from tests.lab.nat_box import INSIDE, Box, Character, adjust, unreachable
from tests.lab.slow_link import GRAIN, hurry

SIOCETHTOOL = 0x8946
OFFLOADS_OFF = (0x17, 0x1F, 0x24, 0x2C)
"""ETHTOOL_STXCSUM, _STSO, _SGSO, _SGRO (linux/ethtool.h)."""
ETH_P_ALL = 3
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
"""Buffers beyond the system's limit (socket(7))."""
BUFFER = 8 << 20
"""Octets that wait in the kernel for this process."""
HOPS = 6
"""Between any two sites: more than what a packet needs to leave its own NATs, as everywhere."""
ETHERNET_HEADER = 14
FAR_MAC, NEAR_MAC = "02:00:00:00:00:02", "02:00:00:00:00:01"
HEADERS = {
    version: bytes.fromhex((FAR_MAC + NEAR_MAC).replace(":", "")) + kind for version, kind in ((4, b"\x08\x00"), (6, b"\x86\xdd"))
}
LONGEST = 65_536
BATCH = 64
"""Packets read from one wire before the others get their turn."""
MAX_UNDERWAY = 200_000
"""Packets on their way; more are dropped."""
CORE = socket.inet_aton("44.0.0.254")
"""The address from which the Internet speaks itself."""


class Wire:
    """One veth pair, from this end."""

    def __init__(self, near: str, delay: float, gate: Gate | None) -> None:
        self.near = near
        self.delay = delay
        self.gate = gate
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        for forced, option in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, forced, BUFFER)
            except PermissionError:     # in a user namespace the system's limit holds
                self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        self.socket.setblocking(False)
        self.socket.bind((near, ETH_P_ALL))

    def write(self, packet: bytes) -> bool:
        """Whether the kernel took it."""
        try:
            self.socket.send(HEADERS[packet[0] >> 4] + packet)
        except OSError:
            return False
        return True


class Gate:
    """A NAT and its inside."""

    def __init__(self, character: Character, addresses: tuple[bytes, ...], seed: int, delay: float) -> None:
        self.delay = delay
        self.inside: dict[bytes, Wire] = {}
        self._seed = seed
        self.box = Box(character, addresses, seed)

    def reset(self) -> None:
        """The NAT reboots: it knows nothing of before, and draws other ports."""
        self._seed += 1000
        self.box = Box(self.box.character, self.box.addresses, self._seed)


class Internet:
    """The commands are its public methods' names as ``do``, with their arguments."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._wires: dict[str, Wire] = {}
        self._gates: dict[str, Gate] = {}
        self._routes: dict[bytes, Wire | Gate] = {}
        self._underway: list[tuple[float, int, bytes, Wire | Gate]] = []
        self._number = 0

    def wire(
        self, name: str, pid: int, interface: str, hosts: list[str], delay: float = 0.0, gate: str = "", mtu: int = 1500
    ) -> None:
        """Lay a wire into the namespace of process ``pid`` as ``interface``, behind which ``hosts`` are; ``gate``: inside that NAT."""
        link = ["link", "add", name, "address", NEAR_MAC, "mtu", str(mtu), "type", "veth", "peer", "name", "far", "address", FAR_MAC]
        _ip(" ".join((*link, "mtu", str(mtu))), f"link set {name} arp off addrgenmode none")
        for end in (name, "far"):
            _offloads_off(end)
        _ip(f"link set far netns {pid} name {interface}", f"link set {name} up")
        owner = self._gates[gate] if gate else None
        made = self._wires[name] = Wire(name, 0.0 if owner else delay, owner)
        table: dict[bytes, Any] = owner.inside if owner else self._routes
        for host in hosts:
            table[route_of(host)] = made

    def cut(self, name: str) -> None:
        """Take a wire away, with its routes."""
        wire = self._wires.pop(name)
        table: dict[bytes, Any] = wire.gate.inside if wire.gate else self._routes
        for prefix in [prefix for prefix, owner in table.items() if owner is wire]:
            del table[prefix]
        wire.socket.close()
        with contextlib.suppress(subprocess.CalledProcessError):       # gone already with the namespace of its other end
            _ip(f"link del {name}")

    def gate(self, name: str, character: dict[str, Any], addresses: list[str], seed: int = 1, delay: float = 0.0) -> None:
        """A NAT that behaves as ``character`` (fields of :class:`Character`) at these public addresses."""
        public = tuple(socket.inet_aton(address) for address in addresses)
        made = self._gates[name] = Gate(Character(**character), public, seed, delay)
        for address in public:
            self._routes[address] = made

    def reset(self, name: str) -> None:
        """Reboot a gate."""
        self._gates[name].reset()

    def count(self) -> dict[str, int]:
        """What happened to packets, here and in the gates."""
        total = Counter(self.counters)
        for gate in self._gates.values():
            total.update(gate.box.counters)
        return dict(total)

    def sockets(self) -> dict[int, Wire]:
        """Wires by their descriptors."""
        return {wire.socket.fileno(): wire for wire in self._wires.values()}

    def arrived(self, wire: Wire, packet: bytes, now: float) -> None:
        """A packet from a wire's far end."""
        gate = wire.gate
        if gate is None:
            self._route(packet, wire.delay, wire, now)
            return
        if packet[0] >> 4 != 4:
            self.counters["not-ipv4"] += 1
            return
        for side, sent in gate.box.outward(bytearray(packet), now):
            if side == INSIDE:
                self._inside(gate, sent)
            else:
                self._route(sent, gate.delay, gate, now)

    def deadline(self) -> float | None:
        """When the next packet arrives."""
        return self._underway[0][0] if self._underway else None

    def deliver(self, now: float) -> None:
        """Packets that are due."""
        underway = self._underway
        while underway and underway[0][0] <= now:
            _, _, packet, to = heapq.heappop(underway)
            if isinstance(to, Wire):
                self._write(to, packet)
                continue
            for side, sent in to.box.inward(bytearray(packet), now):
                if side == INSIDE:
                    self._inside(to, sent)
                else:
                    self._route(sent, to.delay, to, now)

    def _inside(self, gate: Gate, packet: bytes) -> None:
        wire = gate.inside.get(packet[16:20]) or gate.inside.get(packet[16:19])
        if wire is None:
            self.counters["no-route"] += 1
        else:
            self._write(wire, packet)

    def _write(self, wire: Wire, packet: bytes) -> None:
        self.counters["carried" if wire.write(packet) else "refused"] += 1

    def _route(self, packet: bytes, delay: float, origin: Wire | Gate, now: float) -> None:
        """To the wire or gate of the destination, ``HOPS`` on."""
        changed = bytearray(packet)
        if packet[0] >> 4 == 4:
            to = self._routes.get(packet[16:20]) or self._routes.get(packet[16:19])
            if packet[8] <= HOPS:
                self.counters["time-exceeded"] += 1
                self._enqueue(unreachable(packet, CORE, 0, kind=11), 2 * delay, origin, now)
                return
            changed[8] -= HOPS
            adjust(changed, 10, packet[8:10], changed[8:10])
        else:
            to = self._routes.get(packet[24:32])
            if packet[7] <= HOPS:
                self.counters["time-exceeded"] += 1
                return
            changed[7] -= HOPS
        if to is None:
            self.counters["no-route"] += 1
            return
        self._enqueue(bytes(changed), delay + to.delay, to, now)

    def _enqueue(self, packet: bytes, delay: float, to: Wire | Gate, now: float) -> None:
        if len(self._underway) >= MAX_UNDERWAY:
            self.counters["too-many"] += 1
            return
        self._number += 1
        heapq.heappush(self._underway, (now + delay, self._number, packet, to))


def route_of(text: str) -> bytes:
    """``44.1.0.1``, ``192.168.1.0/24`` or ``2a00:1::/64`` as the octets that packets are looked up by."""
    host, _, length = text.partition("/")
    if ":" in host:
        return socket.inet_pton(socket.AF_INET6, host)[:8]
    return socket.inet_aton(host)[: 3 if length == "24" else 4]


def _ip(*commands: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, check=True)


def _offloads_off(interface: str) -> None:
    """The kernel finishes checksums and cuts segments before a packet enters this interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in OFFLOADS_OFF:
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sP", interface.encode(), ctypes.addressof(value)))


def obey(internet: Internet, line: str) -> str:
    """One command; its answer."""
    command = json.loads(line)
    return json.dumps(getattr(internet, command.pop("do"))(**command))


def carry(internet: Internet) -> None:
    """Until standard input ends."""
    monotonic, commands = time.monotonic, sys.stdin.fileno()
    wires = internet.sockets()
    while True:
        deadline = internet.deadline()
        pause = None if deadline is None else max(0.0, deadline + GRAIN - monotonic())
        readable = select.select((commands, *wires), (), (), pause)[0]      # microseconds, where epoll has milliseconds
        for number in readable:
            if number == commands:
                line = sys.stdin.readline()
                if not line:
                    return
                print(obey(internet, line), flush=True)
                wires = internet.sockets()
                break
            wire, now = wires[number], monotonic()
            with contextlib.suppress(OSError):      # nothing more waits; or the wire's other end is gone
                for _ in range(BATCH):
                    frame = wire.socket.recv(LONGEST)
                    if frame[12:14] in (b"\x08\x00", b"\x86\xdd"):
                        internet.arrived(wire, frame[ETHERNET_HEADER:], now)
        internet.deliver(monotonic())


def main() -> None:
    """See the module."""
    hurry()
    print("ready", flush=True)
    carry(Internet())


if __name__ == "__main__":
    main()
