"""What lies between the kernel and our host: a TUN device, and a stretch of road with its weather."""

from __future__ import annotations

import fcntl
import heapq
import ipaddress
import os
import struct
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from userlan.wire import icmp, icmpv6, ipv4
from userlan.wire.superpacket import cut, parse

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
BATCH = 128
"""Packets read before what they caused is sent."""

SNAPSHOT = 128
"""Octets of each packet that a trace keeps: all headers."""

LINKTYPE_RAW = 101
"""IP packets without anything in front (tcpdump.org, link-layer header types)."""

REORDER_DELAY = 0.004
"""Seconds that a packet is held back at most: some dozens overtake it."""

KERNEL_IPV4, KERNEL_IPV6 = "10.77.0.1", "fd77::1"
HOST_IPV4, HOST_IPV6 = "10.77.0.2", "fd77::2"
MTU = 1420


class Tun:
    """``lan0`` in the namespace of this process, with the kernel's addresses on it."""

    def __init__(self) -> None:
        self.handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.handle, TUNSETIFF, struct.pack("16sH", b"lan0", IFF_TUN | IFF_NO_PI))
        for arguments in (
            ("addr", "add", f"{KERNEL_IPV4}/24", "dev", "lan0"),
            ("addr", "add", f"{KERNEL_IPV6}/64", "dev", "lan0", "nodad"),
            ("link", "set", "lan0", "mtu", str(MTU), "txqueuelen", "2000", "up"),
        ):
            subprocess.run(["ip", *arguments], check=True)

    def read(self) -> list[bytes]:
        """What the kernel has sent, up to a batch."""
        packets: list[bytes] = []
        try:
            while len(packets) < BATCH:
                packets.append(os.read(self.handle, 65536))
        except BlockingIOError:
            pass
        return packets

    def write(self, packet: bytes) -> None:
        os.write(self.handle, packet)


class Trace:
    """The heads of packets in a pcap file, for whoever looks into a failure (``tshark -r``)."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "wb")  # noqa: SIM115  # as long as the process lives
        self._file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAPSHOT, LINKTYPE_RAW))

    def add(self, packets: Iterable[bytes], now: float) -> None:
        for packet in packets:
            head = packet[:SNAPSHOT]
            self._file.write(struct.pack("=IIII", int(now), int(now % 1 * 1e6), len(head), len(packet)) + head)


@dataclass(frozen=True)
class Weather:
    """What befalls packets, each way: ``delay`` in seconds, the others but the last two as probabilities."""

    delay: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    """One bit behind the IP header is the other way round."""
    mark: float = 0.0
    """Congestion experienced, where the sender is capable of ECN (RFC 3168 5)."""
    mtu: int = 0
    """Octets of the largest packet that passes, 0 for any; who sends a larger one is told."""
    silent: bool = False
    """It is not told: a black hole."""


class Road:
    """One direction: what befalls each packet is a matter of seeded chance."""

    def __init__(self, weather: Weather, seed: int) -> None:
        self.weather = weather
        self.marked = 0
        """Packets that were marked by now."""
        self._random = Random(seed)
        self._waiting: list[tuple[float, int, bytes]] = []
        self._number = 0

    def send(self, packets: list[bytes], now: float) -> list[bytes]:
        """Packets on their way; returns the errors that go back to their sender."""
        weather, errors = self.weather, []
        for packet in packets:
            if weather.mtu and len(packet) > weather.mtu:
                errors += [] if weather.silent else [too_big(packet, weather.mtu)]
                continue
            if self._chance(weather.loss):
                continue
            if self._chance(weather.mark):
                packet = self._mark(packet)
            if self._chance(weather.corrupt):
                packet = self._corrupt(packet)
            for _ in range(2 if self._chance(weather.duplicate) else 1):
                arrival = now + weather.delay
                if self._chance(weather.reorder):
                    arrival += self._random.random() * REORDER_DELAY
                self._number += 1
                heapq.heappush(self._waiting, (arrival, self._number, packet))
        return errors

    def arrived(self, now: float) -> list[bytes]:
        packets: list[bytes] = []
        while self._waiting and self._waiting[0][0] <= now:
            packets.append(heapq.heappop(self._waiting)[2])
        return packets

    def deadline(self) -> float | None:
        return self._waiting[0][0] if self._waiting else None

    def _chance(self, probability: float) -> bool:
        return probability > 0.0 and self._random.random() < probability

    def _mark(self, packet: bytes) -> bytes:
        """CE on what is ECT (RFC 3168 5)."""
        four = packet[0] >> 4 == 4
        codepoint = packet[1] & 3 if four else packet[1] >> 4 & 3
        if codepoint in (0, 3):
            return packet
        self.marked += 1
        header = bytes((packet[0], packet[1] | (3 if four else 0x30))) + packet[2:20]
        return (ipv4.with_checksum(header) if four else header) + packet[20:]

    def _corrupt(self, packet: bytes) -> bytes:
        start = 20 if packet[0] >> 4 == 4 else 40
        position = self._random.randrange(start, len(packet))
        return packet[:position] + bytes((packet[position] ^ 1 << self._random.randrange(8),)) + packet[position + 1 :]


def too_big(packet: bytes, mtu: int) -> bytes:
    """What a router says to the sender of a packet that is too big (RFC 1191 4, RFC 4443 3.2)."""
    source = parse(packet).source
    if len(source) == 4:
        needed = icmp.Unreachable(icmp.CODE_FRAGMENTATION_NEEDED, packet, mtu)
        return cut(icmp.build(needed, bytes((10, 77, 0, 254)), source), True)[0]
    router = ipaddress.IPv6Address("fd77::254").packed
    return cut(icmpv6.build(icmpv6.PacketTooBig(mtu, packet), router, source), True)[0]
