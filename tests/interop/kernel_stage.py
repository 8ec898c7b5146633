"""What lies between the kernel and our host: a TUN device, and a stretch of road with delay, loss and reordering."""

from __future__ import annotations

import fcntl
import heapq
import os
import struct
import subprocess
from random import Random

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
BATCH = 128
"""Packets read before what they caused is sent."""

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


class Road:
    """One direction: each packet is lost, held back or arrives ``delay`` seconds later, by seeded chance."""

    def __init__(self, delay: float, loss: float, reorder: float, seed: int) -> None:
        self._delay = delay
        self._loss = loss
        self._reorder = reorder
        self._random = Random(seed)
        self._waiting: list[tuple[float, int, bytes]] = []
        self._number = 0

    def send(self, packets: list[bytes], now: float) -> None:
        for packet in packets:
            if self._loss and self._random.random() < self._loss:
                continue
            arrival = now + self._delay
            if self._reorder and self._random.random() < self._reorder:
                arrival += self._random.random() * REORDER_DELAY
            self._number += 1
            heapq.heappush(self._waiting, (arrival, self._number, packet))

    def arrived(self, now: float) -> list[bytes]:
        packets: list[bytes] = []
        while self._waiting and self._waiting[0][0] <= now:
            packets.append(heapq.heappop(self._waiting)[2])
        return packets

    def deadline(self) -> float | None:
        return self._waiting[0][0] if self._waiting else None
