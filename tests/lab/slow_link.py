"""A cable between two namespaces with a rate, a queue, delay, loss, reordering, duplication and corruption, in userspace: ``tc netem``
is not in every kernel.

Run inside the first namespace as root of its user namespace::

    python -m tests.lab.slow_link PID_OF_SECOND --addresses 10.1.0.1/24 10.1.0.2/24 --delay 0.02 --loss 0.01 --rate 100e6 --queue-ms 50

Makes a TAP ``eth0`` in each of the two and carries frames between them; each direction is a :class:`Cable` of its own with the same
profile. Prints ``ready``, and on SIGUSR1 a line ``counters {"sent": …}`` of both directions together.

    TAP ──read, up to BATCH──▶ queue (drop-tail, by octets) ──rate──▶ delay ──write when due──▶ TAP

What it can carry
-----------------
1.6 Gbit/s of full frames and their ACKs (the iperf3 of two cores of 2024); at 500 Mbit/s it keeps its rate within 1 %, and 200 Mbit/s
cost 40 % of a core, most of it for waking up. The bench measures the ceiling anew in each run. Where the system lets it, the process
has real-time priority: a cable does not wait for a free processor.

A due frame is written up to ``GRAIN`` late, so that one wake-up serves several.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import signal
import struct
import subprocess
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
PR_SET_TIMERSLACK = 29
ETHERNET_HEADER = 14
"""Octets that corruption spares: a frame with a wrong address would be a lost one."""
MAX_FRAMES = 200_000
"""Frames on their way in one direction; more are dropped: the memory of a link without a rate is bounded, too."""
TAP_QUEUE = 10_000
"""Frames that wait in the kernel for this process: the queue of the profile is to be the one that overflows."""
BATCH = 64
"""Frames read from one side before the other gets its turn."""
GRAIN = 0.000_2
"""Seconds that a frame may be written late."""


class Profile(NamedTuple):
    """One direction. Seconds, probabilities, octets; ``rate`` in bits a second (0: none), counted over whole Ethernet frames.

    A frame that finds more than ``queue`` octets waiting is dropped. ``reorder`` is the share held back by ``reorder_delay``.
    """

    delay: float = 0.0
    loss: float = 0.0
    rate: float = 0.0
    queue: int = 256 * 1024
    reorder: float = 0.0
    reorder_delay: float = 0.005
    duplicate: float = 0.0
    corrupt: float = 0.0


class Cable:
    """The model of one direction: frames in at a time, frames out when they are due. No I/O."""

    def __init__(self, profile: Profile, seed: int) -> None:
        self.profile = profile
        self.counters: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._free_at = 0.0
        self._ordered: deque[tuple[float, bytes]] = deque()
        self._late: list[tuple[float, int, bytes]] = []
        self._number = 0

    def admit(self, frame: bytes, now: float) -> None:
        """A frame arrives at the near end."""
        profile, counters = self.profile, self.counters
        counters["sent"] += 1
        departure = now
        if profile.rate:
            start = max(now, self._free_at)
            if (start - now) * profile.rate > profile.queue * 8:
                counters["queue-full"] += 1
                return
            departure = self._free_at = start + len(frame) * 8 / profile.rate
        if len(self._ordered) + len(self._late) >= MAX_FRAMES:
            counters["too-many"] += 1
            return
        if self._happens(profile.loss, "lost"):
            return
        if self._happens(profile.corrupt, "corrupted"):
            frame = self._corrupted(frame)
        copies = 1 + self._happens(profile.duplicate, "duplicated")
        if self._happens(profile.reorder, "reordered"):
            for _ in range(copies):
                self._number += 1
                heapq.heappush(self._late, (departure + profile.delay + profile.reorder_delay, self._number, frame))
        else:
            for _ in range(copies):
                self._ordered.append((departure + profile.delay, frame))

    def due(self, now: float) -> Iterator[bytes]:
        """The frames that arrive at the far end by ``now``; each is given once."""
        ordered, late = self._ordered, self._late
        while late and late[0][0] <= now:
            yield heapq.heappop(late)[2]
        while ordered and ordered[0][0] <= now:
            yield ordered.popleft()[1]

    def deadline(self) -> float | None:
        """When the next frame arrives."""
        first = self._ordered[0][0] if self._ordered else None
        if self._late and (first is None or self._late[0][0] < first):
            return self._late[0][0]
        return first

    def _happens(self, probability: float, counter: str) -> bool:
        if probability and self._chance.random() < probability:
            self.counters[counter] += 1
            return True
        return False

    def _corrupted(self, frame: bytes) -> bytes:
        """One bit behind the Ethernet header flipped."""
        flipped = bytearray(frame)
        if len(flipped) > ETHERNET_HEADER:
            flipped[self._chance.randrange(ETHERNET_HEADER, len(flipped))] ^= 1 << self._chance.randrange(8)
        return bytes(flipped)


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


def hurry() -> None:
    """As punctual as this user may be: timers without slack, and real-time priority."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def carry(ends: tuple[int, int], cables: tuple[Cable, Cable], longest: int) -> None:
    """Move frames of up to ``longest`` octets for ever; ``cables[i]`` begins at ``ends[i]``."""
    sides = tuple(zip(ends, cables, reversed(ends), strict=True))
    monotonic, read, write = time.monotonic, os.read, os.write
    while True:
        deadlines = [deadline for cable in cables if (deadline := cable.deadline()) is not None]
        pause = max(0.0, min(deadlines) + GRAIN - monotonic()) if deadlines else None
        readable = select.select(ends, (), (), pause)[0]      # microseconds, where epoll has milliseconds
        for near, cable, _ in sides:
            if near not in readable:
                continue
            now = monotonic()
            with contextlib.suppress(BlockingIOError):
                for _ in range(BATCH):
                    cable.admit(read(near, longest), now)
        now = monotonic()
        for _, cable, far in sides:
            for frame in cable.due(now):
                try:
                    write(far, frame)
                except OSError:
                    cable.counters["refused"] += 1


def arguments() -> argparse.ArgumentParser:
    """The options; see the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pid", type=int)
    parser.add_argument("--addresses", nargs=2, required=True)
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--mtu", type=int, default=1500)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds, one way")
    parser.add_argument("--loss", type=float, default=0.0, help="probability, each way")
    parser.add_argument("--rate", type=float, default=0.0, help="bits a second, each way (0: no limit)")
    parser.add_argument("--queue", type=int, default=Profile().queue, help="octets that wait at most, drop-tail")
    parser.add_argument("--queue-ms", type=float, help="the same as the milliseconds that they take at the rate")
    parser.add_argument("--reorder", type=float, default=0.0, help="share of frames held back")
    parser.add_argument("--reorder-delay", type=float, default=Profile().reorder_delay, help="seconds by which")
    parser.add_argument("--duplicate", type=float, default=0.0, help="probability")
    parser.add_argument("--corrupt", type=float, default=0.0, help="probability that one bit is flipped")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def profile_of(options: argparse.Namespace) -> Profile:
    """The profile that the options describe."""
    queue = options.queue if options.queue_ms is None else int(options.rate * options.queue_ms / 8000)
    return Profile(
        options.delay, options.loss, options.rate, queue, options.reorder, options.reorder_delay, options.duplicate, options.corrupt
    )


def main() -> None:
    """See the module."""
    options = arguments().parse_args()
    ends = []
    for index, address in enumerate(options.addresses):
        if index:
            enter(options.pid)
        ends.append(tap(options.interface))
        link = ["ip", "link", "set", options.interface]
        subprocess.run([*link, "mtu", str(options.mtu), "txqueuelen", str(TAP_QUEUE)], check=True)
        subprocess.run(["ip", "addr", "add", address, "dev", options.interface], check=True)
        subprocess.run([*link, "up"], check=True)
    profile = profile_of(options)
    cables = (Cable(profile, options.seed), Cable(profile, options.seed + 1_000_003))

    def show(*_: object) -> None:
        print("counters", json.dumps(cables[0].counters + cables[1].counters), flush=True)

    signal.signal(signal.SIGUSR1, show)
    hurry()
    print("ready", flush=True)
    carry((ends[0], ends[1]), cables, options.mtu + ETHERNET_HEADER + 4)


if __name__ == "__main__":
    main()
