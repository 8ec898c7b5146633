"""A cable with delay and loss between two namespaces, in userspace: ``tc netem`` is not in every kernel.

Run inside the first namespace as root of its user namespace::

    python -m tests.lab.slow_link PID_OF_SECOND --delay 0.05 --loss 0.05 --seed 1

Makes a TAP ``eth0`` in each of the two and carries frames between them. Prints ``ready``.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import heapq
import os
import random
import selectors
import struct
import subprocess
import time

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
MAX_FRAMES = 20_000
"""Frames on their way in one direction; more are dropped, as in a full queue."""
CLONE_NEWNET = 0x40000000
BATCH = 64
"""Frames read from one side before the other gets its turn."""


def tap(name: str) -> int:
    """A TAP device in the namespace of this process; its descriptor."""
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return handle


def enter(pid: int) -> None:
    """Move this process into the network namespace of another."""
    with open(f"/proc/{pid}/ns/net") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def carry(ends: tuple[int, int], delay: float, loss: float, seed: int) -> None:
    """Move frames for ever."""
    chance = random.Random(seed)
    selector = selectors.DefaultSelector()
    for index, end in enumerate(ends):
        selector.register(end, selectors.EVENT_READ, index)
    waiting: list[tuple[float, int, int, bytes]] = []
    number = 0
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, target, frame = heapq.heappop(waiting)
            try:
                os.write(ends[target], frame)
            except OSError:
                continue
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for key, _ in selector.select(pause):
            for _ in range(BATCH):
                try:
                    frame = os.read(ends[key.data], 65536)
                except BlockingIOError:
                    break
                if len(waiting) < MAX_FRAMES and chance.random() >= loss:
                    number += 1
                    heapq.heappush(waiting, (time.monotonic() + delay, number, 1 - key.data, frame))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pid", type=int)
    parser.add_argument("--addresses", nargs=2, required=True)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds, one way")
    parser.add_argument("--loss", type=float, default=0.0, help="probability, each way")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    ends = []
    for index, address in enumerate(options.addresses):
        if index:
            enter(options.pid)
        ends.append(tap("eth0"))
        subprocess.run(["ip", "addr", "add", address, "dev", "eth0"], check=True)
        subprocess.run(["ip", "link", "set", "eth0", "up"], check=True)
    print("ready", flush=True)
    carry((ends[0], ends[1]), options.delay, options.loss, options.seed)


if __name__ == "__main__":
    main()
