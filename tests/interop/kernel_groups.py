"""The kernel as a member of groups, and the kernel's bridge as a switch that asks: both seen from a device of ours.

Run in a namespace of its own, ``python -m tests.interop.kernel_groups PART``:

    listen   the kernel's sockets join and leave as ``STEPS`` say on a TUN, then scapy asks as a router would; prints a
             line of JSON with what the kernel reported in each step
    switch   our host, with ``WISHES``, behind a TAP that is a port of the kernel's bridge, which asks once a second;
             prints ``joined``, goes on until its standard input ends, and then prints its counters
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from random import Random
from typing import Any, NamedTuple

from tests.interop.kernel_stage import IFF_NO_PI, KERNEL_IPV4, KERNEL_IPV6, TUNSETIFF, Tun
from userlan.stack import Host
from userlan.wire import igmp, mld
from userlan.wire.errors import WireError
from userlan.wire.membership import Leave, Member, Report
from userlan.wire.superpacket import cut, parse

IFF_TAP = 0x0002
STEP = 1.4
"""Seconds: the state change and its repetition, within the Unsolicited Report Interval of 1 s."""

ANSWER = 0.6
"""Seconds after a query that allows 0.3 s."""

MCAST_JOIN_GROUP, MCAST_BLOCK_SOURCE, MCAST_UNBLOCK_SOURCE, MCAST_LEAVE_GROUP = 42, 43, 44, 45
MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP, MCAST_MSFILTER = 46, 47, 48
"""Linux, include/uapi/linux/in.h (RFC 3678 5)."""

WISHES: dict[str, dict[str, list[str]]] = {
    "239.5.0.1": {},
    "239.5.0.2": {"exclude": ["10.9.0.1"]},
    "239.5.0.3": {"sources": ["10.9.0.1", "10.9.0.2"]},
    "ff05::5:1": {},
    "ff05::5:2": {"exclude": ["fd09::1"]},
    "ff05::5:3": {"sources": ["fd09::1", "fd09::2"]},
}
"""What our host behind the bridge wants of each group."""


class Change(NamedTuple):
    """One call of RFC 3678; ``source`` counts from 1, 0: none."""

    call: str
    source: int = 0


STEPS: dict[int, tuple[Change | None, ...]] = {
    1: (Change("join"), Change("block", 1), Change("unblock", 1), Change("leave"), None),
    2: (Change("join-source", 1), Change("join-source", 2), Change("leave-source", 1), Change("leave"), None),
    3: (Change("join"), Change("block", 1), Change("include", 2), Change("leave"), None),
    4: (Change("join"), None, None, None, None),
    5: (Change("join-source", 1), Change("join-source", 2), None, None, None),
    6: (Change("join"), Change("block", 1), None, None, None),
}
"""The calls on each group, step by step; the last step tells what nobody asked for."""

QUERIES = ("general", "group 4", "group 5", "group 6", "sources 4", "sources 5", "sources 6", "group 1", "older")
"""What scapy asks for afterwards: of everything, of one group, of sources 1 and 3 of one, and in an older version."""

OLDER_LEAVE = "older leave"
"""Group 4 is left after the older query."""


def group(version: int, number: int) -> str:
    return f"239.4.0.{number}" if version == 4 else f"ff05::4:{number}"


def source(version: int, number: int) -> str:
    return f"10.9.0.{number}" if version == 4 else f"fd09::{number}"


def told(packet: bytes) -> list[tuple[str, str, list[str]]]:
    """The records in a report, or an older report, about the groups of this test; text for JSON."""
    try:
        parsed = parse(packet)
        message = igmp.parse(parsed) if parsed.version == 4 else mld.parse(parsed)
    except WireError:
        return []
    found: list[tuple[str, bytes, tuple[bytes, ...]]] = []
    if isinstance(message, Report):
        found = [(record.type.name, record.group, record.sources) for record in message.records]
    elif isinstance(message, Member | Leave):
        found = [(type(message).__name__, message.group, ())]
    ours = {ipaddress.ip_address(group(version, number)).packed for version in (4, 6) for number in STEPS}
    return [
        (name, str(ipaddress.ip_address(target)), sorted(str(ipaddress.ip_address(each)) for each in sources))
        for name, target, sources in found
        if target in ours
    ]


class KernelMember:
    """The kernel's sockets of one family: one for each group."""

    def __init__(self, version: int, interface: int) -> None:
        self._version = version
        self._interface = interface
        self._level = socket.IPPROTO_IP if version == 4 else socket.IPPROTO_IPV6
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        self._sockets = {number: socket.socket(family, socket.SOCK_DGRAM) for number in STEPS}

    def change(self, number: int, change: Change) -> None:
        head = struct.pack("=I4x", self._interface) + self._address(group(self._version, number))
        tail = self._address(source(self._version, change.source)) if change.source else b""
        if change.call == "include":
            option, value = MCAST_MSFILTER, head + struct.pack("=II", 1, 1) + tail
        else:
            option = {
                "join": MCAST_JOIN_GROUP,
                "leave": MCAST_LEAVE_GROUP,
                "block": MCAST_BLOCK_SOURCE,
                "unblock": MCAST_UNBLOCK_SOURCE,
                "join-source": MCAST_JOIN_SOURCE_GROUP,
                "leave-source": MCAST_LEAVE_SOURCE_GROUP,
            }[change.call]
            value = head + tail
        self._sockets[number].setsockopt(self._level, option, value)

    def _address(self, text: str) -> bytes:
        """A ``sockaddr_storage``."""
        packed = ipaddress.ip_address(text).packed
        if self._version == 4:
            return struct.pack("=HH4s", socket.AF_INET, 0, packed).ljust(128, b"\0")
        return struct.pack("=HHI16s", socket.AF_INET6, 0, 0, packed).ljust(128, b"\0")


def queries(name: str) -> list[bytes]:
    """The packets of one of ``QUERIES``, both families', as scapy makes them."""
    from scapy.layers.igmp import IGMP_MQ, IGMPv3_MQ
    from scapy.layers.inet import IP, IPOption_Router_Alert
    from scapy.layers.inet6 import ICMPv6MLQuery, ICMPv6MLQuery2, IPv6, IPv6ExtHdrHopByHop, RouterAlert

    kind, _, number = name.partition(" ")
    packets: list[bytes] = []
    for version in (4, 6):
        target = group(version, int(number)) if number else ("0.0.0.0" if version == 4 else "::")
        sources = [source(version, each) for each in (1, 3)] if kind == "sources" else []
        message: Any
        head: Any
        if version == 4:
            message = IGMP_MQ(mrcode=3) if kind == "older" else IGMPv3_MQ(mrcode=3, gaddr=target, qrv=2, qqic=125, srcaddrs=sources)
            destination = target if number else "224.0.0.1"
            head = IP(src="10.77.0.9", dst=destination, ttl=1, options=[IPOption_Router_Alert()])
        else:
            message = ICMPv6MLQuery2(mrd=300, mladdr=target, QRV=2, QQIC=125, sources=sources)
            if kind == "older":
                message = ICMPv6MLQuery(mrd=300)
            destination = target if number else "ff02::1"
            head = IPv6(src="fe80::9", dst=destination, hlim=1) / IPv6ExtHdrHopByHop(options=[RouterAlert(value=0)])
        packets.append(bytes(head / message))
    return packets


def listen() -> None:
    """See the module."""
    tun = Tun()
    interface = socket.if_nametoindex("lan0")
    members = [KernelMember(version, interface) for version in (4, 6)]

    def heard(seconds: float) -> list[tuple[str, str, list[str]]]:
        end, found = time.monotonic() + seconds, []
        while True:     # what has come meanwhile is of this time, also where the machine had other work until it was over
            left = max(0.0, end - time.monotonic())
            if select.select([tun.handle], [], [], left)[0]:
                for packet in tun.read():
                    found += told(packet)
            elif not left:
                return found

    heard(0.5)
    result: dict[str, list[tuple[str, str, list[str]]]] = {}
    for step in range(len(STEPS[1])):
        for number, changes in STEPS.items():
            change = changes[step]
            if change is not None:
                for member in members:
                    member.change(number, change)
        result[f"step {step}"] = heard(STEP)
    for name in QUERIES:
        for packet in queries(name):
            tun.write(packet)
        result[name] = heard(ANSWER)
    for member in members:
        member.change(4, Change("leave"))
    result[OLDER_LEAVE] = heard(0.5)
    print(json.dumps(result), flush=True)


def switch() -> None:
    """See the module."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", b"port0", IFF_TAP | IFF_NO_PI))
    centiseconds = ("mcast_query_interval", "100", "mcast_query_response_interval", "50", "mcast_membership_interval", "300")
    versions = ("mcast_querier", "1", "mcast_igmp_version", "3", "mcast_mld_version", "2")
    for arguments in (
        ("link", "add", "br0", "type", "bridge", "mcast_snooping", "1", "mcast_startup_query_interval", "50", *versions, *centiseconds),
        ("link", "set", "port0", "master", "br0", "up"),
        ("addr", "add", "fe80::77/64", "dev", "br0", "nodad"),
        ("link", "set", "br0", "up"),
    ):
        subprocess.run(["ip", *arguments], check=True)
    host = Host(entropy=Random(1).randbytes)
    for address in (KERNEL_IPV4, KERNEL_IPV6, "fe80::1"):
        host.add_address(ipaddress.ip_address(address).packed)
    endpoint = host.udp_bind(5000)
    for name, wish in WISHES.items():
        packed = {key: [ipaddress.ip_address(each).packed for each in value] for key, value in wish.items()}
        endpoint.join(ipaddress.ip_address(name).packed, **packed)
    print("joined", flush=True)
    while True:
        now = time.monotonic()
        for packet in host.packets(now):
            os.write(tap, framed(cut(packet, True)[0]))
        deadline = host.deadline()
        ready = select.select([tap, 0], [], [], None if deadline is None else max(0.0, deadline - now))[0]
        now = time.monotonic()
        if 0 in ready:
            break
        if tap in ready:
            frame = os.read(tap, 65536)
            if frame[12:14] in (b"\x08\x00", b"\x86\xdd"):
                host.receive(parse(frame[14:]), now)
        host.tick(now)
    print(json.dumps(host.counters), flush=True)


def framed(packet: bytes) -> bytes:
    """A packet to a group in an Ethernet frame (RFC 1112 6.4, RFC 2464 7)."""
    if packet[0] >> 4 == 4:
        target, kind = b"\x01\x00\x5e" + bytes((packet[17] & 0x7F,)) + packet[18:20], b"\x08\x00"
    else:
        target, kind = b"\x33\x33" + packet[36:40], b"\x86\xdd"
    return target + b"\x02\0\0\0\0\x01" + kind + packet


if __name__ == "__main__":
    {"listen": listen, "switch": switch}[sys.argv[1]]()
